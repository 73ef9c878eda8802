"""What polygons are asked for: a pipeline's `vectorize` in class ids and pixels."""

import math
from dataclasses import dataclass
from typing import Literal

from pyproj import CRS
from pyproj.exceptions import CRSError

from geoseg.config.pipeline import Length, Vectorize
from geoseg.core.errors import ConfigError, did_you_mean
from geoseg.core.legend import Legend
from geoseg.vector.objects import Objects, resolve_objects


@dataclass(frozen=True)
class Generalize:
    """How boundaries are generalised; lengths in pixels."""

    tolerance: float = 0.0
    """0 keeps every corner."""
    method: Literal["visvalingam", "douglas-peucker"] = "visvalingam"
    smooth: float = 0.0
    """Corners are rounded from this far on both sides, or from the middle of their edges; 0 leaves them."""

    @property
    def needs_corners(self) -> bool:
        """Whether anything moves."""
        return self.tolerance > 0 or self.smooth > 0


@dataclass(frozen=True)
class Rules:
    """Which polygons become features, and how."""

    legend: Legend
    leave_out: frozenset[int] = frozenset()
    """Class ids that give no features."""
    minimum_confidence: float = 0.0
    """Polygons whose mean confidence is lower give no features."""
    dissolve: bool = False
    """One feature for each class."""
    with_objects: bool = False
    """Whether regions are told apart by the numbers of objects."""
    crs: CRS | None = None
    """Of the features, when it is another than the map's."""


@dataclass(frozen=True)
class Recipe:
    """What polygons are asked for."""

    rules: Rules
    how: Generalize = Generalize()
    minimum_pixels: int = 0
    """Minimum mapping unit: smaller regions join a neighbour, see `mapping_unit`."""
    low_confidence: float = 0.5
    """Pixels below it are doubtful."""
    objects: Objects | None = None
    """How classes are parted into objects."""
    rectangles: frozenset[int] = frozenset()
    """Ids of classes whose objects get outlines with right angles, see `regular`."""


def resolve_recipe(wanted: Vectorize, legend: Legend, gsd_m: float | None, pixel_m2: float | None) -> Recipe:
    """Turn names into class ids and metres into pixels.

    Parameters
    ----------
    wanted
        What the pipeline says.
    legend
        The classes of the map.
    gsd_m, pixel_m2
        Ground sample distance in metres and area of a pixel in square metres, None when the map has no CRS.

    Raises
    ------
    ConfigError
        When the legend lacks a class, there is no such CRS, or the map has none and metres or a CRS are asked
        for.
    """
    if wanted.crs is not None and gsd_m is None:
        raise ConfigError("vectorize.crs: the scene has no CRS to come from; leave it out")
    return Recipe(
        rules=Rules(
            legend=legend,
            leave_out=frozenset(_ids("leave_out", wanted.leave_out, legend)),
            minimum_confidence=wanted.minimum_confidence,
            dissolve=wanted.dissolve,
            with_objects=wanted.instances is not None,
            crs=None if wanted.crs is None else _crs(wanted.crs),
        ),
        how=Generalize(
            _pixels("simplify", wanted.simplify, gsd_m),
            wanted.method,
            _pixels("smooth", wanted.smooth, gsd_m),
        ),
        minimum_pixels=math.ceil(_pixels("minimum_area", wanted.minimum_area, pixel_m2)),
        low_confidence=wanted.low_confidence,
        rectangles=frozenset(_ids("rectangles", wanted.rectangles, legend)),
        objects=None if wanted.instances is None else resolve_objects(wanted.instances, legend, gsd_m),
    )


def _pixels(key: str, length: Length, metres: float | None) -> float:
    if isinstance(length, str):
        return float(length.removesuffix("px"))
    if length and metres is None:
        raise ConfigError(
            f"vectorize.{key}: {length:g} is in metres, but the scene has no CRS; write it in pixels "
            "('2 px') or leave it at 0"
        )
    return length / (metres or 1.0)


def _ids(key: str, slugs: tuple[str, ...], legend: Legend) -> list[int]:
    known = {c.slug: c.id for c in legend.classes}
    for slug in slugs:
        if slug not in known:
            raise ConfigError(
                f"vectorize.{key}: the model has no class {slug!r}{did_you_mean(slug, known)} "
                f"(it has {', '.join(known)})"
            )
    return [known[slug] for slug in slugs]


def _crs(name: str) -> CRS:
    try:
        return CRS.from_user_input(name)
    except CRSError as error:
        raise ConfigError(f"vectorize.crs: {name!r} is no CRS; write it like EPSG:4326") from error
