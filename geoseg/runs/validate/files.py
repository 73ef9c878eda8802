"""`run.json`: what a run says of itself."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from geoseg.config.pipeline import Vectorize
from geoseg.config.run_record import OutputFile, RunRecord
from geoseg.core.errors import ConfigError, OutputError, one_line
from geoseg.core.files import sha256
from geoseg.core.legend import Legend, LegendClass
from geoseg.core.run_files import RunFile
from geoseg.raster.area import pixel_area_m2
from geoseg.runs.folder import STAGING
from geoseg.runs.record import read_record
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.layers import FORMATS
from geoseg.storage.store import open_store
from geoseg.vector.recipe import Recipe, resolve_recipe
from geoseg.vector.shape.orthogonal import REACH

_ALWAYS = (RunFile.CLASSES, RunFile.CLASSES_METADATA, RunFile.CLASSES_QML, RunFile.CLASSES_SLD, RunFile.ITEM)
_LEFTOVERS = (".*", "*.tmp*", "*-wal", "*-shm", "*-journal", "*.ovr", "*.msk", STAGING)
"""Unfinished files, databases that somebody is writing, and overviews that hide those inside a map."""


@dataclass(frozen=True)
class FinishedFolder:
    """A run folder with its `run.json`."""

    folder: Path
    record: RunRecord

    @cached_property
    def legend(self) -> Legend:
        """The classes of the map."""
        return Legend(tuple(LegendClass(c.id, c.slug, c.title, c.color) for c in self.record.classes))

    @cached_property
    def geobox(self) -> GeoBox:
        """The grid of the map."""
        scene = self.record.identity["scene"]
        return GeoBox(scene["shape"], Affine(*scene["transform"]), scene["crs"])

    @property
    def outputs(self) -> dict[str, OutputFile]:
        """Size and checksum by name."""
        return self.record.outputs

    @property
    def rasters(self) -> list[str]:
        """Names of the rasters, the class map first."""
        rasters = [n for n in self.outputs if n.endswith(".tif")]
        return sorted(rasters, key=lambda n: (n != RunFile.CLASSES, n))

    @cached_property
    def recipe(self) -> Recipe:
        """What polygons were asked for, in pixels."""
        asked = Vectorize.model_validate(self.record.pipeline["vectorize"])
        areas = pixel_area_m2(self.geobox)
        if areas is None:
            return resolve_recipe(asked, self.legend, None, None)
        return resolve_recipe(asked, self.legend, self.record.plan.gsd_m, float(areas[len(areas) // 2]))

    @property
    def polygon_files(self) -> list[str]:
        """Names of the files of polygons; the first is held to the map, the others to it."""
        return [name for form in FORMATS if (name := RunFile.polygons(form)) in self.outputs]

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


def read_finished(folder: Path) -> FinishedFolder | Failure:
    """Read `run.json`; what is wrong with it in one failure."""
    try:
        record = read_record(open_store(folder))
    except OutputError as error:
        return Failure(RunFile.RECORD, "the record of a finished run", "as geoseg run writes it", str(error))
    run = FinishedFolder(folder, record)
    try:
        # Worked out once here, so that later checks may rely on them.
        _ = run.legend, run.geobox, run.recipe, run.reach
        _ = [record.pixels[c.slug] for c in run.legend.classes], record.pixels["nodata"]
    except (KeyError, TypeError, ValueError, AttributeError, CRSError, ConfigError) as error:
        found = f"{type(error).__name__}: {one_line(error)}"
        return Failure(RunFile.RECORD, "content", "values as geoseg run writes them", found)
    return run


def check_record(run: FinishedFolder) -> Iterator[Failure]:
    """Hold the record to itself: fingerprint to what it was made of, pixels to the size of the map."""
    identity = json.dumps(run.record.identity, sort_keys=True, separators=(",", ":"))
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()
    if run.record.fingerprint != fingerprint:
        yield Failure(RunFile.RECORD, "fingerprint of identity", fingerprint, str(run.record.fingerprint))
    pixels, size = sum(run.record.pixels.values()), math.prod(run.geobox.shape)
    if pixels != size:
        yield Failure(RunFile.RECORD, "sum of pixels", str(size), str(pixels))
    for name in _ALWAYS:
        if name not in run.outputs:
            yield Failure(RunFile.RECORD, "outputs", name, "not listed")


def check_files(run: FinishedFolder) -> Iterator[Failure]:
    """Find every output with its size and checksum, and nothing unfinished beside them."""
    for name, facts in run.outputs.items():
        path = run.folder / name
        if not path.is_file():
            yield Failure(name, "file", "present", "missing")
        elif path.stat().st_size != facts.bytes:
            yield Failure(name, "size", f"{facts.bytes} bytes", f"{path.stat().st_size} bytes")
        elif (digest := sha256(path)) != facts.sha256:
            yield Failure(name, "sha256", facts.sha256, digest)
    leftovers = {path.name for pattern in _LEFTOVERS for path in run.folder.glob(pattern)}
    for name in sorted(leftovers - set(run.outputs)):
        yield Failure(name, "file beside the outputs", "none", "present")
