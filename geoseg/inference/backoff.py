"""Batch back-off: when the device runs out of memory, batches are halved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import DeviceMemoryError
from geoseg.models.backends.detector import Detector
from geoseg.models.backends.spec import Segmenter, SegmenterSpec
from geoseg.tiling.arrays import HOST

Tiles: TypeAlias = Sequence[tuple[Any, Any]]
"""Values and validity of each tile."""

_batch_sizes: dict[tuple[SegmenterSpec, int], int] = {}
"""Tiles that fit at once, by network and planned batch, where it is less than planned."""

_lock = Lock()


@dataclass(frozen=True)
class BatchPrediction:
    """The answer for a batch, and how many tiles fitted on the device at once."""

    tiles: list[Any]
    """Of each tile: its probabilities, shape (C, rows, cols), in the memory of the segmenter's device, or its
    detections."""
    size: int
    """Tiles in each forward pass."""


def predict_with_backoff(
    segmenter: Segmenter,
    spec: SegmenterSpec,
    tiles: Tiles,
    batch: int,
    gain: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> BatchPrediction:
    """Predict a batch of tiles; use smaller batches when the device has not enough memory.

    This process keeps the smaller batch size from then on. Its shape is constant too, but on a GPU another
    shape may select other kernels and so change the last bits.

    Parameters
    ----------
    segmenter, spec
        The network, and the specification that it was loaded from.
    tiles
        Raw numbers (B, rows, cols) and validity (rows, cols) of up to `batch` tiles, in the memory of the
        segmenter's device.
    batch
        Tiles of a full batch. Fewer tiles are padded with empty ones: a constant shape gives constant
        results.
    gain, bias
        Physical value = number * gain + bias, shape (B,).

    Raises
    ------
    DeviceMemoryError
        When not even one tile fits.
    """
    return _with_backoff(lambda size: _predict(segmenter, tiles, size, gain, bias), spec, tiles, batch)


def detect_with_backoff(
    detector: Detector,
    spec: SegmenterSpec,
    tiles: Tiles,
    batch: int,
    gain: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> BatchPrediction:
    """Find the objects of a batch of tiles; otherwise as `predict_with_backoff`."""
    return _with_backoff(lambda size: _detect(detector, tiles, size, gain, bias), spec, tiles, batch)


def _with_backoff(
    answer: Callable[[int], list[Any]], spec: SegmenterSpec, tiles: Tiles, batch: int
) -> BatchPrediction:
    """Ask with so many tiles at once, and with fewer where the device has not enough memory."""
    key = spec, batch
    while True:
        size = _batch_sizes.get(key, batch)
        try:
            return BatchPrediction(answer(size), size)
        except (DeviceMemoryError, MemoryError) as error:
            if size == 1:
                raise DeviceMemoryError(_advice(error, tiles[0][0].shape)) from error
        # Outside the handler: inside it, the traceback still holds the arrays that did not fit.
        with _lock:
            _batch_sizes[key] = min(_batch_sizes.get(key, batch), max(1, size // 2))
        _free_device_memory(spec)


def _predict(
    segmenter: Segmenter, tiles: Tiles, size: int, gain: NDArray[np.float32], bias: NDArray[np.float32]
) -> list[Any]:
    arrays, found = segmenter.arrays, list[Any]()
    for i in range(0, len(tiles), size):
        values, valid = (arrays.stack(part, size) for part in zip(*tiles[i : i + size], strict=True))
        probabilities = segmenter.predict(values, valid, gain, bias)
        if arrays is HOST and len(tiles) > size:
            probabilities = probabilities.copy()  # the next call may overwrite them
        found += list(probabilities)
    return found[: len(tiles)]


def _detect(
    detector: Detector, tiles: Tiles, size: int, gain: NDArray[np.float32], bias: NDArray[np.float32]
) -> list[Any]:
    arrays, found = detector.arrays, list[Any]()
    for i in range(0, len(tiles), size):
        values, valid = (arrays.stack(part, size) for part in zip(*tiles[i : i + size], strict=True))
        found += detector.detect(values, valid, gain, bias)
    return found[: len(tiles)]


def _free_device_memory(spec: SegmenterSpec) -> None:
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
