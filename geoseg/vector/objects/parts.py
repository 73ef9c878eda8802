"""Objects whose polygons come in parts: one behind another may be seen in several places."""

from collections.abc import Iterator

import numpy as np

from geoseg.vector.objects.paint import Numbered
from geoseg.vector.write.table import FeatureTable


def whole_objects(tables: Iterator[FeatureTable], found: Numbered) -> Iterator[FeatureTable]:
    """Yield each object as one multipolygon, as soon as its last part has come.

    An object is complete when its parts have all of its pixels; memory holds the others.

    Parameters
    ----------
    tables
        The polygons; their value is class id + 256 * number of the object. All of an object come, or none.
    found
        The objects.
    """
    waiting: FeatureTable | None = None
    for table in tables:
        every = table if waiting is None else FeatureTable.concatenate([waiting, table])
        numbers, place = np.unique(every.value // 256, return_inverse=True)
        pixels = np.bincount(place, every.pixels, minlength=len(numbers)).astype(np.int64)
        done = (pixels == found.pixels[numbers])[place]
        complete, waiting = every.take(done), every.take(~done)
        if len(complete):
            order = np.argsort(complete.value, kind="stable")
            value = complete.value[order]
            yield complete.grouped(order, np.flatnonzero(np.append(True, value[1:] != value[:-1])))
    if waiting is not None and len(waiting):
        raise ValueError(f"{len(waiting)} parts of objects are of another map than the objects")
