"""Divide labelled data into train, val and test so that the figures can be believed.

Chips that overlap or touch are nearly copies of each other: divided at random they make a network look better
than it is. The units that stay together are groups, scenes, or blocks with a strip between them that nobody
uses.
"""

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.config.training import Split
from geoseg.core.errors import ConfigError, GeosegWarning
from geoseg.core.geometry import Span, Window
from geoseg.scenes.labelled import Labelled
from geoseg.training.census import Cell, Region

PARTS = ("train", "val", "test")


def regions_of(places: Sequence[Labelled], split: Split, chip: int) -> tuple[Region, ...]:
    """Return the parts of all scenes that may be used, each with the unit it belongs to.

    Parameters
    ----------
    places
        The labelled scenes.
    split
        How they are divided.
    chip
        Side of a chip in pixels.

    Raises
    ------
    ConfigError
        When blocks would be too small for a chip.
    """
    if split.by == "block":
        if split.block - split.buffer < chip:
            raise ConfigError(
                f"split.block: {split.block} px less a buffer of {split.buffer} px cannot hold a chip of "
                f"{chip} px; use larger blocks or smaller chips"
            )
        return tuple(
            Region(i, window, f"{i}:{row}:{col}")
            for i, place in enumerate(places)
            for row, rows in enumerate(_blocks(place.shape[0], split))
            for col, cols in enumerate(_blocks(place.shape[1], split))
            if (window := Window(rows, cols))
        )
    whole = [Window.of(0, 0, *p.shape) for p in places]
    units = {
        "group": [p.group for p in places],
        "file": [p.name for p in places],
        "given": [p.part or "" for p in places],
    }[split.by]
    return tuple(Region(i, w, u) for i, (w, u) in enumerate(zip(whole, units, strict=True)))


def _blocks(length: int, split: Split) -> list[Span]:
    """Cut an axis into blocks; half the buffer is taken off wherever two of them meet."""
    count = max(1, length // split.block)
    edges = [round(i * length / count) for i in range(count + 1)]
    before, after = split.buffer // 2, split.buffer - split.buffer // 2
    return [
        Span(start + (before if i else 0), stop - (after if i < count - 1 else 0))
        for i, (start, stop) in enumerate(itertools.pairwise(edges))
    ]


def assign(cells: Sequence[Cell], split: Split, *, trains: bool = True) -> dict[str, tuple[Cell, ...]]:
    """Give every unit to a part.

    Of many random divisions the one is taken whose parts have the most alike class shares, measured by the
    sum of `|log(share in the part / share in all)|` over parts and classes.

    Parameters
    ----------
    cells
        Everything that is labelled.
    split
        How it is divided.
    trains
        Whether a training follows, which needs all parts.

    Raises
    ------
    ConfigError
        When a part that is needed gets nothing.
    """
    units = sorted({c.region.unit for c in cells})
    if split.by == "given":
        strange = sorted(set(units) - set(PARTS))
        if strange:
            raise ConfigError("split.by: given needs a part (train, val or test) at every scene of the data")
        parts = {unit: unit for unit in units}
    else:
        wanted = 1 + (split.val > 0) + (split.test > 0)
        if len(units) < wanted:
            raise ConfigError(
                f"split: {len(units)} {split.by}(s) cannot be divided into {wanted} parts; "
                "split by: block, or set split.test=0"
            )
        parts = _most_alike(units, cells, split)
    divided = {part: tuple(c for c in cells if parts[c.region.unit] == part) for part in PARTS}
    for part, share in (("train", 1.0), ("val", split.val), ("test", split.test)):
        needed = share > 0 and (split.by != "given" or part == "train") and trains
        if needed and not any(c.classes.any() for c in divided[part]):
            raise ConfigError(f"split: {part} holds no labelled pixel; label more, or change split")
    return divided


def _most_alike(units: Sequence[str], cells: Sequence[Cell], split: Split) -> dict[str, str]:
    number = {unit: i for i, unit in enumerate(units)}
    counts = np.zeros((len(units), len(cells[0].classes)))
    for cell in cells:
        counts[number[cell.region.unit]] += cell.classes
    size = counts.sum(axis=1)
    everywhere = np.log(counts.sum(axis=0) / size.sum() + 1e-4)
    rng = np.random.default_rng(split.seed)
    best, best_cost = np.zeros(len(units), dtype=int), math.inf
    for _ in range(split.tries):
        part = _deal(rng.permutation(len(units)), size, split)
        cost = 0.0
        for p in range(len(PARTS)):
            of_part = counts[part == p].sum(axis=0)
            if of_part.sum() > 0:
                cost += float(np.abs(np.log(of_part / of_part.sum() + 1e-4) - everywhere).sum())
            elif (1.0, split.val, split.test)[p] > 0:
                cost += 1e6
        if cost < best_cost:
            best, best_cost = part, cost
    return {unit: PARTS[p] for unit, p in zip(units, best, strict=True)}


def _deal(order: NDArray[np.intp], size: NDArray[np.float64], split: Split) -> NDArray[np.intp]:
    """Deal units in this order: to val until its share of the pixels is full, then test, then train."""
    filled = np.cumsum(size[order]) - size[order] / 2
    share = filled / max(size.sum(), 1)
    part = np.where(share < split.val, 1, np.where(share < split.val + split.test, 2, 0))
    # A part with a share gets at least one unit, also where units are few and large.
    for p, wanted in ((1, split.val), (2, split.test)):
        if wanted > 0 and not (part == p).any():
            part[p - 1] = p
    dealt = np.empty(len(order), dtype=np.intp)
    dealt[order] = part
    return dealt


def warn_of_leaks(places: Sequence[Labelled], parts: Mapping[str, Sequence[Cell]]) -> None:
    """Warn when regions of different parts overlap on the ground.

    Only scenes with a CRS can be compared.
    """
    footprints: dict[str, list[shapely.Geometry]] = {p: [] for p in PARTS}
    for part, cells in parts.items():
        for region in dict.fromkeys(c.region for c in cells):
            geobox = places[region.place].scene.geobox
            if geobox.crs is not None:
                footprints[part].append(_footprint(geobox, region.window))
    # Val counts as seen by the time test is measured: it chose the epoch and the temperature.
    for part, seen in (("val", "train"), ("test", "train"), ("test", "val")):
        tree = shapely.STRtree(footprints[seen])
        leaking = sum(any(_overlap(f, footprints[seen][i]) for i in tree.query(f)) for f in footprints[part])
        if leaking:
            warnings.warn(
                f"split: {leaking} of {len(footprints[part])} regions of {part} overlap {seen} on the "
                "ground, so its figures will look too good; give overlapping scenes one group, or split by "
                "block",
                GeosegWarning,
                stacklevel=2,
            )


def _footprint(geobox: GeoBox, window: Window) -> shapely.Geometry:
    """Return a window's outline in longitude and latitude, its edges bent as the projection bends them."""
    (rows, cols), points = (window.rows, window.cols), 16
    frame = shapely.box(cols.start, rows.start, cols.stop, rows.stop)
    outline = shapely.segmentize(frame, max(window.shape) / points)
    to_degrees = Transformer.from_crs(geobox.crs.proj, "OGC:CRS84", always_xy=True)

    def place(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = geobox.transform @ (pixels[:, 0], pixels[:, 1])
        return np.stack(to_degrees.transform(x, y), axis=1)

    return shapely.transform(outline, place)


def _overlap(one: shapely.Geometry, other: shapely.Geometry) -> bool:
    """Return whether two footprints share ground, not only an edge."""
    return bool(shapely.area(shapely.intersection(one, other)) > 1e-3 * shapely.area(one))
