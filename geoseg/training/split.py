"""Split labelled data into train, val and test without leaks between them.

Chips that overlap or touch are nearly copies of each other: a random split of chips overestimates the
accuracy. The units that stay together are groups, scenes, or blocks with an unused strip
between them.
"""

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.config.training import Split
from geoseg.core.errors import ConfigError, GeosegWarning, listed
from geoseg.core.geometry import Span, Window
from geoseg.scenes.labelled import Labelled
from geoseg.training.census import CensusCell, Region
from geoseg.training.places import TOUCHING, Pair, common_share, footprint, places_of

PARTS = ("train", "val", "test")


def regions_of(
    labelled: Sequence[Labelled],
    split: Split,
    chip: int,
    pairs: Sequence[Pair] = (),
    shapes: Sequence[tuple[int, int]] | None = None,
) -> tuple[Region, ...]:
    """Return the regions of all scenes from which chips may be cut, each with its unit.

    Parameters
    ----------
    labelled
        The labelled scenes.
    split
        Rules of the split.
    chip
        Side of a chip in pixels.
    pairs
        Scenes that show the same land or touch, which make places.
    shapes
        Height and width in which each scene is read; default: its own.

    Raises
    ------
    ConfigError
        When a block is too small for a chip.
    """
    shapes = [p.shape for p in labelled] if shapes is None else shapes
    if split.by == "block":
        if split.block - split.buffer < chip:
            raise ConfigError(
                f"split.block: {split.block} px less a buffer of {split.buffer} px cannot hold a chip of "
                f"{chip} px; use larger blocks or smaller chips"
            )
        return tuple(
            Region(i, window, f"{i}:{row}:{col}")
            for i, shape in enumerate(shapes)
            for row, rows in enumerate(_blocks(shape[0], split))
            for col, cols in enumerate(_blocks(shape[1], split))
            if (window := Window(rows, cols))
        )
    whole = [Window.of(0, 0, *shape) for shape in shapes]
    units = {
        "group": [p.group for p in labelled],
        "place": places_of(len(labelled), pairs, [p.group for p in labelled]),
        "file": [p.name for p in labelled],
        "given": [p.part or "" for p in labelled],
    }[split.by]
    return tuple(Region(i, w, u) for i, (w, u) in enumerate(zip(whole, units, strict=True)))


def _blocks(length: int, split: Split) -> list[Span]:
    """Cut an axis into blocks; each loses half the buffer where it meets another."""
    count = max(1, length // split.block)
    edges = [round(i * length / count) for i in range(count + 1)]
    before, after = split.buffer // 2, split.buffer - split.buffer // 2
    return [
        Span(start + (before if i else 0), stop - (after if i < count - 1 else 0))
        for i, (start, stop) in enumerate(itertools.pairwise(edges))
    ]


def assign(
    cells: Sequence[CensusCell], split: Split, *, trains: bool = True
) -> dict[str, tuple[CensusCell, ...]]:
    """Assign every unit to a part.

    Of many random splits this takes the one whose parts have the most similar class shares, measured by the
    sum of `|log(share in the part / share in all)|` over parts and classes.

    Parameters
    ----------
    cells
        All cells of the data.
    split
        Rules of the split.
    trains
        Whether a training follows, which needs all parts.

    Raises
    ------
    ConfigError
        When a part that is needed has no labelled pixel, or there are fewer units than parts.
    """
    units = sorted({c.region.unit for c in cells})
    if split.by == "given":
        if set(units) - set(PARTS):
            raise ConfigError("split.by: given needs a part (train, val or test) at every scene of the data")
        parts = {unit: unit for unit in units}
    else:
        count = 1 + (split.val > 0) + (split.test > 0)
        if len(units) < count:
            smaller = f"take smaller blocks than {split.block}" if split.by == "block" else "split by: block"
            raise ConfigError(
                f"split: {len(units)} {split.by}(s) cannot be divided into {count} parts; {smaller}, or set "
                "split.test=0"
            )
        parts = _most_similar(units, cells, split)
    divided = {part: tuple(c for c in cells if parts[c.region.unit] == part) for part in PARTS}
    for part, share in (("train", 1.0), ("val", split.val), ("test", split.test)):
        needed = share > 0 and (split.by != "given" or part == "train") and trains
        if needed and not any(c.labelled for c in divided[part]):
            raise ConfigError(f"split: {part} holds no labelled pixel; label more, or change split")
    return divided


def _most_similar(units: Sequence[str], cells: Sequence[CensusCell], split: Split) -> dict[str, str]:
    number = {unit: i for i, unit in enumerate(units)}
    counts = np.zeros((len(units), len(cells[0].classes)))
    size = np.zeros(len(units))
    for cell in cells:
        counts[number[cell.region.unit]] += cell.classes
        size[number[cell.region.unit]] += cell.labelled
    everywhere = np.log(counts.sum(axis=0) / size.sum() + 1e-4)
    rng = np.random.default_rng(split.seed)
    best, best_cost = np.zeros(len(units), dtype=int), math.inf
    for _ in range(split.tries):
        part = _fill(rng.permutation(len(units)), size, split)
        cost = 0.0
        for p in range(len(PARTS)):
            of_part, pixels = counts[part == p].sum(axis=0), size[part == p].sum()
            if pixels > 0:
                cost += float(np.abs(np.log(of_part / pixels + 1e-4) - everywhere).sum())
            elif (1.0, split.val, split.test)[p] > 0:
                cost += 1e6
        if cost < best_cost:
            best, best_cost = part, cost
    return {unit: PARTS[p] for unit, p in zip(units, best, strict=True)}


def _fill(order: NDArray[np.intp], size: NDArray[np.float64], split: Split) -> NDArray[np.intp]:
    """Assign units in this order: to val until it has its share of the pixels, then test, then train."""
    filled = np.cumsum(size[order]) - size[order] / 2
    share = filled / max(size.sum(), 1)
    part = np.where(share < split.val, 1, np.where(share < split.val + split.test, 2, 0))
    # A part with a share gets at least one unit, even when units are few and large.
    for p, target in ((1, split.val), (2, split.test)):
        if target > 0 and not (part == p).any():
            part[p - 1] = p
    assigned = np.empty(len(order), dtype=np.intp)
    assigned[order] = part
    return assigned


def warn_of_leaks(
    labelled: Sequence[Labelled],
    parts: Mapping[str, Sequence[CensusCell]],
    pairs: Sequence[Pair] = (),
    shapes: Sequence[tuple[int, int]] | None = None,
) -> None:
    """Warn when regions of different parts overlap on the ground, and of scenes that show the same land.

    Parameters
    ----------
    labelled
        The labelled scenes.
    parts
        The cells of each part.
    pairs
        Scenes that show the same land or touch each other.
    shapes
        Height and width in which each scene is read; default: its own.
    """
    shapes = [p.shape for p in labelled] if shapes is None else shapes
    footprints: dict[str, list[shapely.Geometry]] = {p: [] for p in PARTS}
    for part, cells in parts.items():
        for region in dict.fromkeys(c.region for c in cells):
            geobox, shape = labelled[region.scene].scene.geobox, shapes[region.scene]
            if geobox.crs is not None:
                geobox = geobox if tuple(geobox.shape) == shape else geobox.zoom_to(shape)
                footprints[part].append(footprint(geobox, region.window))
    # Test may not overlap val either, which chose the epoch and the temperature.
    for part, seen in (("val", "train"), ("test", "train"), ("test", "val")):
        tree = shapely.STRtree(footprints[seen])
        leaking = sum(
            any(common_share(f, footprints[seen][i]) > TOUCHING for i in tree.query(f))
            for f in footprints[part]
        )
        if leaking:
            warnings.warn(
                f"split: {leaking} of {len(footprints[part])} regions of {part} overlap {seen} on the "
                "ground, so its figures will look too good; give overlapping scenes one group, or split by "
                "block",
                GeosegWarning,
                stacklevel=2,
            )
    _warn_of_pairs(labelled, parts, pairs)


def _warn_of_pairs(
    labelled: Sequence[Labelled], parts: Mapping[str, Sequence[CensusCell]], pairs: Sequence[Pair]
) -> None:
    """Warn of pairs whose scenes lie in different parts; those that overlap on the ground were said."""
    of_scene = {c.region.scene: part for part, cells in parts.items() for c in cells if c.classes.any()}
    for how in ("touch", "show the same land"):
        leaks = [
            p
            for p in pairs
            if p.how == how and {p.one, p.other} <= set(of_scene) and of_scene[p.one] != of_scene[p.other]
        ]
        if leaks:
            named = [
                f"{labelled[p.one].name} ({of_scene[p.one]}) and {labelled[p.other].name} "
                f"({of_scene[p.other]})"
                for p in leaks
            ]
            warnings.warn(
                f"split: {len(leaks)} pairs of scenes {how} and lie in different parts, so figures will look "
                f"too good: {listed(named, 2)}; split by place",
                GeosegWarning,
                stacklevel=3,
            )
