"""How polygons and objects are made: a pipeline's `vectorize` in class ids and pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from odc.geo.crs import CRS
from pyproj.exceptions import CRSError

from geoseg.config.lengths import in_pixels
from geoseg.config.pipeline import Instances, Vectorize
from geoseg.core.errors import ConfigError
from geoseg.core.extras import require
from geoseg.core.legend import Legend


@dataclass(frozen=True)
class Generalize:
    """How boundaries are generalised; lengths in pixels."""

    tolerance: float = 0.0
    """0 keeps every corner."""
    method: Literal["visvalingam", "douglas-peucker"] = "visvalingam"
    smooth: float = 0.0
    """Distance from a corner at which its curve begins and ends, at most half an edge; 0 rounds nothing."""

    @property
    def needs_corners(self) -> bool:
        """Whether any vertex moves, so that the guard needs the corners of the map."""
        return self.tolerance > 0 or self.smooth > 0


@dataclass(frozen=True)
class Components:
    """Each 4-connected region of a class is one object."""


@dataclass(frozen=True)
class Watershed:
    """A 4-connected region is cut at its necks (Beucher and Meyer 1993; markers: Soille 2003, chapter 6).

    Each maximum of the distance to the region's edge is the centre of one object and floods its surroundings.
    """

    distance: float = 0.0
    """Least distance between the centres of two objects, in pixels; of closer centres the one with the wider
    part stays."""
    depth: float = 1.0
    """How much nearer, in pixels, the edge is at a neck than at the centres of both parts. Below 1 the stairs
    of slanting edges count as necks."""


@dataclass(frozen=True)
class Objects:
    """How classes are parted into objects."""

    classes: frozenset[int]
    """Ids of the classes that have objects."""
    method: Components | Watershed
    boundary: int | None
    """Id of the class that lies between objects and whose pixels are given to them."""


@dataclass(frozen=True)
class Rules:
    """Which polygons become features, and how."""

    legend: Legend
    leave_out: frozenset[int] = frozenset()
    """Ids of the classes without features."""
    minimum_confidence: float = 0.0
    """Least mean confidence, 0 to 1, of a polygon that becomes a feature."""
    dissolve: bool = False
    """One feature for each class."""
    with_objects: bool = False
    """Whether regions are told apart by the numbers of objects."""
    crs: CRS | None = None
    """CRS of the features, when it is not the map's."""
    scored: bool = False
    """Whether features are the objects that a network found, which have a score."""
    minimum_pixels: int = 0
    """Least pixels of an object that a network found and that becomes a feature."""
    whole_masks: bool = False
    """Whether a feature is the whole mask of an object, also where another one covers it."""
    with_color: bool = False
    """Whether features have the colour of their class."""
    with_strangeness: bool = False
    """Whether features have the mean distance of their pixels from the training pixels."""


@dataclass(frozen=True)
class Recipe:
    """How the polygons and objects of a map are made."""

    rules: Rules
    how: Generalize = Generalize()
    minimum_pixels: int = 0
    """Minimum mapping unit: smaller regions join a neighbour, see `shape.mapping_unit`."""
    low_confidence: float = 0.5
    """Confidence, 0 to 1, below which a pixel is doubtful."""
    objects: Objects | None = None
    """How classes are parted into objects; None: not at all."""
    rectangles: frozenset[int] = frozenset()
    """Ids of the classes whose objects get outlines with right angles, see `shape.orthogonal`."""


def resolve_recipe(
    settings: Vectorize,
    legend: Legend,
    gsd_m: float | None,
    pixel_m2: float | None,
    *,
    finds_objects: bool = False,
) -> Recipe:
    """Turn names into class ids and metres into pixels.

    Parameters
    ----------
    settings
        `vectorize` of the pipeline.
    legend
        The classes of the map.
    gsd_m, pixel_m2
        Ground sample distance in metres and area of a pixel in square metres, None when the map has no CRS.
    finds_objects
        Whether the map is of objects that a network found: small ones are left out and join no neighbour.

    Raises
    ------
    ConfigError
        When the legend lacks a class, PROJ does not know the CRS, the map has no CRS and a length is in
        metres or a CRS is set, or masks may overlap in a map of classes.
    """
    if settings.crs is not None and gsd_m is None:
        raise ConfigError("vectorize.crs: the scene has no CRS to come from; leave it out")
    if settings.overlap == "keep" and not finds_objects:
        raise ConfigError("vectorize.overlap: keep is for models that find objects; leave it out")
    instances = settings.instances
    minimum = math.ceil(in_pixels("vectorize.minimum_area", settings.minimum_area, pixel_m2))
    return Recipe(
        rules=Rules(
            legend=legend,
            leave_out=_ids("leave_out", settings.leave_out, legend),
            minimum_confidence=settings.minimum_confidence,
            dissolve=settings.dissolve,
            with_objects=instances is not None or finds_objects,
            crs=None if settings.crs is None else _crs(settings.crs),
            scored=finds_objects,
            minimum_pixels=minimum if finds_objects else 0,
            whole_masks=settings.overlap == "keep",
            with_color="class_color" in settings.attributes,
        ),
        how=Generalize(
            in_pixels("vectorize.simplify", settings.simplify, gsd_m),
            settings.method,
            in_pixels("vectorize.smooth", settings.smooth, gsd_m),
        ),
        minimum_pixels=0 if finds_objects else minimum,
        low_confidence=settings.low_confidence,
        rectangles=_ids("rectangles", settings.rectangles, legend),
        objects=None if instances is None else resolve_objects(instances, legend, gsd_m),
    )


def resolve_objects(settings: Instances, legend: Legend, gsd_m: float | None) -> Objects:
    """Turn names into class ids and metres into pixels.

    Parameters
    ----------
    settings
        `vectorize.instances` of the pipeline.
    legend
        The classes of the map.
    gsd_m
        Ground sample distance in metres, None when the map has no CRS.

    Raises
    ------
    ConfigError
        When the legend lacks a class, or a distance is set and the map has no CRS.
    """
    boundary = None
    if settings.boundary is not None:
        (boundary,) = _ids("instances.boundary", [settings.boundary], legend)
    slugs = settings.classes or [c.slug for c in legend.classes if c.slug != settings.boundary]
    classes = _ids("instances.classes", slugs, legend)
    if settings.method == "components":
        return Objects(classes, Components(), boundary)
    for module in ("skimage", "scipy"):
        require(module, "objects", "vectorize.instances: watershed")
    if gsd_m is None and (settings.minimum_distance or settings.depth != "auto"):
        raise ConfigError(
            "vectorize.instances: distances are in metres, but the scene has no CRS; leave minimum_distance "
            "at 0 and depth at auto"
        )
    gsd = gsd_m or 1.0
    depth = Watershed.depth if settings.depth == "auto" else settings.depth / gsd
    return Objects(classes, Watershed(settings.minimum_distance / gsd, depth), boundary)


def _ids(key: str, slugs: Sequence[str], legend: Legend) -> frozenset[int]:
    return frozenset(legend.ids_of(slugs, f"vectorize.{key}"))


def _crs(name: str) -> CRS:
    try:
        return CRS(name)
    except CRSError as error:
        raise ConfigError(f"vectorize.crs: {name!r} is no CRS; write it like EPSG:4326") from error
