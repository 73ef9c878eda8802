"""Forward passes that fit the device: where memory runs out, batches are halved."""

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

    probabilities: NDArray[np.float32]
    size: int


def predict_fitting(
    segmenter: Segmenter, spec: SegmenterSpec, values: NDArray[Any], *more: NDArray[Any]
) -> Fitted:
    """Predict a batch, in smaller batches where the device has not enough memory for it.

    This process keeps to the smaller batches from then on. Their shape is constant too, but on a GPU another
    shape may mean other kernels, and so other last bits.

    Parameters
    ----------
    segmenter, spec
        The network, and what it was loaded from.
    values, more
        Arguments of `Segmenter.predict`: values and valid (N, ...), then gain and bias.

    Raises
    ------
    DeviceMemoryError
        When not even one tile fits.
    """
    valid, gain, bias = more
    whole = len(values)
    key = spec, whole
    while True:
        size = _fitting.get(key, whole)
        try:
            if size == whole:
                return Fitted(segmenter.predict(values, valid, gain, bias), size)
            # Copied: the next call may write over them.
            parts = [
                segmenter.predict(_filled(values, i, size), _filled(valid, i, size), gain, bias).copy()
                for i in range(0, whole, size)
            ]
        except (DeviceMemoryError, MemoryError) as error:
            if size == 1:
                raise DeviceMemoryError(_advice(error, values.shape)) from error
            with _lock:
                _fitting[key] = min(_fitting.get(key, whole), max(1, size // 2))
            _give_back(spec)
            continue
        return Fitted(np.concatenate(parts)[:whole], size)


def _filled(array: NDArray[Any], start: int, size: int) -> NDArray[Any]:
    """Return a part of the batch; the last one is filled up with empty tiles to the constant shape."""
    part = array[start : start + size]
    missing = size - len(part)
    return np.pad(part, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else part


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
