"""One region after the other: cut it into objects, or give it to the objects around it.

Arrays hold one region and nothing else, so the result depends on its form alone.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from geoseg.vector.objects import Watershed

_CROSS = ndimage.generate_binary_structure(2, 1)


def split(mask: NDArray[np.bool_], how: Watershed) -> NDArray[np.int32]:
    """Cut a region at its necks.

    The distance to the edge is exact and Euclidean (Maurer et al. 2003, through SciPy); what lies beyond the
    array is not the region. Markers are the regional maxima that remain when the distance is lowered by
    `how.depth` and reconstructed (h-maxima; Vincent 1993, through scikit-image).

    Parameters
    ----------
    mask
        Where the region is, 4-connected, shape (rows, cols).
    how
        The parameters.

    Returns
    -------
    Objects from 1, each 4-connected; 0 outside the region; shape (rows, cols).
    """
    inside = np.pad(mask, 1)
    distance = ndimage.distance_transform_edt(inside)
    # At a neck the edge is at least a pixel away: too thin a region has none.
    if distance.max() <= 1 + how.depth:
        return mask.astype(np.int32)
    flooded: NDArray[np.int32] = watershed(-distance, _markers(distance, how), connectivity=1, mask=inside)
    return flooded[1:-1, 1:-1]


def can_split(sizes: NDArray[np.int64], how: Watershed) -> NDArray[np.bool_]:
    """Tell from the height and width of regions, shape (N, 2), which of them `split` might cut."""
    thickest = (sizes.min(axis=1) + 1) // 2
    farthest = np.hypot(*(sizes.T - 1))
    return np.asarray((thickest > 1 + how.depth) & (farthest >= how.distance))


def _markers(distance: NDArray[np.float64], how: Watershed) -> NDArray[np.int32]:
    """Return one marker, 4-connected, for each object."""
    lowered = np.maximum(distance - how.depth, 0)
    domes = local_maxima(reconstruction(lowered, distance, footprint=_CROSS), connectivity=1)
    markers, count = ndimage.label(domes, _CROSS)
    if count < 2 or how.distance == 0:
        return np.asarray(markers)
    rows, cols = np.nonzero(markers)
    marker = markers[rows, cols]
    size = np.bincount(marker)[1:]
    centres = np.stack([np.bincount(marker, axis)[1:] / size for axis in (rows, cols)], axis=1)
    heights = np.zeros(count + 1)
    np.maximum.at(heights, marker, distance[rows, cols])
    keep = _spaced(centres, heights[1:], how.distance)
    number = np.concatenate([[0], np.cumsum(keep) * keep])
    return np.asarray(number[markers], np.int32)


def _spaced(points: NDArray[np.float64], heights: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    """Tell which points to keep: from the highest on, those that no kept one is nearer to than `distance`."""
    order = np.lexsort((points[:, 1], points[:, 0], -heights))
    tree, keep = cKDTree(points), np.ones(len(points), np.bool_)
    done = np.zeros(len(points), np.bool_)
    for i in order:
        done[i] = True
        if keep[i]:
            near = np.array(tree.query_ball_point(points[i], np.nextafter(distance, 0)))
            keep[near[~done[near]]] = False
    return keep


def share(mask: NDArray[np.bool_], objects: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Give a region between objects to them: each pixel to the nearest object that touches the region.

    Parameters
    ----------
    mask
        Where the region is, 4-connected, and one line of pixels around it where the map has them; shape
        (rows, cols).
    objects
        Ids of objects, 0 for none, outside the region, shape (rows, cols).

    Returns
    -------
    Ids inside the region, 0 outside and where no object touches it; shape (rows, cols).
    """
    touching = ndimage.binary_dilation(mask, _CROSS) & ~mask & (objects > 0)
    ids, index = np.unique(objects[touching], return_inverse=True)
    shared = np.zeros(mask.shape, np.uint32)
    if len(ids) == 0:
        return shared
    markers = np.zeros(mask.shape, np.int32)
    markers[touching] = index + 1
    # Flooded, not just taken from the nearest pixel: objects stay in one piece.
    flooded = watershed(
        ndimage.distance_transform_edt(~touching), markers, connectivity=1, mask=mask | touching
    )
    shared[mask] = ids[flooded[mask] - 1]
    return shared
