"""The run folder under check: its record, and the properties that follow from it."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from geoseg.config.pipeline import Vectorize
from geoseg.config.run_record import OutputFile, RunRecord
from geoseg.core.errors import ConfigError, OutputError, one_line
from geoseg.core.legend import Legend
from geoseg.core.run_files import RunFile
from geoseg.raster.area import pixel_area_m2
from geoseg.runs.record import read_record
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.polygon_file import FORMATS
from geoseg.storage.store import open_store
from geoseg.vector.recipe import Recipe, resolve_recipe
from geoseg.vector.shape.orthogonal import REACH


@dataclass(frozen=True)
class FinishedFolder:
    """A run folder with its `run.json`."""

    folder: Path
    record: RunRecord

    @cached_property
    def legend(self) -> Legend:
        """The classes of the map."""
        return Legend.of(self.record.classes)

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
        """Names of the rasters, the map first."""
        rasters = [n for n in self.outputs if n.endswith(".tif")]
        return sorted(rasters, key=lambda n: (n != self.map_name, n))

    @property
    def map_name(self) -> RunFile:
        """Name of the map that the run was for."""
        other = {"regression": RunFile.VALUES, "multilabel": RunFile.LABELS}
        return other.get(self.record.task, RunFile.CLASSES)

    @cached_property
    def recipe(self) -> Recipe:
        """How polygons were made, in class ids and pixels."""
        asked = Vectorize.model_validate(self.record.pipeline["vectorize"])
        areas = pixel_area_m2(self.geobox)
        gsd, pixel = (
            (None, None) if areas is None else (self.record.plan.gsd_m, float(areas[len(areas) // 2]))
        )
        found = self.record.objects is not None
        return resolve_recipe(asked, self.legend, gsd, pixel, finds_objects=found)

    @property
    def polygon_files(self) -> list[str]:
        """Names of the polygon files; the first is checked against the map, the others against the first."""
        return [name for form in FORMATS if (name := RunFile.polygons(form)) in self.outputs]

    @property
    def edges_moved(self) -> bool:
        """Whether the edges of polygons were moved away from the edges of pixels."""
        return self.recipe.how.needs_corners or bool(self.recipe.rectangles)

    @property
    def generalised(self) -> bool:
        """Whether the polygons may differ from the map."""
        return self.edges_moved or self.recipe.minimum_pixels > 1

    @property
    def reach(self) -> int:
        """Approximate distance in pixels by which edges may have been moved.

        Visvalingam's method removes triangles with an area of at most the tolerance squared; with a base of
        one pixel, the height may be twice that number.
        """
        how = self.recipe.how
        tall = max(2 * how.tolerance, 2 * how.tolerance**2) if how.method == "visvalingam" else how.tolerance
        if self.recipe.rectangles:
            tall = max(tall, REACH)
        return math.ceil(tall + how.smooth) + 1 if self.edges_moved else 0

    @property
    def gaps_are_known(self) -> bool:
        """Whether map and options alone determine which pixels have no polygon."""
        rules = self.recipe.rules
        if rules.minimum_pixels:
            return False
        return not rules.minimum_confidence and not (rules.leave_out and self.recipe.minimum_pixels > 1)

    @property
    def boundary(self) -> int | None:
        """Id of the boundary class, whose pixels are given to adjacent objects; None without objects."""
        return None if self.recipe.objects is None else self.recipe.objects.boundary


def read_finished(folder: Path) -> FinishedFolder | Failure:
    """Read `run.json`; return a failure when it cannot be used."""
    try:
        record = read_record(open_store(folder))
    except OutputError as error:
        return Failure(RunFile.RECORD, "the record of a finished run", "as geoseg run writes it", str(error))
    run = FinishedFolder(folder, record)
    try:
        # Evaluated here once, so that later checks can rely on them.
        _ = run.legend, run.geobox, run.recipe, run.reach
        _ = record.pixels["nodata"]
    except (KeyError, TypeError, ValueError, AttributeError, CRSError, ConfigError) as error:
        found = f"{type(error).__name__}: {one_line(error)}"
        return Failure(RunFile.RECORD, "content", "values as geoseg run writes them", found)
    return run
