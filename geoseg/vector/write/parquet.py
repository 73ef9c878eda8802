"""Write features as GeoParquet 1.1 (geoparquet.org), sorted along a Hilbert curve."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS

from geoseg.core.files import unusable_place
from geoseg.vector.write.geopackage import read_features

_GROUP = 50_000
"""Features of a row group, about: the unit that readers fetch, and that is sorted in memory."""
_KEY = "hilbert"


def write_parquet(source: Path, path: Path, crs: CRS | None, geometry_type: str) -> None:
    """Write the features of a GeoPackage as GeoParquet, zstd-compressed, with a column of bounding boxes.

    Neighbouring features lie in the same row group, so a reader fetches few groups for a window. They are
    sorted in parts, in a temporary folder beside the file.

    Parameters
    ----------
    source
        A GeoPackage with the columns of `features.schema`.
    path
        The file to make.
    crs
        CRS of the coordinates.
    geometry_type
        `Polygon` or `MultiPolygon`.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    try:
        bounds = _bounds(source)
        with TemporaryDirectory(dir=path.parent) as folder:
            parts = _partition(source, Path(folder), bounds)
            _merge(parts, path, _geo_metadata(crs, geometry_type, bounds))
    except (OSError, pa.ArrowException) as error:
        path.unlink(missing_ok=True)
        raise unusable_place(path, error) from error


def _bounds(source: Path) -> tuple[float, ...]:
    every = [shapely.total_bounds(_geometry(batch)) for batch in _batches(source)]
    low, high = np.min(every, axis=0, initial=np.inf), np.max(every, axis=0, initial=-np.inf)
    return (*low[:2].tolist(), *high[2:].tolist()) if every else (0.0, 0.0, 0.0, 0.0)


def _batches(source: Path) -> Iterator[pa.RecordBatch]:
    with read_features(source) as reader:
        yield from reader


def _geometry(batch: pa.RecordBatch) -> NDArray[np.object_]:
    return np.asarray(shapely.from_wkb(batch.column("geom").to_numpy(zero_copy_only=False)))


def _keys(batch: pa.RecordBatch, bounds: tuple[float, ...]) -> NDArray[np.uint32]:
    """Return the position of features along the Hilbert curve, by the middle of their boxes."""
    series = gpd.GeoSeries(_geometry(batch))
    return np.asarray(series.hilbert_distance(total_bounds=bounds, level=16).to_numpy(np.uint32))


def _partition(source: Path, folder: Path, bounds: tuple[float, ...]) -> list[Path]:
    """Divide the features into files along the curve, each small enough to be sorted in memory."""
    keys = np.sort(np.concatenate([_keys(b, bounds) for b in _batches(source)] or [np.empty(0, np.uint32)]))
    limits = np.unique(keys[_GROUP::_GROUP])
    paths = [folder / f"{i}.arrow" for i in range(len(limits) + 1)]
    writers: dict[int, Any] = {}
    for batch in _batches(source):
        key = _keys(batch, bounds)
        keyed = batch.append_column(_KEY, pa.array(key))
        part = np.searchsorted(limits, key, side="right")
        for i in np.unique(part).tolist():
            if i not in writers:
                writers[i] = pa.ipc.new_file(paths[i], keyed.schema)
            writers[i].write_batch(keyed.filter(pa.array(part == i)))
    if not writers:
        with read_features(source) as reader:
            schema = reader.schema.append(pa.field(_KEY, pa.uint32()))
        writers[0] = pa.ipc.new_file(paths[0], schema)
    for writer in writers.values():
        writer.close()
    return [paths[i] for i in sorted(writers)]


def _merge(parts: list[Path], path: Path, geo: dict[str, Any]) -> None:
    """Sort each part and append it to the file."""
    writer = None
    for part in parts:
        with pa.ipc.open_file(part) as file:
            table = file.read_all()
        table = table.sort_by([(_KEY, "ascending"), ("id", "ascending")]).drop_columns(_KEY)
        boxes = shapely.bounds(shapely.from_wkb(table["geom"].to_numpy(zero_copy_only=False)))
        names = ("xmin", "ymin", "xmax", "ymax")
        box = pa.StructArray.from_arrays([pa.array(column) for column in boxes.T], names)
        table = table.rename_columns(["geometry" if n == "geom" else n for n in table.column_names])
        table = table.append_column("bbox", box)
        # The metadata of columns in GDAL's stream is read by GDAL alone.
        plain = pa.schema([pa.field(f.name, f.type) for f in table.schema])
        table = table.cast(plain.with_metadata({b"geo": json.dumps(geo).encode()}))
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=_GROUP)
    if writer is not None:
        writer.close()


def _geo_metadata(crs: CRS | None, geometry_type: str, bounds: tuple[float, ...]) -> dict[str, Any]:
    corners = {n: ["bbox", n] for n in ("xmin", "ymin", "xmax", "ymax")}
    column = {
        "encoding": "WKB",
        "geometry_types": [geometry_type],
        "crs": None if crs is None else crs.proj.to_json_dict(),
        "bbox": list(bounds),
        "covering": {"bbox": corners},
    }
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
