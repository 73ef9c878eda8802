"""Find scenes that show the same land, so that no part of the data holds what another was trained on.

Scenes with a CRS are compared by their footprints. Chips without one are compared by what they show: where
two overlap, rows or columns of label codes, or of the image, are equal over many pixels. Runs of pixels are
hashed, and of large data only a share of the hashes is kept, the same ones of every chip (winnowing;
Schleimer, Wilkerson and Aiken 2003, Winnowing: local algorithms for document fingerprinting, SIGMOD, 76-85).
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.core.geometry import Window
from geoseg.scenes.labelled import Labelled

RUN = 32
"""Pixels of a row or column that must be equal."""
CHANGES = 8
"""Changes of value within them: a run through a single field is equal to many."""
AGREEMENT = 0.95
"""Share of the labels that must be equal where two chips overlap: maps of two years differ a little."""
MOST_HASHES = 4_000_000

_BASE = 0x9E3779B97F4A7C15
"""Base of the hashes: the golden ratio, in 64 bits."""

_CROWD = 8
"""Chips that share a run up to which all pairs are looked at; beyond, neighbours in a list."""
_TOUCH = 1.5
"""Pixels between two footprints that touch."""
TOUCHING = 1e-3
"""Share that footprints have in common by rounding, though they only touch."""


@dataclass(frozen=True)
class Pair:
    """Two scenes that show the same land."""

    one: int
    """Index of the scene, less than `other`."""
    other: int
    how: str
    """What tells so, as a verb: `overlap`, `touch`, `show the same land`."""
    share: float
    """Land that both show, as a share of the smaller one."""


def find_pairs(labelled: Sequence[Labelled], least: float = 0.0) -> tuple[Pair, ...]:
    """Return the pairs of scenes that show the same land or touch each other; those without a CRS are read.

    Parameters
    ----------
    labelled
        The scenes.
    least
        Share of the smaller one's land that both must show; 0: it is enough that they touch.

    Raises
    ------
    SceneError
        When a chip cannot be read.
    """
    geoboxes = [p.scene.geobox for p in labelled]
    placed = [i for i, g in enumerate(geoboxes) if g.crs is not None]
    nowhere = [i for i, g in enumerate(geoboxes) if g.crs is None]
    near = _near_on_the_ground(placed, geoboxes)
    alike = _alike([labelled[i] for i in nowhere])
    shown = (Pair(nowhere[a], nowhere[b], "show the same land", s) for (a, b), s in alike.items())
    return tuple(p for p in (*near, *shown) if p.share >= least)


def places_of(count: int, pairs: Sequence[Pair], groups: Sequence[str]) -> list[str]:
    """Return the place of each scene: scenes of one group, or linked by pairs, are one place.

    Examples
    --------
    >>> places_of(4, [Pair(0, 2, "touch", 0.0)], ["a", "b", "c", "b"])
    ['a', 'b', 'a', 'b']
    """
    first = {g: i for i, g in reversed(list(enumerate(groups)))}
    links = [(p.one, p.other) for p in pairs] + [(first[g], i) for i, g in enumerate(groups)]
    rows, cols = np.array(links).T
    _, place = connected_components(coo_array((np.ones(len(rows)), (rows, cols)), shape=(count, count)))
    name = {p: groups[i] for i, p in reversed(list(enumerate(place.tolist())))}
    return [name[p] for p in place.tolist()]


def _near_on_the_ground(indices: Sequence[int], geoboxes: Sequence[GeoBox]) -> Iterator[Pair]:
    """Yield the pairs whose footprints overlap or touch."""
    outlines = [footprint(geoboxes[i], Window.of(0, 0, *geoboxes[i].shape)) for i in indices]
    tree = shapely.STRtree(outlines)
    for a, i in enumerate(indices):
        pixel = np.sqrt(shapely.area(outlines[a]) / np.prod(geoboxes[i].shape))
        for b in tree.query(outlines[a], predicate="dwithin", distance=_TOUCH * pixel).tolist():
            if a < b:
                share = common_share(outlines[a], outlines[b])
                yield Pair(i, indices[b], "overlap" if share > TOUCHING else "touch", share)


def footprint(geobox: GeoBox, window: Window) -> shapely.Geometry:
    """Return a window's outline in longitude and latitude, with points along its edges."""
    (rows, cols), points = (window.rows, window.cols), 16
    frame = shapely.box(cols.start, rows.start, cols.stop, rows.stop)
    outline = shapely.segmentize(frame, max(window.shape) / points)
    to_degrees = Transformer.from_crs(geobox.crs.proj, "OGC:CRS84", always_xy=True)

    def to_lonlat(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = geobox.transform @ (pixels[:, 0], pixels[:, 1])
        return np.stack(to_degrees.transform(x, y), axis=1)

    return shapely.transform(outline, to_lonlat)


def common_share(one: shapely.Geometry, other: shapely.Geometry) -> float:
    """Return the area that two footprints share, as a share of the smaller one."""
    smaller = min(shapely.area(one), shapely.area(other))
    return float(shapely.area(shapely.intersection(one, other)) / smaller)


def _alike(chips: Sequence[Labelled]) -> dict[tuple[int, int], float]:
    """Return the share that pairs of chips have in common: equal in the image, or with labels that agree."""
    keep = max(1, 4 * sum(c.shape[0] * c.shape[1] for c in chips) // MOST_HASHES)
    labels, images = [], []
    for chip in chips:
        whole = Window.of(0, 0, *chip.shape)
        labels.append(_hashes(*_codes(chip, whole), keep))
        # Numbers of the first band are equal only where pixels were cut from one image.
        pixels = chip.scene.read(whole)
        images.append(_hashes(pixels.values[0], ~pixels.valid, keep))
    found: dict[tuple[int, int], float] = {}
    for hashes, agree in ((images, _same), (labels, _agree)):
        for a, b, down, right in _shared(hashes):
            common = Window.of(down, right, *chips[b].shape).clip(chips[a].shape)
            share = math.prod(common.shape) / min(math.prod(chips[a].shape), math.prod(chips[b].shape))
            if share > found.get((a, b), -1.0) and agree(chips[a], chips[b], common, down, right):
                found[a, b] = share
    return dict(sorted(found.items()))


def _codes(chip: Labelled, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a number for what the labels of each pixel say, and where they say nothing, (rows, cols)."""
    # Codes tell more than classes, in which a legend may join several.
    labels = chip.labels.read(window)
    if labels.dtype.kind == "f":
        unknown = np.isnan(labels)
        return np.where(unknown, 0, labels), unknown
    nowhere = np.zeros(window.shape, dtype=bool)
    if labels.ndim == 2:
        return labels, nowhere
    # A digit for each of several labels; overflow does no harm.
    digits = np.uint64(_BASE) ** np.arange(len(labels), dtype=np.uint64)
    return np.tensordot(digits, labels.astype(np.uint64), 1), nowhere


@dataclass(frozen=True)
class _Hashes:
    """Hashes of the runs of a chip that are kept, and where each begins; arrays of shape (n,)."""

    values: NDArray[np.uint64]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]


def _hashes(values: NDArray[Any], unknown: NDArray[np.bool_], keep: int) -> _Hashes:
    """Hash all runs of known pixels with enough changes, along both axes; keep one hash in `keep`."""
    along, across = _row_hashes(values, unknown, keep), _row_hashes(values.T, unknown.T, keep)
    # A row and a column of the same pixels are not the same land.
    return _Hashes(
        np.concatenate([along.values, ~across.values]),
        np.concatenate([along.rows, across.cols]),
        np.concatenate([along.cols, across.rows]),
    )


def _row_hashes(values: NDArray[Any], unknown: NDArray[np.bool_], keep: int) -> _Hashes:
    height, width = values.shape
    if width < RUN:
        nothing = np.zeros(0, dtype=np.int64)
        return _Hashes(nothing.astype(np.uint64), nothing, nothing)
    exact = values.astype(np.float64).view(np.uint64) if values.dtype.kind == "f" else values
    numbers = exact.astype(np.uint64)
    base = np.uint64(_BASE)
    # A polynomial hash of each run from those of prefixes (Rabin and Karp); overflow is part of it.
    prefix = np.zeros((height, width + 1), dtype=np.uint64)
    for col in range(width):
        prefix[:, col + 1] = prefix[:, col] * base + numbers[:, col] + np.uint64(1)
    power = np.uint64(pow(_BASE, RUN, 1 << 64))
    runs = prefix[:, RUN:] - prefix[:, :-RUN] * power
    runs ^= runs >> np.uint64(31)
    runs *= np.uint64(0xBF58476D1CE4E5B9)
    runs ^= runs >> np.uint64(29)
    changes = np.pad(np.cumsum(values[:, 1:] != values[:, :-1], axis=1), ((0, 0), (1, 0)))
    gaps = np.pad(np.cumsum(unknown, axis=1), ((0, 0), (1, 0)))
    varied = changes[:, RUN - 1 :] - changes[:, : width - RUN + 1] >= CHANGES
    rows, cols = np.nonzero(varied & (gaps[:, RUN:] == gaps[:, :-RUN]) & (runs % np.uint64(keep) == 0))
    return _Hashes(runs[rows, cols], rows, cols)


def _shared(hashes: Sequence[_Hashes]) -> Iterator[tuple[int, int, int, int]]:
    """Yield chip, later chip, and how far down and right the one lies from the other, once each."""
    if not hashes:
        return
    values, rows, cols = (np.concatenate([getattr(h, n) for h in hashes]) for n in ("values", "rows", "cols"))
    chips = np.repeat(np.arange(len(hashes)), [len(h.values) for h in hashes])
    order = np.lexsort((chips, values))
    values, rows, cols, chips = values[order], rows[order], cols[order], chips[order]
    seen = set()
    for run in np.split(np.arange(len(values)), np.flatnonzero(np.diff(values)) + 1):
        if len(run) < 2:
            continue
        together = itertools.combinations(run, 2) if len(run) <= _CROWD else itertools.pairwise(run)
        for i, j in together:
            if chips[i] != chips[j]:
                seen.add((int(chips[i]), int(chips[j]), int(rows[i] - rows[j]), int(cols[i] - cols[j])))
    yield from sorted(seen)


def _agree(one: Labelled, other: Labelled, common: Window, down: int, right: int) -> bool:
    """Return whether codes agree where two chips overlap; the other begins at (down, right) in the one."""
    a, unknown = _codes(one, common)
    b, missing = _codes(other, common.shift(-down, -right))
    return bool((a == b)[~unknown & ~missing].mean() >= AGREEMENT)


def _same(*_: object) -> bool:
    """Return True: equal numbers of an image need no further proof."""
    return True
