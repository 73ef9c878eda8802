"""Pictures in another size: bilinear, over all pixels that a new one covers when it becomes smaller.

The weights are those of Pillow, and of `torch.nn.functional.interpolate` with `antialias`. They are added up
in one order, by numpy and torch alike, so that the same pixels give the same bytes.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Taps = tuple[NDArray[np.int64], NDArray[np.float32]]


def resized(array: Any, shape: tuple[int, int]) -> Any:
    """Return an array with its last two axes in another size.

    Parameters
    ----------
    array
        Shape (..., rows, cols), float32, numpy or torch.
    shape
        Rows and columns.

    Returns
    -------
    array
        Shape `(..., *shape)`, of the same kind.

    Examples
    --------
    >>> resized(np.array([[0, 1, 2, 3]], np.float32), (1, 2)).round(2).tolist()
    [[0.71, 2.29]]
    """
    narrow = _along(array, shape[1], -1)
    return _along(narrow, shape[0], -2)


def resized_where(values: Any, valid: Any, shape: tuple[int, int]) -> tuple[Any, Any]:
    """Return numbers in another size, of valid pixels alone.

    Parameters
    ----------
    values
        Shape (..., B, rows, cols), float32, numpy or torch.
    valid
        Shape (..., rows, cols), bool, of the same kind.
    shape
        Rows and columns.

    Returns
    -------
    values, valid
        A pixel is valid when half of what it is made of is; other numbers are 0.
    """
    if bool(valid.all()):
        return resized(values, shape), resized(_floats(valid), shape) > 0
    weight = resized(_floats(valid), shape)
    kept = weight >= 0.5
    share = weight + _floats(~kept)
    masked = values * _floats(valid)[..., None, :, :]
    return resized(masked, shape) / share[..., None, :, :] * _floats(kept)[..., None, :, :], kept


def nearest(length: int, size: int) -> NDArray[np.int64]:
    """Return for each of `size` pixels that under its centre, of `length`, shape (size,)."""
    return ((np.arange(size) * 2 + 1) * length // (2 * size)).astype(np.int64)


def _floats(mask: Any) -> Any:
    return mask.astype(np.float32) if isinstance(mask, np.ndarray) else mask.float()


def _along(array: Any, size: int, axis: int) -> Any:
    length = array.shape[axis]
    if length == size:
        return array
    total = None
    for place, weight in zip(*_taps(length, size), strict=True):
        here, by = (place, weight) if isinstance(array, np.ndarray) else _on_device(array, place, weight)
        part = array[..., here] * by if axis == -1 else array[..., here, :] * by[:, None]
        total = part if total is None else total + part
    return total


def _on_device(like: Any, place: NDArray[np.int64], weight: NDArray[np.float32]) -> tuple[Any, Any]:
    """Return places and weights as tensors of torch, where another tensor is."""
    return like[..., :0, :0].long().new_tensor(place), like.new_tensor(weight)


@lru_cache(maxsize=64)
def _taps(length: int, size: int) -> Taps:
    """Return which pixels each new one is made of, and their weights, both of shape (taps, size)."""
    scale = length / size
    reach = max(scale, 1.0)
    centre = (np.arange(size) + 0.5) * scale
    first = np.floor(centre - reach).astype(np.int64)
    places = first + np.arange(int(np.ceil(2 * reach)) + 1)[:, None]
    weights = np.maximum(0.0, 1 - np.abs(places + 0.5 - centre) / reach) * ((places >= 0) & (places < length))
    used = weights.any(axis=1)
    weights = weights[used] / weights[used].sum(axis=0)
    return places[used].clip(0, length - 1), weights.astype(np.float32)
