"""Forward passes that fit the device: where memory runs out, batches are halved."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import DeviceMemoryError
from geoseg.models.backends.spec import Segmenter, SegmenterSpec
from geoseg.tiling.arrays import HOST

Tiles: TypeAlias = Sequence[tuple[Any, Any]]
"""Values and validity of each tile."""

_fitting: dict[tuple[SegmenterSpec, int], int] = {}
_lock = Lock()


@dataclass(frozen=True)
class BatchPrediction:
    """The probabilities of a batch, and how many tiles at once the device could take."""

    tiles: list[Any]
    """Of each tile, shape (C, rows, cols), where the segmenter has its arrays."""
    size: int


def predict_with_backoff(
    segmenter: Segmenter,
    spec: SegmenterSpec,
    tiles: Tiles,
    batch: int,
    gain: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> BatchPrediction:
    """Predict a batch of tiles, in smaller batches where the device has not enough memory for it.

    This process keeps to the smaller batches from then on. Their shape is constant too, but on a GPU another
    shape may mean other kernels, and so other last bits.

    Parameters
    ----------
    segmenter, spec
        The network, and what it was loaded from.
    tiles
        Raw numbers (B, rows, cols) of up to `batch` tiles, and where they are valid (rows, cols), where the
        segmenter has its arrays.
    batch
        Tiles of a whole batch; what is missing is filled up with empty ones, since a constant shape gives
        constant results.
    gain, bias
        Physical value = number * gain + bias, shape (B,).

    Raises
    ------
    DeviceMemoryError
        When not even one tile fits.
    """
    key = spec, batch
    while True:
        size = _fitting.get(key, batch)
        try:
            return BatchPrediction(_predict(segmenter, tiles, size, gain, bias), size)
        except (DeviceMemoryError, MemoryError) as error:
            if size == 1:
                raise DeviceMemoryError(_advice(error, tiles[0][0].shape)) from error
        # Outside the handler: there the traceback still holds what did not fit.
        with _lock:
            _fitting[key] = min(_fitting.get(key, batch), max(1, size // 2))
        _give_back(spec)


def _predict(
    segmenter: Segmenter, tiles: Tiles, size: int, gain: NDArray[np.float32], bias: NDArray[np.float32]
) -> list[Any]:
    arrays, found = segmenter.arrays, list[Any]()
    for i in range(0, len(tiles), size):
        values, valid = (arrays.stack(part, size) for part in zip(*tiles[i : i + size], strict=True))
        probabilities = segmenter.predict(values, valid, gain, bias)
        if arrays is HOST and len(tiles) > size:
            probabilities = probabilities.copy()  # the next call may write over them
        found += list(probabilities)
    return found[: len(tiles)]


def _give_back(spec: SegmenterSpec) -> None:
    if spec.device.startswith("cuda"):
        import torch  # noqa: PLC0415

        torch.cuda.empty_cache()


def _advice(error: BaseException, shape: tuple[int, ...]) -> str:
    if isinstance(error, DeviceMemoryError):
        return str(error)
    return (
        f"out of memory with one tile of {shape[1]} x {shape[2]}; a smaller tile needs less: "
        "--set tiling.tile=256"
    )
