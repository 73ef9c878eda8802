"""One region as an array: cut into objects (h-maxima watershed), or given to the objects around it.

Arrays hold one region and nothing else, so the result depends on its shape alone.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.segmentation import watershed

from geoseg.vector.recipe import Watershed
from geoseg.vector.shape import _region_kernels

_CROSS = ndimage.generate_binary_structure(2, 1)


def split(mask: NDArray[np.bool_], how: Watershed) -> NDArray[np.int32]:
    """Cut a region at its necks.

    The distance to the edge is exact and Euclidean (Maurer et al. 2003, through SciPy); pixels beyond the
    array do not belong to the region. Markers are the maxima of this distance whose dynamics exceed
    `how.depth` (h-maxima); from them scikit-image floods the region.

    Parameters
    ----------
    mask
        Where the region is, 4-connected, shape (rows, cols).
    how
        Least depth of a neck and least distance of centres.

    Returns
    -------
    Objects from 1, each 4-connected; 0 outside the region; shape (rows, cols).
    """
    inside = np.pad(mask, 1)
    distance = ndimage.distance_transform_edt(inside)
    pixels = np.flatnonzero(inside)
    heights = distance.ravel()[pixels]
    # At a neck the edge is at least one pixel away, so a thin region has no neck.
    if heights.max() <= 1 + how.depth:
        return mask.astype(np.int32)
    peaks = _region_kernels.find_peaks(distance, pixels[np.argsort(-heights, kind="stable")], how.depth)
    if how.distance:
        peaks = _distant(peaks, distance.shape[1], how.distance)
    if len(peaks) == 1:
        return mask.astype(np.int32)
    markers = np.zeros(distance.shape, np.int32)
    markers.ravel()[np.sort(peaks)] = np.arange(1, len(peaks) + 1)
    flooded: NDArray[np.int32] = watershed(-distance, markers, connectivity=1, mask=inside)
    return flooded[1:-1, 1:-1]


def can_split(sizes: NDArray[np.int64], how: Watershed) -> NDArray[np.bool_]:
    """Return from the heights and widths of regions, shape (N, 2), which of them `split` might cut."""
    thickest = (sizes.min(axis=1) + 1) // 2
    farthest = np.hypot(*(sizes.T - 1))
    return np.asarray((thickest > 1 + how.depth) & (farthest >= how.distance))


def _distant(peaks: NDArray[np.intp], width: int, distance: float) -> NDArray[np.intp]:
    """Return the peaks that lie at least `distance` from all peaks kept before them, in their order."""
    points = np.stack(np.divmod(peaks, width), axis=1)
    tree, keep = cKDTree(points), np.ones(len(peaks), np.bool_)
    for i in range(len(peaks)):
        if keep[i]:
            near = np.array(tree.query_ball_point(points[i], np.nextafter(distance, 0)))
            keep[near[near > i]] = False
    return peaks[keep]


def share(mask: NDArray[np.bool_], objects: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Give each pixel of a region to the nearest object that touches the region.

    Parameters
    ----------
    mask
        Where the region is, 4-connected, with one line of pixels around it where the map has them; shape
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
    if len(ids) < 2:
        shared[mask] = ids[0] if len(ids) else 0
        return shared
    markers = np.zeros(mask.shape, np.int32)
    markers[touching] = index + 1
    # Flooded, not taken from the nearest pixel: so objects stay in one piece.
    flooded = watershed(
        ndimage.distance_transform_edt(~touching), markers, connectivity=1, mask=mask | touching
    )
    shared[mask] = ids[flooded[mask] - 1]
    return shared
