"""Which pixels lie inside polygons: those whose centre does.

An outline is the edges of all rings, outer and inner ones. A row of pixels is inside between the first and
the second edge that its middle line crosses, the third and the fourth, and so on. Where an edge crosses a
line depends on nothing but the edge and the line, so a pixel is inside or not whatever window is asked for::

           x     x        x          x        edges
    --o--o-|-o--o|--o--o--|-o--o--o--|-o--     middle line of a row, o: centres of pixels
             `--'          `------'           inside
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window

_ROWS = 512
"""Rows that are looked at together: memory does not grow with the map."""


@dataclass(frozen=True, eq=False)
class Outline:
    """Polygons on the pixel grid, as the edges of their rings; no two polygons overlap.

    A centre on an edge belongs to one side of it: two polygons that share the edge share no pixel. The rule
    is that of GDAL's polygon fill, except along horizontal edges.
    """

    edges: NDArray[np.float64]
    """Upper and lower end of each edge in pixels from the upper-left corner of the map, shape (N, 4): column,
    row, column, row. Horizontal edges are left out: they cross no middle line."""

    @classmethod
    def of(cls, rings: Iterable[NDArray[np.float64]]) -> "Outline":
        """Return the outline of closed rings of (column, row), each of shape (vertices, 2).

        Examples
        --------
        >>> square = np.array([[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]], dtype=float)
        >>> Outline.of([square]).inside(Window.of(0, 0, 3, 4)).astype(int)
        array([[0, 0, 0, 0],
               [0, 1, 1, 0],
               [0, 1, 1, 0]])
        """
        parts = [np.hstack([ring[:-1], ring[1:]]) for ring in rings]
        edges = np.concatenate(parts) if parts else np.empty((0, 4))
        down = edges[:, 1] < edges[:, 3]
        edges = np.where(down[:, None], edges, edges[:, [2, 3, 0, 1]])
        return cls(edges[edges[:, 1] < edges[:, 3]])

    def near(self, window: Window) -> "Outline":
        """Return the edges that decide which pixels of a window are inside."""
        first, stop = _lines(self.edges)
        rows, beyond = window.rows, self.edges[:, [0, 2]].min(axis=1) > window.cols.stop
        return Outline(self.edges[(first < rows.stop) & (stop > rows.start) & ~beyond])

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels of a window are inside, shape (rows, cols)."""
        height, width = window.shape
        flips = np.zeros((height, width + 1), dtype=np.uint8)
        for part in _bands(window.rows):
            row, col = self._crossings(part)
            at = row - window.rows.start, (col - window.cols.start).clip(0, width)
            np.bitwise_xor.at(flips, at, 1)
        return np.bitwise_xor.accumulate(flips, axis=1, out=flips)[:, :width].view(np.bool_)

    def runs(self, rows: Span) -> NDArray[np.int64]:
        """Return the runs of pixels inside: first column and the one behind the last, shape (N, 2)."""
        row, col = self._crossings(rows)
        runs = col[np.lexsort((col, row))].reshape(-1, 2)
        return runs[runs[:, 0] < runs[:, 1]]

    def met(self, rows: Span, columns: Sequence[Span]) -> NDArray[np.bool_]:
        """Return for each span of columns whether it has a pixel inside in some rows, shape (spans,).

        Parameters
        ----------
        rows
            The rows.
        columns
            Spans whose begins and ends both ascend; they may overlap.
        """
        starts, stops = (np.array([getattr(s, end) for s in columns]) for end in ("start", "stop"))
        met = np.zeros(len(columns) + 1, dtype=np.int64)
        for part in _bands(rows):
            first, stop = self.runs(part).clip(starts[0], stops[-1]).T
            # Of each run the first span that ends behind its begin, and the first that begins behind its end.
            begin, end = np.searchsorted(stops, first, "right"), np.searchsorted(starts, stop, "left")
            here = (begin < end) & (first < stop)
            np.add.at(met, begin[here], 1)
            np.add.at(met, end[here], -1)
        return np.cumsum(met)[:-1] > 0

    def count(self, shape: tuple[int, int]) -> int:
        """Return the number of pixels of a map of `shape` (height, width) that are inside."""
        parts = _bands(Span(0, shape[0]))
        return sum(int(np.diff(self.runs(p).clip(0, shape[1]), axis=1).sum()) for p in parts)

    def _crossings(self, rows: Span) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where edges cross the middle lines of rows: row, and first column behind the edge."""
        first, stop = _lines(self.edges)
        here = (first < rows.stop) & (stop > rows.start)
        edges, first, stop = self.edges[here], first[here].clip(rows.start), stop[here].clip(max=rows.stop)
        many = stop - first
        row = np.repeat(first - np.cumsum(many) + many, many) + np.arange(many.sum())
        x0, y0, x1, y1 = np.repeat(edges, many, axis=0).T
        # In coordinates of the map, so that rounding does not depend on the rows that are asked for.
        x = (row + 0.5 - y0) * (x1 - x0) / (y1 - y0) + x0
        return row, np.floor(x + 0.5).astype(np.int64)


def _lines(edges: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows whose middle lines each edge crosses: the first, and the one behind the last."""
    first, stop = np.ceil(edges[:, [1, 3]] - 0.5).astype(np.int64).T
    return first, stop


def _bands(rows: Span) -> Iterable[Span]:
    cuts = [*range(rows.start, rows.stop, _ROWS), rows.stop]
    return (Span(*cut) for cut in pairwise(cuts))
