"""Checks of rasters: cloud-optimised, on one grid, and with the pixel counts of `run.json`."""

import math
from collections.abc import Iterator

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rio_cogeo.cogeo import cog_validate

from geoseg.core.errors import one_line
from geoseg.core.legend import NO_OBJECT, NODATA
from geoseg.core.run_files import RunFile
from geoseg.raster.area import pixel_area_m2
from geoseg.runs.validate.fields import check_labels, check_strangeness, check_values, highest_of
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.finished_folder import FinishedFolder
from geoseg.runs.validate.reading import read_strip, row_spans
from geoseg.scenes.gdal import RASTER_ERRORS

_EMPTY: dict[str, float] = {
    RunFile.INSTANCES: NO_OBJECT,
    RunFile.OBSERVATIONS: 0,
    RunFile.VALUES: math.nan,
}
"""Nodata of the rasters where it is not that of the class map."""


def check_rasters(run: FinishedFolder) -> Iterator[Failure]:
    """Check layout and grid of every raster, and the pixels against the record."""
    readable = []
    for name in run.rasters:
        try:
            found = list(_layout(run, name))
        except RASTER_ERRORS as error:
            found = [Failure(name, "raster", "readable", one_line(error))]
        else:
            readable.append(name)
        yield from found
    if run.map_name in readable:
        check = {RunFile.VALUES: check_values, RunFile.LABELS: check_labels}.get(run.map_name, _pixels)
        try:
            yield from check(run, [n for n in readable if n != run.map_name])
            if RunFile.STRANGENESS in readable:
                yield from check_strangeness(run)
        except RASTER_ERRORS as error:
            yield Failure("rasters", "pixels", "readable", one_line(error.__cause__ or error))


def _layout(run: FinishedFolder, name: str) -> Iterator[Failure]:
    path = run.folder / name
    with rasterio.open(path) as src:
        yield from _grid(run, name, src)
        expected = _EMPTY.get(name, NODATA)
        for band, nodata in enumerate(src.nodatavals, start=1):
            if str(nodata) != str(float(expected)):
                yield Failure(name, f"nodata of band {band}", str(expected), str(nodata))
        if (tag := src.tags().get("GEOSEG_FINGERPRINT")) != run.record.fingerprint:
            yield Failure(name, "fingerprint in its tags", run.record.fingerprint, str(tag))
    _, errors, notes = cog_validate(str(path), strict=True, quiet=True)
    for problem in (*errors, *notes):
        yield Failure(name, "layout", "a cloud-optimised GeoTIFF", one_line(Exception(problem)))


def _grid(run: FinishedFolder, name: str, src: DatasetReader) -> Iterator[Failure]:
    box = run.geobox
    if src.shape != tuple(box.shape):
        yield Failure(name, "height and width", str(tuple(box.shape)), str(src.shape))
    if not src.transform.almost_equals(box.transform, precision=1e-9 * abs(box.resolution.x)):
        yield Failure(name, "transform", str(tuple(box.transform)[:6]), str(tuple(src.transform)[:6]))
    crs = None if box.crs is None else CRS.from_wkt(box.crs.to_wkt())
    if src.crs != crs:
        yield Failure(name, "CRS", _name(crs), _name(src.crs))


def _name(crs: CRS | None) -> str:
    return "none" if crs is None else str(crs.to_string())


def _pixels(run: FinishedFolder, others: list[str]) -> Iterator[Failure]:
    """Check pixel counts; confidence, probabilities and objects against the map."""
    areas, counts, covered = pixel_area_m2(run.geobox), np.zeros(256, np.int64), np.zeros(256)
    wrong = {name: np.zeros(2, np.int64) for name in others}
    objects = 0
    for start, stop in row_spans(run.geobox.shape):
        classes = read_strip(run.folder / RunFile.CLASSES, start, stop)[0]
        lines = np.stack([np.bincount(line, minlength=256) for line in classes])
        counts += lines.sum(axis=0)
        if areas is not None:
            covered += areas[start:stop] @ lines
        for name in others:
            if name == RunFile.INSTANCES:
                objects += _wrong_objects(run, read_strip(run.folder / name, start, stop)[0], classes)
                continue
            if name == RunFile.OBSERVATIONS:
                unseen = read_strip(run.folder / name, start, stop)[0] == 0
                wrong[name] += 0, (unseen != (classes == NODATA)).sum()
                continue
            shares = read_strip(run.folder / name, start, stop)
            missing = shares == NODATA
            outside = ~missing & ~((shares >= 0) & (shares <= highest_of(name)))  # NaN is outside too
            wrong[name] += outside.sum(), (missing != (classes == NODATA)).any(axis=0).sum()
    yield from _counts(run, counts, None if areas is None else covered)
    for name, (outside, elsewhere) in wrong.items():
        if outside:
            yield Failure(name, "values", f"0 to {highest_of(name):g}", f"{outside} others")
        if elsewhere:
            yield Failure(name, "nodata", "where the class map has it", f"{elsewhere} pixels differ")
    if objects:
        yield Failure(
            RunFile.INSTANCES, "objects", "where the map has a class with objects", f"{objects} pixels differ"
        )


def _wrong_objects(run: FinishedFolder, numbers: NDArray[np.uint32], classes: NDArray[np.uint8]) -> int:
    """Count the pixels that are of an object but have no class with objects, or the other way round.

    Small regions may have joined a neighbour before objects were made: then only nodata is compared.
    Pixels of a boundary class may be of an object or not. Of a network that finds objects, only their pixels
    have a class.
    """
    if run.record.objects is not None:
        return int(((numbers != NO_OBJECT) != (classes != NODATA)).sum())
    if (how := run.recipe.objects) is None or run.recipe.minimum_pixels > 1:
        return int(((numbers != NO_OBJECT) & (classes == NODATA)).sum())
    free = [] if how.boundary is None else [how.boundary]
    differ = (numbers != NO_OBJECT) != np.isin(classes, list(how.classes))
    return int((differ & ~np.isin(classes, free)).sum())


def _counts(
    run: FinishedFolder, counts: NDArray[np.int64], areas: NDArray[np.float64] | None
) -> Iterator[Failure]:
    legend, pixels = run.legend.by_id(), run.record.pixels
    strange = [i for i in np.flatnonzero(counts).tolist() if i not in legend and i != NODATA]
    if strange:
        listed = ", ".join(f"{i} ({counts[i]} px)" for i in strange)
        yield Failure(RunFile.CLASSES, "class ids", f"one of {', '.join(map(str, legend))}", listed)
    for number, slug in [*((i, c.slug) for i, c in legend.items()), (NODATA, "nodata")]:
        if counts[number] != pixels.get(slug, 0):
            yield Failure(
                RunFile.CLASSES,
                f"pixels of {slug}",
                f"{pixels.get(slug, 0)} as in {RunFile.RECORD}",
                str(counts[number]),
            )
    recorded = run.record.area_m2
    if (recorded is None) != (areas is None):
        yield Failure(RunFile.RECORD, "area_m2", "areas of a map with a CRS, null without", str(recorded))
    elif areas is not None and recorded is not None:
        for number, c in legend.items():
            if not math.isclose(areas[number], recorded.get(c.slug, -1), rel_tol=1e-9, abs_tol=1e-3):
                found = f"{recorded.get(c.slug)}"
                yield Failure(
                    RunFile.RECORD, f"area of {c.slug}", f"{areas[number]:.3f} m2 as in the map", found
                )
