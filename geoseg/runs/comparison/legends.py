"""The classes of two maps side by side, and the changes from one to the other as classes of a third map."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import NODATA, Legend, LegendClass

UNCHANGED = 0
"""Value of pixels that have the same class in both."""
OTHER = 254
"""Value of the rarest changes, where there are more kinds than values."""

_GREY = "#e6e6e6"
_BECAME = 0.75
"""How much of the colour of a change is that of the class that it became."""


@dataclass(frozen=True)
class Legends:
    """The classes of map A, in rows, and of map B, in columns, each by ascending id."""

    a: Legend
    b: Legend

    @property
    def shape(self) -> tuple[int, int]:
        """Number of classes of A and of B."""
        return len(self.a), len(self.b)

    @cached_property
    def pair(self) -> tuple[tuple[LegendClass, ...], tuple[LegendClass, ...]]:
        """The classes of A and of B."""
        return tuple(self.a.by_id().values()), tuple(self.b.by_id().values())

    @cached_property
    def same(self) -> NDArray[np.bool_]:
        """Where a class of A is that of B: by its slug, or else by its title, whatever case they are in."""
        found = np.zeros(self.shape, np.bool_)
        for key in ("slug", "title"):
            for i, one in enumerate(self.pair[0]):
                for j, other in enumerate(self.pair[1]):
                    alike = getattr(one, key).casefold() == getattr(other, key).casefold()
                    found[i, j] |= alike and not found[i].any() and not found[:, j].any()
        return found

    @property
    def unmatched(self) -> tuple[list[str], list[str]]:
        """Titles of the classes that A has alone, and of those that B has alone."""
        same = self.same
        a = [c.title for i, c in enumerate(self.pair[0]) if not same[i].any()]
        b = [c.title for j, c in enumerate(self.pair[1]) if not same[:, j].any()]
        return a, b

    def codes(self, pixels: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the value of each change in the map of change, shape (classes of A, classes of B).

        With up to 15 classes it is 1 + i * m + j, for class i of A and j of B of m, whatever the maps hold;
        with more the most frequent changes have values of their own, and others share `OTHER`.
        """
        n, m = self.shape
        codes = np.zeros((n, m), np.int64)
        if n * m < OTHER:
            codes[:] = 1 + np.arange(n * m).reshape(n, m)
        else:
            codes[:] = OTHER
            counted = np.where(self.same, 0, pixels)
            order = np.argsort(-counted, axis=None, kind="stable")[: OTHER - 1]
            codes.flat[order] = 1 + np.arange(len(order))
        codes[self.same] = UNCHANGED
        return codes.astype(np.uint8)

    def changes(self, pixels: NDArray[np.int64]) -> Legend:
        """Return the legend of the map of change: what did not change, and each change that occurs."""
        classes = [LegendClass(UNCHANGED, "unchanged", "Unchanged", _GREY)]
        codes = self.codes(pixels)
        for i, one in enumerate(self.pair[0]):
            for j, other in enumerate(self.pair[1]):
                code = int(codes[i, j])
                if code not in (UNCHANGED, OTHER) and pixels[i, j]:
                    slug = f"{code:03}-{one.slug}-to-{other.slug}"[:100].rstrip(" .")
                    title = f"{one.title[:95]} → {other.title[:95]}"
                    classes.append(LegendClass(code, slug, title, _mixed(one, other)))
        if (pixels[codes == OTHER] > 0).any():
            classes.append(LegendClass(OTHER, "other-change", "Other change", "#808080"))
        return Legend(tuple(classes))

    @cached_property
    def places(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Place of each pixel value of A and of B among its classes, -1 for none, each of shape (256,)."""
        tables = []
        for classes in self.pair:
            table = np.full(NODATA + 1, -1, np.int16)
            table[[c.id for c in classes]] = np.arange(len(classes))
            tables.append(table)
        return tables[0], tables[1]


def _mixed(one: LegendClass, other: LegendClass) -> str:
    """Return the colour of a change: that of what it became, with a touch of what it was."""
    mixed = (round(_BECAME * b + (1 - _BECAME) * a) for a, b in zip(one.rgb, other.rgb, strict=True))
    return "#{:02x}{:02x}{:02x}".format(*mixed)
