"""Which objects of two sets touch."""

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.core.detections import Detections


def touching(one: Detections, other: Detections) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of places of two sets whose boxes share a pixel, ordered by both."""
    if not len(one) or not len(other):
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    first, second = shapely.STRtree(_boxes(other)).query(_boxes(one), predicate="intersects")
    order = np.lexsort((second, first))
    return first[order], second[order]


def _boxes(found: Detections) -> NDArray[np.object_]:
    # Pixels as points: boxes that only share an edge share no pixel.
    row, col, bottom, right = found.boxes.T.astype(float)
    boxes: NDArray[np.object_] = shapely.box(col, row, right - 1, bottom - 1)
    return boxes


def groups(predicted: Detections, true: Detections) -> Iterator[tuple[Detections, Detections]]:
    """Yield the predicted and true objects in groups whose boxes touch.

    Objects of different groups share no pixel, so that a measure of pairs is the same over groups as over a
    whole scene, and no array of the size of the scene is needed.
    """
    from scipy.sparse import coo_array  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    first, second = touching(predicted, true)
    n, m = len(predicted), len(true)
    if n + m == 0:
        return
    links = coo_array((np.ones(len(first), bool), (first, n + second)), shape=(n + m, n + m))
    count, label = connected_components(links, directed=False)
    order = np.argsort(label, kind="stable")
    for part in np.split(order, np.searchsorted(label[order], np.arange(1, count))):
        yield predicted.chosen(part[part < n]), true.chosen(part[part >= n] - n)
