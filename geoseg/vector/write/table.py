"""Features before they are written."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray


@dataclass(frozen=True)
class FeatureTable:
    """Each array has one entry for each feature."""

    geometry: NDArray[np.object_]
    value: NDArray[np.int64]
    area: NDArray[np.float64]
    perimeter: NDArray[np.float64]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.int64]
    minimum: NDArray[np.int64]
    doubtful: NDArray[np.int64]
    distance: NDArray[np.int64]
    edge: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.geometry)

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return the arrays."""
        return tuple(getattr(self, f.name) for f in fields(self))

    def take(self, chosen: NDArray[Any]) -> "FeatureTable":
        """Return the chosen features."""
        return FeatureTable(*(column[chosen] for column in self.columns()))

    @classmethod
    def concatenate(cls, tables: "list[FeatureTable]") -> "FeatureTable":
        """Return the features of all tables, one after another."""
        return cls(*(np.concatenate(column) for column in zip(*(t.columns() for t in tables), strict=True)))

    def grouped(self, order: NDArray[np.intp], starts: NDArray[np.intp]) -> "FeatureTable":
        """Return a table with a multipolygon for each group of features, the sums of their areas and lengths.

        Parameters
        ----------
        order
            The features, group by group.
        starts
            Where each group begins in `order`.
        """

        def total(column: NDArray[Any]) -> NDArray[Any]:
            return np.add.reduceat(column[order], starts)

        geometry = np.empty(len(starts), dtype=object)
        geometry[:] = [shapely.multipolygons(self.geometry[g]) for g in np.split(order, starts[1:])]
        return FeatureTable(
            geometry, self.value[order[starts]], total(self.area), total(self.perimeter), total(self.pixels),
            total(self.confidence), np.minimum.reduceat(self.minimum[order], starts), total(self.doubtful),
            total(self.distance), np.logical_or.reduceat(self.edge[order], starts),
        )  # fmt: skip
