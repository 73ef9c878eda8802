"""Turns and mirrorings between a picture and the rows and columns of its file."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window


@dataclass(frozen=True)
class Turn:
    """How a picture is made of the pixels of a file: swapped axes first, then reversed ones."""

    swapped: bool = False
    rows_reversed: bool = False
    cols_reversed: bool = False

    def shape(self, in_file: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the picture of a file."""
        return (in_file[1], in_file[0]) if self.swapped else in_file

    def window(self, window: Window, shape: tuple[int, int]) -> Window:
        """Return the window of the file that holds a window of the picture of this shape."""
        rows = _reversed(window.rows, shape[0]) if self.rows_reversed else window.rows
        cols = _reversed(window.cols, shape[1]) if self.cols_reversed else window.cols
        return Window(cols, rows) if self.swapped else Window(rows, cols)

    def picture(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return pixels of the file, shape (..., rows, cols), as pixels of the picture; a view."""
        if self == AS_STORED:
            return pixels
        turned = pixels.swapaxes(-1, -2) if self.swapped else pixels
        return turned[..., :: -1 if self.rows_reversed else 1, :: -1 if self.cols_reversed else 1]


AS_STORED = Turn()

OF_EXIF = {
    1: AS_STORED,
    2: Turn(cols_reversed=True),
    3: Turn(rows_reversed=True, cols_reversed=True),
    4: Turn(rows_reversed=True),
    5: Turn(swapped=True),
    6: Turn(swapped=True, cols_reversed=True),
    7: Turn(swapped=True, rows_reversed=True, cols_reversed=True),
    8: Turn(swapped=True, rows_reversed=True),
}
"""The turn for each value of the EXIF tag Orientation, JEITA CP-3451: how the camera was held."""


def _reversed(span: Span, length: int) -> Span:
    return Span(length - span.stop, length - span.start)
