"""A composite: the median of several dates, pixel by pixel and band by band."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window
from geoseg.scenes import _kernels
from geoseg.scenes.mosaic import Mosaic
from geoseg.scenes.placement import Member

STACK_BYTES = 1 << 28
"""Memory for the members of a part of a window that are looked at together."""

MOST_OBSERVATIONS = 255
"""A larger number of observations is given as this."""


@dataclass(frozen=True, repr=False)
class Composite(Mosaic):
    """A scene whose pixels are the median of all members that are valid there.

    Numbers are physical values in single precision: the mean of two members in the middle is no whole number,
    and members may differ in scale and offset.
    """

    method = "median"

    @property
    def counts_observations(self) -> bool:
        """Whether `read` says how often each pixel was seen."""
        return True

    def reading_bytes(self, pixels: int) -> int:
        """Return the memory for reading a window of so many pixels, beside that of its numbers."""
        stack = len(self.placed) * pixels * self._bytes_a_pixel
        # Beside the stack, one member is read.
        return min(stack, STACK_BYTES) + super().reading_bytes(pixels)

    @property
    def _bytes_a_pixel(self) -> int:
        return 4 * len(self.bands) + 1

    def _read_inside(self, window: Window, out: NDArray[Any]) -> NDArray[Any]:
        counts = np.zeros(window.shape, np.uint8)
        members = self._meeting(window)
        out[:] = np.nan
        if members:
            for part in _parts(window, len(members) * self._bytes_a_pixel):
                here = part.relative_to(window)
                counts[here] = self._compose(members, part, out[:, *here])
        return counts

    def _compose(self, members: list[Member], part: Window, out: NDArray[Any]) -> NDArray[np.uint8]:
        """Write the median of a part of a window into `out`; return the number of observations."""
        values = np.empty((len(members), len(self.bands), *part.shape), np.float32)
        valid = np.zeros((len(members), *part.shape), np.bool_)
        for member, plane, known in zip(members, values, valid, strict=True):
            common = member.window.intersect(part)
            if not common:
                continue
            here = common.relative_to(part)
            pixels = member.read(common)
            plane[:, *here], known[here] = member.scene.physical(pixels), pixels.valid
        _kernels.median(values, valid, out)
        counted: NDArray[np.uint8] = valid.sum(axis=0).clip(max=MOST_OBSERVATIONS).astype(np.uint8)
        return counted


def _parts(window: Window, bytes_a_pixel: int) -> list[Window]:
    """Cut a window into rows whose stacks fit the memory, and a row that is too long into columns."""
    pixels = max(1, STACK_BYTES // bytes_a_pixel)
    wide = min(window.shape[1], pixels)
    high = max(1, pixels // wide)
    return [
        Window(Span(row, min(row + high, window.rows.stop)), Span(col, min(col + wide, window.cols.stop)))
        for row in range(window.rows.start, window.rows.stop, high)
        for col in range(window.cols.start, window.cols.stop, wide)
    ]
