"""What an object is: a pipeline's `vectorize.instances` in class ids and pixels."""

from collections.abc import Iterable
from dataclasses import dataclass

from geoseg.config.pipeline import Instances
from geoseg.core.errors import ConfigError, did_you_mean
from geoseg.core.legend import Legend


@dataclass(frozen=True)
class Components:
    """Each 4-connected region of a class is one object."""


@dataclass(frozen=True)
class Watershed:
    """A 4-connected region is cut at its necks (Beucher and Meyer 1993; markers: Soille 2003, chapter 6).

    Parts are where the distance to the region's edge has its maxima; each maximum floods its surroundings.
    """

    distance: float = 0.0
    """Centres of two objects are at least so many pixels apart; of closer ones the wider part wins."""
    depth: float = 1.0
    """How much nearer, in pixels, the edge is at a neck than at the centres of both parts. Below 1 the stairs
    of slanting edges count as necks."""


@dataclass(frozen=True)
class Objects:
    """What `write_instances` is asked for."""

    classes: frozenset[int]
    """Ids of the classes that have objects."""
    method: Components | Watershed
    boundary: int | None
    """Id of the class that lies between objects and goes to them."""


def resolve_objects(wanted: Instances, legend: Legend, gsd_m: float | None) -> Objects:
    """Turn names into class ids and metres into pixels.

    Parameters
    ----------
    wanted
        What the pipeline says.
    legend
        The classes of the map.
    gsd_m
        Ground sample distance in metres, None when the map has no CRS.

    Raises
    ------
    ConfigError
        When the legend lacks a class, or a distance is given and the map has no CRS.
    """
    ids = {c.slug: c.id for c in legend.classes}
    boundary = _id("boundary", wanted.boundary, ids) if wanted.boundary is not None else None
    slugs: Iterable[str] = wanted.classes or (s for s in ids if s != wanted.boundary)
    classes = frozenset(_id("classes", slug, ids) for slug in slugs)
    if wanted.method == "components":
        return Objects(classes, Components(), boundary)
    if gsd_m is None and (wanted.minimum_distance or wanted.depth != "auto"):
        raise ConfigError(
            "vectorize.instances: distances are in metres, but the scene has no CRS; leave minimum_distance "
            "at 0 and depth at auto"
        )
    gsd = gsd_m or 1.0
    depth = Watershed.depth if wanted.depth == "auto" else wanted.depth / gsd
    return Objects(classes, Watershed(wanted.minimum_distance / gsd, depth), boundary)


def _id(key: str, slug: str, ids: dict[str, int]) -> int:
    if slug not in ids:
        raise ConfigError(
            f"vectorize.instances.{key}: the model has no class {slug!r}{did_you_mean(slug, ids)}"
            f" (it has {', '.join(ids)})"
        )
    return ids[slug]
