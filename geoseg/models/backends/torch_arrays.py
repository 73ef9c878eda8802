"""Arrays on a device of torch: tiles are cut and predictions summed there; only results are copied back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.core.legend import NODATA
from geoseg.models.backends.failures import out_of_memory_error
from geoseg.tiling._kernels import PROBABILITY_BITS, TOTAL_BITS
from geoseg.tiling.arrays import Slices, Weights
from geoseg.tiling.thresholds import LIKELIEST, Thresholds

_ROWS = 64
"""Rows to which thresholds are applied at once."""


class TorchArrays:
    """Arrays on a device of torch. The bytes are those of `HostArrays`, since all sums are of integers."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # Blocks are copied on a stream of their own, while forward passes of another block run.
        self.copies: Any = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def put(self, array: NDArray[Any]) -> torch.Tensor:
        """See `Arrays.put`.

        Raises
        ------
        DeviceMemoryError
            When the device has too little memory; so do all methods.
        """
        tensor = torch.from_numpy(array)
        if self.copies is None:
            return tensor.to(self.device)
        with _memory_for(array.shape), torch.cuda.stream(self.copies):
            moved = tensor.pin_memory().to(self.device, non_blocking=True)
        self.copies.synchronize()
        # The allocator gives this memory to the next block only after the passes have read it.
        moved.record_stream(torch.cuda.default_stream(self.device))
        return moved

    def get(self, array: torch.Tensor) -> NDArray[Any]:
        """See `Arrays.get`."""
        with _memory_for(array.shape):
            copied: NDArray[Any] = array.contiguous().to("cpu", copy=True).numpy()
        return copied

    def stack(self, parts: Sequence[torch.Tensor], count: int) -> torch.Tensor:
        """See `Arrays.stack`; a single array is not copied."""
        if count == 1:
            return parts[0][None]
        with _memory_for((count, *parts[0].shape)):
            stacked = parts[0].new_zeros((count, *parts[0].shape))
        for k, part in enumerate(parts):
            stacked[k] = part
        return stacked

    def zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        """See `Arrays.zeros`."""
        with _memory_for(shape):
            return torch.zeros(shape, dtype=torch.int32, device=self.device)

    def add(
        self, sums: torch.Tensor, here: Slices, probabilities: torch.Tensor, weights: Weights, part: Slices
    ) -> None:
        """See `Arrays.add`."""
        with _memory_for(probabilities.shape):
            rows, cols = (torch.from_numpy(w[p]).to(self.device) for w, p in zip(weights, part, strict=True))
            rounded = (probabilities[:, *part] * (1 << PROBABILITY_BITS)).round_().to(torch.int32)
            sums[:, *here] += rounded.mul_(rows[:, None] * cols)

    def decide(
        self,
        sums: torch.Tensor,
        here: Slices,
        ids: NDArray[np.uint8],
        *,
        every: bool,
        thresholds: Thresholds | None = None,
    ) -> NDArray[np.uint8]:
        """See `Arrays.decide`."""
        sums = sums[:, *here]
        with _memory_for(sums.shape):
            shape = 2 + every * len(sums), *sums.shape[1:]
            planes = torch.empty(shape, dtype=torch.uint8, device=self.device)
            best = sums[0].clone()
            planes[0] = int(ids[0])
            # Channel by channel: of equal values, torch's max does not return the same index on every device.
            for channel, number in zip(sums[1:], ids[1:], strict=True):
                planes[0].masked_fill_(channel > best, int(number))
                torch.maximum(best, channel, out=best)
            planes[1] = _percent(best)
            for plane, channel in zip(planes[2:], sums, strict=False):
                plane.copy_(_percent(channel))
            if thresholds is not None:
                # Some rows at a time: its numbers have 64 bits, and no plan announces them for a block.
                for top in range(0, sums.shape[1], _ROWS):
                    part = slice(top, top + _ROWS)
                    _apply(thresholds, sums[:, part], ids, planes[:, part])
        return self.get(planes)


def _apply(thresholds: Thresholds, sums: torch.Tensor, ids: NDArray[np.uint8], planes: torch.Tensor) -> None:
    """Write the classes that thresholds choose over those of the largest sums, as `_threshold_row` does."""
    value = torch.zeros(sums.shape[1:], dtype=torch.int64, device=sums.device)
    least = torch.ones_like(value)
    chosen = torch.full_like(value, -1)

    def take(where: torch.Tensor, channel: int) -> None:
        chosen.masked_fill_(where, channel)
        torch.where(where, sums[channel], value, out=value)

    for channel, needed in enumerate(thresholds.least):
        here = sums[channel].to(torch.int64)
        if needed:
            better = (here >= needed) & ((chosen < 0) | (here * least > value * needed))
            take(better, channel)
            least.masked_fill_(better, needed)
    below = chosen < 0
    if thresholds.otherwise >= 0:
        take(below, thresholds.otherwise)
    elif thresholds.otherwise == LIKELIEST:
        free = [c for c, n in enumerate(thresholds.least) if n == 0] or list(range(len(sums)))
        for channel in free:
            take(below & ((chosen < 0) | (sums[channel] > value)), channel)
    planes[0] = torch.from_numpy(ids).to(sums.device)[chosen.clamp(min=0)]
    planes[1] = _percent(value)
    planes[:, chosen < 0] = NODATA


@contextmanager
def _memory_for(shape: tuple[int, ...]) -> Iterator[None]:
    """Turn an OutOfMemoryError within the block into one that names the shape."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise out_of_memory_error(tuple(shape), "for pixels or sums of") from error


def _percent(sums: torch.Tensor) -> torch.Tensor:
    """Return sums as whole percent, as `geoseg.tiling._kernels` does."""
    return ((sums >> 7) * 100 + (1 << (TOTAL_BITS - 8))) >> (TOTAL_BITS - 7)
