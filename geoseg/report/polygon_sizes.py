"""How many polygons a run wrote and how large they are, from one of its files, in batches."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.core.errors import OutputError, one_line
from geoseg.core.legend import Legend
from geoseg.core.paths import plain_path
from geoseg.core.run_files import RunFile
from geoseg.report.html import area_in, grouped
from geoseg.report.ridges import Counted, Ridges, ridges

_FORMATS = (RunFile.GEOPARQUET, RunFile.GEOPACKAGE, RunFile.FLATGEOBUF, RunFile.GEOJSON)
"""From the quickest to read to the slowest; vector tiles are generalised."""

_COLUMNS = ["class_id", "area_m2"]

_PER_TEN = 3
"""Bins for each factor of ten."""

_LOWEST, _HIGHEST = -4, 14
"""Powers of ten of areas."""


@dataclass(frozen=True)
class PolygonRow:
    """The polygons of one class."""

    title: str
    color: str
    count: int
    mean: float
    largest: float


@dataclass(frozen=True)
class PolygonSizes:
    """Counts and sizes of polygons."""

    rows: tuple[PolygonRow, ...]
    """In the order of the legend."""
    chart: Ridges
    unit: str


def polygon_sizes(folder: Path, outputs: Iterable[str], legend: Legend, unit: str) -> PolygonSizes | None:
    """Return counts and sizes of the polygons of a run.

    Parameters
    ----------
    folder
        The run folder.
    outputs
        Names of its files.
    legend
        Its classes.
    unit
        Unit of the areas: `m²`, or `px` without a CRS.

    Returns
    -------
    PolygonSizes | None
        None without polygons, or with vector tiles alone.

    Raises
    ------
    OutputError
        When the file of polygons cannot be read.
    """
    path = next((folder / name for name in _FORMATS if name in set(outputs)), None)
    if path is None or not path.is_file():
        return None
    places = {c.id: i for i, c in enumerate(legend.classes)}
    bins = np.zeros((len(legend), (_HIGHEST - _LOWEST) * _PER_TEN), dtype=np.int64)
    sums, largest = np.zeros(len(legend)), np.zeros(len(legend))
    for ids, areas in _columns(path):
        rows = np.array([places[i] for i in ids.tolist()], dtype=np.int64)
        np.add.at(bins, (rows, _bin(areas)), 1)
        np.add.at(sums, rows, areas)
        np.maximum.at(largest, rows, areas)
    counts = bins.sum(axis=1)
    if not counts.sum():
        return None
    rows_ = tuple(
        PolygonRow(c.title, c.color, int(n), float(s / max(1, n)), float(most))
        for c, n, s, most in zip(legend.classes, counts, sums, largest, strict=True)
    )
    return PolygonSizes(rows_, _chart(bins, rows_, unit), unit)


def _bin(areas: NDArray[np.float64]) -> NDArray[np.int64]:
    with np.errstate(divide="ignore"):
        places = np.floor((np.log10(areas) - _LOWEST) * _PER_TEN)
    last = (_HIGHEST - _LOWEST) * _PER_TEN - 1
    found: NDArray[np.int64] = np.nan_to_num(places, neginf=0).clip(0, last).astype(np.int64)
    return found


def _chart(bins: NDArray[np.int64], rows: tuple[PolygonRow, ...], unit: str) -> Ridges:
    """Draw the sizes over a logarithmic axis of whole powers of ten."""
    seen = np.flatnonzero(bins.sum(axis=0))
    first, last = seen[0] // _PER_TEN, -(-(seen[-1] + 1) // _PER_TEN)
    edges = [10 ** (_LOWEST + i / _PER_TEN) for i in range(first * _PER_TEN, last * _PER_TEN + 1)]
    part = bins[:, first * _PER_TEN : last * _PER_TEN]
    counted = [
        Counted(r.title, r.color, part[i].tolist(), f"{grouped(r.count)} polygons")
        for i, r in enumerate(rows)
        if r.count
    ]
    # Room for five texts.
    powers = range(first, last + 1, 1 if last - first < 5 else 2)
    return ridges(
        counted,
        [f"{area_in(a, unit)} to {area_in(b, unit)}" for a, b in pairwise(edges)],
        ticks=[((p - first) / (last - first), area_in(10.0 ** (_LOWEST + p), unit)) for p in powers],
        x_label="area of a polygon (logarithmic)",
        what="polygons",
    )


def _columns(path: Path) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield class ids and areas of a file of polygons in batches."""
    try:
        with _batches(path) as batches:
            for batch in batches:
                ids, areas = (batch.column(c).to_numpy(zero_copy_only=False) for c in _COLUMNS)
                yield ids.astype(np.int64), areas.astype(np.float64)
    except (pa.ArrowException, OSError, RuntimeError, LookupError) as error:
        raise OutputError(f"{path}: polygons of the run cannot be read: {one_line(error)}") from error


@contextmanager
def _batches(path: Path) -> Iterator[Iterator[pa.RecordBatch]]:
    """Yield the batches of two columns of a file of polygons."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq  # noqa: PLC0415 (slow to import, as is pyogrio)

        with pq.ParquetFile(path) as file:
            yield file.iter_batches(columns=_COLUMNS)
        return
    import pyogrio  # noqa: PLC0415

    # Its errors are RuntimeErrors.
    settings: dict[str, Any] = {"layer": 0, "columns": _COLUMNS, "read_geometry": False, "use_pyarrow": True}
    with plain_path(path) as plain, pyogrio.open_arrow(plain, **settings) as source:
        yield iter(source[1])
