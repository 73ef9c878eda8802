"""Compare two runs: a matrix of change with areas, a map of change and its polygons."""

import csv
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

import geoseg
from geoseg.core.errors import OutputError, SceneError
from geoseg.core.files import as_output_error, write_atomic
from geoseg.core.legend import NODATA, Legend, LegendClass
from geoseg.core.ordered import Workers
from geoseg.core.run_files import RunFile
from geoseg.raster.area import pixel_area_m2
from geoseg.raster.cog import copy_cog
from geoseg.runs.comparison.legends import Legends
from geoseg.runs.comparison.overlap import Overlap, opened
from geoseg.runs.finished import Run, open_run
from geoseg.scenes.gdal import check_whole
from geoseg.scenes.windows import to_rasterio
from geoseg.storage.store import within
from geoseg.styles.raster import write_raster_styles
from geoseg.vector.recipe import Recipe, Rules
from geoseg.vector.trace.block import MapFiles

CHANGE = "change.tif"
TABLE = "change.csv"
RECORD = "change.json"


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs, where both have a class."""

    runs: tuple[str, str]
    legends: Legends
    pixels: NDArray[np.int64]
    """Of each class of A (rows) and B (columns), by ascending id."""
    areas: NDArray[np.float64] | None
    """The same in square metres; None without a CRS."""
    aligned: bool
    """Whether B was brought to the grid of A."""
    warnings: tuple[str, ...] = ()
    files: list[str] = field(default_factory=list)
    """The files that were written."""

    @property
    def changed(self) -> float:
        """Share of the pixels with another class."""
        return float(self.pixels[~self.legends.same].sum() / self.pixels.sum())

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values; areas are in square metres."""
        a, b = self.legends.pair
        areas = None if self.areas is None else self.areas.round(3).tolist()
        return {
            "a": self.runs[0],
            "b": self.runs[1],
            "aligned": self.aligned,
            "compared_pixels": int(self.pixels.sum()),
            "changed_pixels": int(self.pixels[~self.legends.same].sum()),
            "changed_share": round(self.changed, 6),
            "compared_m2": None if self.areas is None else round(float(self.areas.sum()), 3),
            "changed_m2": None
            if self.areas is None
            else round(float(self.areas[~self.legends.same].sum()), 3),
            "classes": self.classes(),
            "changes": self.changes(),
            "matrix": {
                "from": [c.slug for c in a], "to": [c.slug for c in b],
                "pixels": self.pixels.tolist(), "area_m2": areas,
            },
            "warnings": list(self.warnings),
            "files": self.files,
        }  # fmt: skip

    def classes(self) -> list[dict[str, Any]]:
        """Return for each class what A and B have of it, and what it gained and lost."""
        a, b = self.legends.pair
        same = self.legends.same
        rows: list[tuple[LegendClass, int | None, int | None]] = [
            (c, i, int(same[i].argmax()) if same[i].any() else None) for i, c in enumerate(a)
        ]
        rows += [(c, None, j) for j, c in enumerate(b) if not same[:, j].any()]
        found = []
        for c, i, j in rows:
            row: dict[str, Any] = {"slug": c.slug, "title": c.title}
            for unit, matrix in (("pixels", self.pixels), ("m2", self.areas)):
                if matrix is None:
                    continue
                before = 0 if i is None else matrix[i].sum()
                after = 0 if j is None else matrix[:, j].sum()
                kept = 0 if i is None or j is None else matrix[i, j]
                values = {"a": before, "b": after, "gained": after - kept, "lost": before - kept}
                row |= {
                    f"{k}_{unit}": int(v) if unit == "pixels" else round(float(v), 3)
                    for k, v in values.items()
                }
            found.append(row)
        return found

    def changes(self) -> list[dict[str, Any]]:
        """Return each change that occurs, the most frequent first, with its value in the map of change."""
        a, b = self.legends.pair
        codes, counted = self.legends.codes(self.pixels), np.where(self.legends.same, 0, self.pixels)
        order = np.argsort(-counted, axis=None, kind="stable")[: int((counted > 0).sum())]
        places = (divmod(int(k), len(b)) for k in order)
        return [
            {
                "code": int(codes[i, j]), "from": a[i].slug, "to": b[j].slug,
                "from_title": a[i].title, "to_title": b[j].title, "pixels": int(self.pixels[i, j]),
                "area_m2": None if self.areas is None else round(float(self.areas[i, j]), 3),
            }
            for i, j in places
        ]  # fmt: skip


def compare_runs(
    a: Path | str, b: Path | str, folder: Path | None = None, *, minimum_pixels: int = 0
) -> Comparison:
    """Compare the class maps of two finished runs, block by block, where both have a class.

    Parameters
    ----------
    a, b
        The folders of the runs, or their URIs: what was, and what became of it. The map of B is brought to
        the grid of A, nearest neighbour, where they differ.
    folder
        Where the map of change, its polygons and tables are written; None: nowhere.
    minimum_pixels
        Smaller regions of the map of change have no polygon of their own, see `vectorize.minimum_area`.

    Raises
    ------
    OutputError
        When a folder holds no finished run of classes, or a file cannot be written.
    SceneError
        When a map cannot be read, or they do not overlap.
    """
    runs = open_run(a), open_run(b)
    for run in runs:
        _check(run)
    legends = Legends(*(Legend.of(run.record.classes) for run in runs))
    places = [str(within(run.folder, RunFile.CLASSES)) for run in runs]
    with opened(*places) as overlap:
        pixels, areas = _count(overlap, legends)
        if not pixels.sum():
            raise SceneError(f"{a}, {b}: no pixel has a class in both; are they of the same place?")
        warnings = _warnings(runs, legends, aligned=overlap.aligned)
        found = Comparison((str(a), str(b)), legends, pixels, areas, overlap.aligned, warnings)
        if folder is not None:
            with as_output_error(folder):
                folder.mkdir(parents=True, exist_ok=True)
            _write(found, overlap, folder, minimum_pixels)
    return found


def _check(run: Run) -> None:
    if run.record.task != "classes" or run.record.objects is not None:
        kind = "objects" if run.record.objects is not None else run.record.task
        raise OutputError(
            f"{run.folder}: is a run of {kind}; compare takes runs of classes, with a classes.tif"
        )


def _warnings(runs: tuple[Run, Run], legends: Legends, *, aligned: bool) -> tuple[str, ...]:
    found = []
    if aligned:
        found.append("the grids differ: B was brought to the grid of A, nearest neighbour")
    for one, other, titles in zip("AB", "BA", legends.unmatched, strict=True):
        if titles:
            names = ", ".join(titles[:5]) + (", ..." if len(titles) > 5 else "")
            found.append(f"{other} has no class {names} of {one}: all its pixels count as changed"[:300])
    if not legends.same.any():
        found.append(f"{runs[0].folder} and {runs[1].folder} have no class in common")
    return tuple(found)


def _count(overlap: Overlap, legends: Legends) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """Return pixels and areas of each pair of classes, shape (classes of A, classes of B)."""
    n, m = legends.shape
    of_rows = pixel_area_m2(overlap.geobox)
    even = of_rows is None or bool((of_rows == of_rows[0]).all())
    pixels, areas = np.zeros(n * m, np.int64), np.zeros(n * m)
    for window, pairs in _pairs(overlap, legends):
        counted = np.bincount(pairs[pairs >= 0], minlength=n * m)
        pixels += counted
        if of_rows is None or even:
            continue
        for line, area in zip(pairs, of_rows[window.rows.start : window.rows.stop], strict=True):
            areas += np.bincount(line[line >= 0], minlength=n * m) * area
    if of_rows is None:
        return pixels.reshape(n, m), None
    return pixels.reshape(n, m), (pixels * of_rows[0] if even else areas).reshape(n, m)


def _pairs(overlap: Overlap, legends: Legends) -> Any:
    """Yield windows with the number of the pair of classes of each pixel, -1 where one has none."""
    of_a, of_b = legends.places
    for window, one, other in overlap.read():
        i, j = of_a[one].astype(np.int32), of_b[other].astype(np.int32)
        yield window, np.where((i < 0) | (j < 0), -1, i * len(legends.b) + j)


def _write(found: Comparison, overlap: Overlap, folder: Path, minimum_pixels: int) -> None:
    """Write the map of change with its styles, its polygons and the tables."""
    from geoseg.vector.vectorize import vectorize  # noqa: PLC0415 (slow to import)

    legend = found.legends.changes(found.pixels)
    change = folder / CHANGE
    _write_map(found, overlap, change, legend)
    files = [change, *write_raster_styles(change, legend)]
    recipe = Recipe(Rules(legend, leave_out=frozenset([0])), minimum_pixels=minimum_pixels)
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        files += vectorize(
            MapFiles(change), recipe, Workers(pool, 2 * threads), folder, layer="change", formats=("gpkg",),
            provenance={
                "software": f"geoseg {geoseg.__version__}", "runs": [Path(r).name for r in found.runs],
            },
        )  # fmt: skip
    write_atomic(folder / TABLE, _csv(found).encode())
    found.files.extend(str(path) for path in (*files, folder / TABLE, folder / RECORD))
    text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False)
    write_atomic(folder / RECORD, text.encode() + b"\n")


def _write_map(found: Comparison, overlap: Overlap, path: Path, legend: Legend) -> None:
    """Write the map of change as a cloud-optimised GeoTIFF, window by window."""
    codes = np.append(found.legends.codes(found.pixels).ravel(), np.uint8(NODATA))
    geobox, temporary = overlap.geobox, path.with_name(f".{path.stem}.windows.tif")
    try:
        with as_output_error(path), rasterio.open(
            temporary, "w", driver="GTiff", height=geobox.shape.y, width=geobox.shape.x, count=1,
            dtype="uint8", crs=overlap.a.crs, transform=geobox.transform, nodata=NODATA, tiled=True,
            blockxsize=512, blockysize=512, compress="DEFLATE", bigtiff="IF_SAFER",
        ) as dst:  # fmt: skip
            dst.write_colormap(1, {i: (*c.rgb, 255) for i, c in legend.by_id().items()})
            dst.descriptions = ["change"]
            dst.update_tags(TIFFTAG_SOFTWARE=f"geoseg {geoseg.__version__}")
            for window, pairs in _pairs(overlap, found.legends):
                dst.write(codes[pairs], 1, window=to_rasterio(window))
        check_whole(temporary)
        copy_cog(temporary, path, "MODE")
    finally:
        temporary.unlink(missing_ok=True)


def _csv(found: Comparison) -> str:
    """Return the matrix as a table: a row for each class of A, a column for each of B."""
    a, b = found.legends.pair
    matrix = found.pixels if found.areas is None else found.areas.round(3)
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    unit = "pixels" if found.areas is None else "m2"
    writer.writerow([f"from \\ to [{unit}]", *(c.title for c in b)])
    for c, row in zip(a, matrix.tolist(), strict=True):
        writer.writerow([c.title, *row])
    return lines.getvalue()
