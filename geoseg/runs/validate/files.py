"""`run.json`: what a run says of itself."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from geoseg.config.pipeline import Vectorize
from geoseg.core.errors import ConfigError, OutputError, one_line
from geoseg.core.files import read_object, sha256
from geoseg.core.legend import Legend, LegendClass
from geoseg.raster.area import pixel_area_m2
from geoseg.runs.folder import MANIFEST, STAGING
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.layers import FORMATS
from geoseg.vector.recipe import Recipe, resolve_recipe
from geoseg.vector.shape.orthogonal import REACH

_KEYS = (
    "name",
    "finished",
    "fingerprint",
    "identity",
    "plan",
    "pipeline",
    "classes",
    "pixels",
    "area_m2",
    "outputs",
)
_ALWAYS = ("classes.tif", "classes.tif.aux.xml", "classes.qml", "classes.sld", "item.json")
_LEFTOVERS = (".*", "*.tmp*", "*-wal", "*-shm", "*-journal", "*.ovr", "*.msk", STAGING)
"""Unfinished files, databases that somebody is writing, and overviews that hide those inside a map."""


@dataclass(frozen=True)
class Record:
    """A run folder with its `run.json`."""

    folder: Path
    manifest: dict[str, Any]

    @cached_property
    def legend(self) -> Legend:
        """The classes of the map."""
        return Legend(tuple(LegendClass(**c) for c in self.manifest["classes"]))

    @cached_property
    def geobox(self) -> GeoBox:
        """The grid of the map."""
        scene = self.manifest["identity"]["scene"]
        return GeoBox(scene["shape"], Affine(*scene["transform"]), scene["crs"])

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Size and checksum by name."""
        found: dict[str, dict[str, Any]] = self.manifest["outputs"]
        return found

    @property
    def rasters(self) -> list[str]:
        """Names of the rasters, the class map first."""
        return sorted((n for n in self.outputs if n.endswith(".tif")), key=lambda n: (n != "classes.tif", n))

    @cached_property
    def recipe(self) -> Recipe:
        """What polygons were asked for, in pixels."""
        wanted = Vectorize.model_validate(self.manifest["pipeline"]["vectorize"])
        areas = pixel_area_m2(self.geobox)
        if areas is None:
            return resolve_recipe(wanted, self.legend, None, None)
        gsd = float(self.manifest["plan"]["gsd_m"])
        return resolve_recipe(wanted, self.legend, gsd, float(areas[len(areas) // 2]))

    @property
    def polygon_files(self) -> list[str]:
        """Names of the files of polygons; the first is held to the map, the others to it."""
        return [name for form in FORMATS if (name := f"polygons.{form}") in self.outputs]

    @property
    def moved(self) -> bool:
        """Whether the edges of polygons are not those of pixels."""
        return self.recipe.how.needs_corners or bool(self.recipe.rectangles)

    @property
    def generalised(self) -> bool:
        """Whether the polygons may differ from the map."""
        return self.moved or self.recipe.minimum_pixels > 1

    @property
    def reach(self) -> int:
        """How many pixels edges may have moved, about.

        What Visvalingam's method takes away in one step is a triangle of at most the tolerance squared: over
        one pixel it may be twice as high.
        """
        how = self.recipe.how
        tall = max(2 * how.tolerance, 2 * how.tolerance**2) if how.method == "visvalingam" else how.tolerance
        if self.recipe.rectangles:
            tall = max(tall, REACH)
        return math.ceil(tall + how.smooth) + 1 if self.moved else 0

    @property
    def gaps_are_known(self) -> bool:
        """Whether the map and the options alone say which pixels have no polygon."""
        rules = self.recipe.rules
        return not rules.minimum_confidence and not (rules.leave_out and self.recipe.minimum_pixels > 1)

    @property
    def boundary(self) -> int | None:
        """The class whose pixels go to the objects beside them."""
        return None if self.recipe.objects is None else self.recipe.objects.boundary


def read_record(folder: Path) -> Record | Failure:
    """Read `run.json`; what is wrong with it in one failure."""
    try:
        manifest = read_object(folder / MANIFEST, OutputError, "as geoseg run writes it")
    except OutputError as error:
        return Failure(MANIFEST, "the record of a finished run", "a JSON object", str(error))
    missing = [key for key in _KEYS if key not in manifest]
    if missing:
        return Failure(MANIFEST, "keys", ", ".join(_KEYS), f"no {', '.join(missing)}")
    record = Record(folder, manifest)
    try:
        # Looked at once here, so that later checks may rely on them.
        _ = record.legend, record.geobox, record.recipe, record.reach
        _ = [(o["bytes"], o["sha256"]) for o in record.outputs.values()]
        _ = [manifest["pixels"][c.slug] for c in record.legend.classes], manifest["pixels"]["nodata"]
    except (KeyError, TypeError, ValueError, AttributeError, CRSError, ConfigError) as error:
        found = f"{type(error).__name__}: {one_line(error)}"
        return Failure(MANIFEST, "content", "values as geoseg run writes them", found)
    return record


def check_record(record: Record) -> Iterator[Failure]:
    """Hold the record to itself: fingerprint to what it was made of, pixels to the size of the map."""
    identity = json.dumps(record.manifest["identity"], sort_keys=True, separators=(",", ":"))
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()
    if record.manifest["fingerprint"] != fingerprint:
        yield Failure(MANIFEST, "fingerprint of identity", fingerprint, str(record.manifest["fingerprint"]))
    pixels, size = sum(record.manifest["pixels"].values()), math.prod(record.geobox.shape)
    if pixels != size:
        yield Failure(MANIFEST, "sum of pixels", str(size), str(pixels))
    for name in _ALWAYS:
        if name not in record.outputs:
            yield Failure(MANIFEST, "outputs", name, "not listed")


def check_files(record: Record) -> Iterator[Failure]:
    """Find every output with its size and checksum, and nothing unfinished beside them."""
    for name, facts in record.outputs.items():
        path = record.folder / name
        if not path.is_file():
            yield Failure(name, "file", "present", "missing")
        elif path.stat().st_size != facts["bytes"]:
            yield Failure(name, "size", f"{facts['bytes']} bytes", f"{path.stat().st_size} bytes")
        elif (digest := sha256(path)) != facts["sha256"]:
            yield Failure(name, "sha256", facts["sha256"], digest)
    leftovers = {path.name for pattern in _LEFTOVERS for path in record.folder.glob(pattern)}
    for name in sorted(leftovers - set(record.outputs)):
        yield Failure(name, "file beside the outputs", "none", "present")
