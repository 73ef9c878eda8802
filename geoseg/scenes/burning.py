"""Label codes from polygons: the features of a window are read, reprojected and burned into its pixels."""

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError
from rasterio.features import rasterize

from geoseg.core.errors import SceneError, did_you_mean, one_line
from geoseg.core.geometry import Window
from geoseg.core.legend import UNLABELLED
from geoseg.core.paths import plain_path
from geoseg.scenes.versions import FileVersion, version_of

VECTOR_SUFFIXES = frozenset({".gpkg", ".geojson", ".json", ".shp", ".fgb", ".parquet", ".geoparquet"})

# To silence a warning, rasterio changes the warning filters of the whole process while it burns: with two
# threads at once, the warning would appear.
_burning = threading.Lock()

_COLUMNS = ("class_id", "class_name")
_POLYGON, _MULTIPOLYGON = 3, 6


@dataclass(frozen=True)
class PolygonCodes:
    """A layer of polygons with a class each, read as codes."""

    path: str
    layer: str
    attribute: str
    """The column with the class."""
    names: tuple[tuple[str, int], ...]
    """Code of each class name in that column; names are case-folded."""
    crs: CRS
    extent: BoundingBox
    """Extent in the layer's CRS."""
    version: FileVersion
    only: int = UNLABELLED
    """Code of every polygon where `attribute` is empty."""

    def identity(self) -> dict[str, Any]:
        """Return the version of the file, layer, column and names."""
        version = self.version
        return {
            "files": [[version.path, version.size, version.stamp]],
            "layer": self.layer,
            "attribute": self.attribute,
            "names": [list(pair) for pair in self.names],
        }

    def read(self, geobox: GeoBox, window: Window) -> NDArray[np.int32]:
        """Return the codes of a window, shape (rows, cols); a polygon owns the pixels whose centre it covers.

        Of several polygons on a pixel, the one with the highest feature id owns it, which is the last in the
        file (FlatGeobuf sorts features when it is written). Only features that touch the window are read;
        those without a class are ignored.
        """
        shapes, codes, _ = self.features(geobox, window)
        if not len(shapes):
            return np.full(window.shape, UNLABELLED, dtype=np.int32)
        return burn(shapes, codes, window.shape, UNLABELLED)

    def features(self, geobox: GeoBox, window: Window) -> tuple[NDArray[Any], list[int], NDArray[np.int64]]:
        """Return the polygons that touch a window, their codes and their feature ids, by id.

        Coordinates are columns and negative rows from the window's upper left corner. Features without a
        class are left out.
        """
        part = geobox[window.rows.start : window.rows.stop, window.cols.start : window.cols.stop]
        # One pixel more on each side: in another CRS the border of a window is not straight.
        bbox = bounds_in(self.crs, part.pad(1))
        with _as_scene_errors(self.path), plain_path(self.path) as plain:
            frame = pyogrio.read_dataframe(
                plain, layer=self.layer, columns=[self.attribute] if self.attribute else [], bbox=bbox,
                fid_as_index=True,
            )  # fmt: skip
        # A spatial index may return features in any order.
        known = frame[self.attribute].notna() if self.attribute else True
        frame = frame[known & frame.geometry.notna()].sort_index()
        frame = frame[np.isin(shapely.get_type_id(frame.geometry.values), (_POLYGON, _MULTIPOLYGON))]
        codes = self._codes(frame[self.attribute].tolist()) if self.attribute else [self.only] * len(frame)
        placed = frame.geometry if self.crs == geobox.crs else frame.geometry.to_crs(geobox.crs.proj)
        to_pixel = ~geobox.transform

        def in_pixels(xy: NDArray[np.float64]) -> NDArray[np.float64]:
            col, row = to_pixel @ (xy[:, 0], xy[:, 1])
            # Rounded to a millionth of a pixel: whether a line passes through the centre of a pixel must not
            # depend on the window.
            return np.column_stack(
                [np.round(col, 6) - window.cols.start, window.rows.start - np.round(row, 6)]
            )

        return shapely.transform(placed.values, in_pixels), codes, frame.index.to_numpy(np.int64)

    def _codes(self, values: list[Any]) -> list[int]:
        known = dict(self.names)
        return [self._code(v, known) for v in values]

    def _code(self, value: Any, known: Mapping[str, int]) -> int:
        if not isinstance(value, str):
            # A column of the wrong type may contain dates or lists.
            if isinstance(value, int | float) and math.isfinite(value) and value == int(value):
                return int(value)
            raise SceneError(f"{self.path}: {self.attribute} is {value}; classes are whole numbers or names")
        text = value.strip()
        if text.casefold() in known:
            return known[text.casefold()]
        if text.removeprefix("-").isdecimal():
            return int(text)
        names = ", ".join(sorted(known)) or "none: give a legend"
        raise SceneError(
            f"{self.path}: {self.attribute} {value!r} is no class{did_you_mean(text.casefold(), known)}; "
            f"known: {names}"
        )


def burn(
    shapes: Iterable[Any], codes: Iterable[int], shape: tuple[int, int], fill: int, row: int = 0, col: int = 0
) -> NDArray[np.int32]:
    """Burn polygons into an array (rows, cols) whose first pixel is at a row and a column.

    Coordinates as of `PolygonCodes.features`; a polygon owns the pixels whose centre it covers, the last of
    several.
    """
    with _burning:
        burned = rasterize(
            zip(shapes, codes, strict=True), out_shape=shape, fill=fill, dtype="int32",
            transform=Affine(1, 0, col, 0, -1, -row),
        )  # fmt: skip
    return np.asarray(burned, dtype=np.int32)


def open_polygons(
    path: str,
    geobox: GeoBox,
    attribute: str | None,
    names: Mapping[str, int],
    layer: str | None,
    only: int | None = None,
) -> PolygonCodes:
    """Open a layer of polygons; parameters and errors as `geoseg.scenes.labels.open_labels`.

    With `only`, polygons that have no usual column of classes all have that code.
    """
    if geobox.crs is None:
        raise SceneError(f"{path}: polygons need a scene with a CRS; burn them into a raster of its shape")
    version = version_of(path)
    if Path(path).suffix.lower() in (".parquet", ".geoparquet"):
        raise SceneError(f"{path}: GeoParquet is not read; convert it: ogr2ogr labels.gpkg {path}")
    with _as_scene_errors(path), plain_path(path) as plain:
        chosen = layer or _only_layer(path)
        info = pyogrio.read_info(plain, layer=chosen, force_total_bounds=True)
    kind = str(info["geometry_type"])
    if kind.split(maxsplit=1)[0] not in ("Polygon", "MultiPolygon", "2.5D", "Unknown", "GeometryCollection"):
        raise SceneError(f"{path}: layer {chosen} holds {kind}; labels are polygons")
    if info["crs"] is None:
        raise SceneError(
            f"{path}: layer {chosen} has no CRS; give it one: ogr2ogr -a_srs EPSG:CODE labels.gpkg {path}"
        )
    if info["total_bounds"] is None or not np.isfinite(info["total_bounds"]).all():
        raise SceneError(f"{path}: layer {chosen} holds no polygon")
    crs = CRS(info["crs"])
    codes = tuple(sorted({n.strip().casefold(): c for n, c in names.items()}.items()))
    fields = [str(f) for f in info["fields"]]
    bare = only is not None and attribute is None and not set(_COLUMNS) & set(fields)
    column = "" if bare else _column(path, attribute, fields)
    extent = BoundingBox(*map(float, info["total_bounds"]), crs=crs)
    return PolygonCodes(
        path, chosen, column, codes, crs, extent, version, UNLABELLED if only is None else only
    )


def bounds_in(crs: CRS, geobox: GeoBox) -> tuple[float, float, float, float]:
    """Return left, bottom, right and top of a grid in a CRS."""
    bounds = tuple(map(float, geobox.boundingbox.bbox))
    if crs != geobox.crs:
        bounds = geobox.crs.transformer(crs).transform_bounds(*bounds, densify_pts=21)
    left, bottom, right, top = bounds
    return left, bottom, right, top


def _column(path: str, attribute: str | None, have: list[str]) -> str:
    for name in _COLUMNS if attribute is None else (attribute,):
        if name in have:
            return name
    columns = ", ".join(have) or "none"
    if attribute is None:
        raise SceneError(f"{path}: which column holds the class? say it with attribute; columns: {columns}")
    raise SceneError(f"{path}: no column {attribute!r}{did_you_mean(attribute, have)}; columns: {columns}")


def _only_layer(path: str) -> str:
    with plain_path(path) as plain:
        layers = [str(name) for name, kind in pyogrio.list_layers(plain) if kind is not None]
    if len(layers) != 1:
        found = ", ".join(layers) or "none"
        raise SceneError(f"{path}: which layer? say it with layer; layers with geometry: {found}")
    return layers[0]


@contextmanager
def _as_scene_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (DataSourceError, DataLayerError, FeatureError) as error:
        raise SceneError(f"{path}: cannot be read as polygons: {one_line(error)}") from error
