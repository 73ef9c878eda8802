"""Checks of the outlines of what is not to be trusted: valid, and where the rasters say so."""

from collections.abc import Iterator

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.config.run_record import RecordedDoubt
from geoseg.core.doubt import DOUBT_LAYER, REASON, REASONS, TRUSTED
from geoseg.core.errors import one_line
from geoseg.core.legend import NODATA
from geoseg.core.run_files import RunFile
from geoseg.models.strangeness import MOST
from geoseg.runs.doubt import reasons_of
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.finished_folder import FinishedFolder
from geoseg.runs.validate.polygon_file import PolygonFile, ProjectedLayer, same_crs
from geoseg.runs.validate.polygons import UNREADABLE, map_crs, middle_longitude
from geoseg.runs.validate.reading import read_strip, row_spans
from geoseg.runs.validate.strips import bounds_of, burn
from geoseg.vector.doubt import doubt_columns

_FILE = RunFile.DOUBT


def check_doubt(run: FinishedFolder) -> Iterator[Failure]:
    """Check the outlines against the rasters of confidence and strangeness, where the run wrote them.

    Rasterising outlines that are not generalised gives the reasons pixel by pixel.
    """
    said = run.record.doubt
    if said is None:
        yield Failure(RunFile.RECORD, "doubt", "the pixels of each reason", "nothing")
        return
    codes = {c.title: c.id for c in REASONS.classes}
    layer = PolygonFile(run.folder / _FILE, DOUBT_LAYER, middle_longitude(run), REASON, codes)
    try:
        expected = map_crs(run) if run.recipe.rules.crs is None else run.recipe.rules.crs.proj
        if (found := layer.crs) is None or expected is None:
            same = found is expected
        else:
            same = same_crs(found, expected)
        if not same:
            names = ["none" if crs is None else crs.to_string() for crs in (expected, found)]
            yield Failure(_FILE, "CRS", *names)
        yield from _attributes(layer, said)
        yield from _pixels(run, said, ProjectedLayer.on(layer, map_crs(run)))
    except UNREADABLE as error:
        yield Failure(_FILE, "outlines", "readable", one_line(error.__cause__ or error))


def _attributes(layer: PolygonFile, said: RecordedDoubt) -> Iterator[Failure]:
    """Check names and ranges of the columns."""
    table = layer.attributes
    columns = list(doubt_columns(confidence=said.low_confidence is not None, strangeness=said.strangeness))
    if table.column_names != columns:
        yield Failure(_FILE, "columns", ", ".join(columns), ", ".join(table.column_names))
        return
    titles = {c.title for c in REASONS.classes}
    if strange := sorted(set(map(str, table[REASON].to_pylist())) - titles):
        yield Failure(_FILE, REASON, ", ".join(sorted(titles)), ", ".join(strange[:3]))
    for name, most in (("mean_confidence", 1.0), ("mean_strangeness", MOST / 100)):
        if name in columns:
            values = table[name].to_numpy()
            if (wrong := ~((values >= 0) & (values <= most))).any():
                yield Failure(_FILE, name, f"0 to {most:g}", f"{int(wrong.sum())} others")


def _pixels(run: FinishedFolder, said: RecordedDoubt, outlines: ProjectedLayer) -> Iterator[Failure]:
    """Check outlines strip by strip; compare them and the record with the rasters, where all are there."""
    names = [RunFile.CONFIDENCE] if said.low_confidence is not None else []
    names += [RunFile.STRANGENESS] if said.strangeness else []
    known = bool(names) and set(names) <= run.outputs.keys()
    exact = not (run.recipe.how.needs_corners or run.recipe.minimum_pixels > 1)
    counts, wrong, transform = np.zeros(256, np.int64), 0, Affine(*run.geobox.transform[:6])
    invalid: list[str] = []
    for start, stop in row_spans(run.geobox.shape):
        here, shape = transform @ Affine.translation(0, start), (stop - start, run.geobox.shape.x)
        box = bounds_of(here, shape)
        geometry, ids = outlines.polygons(box)
        invalid += shapely.is_valid_reason(geometry[~shapely.is_valid(geometry)]).tolist()
        if not known:
            continue
        reasons = _reasons(run, said, names, start, stop)
        counts += np.bincount(reasons.ravel(), minlength=256)
        if exact:
            burnt = burn(shapely.clip_by_rect(geometry, *box), ids, here, shape)
            drawn = np.where(burnt >> 8 == 1, burnt & 255, np.where(burnt == 0, TRUSTED, NODATA))
            wrong += int((drawn != np.where(reasons == NODATA, TRUSTED, reasons)).sum())
    if invalid:
        yield Failure(_FILE, "geometries", "valid polygons", f"{len(invalid)} others: {invalid[0]}")
    for c in REASONS.classes if known else ():
        if said.pixels.get(c.slug) != counts[c.id]:
            expected = f"{counts[c.id]} as in the rasters"
            yield Failure(RunFile.RECORD, f"pixels of {c.title}", expected, str(said.pixels.get(c.slug)))
    if wrong:
        yield Failure(_FILE, "outlines", f"where {' and '.join(names)} say so", f"{wrong} pixels differ")


def _reasons(
    run: FinishedFolder, said: RecordedDoubt, names: list[RunFile], start: int, stop: int
) -> NDArray[np.uint8]:
    """Return the reasons of some rows, 255 without data, from the rasters."""
    whole = {n: read_strip(run.folder / n, start, stop)[0] for n in names}
    percent, levels = (
        np.rint(np.where(whole[n] == NODATA, 0, whole[n]) * 100).astype(np.uint8) if n in whole else None
        for n in (RunFile.CONFIDENCE, RunFile.STRANGENESS)
    )
    found = reasons_of(percent, levels, said.low_confidence or 0.0)
    found[whole[names[0]] == NODATA] = NODATA
    return found
