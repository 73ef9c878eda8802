"""One way to read polygon files of all formats."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely.affinity import translate

from geoseg.core.legend import NODATA
from geoseg.core.paths import plain_path

FORMATS = ("gpkg", "fgb", "parquet", "geojson")
"""The first format that a run wrote is checked against the map."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


@dataclass(frozen=True)
class PolygonFile:
    """A polygon file with its only layer."""

    path: Path
    name: str | None = None
    """Name of the layer, for formats that can have several."""
    around: float | None = None
    """Longitude of the map's middle: where coordinates are degrees, polygons are turned to its side."""
    column: str = "class_id"
    """Column by which polygons are told apart."""
    codes: Mapping[str, int] | None = None
    """Ids of the texts of that column; None where it has ids."""

    @property
    def _is_parquet(self) -> bool:
        return self.path.suffix == ".parquet"

    @cached_property
    def crs(self) -> CRS | None:
        """CRS of the coordinates."""
        if self._is_parquet:
            geo = json.loads(pq.read_schema(self.path).metadata[b"geo"])
            found = geo["columns"][geo["primary_column"]].get("crs", "OGC:CRS84")
            return None if found is None else CRS.from_user_input(found)
        with plain_path(self.path) as plain:
            text = pyogrio.read_info(plain, layer=self.name)["crs"]
        crs = None if text is None else CRS.from_user_input(text)
        # A GeoPackage names the absence of a CRS.
        return None if crs is None or crs.name.lower().startswith("undefined") else crs

    @cached_property
    def attributes(self) -> pa.Table:
        """All columns but the geometry."""
        if self._is_parquet:
            names = pq.read_schema(self.path).names
            return pq.read_table(self.path, columns=[n for n in names if n not in {"geometry", "bbox", "id"}])
        with plain_path(self.path) as plain:
            _, table = pyogrio.read_arrow(plain, layer=self.name, read_geometry=False)
        return table.drop_columns([n for n in table.column_names if n == "id"])

    def polygons(self, box: Box | None = None) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """Return geometries and class ids of the features, optionally of those that intersect a box."""
        around = self.around if self.crs is not None and self.crs.is_geographic else None
        if box is not None and around is not None and not -180 < box[0] < box[2] < 180:
            box = (-540, box[1], 540, box[3])  # it may be stored a turn away
        if self._is_parquet:
            frame = gpd.read_parquet(self.path, columns=["geometry", "class_id"], bbox=box)
            geometry, ids = np.asarray(frame.geometry.values), frame.class_id.to_numpy(np.int64)
        else:
            with plain_path(self.path) as plain:
                _, _, wkb, (ids,) = pyogrio.raw.read(plain, layer=self.name, columns=[self.column], bbox=box)
            if self.codes is not None:
                ids = np.array([self.codes.get(text, NODATA) for text in ids], np.int64)
            geometry, ids = np.asarray(shapely.from_wkb(wkb)), ids.astype(np.int64)
        return geometry if around is None else _turned(geometry, around), ids


def _turned(geometry: NDArray[np.object_], around: float) -> NDArray[np.object_]:
    """Move the parts of polygons by whole turns to within 180 degrees of a longitude, and join them there."""
    west, _, east, _ = shapely.bounds(geometry).T
    turned = geometry.copy()
    for i in np.flatnonzero((west < around - 180 - 1e-6) | (east > around + 180 + 1e-6)):
        parts = shapely.get_parts(geometry[i])
        middles = shapely.bounds(parts)[:, 0::2].mean(axis=1)
        turns = 360 * np.round((around - middles) / 360)
        moved = [translate(p, turn) for p, turn in zip(parts, turns.tolist(), strict=True)]
        turned[i] = shapely.union_all(moved)
    return turned


@dataclass(frozen=True)
class ProjectedLayer:
    """A layer whose coordinates are transformed to the CRS of the map."""

    layer: PolygonFile
    back: Transformer | None
    """From the layer's CRS to that of the map; None when they are the same."""

    @classmethod
    def on(cls, layer: PolygonFile, crs: CRS | None) -> "ProjectedLayer":
        """Transform a layer to a CRS."""
        if layer.crs is None or crs is None or same_crs(layer.crs, crs):
            return cls(layer, None)
        return cls(layer, Transformer.from_crs(layer.crs, crs, always_xy=True))

    def polygons(self, box: Box | None = None) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """Return geometries and class ids of the features; a box selects those near it."""
        if self.back is None:
            return self.layer.polygons(box)
        there = None
        if box is not None:
            west, south, east, north = self.back.transform_bounds(*box, direction="INVERSE")
            if west > east:
                west, east = -180, 180  # across the antimeridian
            margin = 1e-3 * max(east - west, north - south)
            there = (west - margin, south - margin, east + margin, north + margin)
        geometry, ids = self.layer.polygons(there)
        return np.asarray(shapely.transform(geometry, self.points)), ids

    def points(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transform coordinates (x, y) of the layer to the CRS of the map, shape (N, 2)."""
        if self.back is None:
            return xy
        return np.stack(self.back.transform(*xy.T), axis=1)


def same_crs(one: CRS, other: CRS) -> bool:
    """Return whether two CRS are equal up to axis order and naming."""
    if one.equals(other, ignore_axis_order=True):
        return True
    codes = one.to_authority(), other.to_authority()
    # GeoJSON's CRS84 is EPSG:4326 with longitude first.
    named = {"EPSG:4326" if code == ("OGC", "CRS84") else ":".join(code) for code in codes if code}
    return None not in codes and len(named) == 1
