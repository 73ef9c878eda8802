"""The objects of a map from the detections of its tiles, block by block.

A detection is related to detections of the eight tiles around its own, at most. So once these have come, all
is known of it; and once that holds for all that are related, directly or through others, they are decided and
leave. Memory holds those of about two rows of tiles, in whatever order blocks come.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Window
from geoseg.tiling.grid import TileGrid
from geoseg.vector.objects.rule import Detection, Key, MergedObject, Place, Rule, relate, resolve

_AROUND = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)]


class Merger:
    """Merges the detections of tiles that come in any order."""

    def __init__(self, grid: TileGrid, rule: Rule, predicted: NDArray[np.bool_] | None = None) -> None:
        """Begin without a detection.

        Parameters
        ----------
        grid
            The tiles of the map.
        rule
            The settings.
        predicted
            Which tiles are predicted, shape (rows of tiles, columns of tiles); None: all.
        """
        shape = grid.rows.count, grid.cols.count
        self._grid, self._rule = grid, rule
        # One more tile on each side, for which nobody waits.
        self._awaited = np.pad(np.ones(shape, np.bool_) if predicted is None else predicted, 1)
        self._tiles = dict[Place, dict[Key, Detection]]()
        """The open detections of the tiles that have come."""

    @property
    def open(self) -> int:
        """Number of detections that are not decided."""
        return sum(map(len, self._tiles.values()))

    def add(self, places: Iterable[Place], found: Mapping[Place, list[Detection]]) -> Iterator[MergedObject]:
        """Add the tiles of a block; yield the objects that are decided now.

        Parameters
        ----------
        places
            The tiles.
        found
            The detections of those that report some.
        """
        for place in places:
            self._awaited[place[0] + 1, place[1] + 1] = False
            if mine := found.get(place):
                self._relate(place, mine)
                self._tiles[place] = {d.key: d for d in mine}
        for place in [p for p in self._tiles if self._is_closed(p)]:
            # Deciding the others may have emptied it.
            for key in list(self._tiles.get(place, ())):
                if place in self._tiles and key in self._tiles[place]:
                    yield from self._decide(key)

    def _relate(self, place: Place, mine: list[Detection]) -> None:
        here = self._window(place)
        for row, col in _AROUND:
            other = place[0] + row, place[1] + col
            if other != place and other in self._tiles:
                shared = here.intersect(self._window(other))
                if shared:
                    relate(mine, list(self._tiles[other].values()), shared, self._rule)

    def _window(self, place: Place) -> Window:
        return self._grid.window(*place).intersect(self._grid.whole)

    def _is_closed(self, place: Place) -> bool:
        """Return whether all tiles around a tile have come."""
        row, col = place
        return not self._awaited[row : row + 3, col : col + 3].any()

    def _decide(self, first: Key) -> Iterator[MergedObject]:
        """Decide a detection and all that are related to it, if all is known of them."""
        members, front = dict[Key, Detection](), [first]
        while front:
            key = front.pop()
            if key in members:
                continue
            if not self._is_closed(key[1:3]):
                return
            members[key] = self._tiles[key[1:3]][key]
            front += members[key].related
        for row, col in {k[1:3] for k in members}:
            left = {k: d for k, d in self._tiles[row, col].items() if k not in members}
            if left:
                self._tiles[row, col] = left
            else:
                del self._tiles[row, col]
        yield from resolve(members.values())
