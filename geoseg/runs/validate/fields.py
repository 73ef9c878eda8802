"""Checks of maps that are no class maps: numbers, and several labels for each pixel."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.core.legend import NODATA
from geoseg.core.run_files import RunFile
from geoseg.models.strangeness import LIMIT, MOST
from geoseg.raster.area import pixel_area_m2
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.finished_folder import FinishedFolder
from geoseg.runs.validate.reading import read_strip, row_spans
from geoseg.tiling.heads import NO_LEVEL, STEPS, ValueHead, add_levels, level_sums


def check_values(run: FinishedFolder, others: list[str]) -> Iterator[Failure]:
    """Check a map of numbers: each is a step of the range, and the statistics are those of `run.json`."""
    said, name = run.record.values, RunFile.VALUES
    if said is None:
        return
    head = ValueHead(said.min, said.max)
    steps = head.values(np.arange(STEPS + 1, dtype=np.uint16))
    found, strange = [], 0
    wrong = {other: np.zeros(2, np.int64) for other in others}
    for start, stop in row_spans(run.geobox.shape):
        values = read_strip(run.folder / name, start, stop)[0]
        empty = np.isnan(values)
        levels = np.searchsorted(steps, values).clip(0, STEPS)
        off = ~empty & (steps[levels] != values)
        strange += int(off.sum())
        counts = np.bincount(levels[~empty & ~off], minlength=NO_LEVEL)
        found.append({**level_sums(counts), "nodata": int(empty.sum())})
        for other in others:
            wrong[other] += _wrong_pixels(other, read_strip(run.folder / other, start, stop), empty)
    if strange:
        expected = f"{said.min:g} to {said.max:g} in steps of {said.step:.6g}"
        yield Failure(name, "values", expected, f"{strange} others")
    yield from _beside(wrong)
    sums, nodata = add_levels(found), sum(f["nodata"] for f in found)
    if nodata != run.record.pixels["nodata"]:
        yield _against_record(name, "pixels of nodata", run.record.pixels["nodata"], nodata)
    if sums["bins"] != said.histogram:
        yield Failure(name, "histogram", f"that of {RunFile.RECORD}", "another")
    valid = sum(sums["bins"])
    if valid and not math.isclose(
        mean := said.min + head.step * sums["sum"] / valid, said.mean, rel_tol=1e-9
    ):
        yield _against_record(name, "mean", said.mean, mean)
    with rasterio.open(run.folder / name) as src:
        if (src.units[0] or "") != said.unit or src.descriptions[0] != said.name:
            about = f"{src.descriptions[0]} in {src.units[0] or 'no unit'}"
            yield Failure(name, "name and unit", f"{said.name} in {said.unit or 'no unit'}", about)


@dataclass
class _LabelSums:
    """Sums over the pixels of a map of labels."""

    counts: NDArray[np.int64]
    """Pixels with each label, shape (C,)."""
    areas: NDArray[np.float64]
    """Their area, shape (C,)."""
    nodata: int = 0
    strange: int = 0
    """Pixels that are neither 0, 1 nor nodata."""
    mixed: int = 0
    """Pixels that are nodata in some bands only."""

    def add(self, labels: NDArray[np.uint8], pixel_m2: NDArray[np.float64] | None) -> None:
        """Add a strip (C, rows, cols), and the area of a pixel in each of its rows."""
        missing = labels == NODATA
        self.nodata += int(missing[0].sum())
        self.strange += int(((labels > 1) & ~missing).sum())
        self.mixed += int((missing != missing[0]).any(axis=0).sum())
        lines = (labels == 1).sum(axis=2)
        self.counts += lines.sum(axis=1)
        if pixel_m2 is not None:
            self.areas += lines @ pixel_m2


def check_labels(run: FinishedFolder, others: list[str]) -> Iterator[Failure]:
    """Check a map of labels: 0, 1 or nodata, with the pixels and areas of `run.json`."""
    name, slugs = RunFile.LABELS, [c.slug for c in run.record.classes]
    with rasterio.open(run.folder / name) as src:
        bands = [str(d) for d in src.descriptions]
    if bands != slugs:
        yield Failure(name, "bands", ", ".join(slugs), ", ".join(bands))
        return
    areas, sums = pixel_area_m2(run.geobox), _LabelSums(np.zeros(len(slugs), np.int64), np.zeros(len(slugs)))
    wrong = {other: np.zeros(2, np.int64) for other in others}
    for start, stop in row_spans(run.geobox.shape):
        labels = read_strip(run.folder / name, start, stop)
        sums.add(labels, None if areas is None else areas[start:stop])
        for other in others:
            wrong[other] += _wrong_pixels(
                other, read_strip(run.folder / other, start, stop), labels[0] == NODATA
            )
    if sums.strange:
        yield Failure(name, "values", f"0, 1 or {NODATA}", f"{sums.strange} others")
    if sums.mixed:
        yield Failure(name, "nodata", "in all bands or in none", f"{sums.mixed} pixels differ")
    yield from _beside(wrong)
    yield from _against_sums(run, slugs, sums, measured=areas is not None)


def _wrong_pixels(name: str, pixels: NDArray[Any], empty: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many pixels of a raster beside the map hold no share, and have data where it has none."""
    missing = pixels == (0 if name == RunFile.OBSERVATIONS else NODATA)
    outside = ~missing & ~((pixels >= 0) & (pixels <= highest_of(name)))
    return np.array([outside.sum(), (missing != empty).any(axis=0).sum()])


def _beside(wrong: dict[str, NDArray[np.int64]]) -> Iterator[Failure]:
    """Tell what `_wrong_pixels` counted of each raster beside the map."""
    for other, (outside, elsewhere) in wrong.items():
        if outside:
            yield Failure(other, "values", f"0 to {highest_of(other):g}", f"{outside} others")
        if elsewhere:
            yield Failure(other, "nodata", "where the map has it", f"{elsewhere} pixels differ")


def highest_of(name: str) -> float:
    """Return the highest value of a raster beside the map."""
    if name == RunFile.OBSERVATIONS:
        return NODATA
    # The values are whole per cent in single precision.
    return float(np.float32(MOST * 0.01)) if name == RunFile.STRANGENESS else 1.0


def check_strangeness(run: FinishedFolder) -> Iterator[Failure]:
    """Check how many pixels are unlike the training pixels against `run.json`."""
    said, name = run.record.strangeness, RunFile.STRANGENESS
    counts = np.zeros(2, np.int64)
    for start, stop in row_spans(run.geobox.shape):
        values = read_strip(run.folder / name, start, stop)[0]
        measured = values != NODATA
        counts += ((values > (LIMIT + 0.5) * 0.01) & measured).sum(), measured.sum()
    if said is None or [said.unlike, said.measured] != counts.tolist():
        expected = "no such raster" if said is None else f"{said.unlike} of {said.measured}"
        yield _against_record(
            name, "pixels unlike the training pixels", expected, f"{counts[0]} of {counts[1]}"
        )


def _against_sums(
    run: FinishedFolder, slugs: list[str], sums: _LabelSums, *, measured: bool
) -> Iterator[Failure]:
    """Compare the sums of a map of labels with its record."""
    said, recorded = run.record.pixels, run.record.area_m2 or {}
    counted = {**dict(zip(slugs, sums.counts.tolist(), strict=True)), "nodata": sums.nodata}
    for slug, number in counted.items():
        if said.get(slug, 0) != number:
            yield _against_record(RunFile.LABELS, f"pixels of {slug}", said.get(slug, 0), number)
    for slug, area in zip(slugs, sums.areas, strict=True) if measured else ():
        if not math.isclose(area, recorded.get(slug, -1), rel_tol=1e-9, abs_tol=1e-3):
            expected = f"{area:.3f} m2 as in the map"
            yield Failure(RunFile.RECORD, f"area of {slug}", expected, str(recorded.get(slug)))


def _against_record(name: str, what: str, expected: float | str, found: float | str) -> Failure:
    return Failure(name, what, f"{expected} as in {RunFile.RECORD}", str(found))
