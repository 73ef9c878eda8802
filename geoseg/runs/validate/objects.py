"""Checks of the objects that a network found: their numbers, classes and scores in all files."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import rasterio
from numpy.typing import NDArray

from geoseg.config.run_record import RecordedObjects
from geoseg.core.errors import one_line
from geoseg.core.legend import NODATA
from geoseg.core.run_files import RunFile
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.finished_folder import FinishedFolder
from geoseg.runs.validate.reading import row_spans
from geoseg.scenes.gdal import RASTER_ERRORS


@dataclass
class SeenObjects:
    """What the rasters say of objects, collected strip by strip; arrays have an entry for each number."""

    classes: NDArray[np.uint8] = field(default_factory=lambda: np.array([NODATA], np.uint8))
    """Class id of each number; 255 for none."""
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    out_of_order: int = 0
    """Numbers whose first pixel comes before that of a smaller number, or that follow a missing one."""
    mixed: int = 0
    """Numbers with pixels of several classes."""

    def __len__(self) -> int:
        return len(self.classes) - 1

    def add(self, numbers: NDArray[np.uint32], classes: NDArray[np.uint8]) -> None:
        """Add a strip of the map, shape (rows, cols) each."""
        pairs, first, count = np.unique(
            numbers.astype(np.int64).ravel() * 256 + classes.ravel(), return_index=True, return_counts=True
        )
        inside = pairs >= 256
        ids, kinds, first, count = (a[inside] for a in (pairs // 256, pairs % 256, first, count))
        new = ids > len(self)
        fresh, where = np.unique(ids[new], return_index=True)
        met = fresh[np.argsort(first[new][where], kind="stable")]
        self.out_of_order += int((met != np.arange(len(self) + 1, len(self) + 1 + len(met))).sum())
        size = max(int(ids.max(initial=0)) + 1, len(self.classes))
        self.classes = np.append(self.classes, np.full(size - len(self.classes), NODATA, np.uint8))
        self.pixels = np.append(self.pixels, np.zeros(size - len(self.pixels), np.int64))
        known = self.classes[ids]
        self.mixed += int(((known != NODATA) & (known != kinds)).sum()) + len(ids) - len(np.unique(ids))
        self.classes[ids] = kinds
        np.add.at(self.pixels, ids, count)


def seen_objects(run: FinishedFolder) -> SeenObjects:
    """Return what the rasters say of objects.

    Raises
    ------
    RasterioError
        When one cannot be read.
    """
    seen, folder = SeenObjects(), run.folder
    with rasterio.open(folder / RunFile.INSTANCES) as ids, rasterio.open(folder / RunFile.CLASSES) as classes:
        for start, stop in row_spans(run.geobox.shape):
            window = rasterio.windows.Window(0, start, ids.width, stop - start)
            seen.add(ids.read(1, window=window), classes.read(1, window=window))
    return seen


def check_objects(run: FinishedFolder) -> Iterator[Failure]:
    """Check that numbers are dense and in reading order, and counts against `run.json` and COCO results."""
    recorded, name = run.record.objects, RunFile.INSTANCES
    if recorded is None:
        return
    try:
        seen = seen_objects(run)
    except RASTER_ERRORS as error:
        yield Failure(name, "objects", "readable", one_line(error.__cause__ or error))
        return
    if seen.out_of_order:
        expected = "1, 2, 3, ... by their first pixels"
        yield Failure(name, "numbers of objects", expected, f"{seen.out_of_order} others")
    if seen.mixed:
        yield Failure(name, "classes of an object", "one", f"{seen.mixed} objects have several")
    if len(seen) != recorded.count:
        yield Failure(name, "objects", f"{recorded.count} as in {RunFile.RECORD}", str(len(seen)))
    yield from _counts(run, recorded, seen)
    if RunFile.COCO in run.outputs:
        yield from _coco(run, seen)


def _counts(run: FinishedFolder, recorded: RecordedObjects, seen: SeenObjects) -> Iterator[Failure]:
    found = np.bincount(seen.classes[1:], minlength=256)
    for number, c in run.legend.by_id().items():
        expected = recorded.by_class.get(c.slug, 0)
        if found[number] != expected:
            what = f"objects of {c.slug}"
            yield Failure(RunFile.INSTANCES, what, f"{expected} as in {RunFile.RECORD}", str(found[number]))
    for what, total in (("scores", sum(recorded.scores)), ("by_class", sum(recorded.by_class.values()))):
        if total != recorded.count:
            yield Failure(RunFile.RECORD, f"sum of objects.{what}", str(recorded.count), str(total))


def _coco(run: FinishedFolder, seen: SeenObjects) -> Iterator[Failure]:
    """Check numbers and classes of the COCO results."""
    try:
        results = json.loads((run.folder / RunFile.COCO).read_bytes())
        found = np.array([(r["id"], r["category_id"]) for r in results], np.int64).reshape(-1, 2)
        sizes = {tuple(r["segmentation"]["size"]) for r in results}
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Failure(RunFile.COCO, "results", "a JSON list of objects", one_line(error))
        return
    expected = np.stack([np.arange(1, len(seen) + 1), seen.classes[1:]], axis=1)
    if not np.array_equal(found, expected):
        yield Failure(RunFile.COCO, "ids and categories", f"those of {len(seen)} objects", "others")
    if sizes - {tuple(run.geobox.shape)}:
        yield Failure(RunFile.COCO, "size of the image", str(tuple(run.geobox.shape)), str(sorted(sizes)[:3]))


def check_features(run: FinishedFolder, name: str, table: pa.Table) -> Iterator[Failure]:
    """Check the attributes of polygons of objects: one polygon for each that the rules keep.

    Parameters
    ----------
    run
        The run.
    name
        The polygon file.
    table
        Its attributes.
    """
    rules, seen = run.recipe.rules, seen_objects(run)
    ids, classes, score = (table[c].to_numpy() for c in ("object_id", "class_id", "score"))
    joined, perimeter = (table[c].to_numpy() for c in ("joined", "perimeter_m"))
    if len(np.unique(ids)) != len(ids):
        yield Failure(name, "object_id", "one polygon an object", f"{len(ids) - len(np.unique(ids))} more")
    strange = (ids < 1) | (ids > len(seen))
    if strange.any():
        yield Failure(name, "object_id", f"1 to {len(seen)}", f"{int(strange.sum())} others")
    elif (seen.classes[ids] != classes).any():
        yield Failure(name, "class_id", "that of the object in the map", "others")
    kept = ~np.isin(seen.classes, list(rules.leave_out))
    if not rules.whole_masks:
        kept &= seen.pixels >= rules.minimum_pixels
    lacking = set(np.flatnonzero(kept)[1:].tolist()) - set(ids.tolist())
    if lacking and not rules.minimum_confidence and not (rules.whole_masks and rules.minimum_pixels):
        yield Failure(name, "objects", "a polygon each", f"{len(lacking)} lack one, first {min(lacking)}")
    for wrong, what, expected in (
        (~((score >= max(rules.minimum_confidence - 1e-4, 0)) & (score <= 1)), "score", "0 to 1"),
        (joined < 1, "joined", "1 or more"),
        (~(perimeter > 0), "perimeter_m", "above 0"),
    ):
        if wrong.any():
            yield Failure(name, what, expected, f"{int(wrong.sum())} others")
