"""Forward passes that fit the device: where memory runs out, batches are halved."""

from copy import deepcopy
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import DeviceMemoryError
from geoseg.models.segmenter import Segmenter, SegmenterSpec

_fitting: dict[tuple[SegmenterSpec, int], int] = {}
_lock = Lock()


@dataclass(frozen=True)
class Fitted:
    """The probabilities of a batch, and how many tiles at once the device could take."""

    tiles: list[Any]
    """Of each tile, shape (C, rows, cols), where the segmenter has its arrays."""
    size: int


def predict_fitting(
    segmenter: Segmenter,
    spec: SegmenterSpec,
    values: Any,
    valid: Any,
    gain: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> Fitted:
    """Predict a batch, in smaller batches where the device has not enough memory for it.

    This process keeps to the smaller batches from then on. Their shape is constant too, but on a GPU another
    shape may mean other kernels, and so other last bits.

    Parameters
    ----------
    segmenter, spec
        The network, and what it was loaded from.
    values, valid, gain, bias
        Arguments of `Segmenter.predict`.

    Raises
    ------
    DeviceMemoryError
        When not even one tile fits.
    """
    whole = len(values)
    key = spec, whole
    while True:
        size = _fitting.get(key, whole)
        try:
            if size == whole:
                return Fitted(list(segmenter.predict(values, valid, gain, bias)), size)
            tiles: list[Any] = []
            for i in range(0, whole, size):
                # The last one is filled up with empty tiles to the constant shape.
                some, where = (segmenter.arrays.stack(list(a[i : i + size]), size) for a in (values, valid))
                # Copied: the next call may write over them.
                tiles += list(deepcopy(segmenter.predict(some, where, gain, bias)))
        except (DeviceMemoryError, MemoryError) as error:
            if size == 1:
                raise DeviceMemoryError(_advice(error, values.shape)) from error
            with _lock:
                _fitting[key] = min(_fitting.get(key, whole), max(1, size // 2))
            _give_back(spec)
            continue
        return Fitted(tiles[:whole], size)


def _give_back(spec: SegmenterSpec) -> None:
    if spec.device.startswith("cuda"):
        import torch  # noqa: PLC0415

        torch.cuda.empty_cache()


def _advice(error: BaseException, shape: tuple[int, ...]) -> str:
    if isinstance(error, DeviceMemoryError):
        return str(error)
    return (
        f"out of memory with one tile of {shape[2]} x {shape[3]}; a smaller tile needs less: "
        "--set tiling.tile=256"
    )
