"""Read areas of interest as users give them: a file, WKT, GeoJSON, or a box in degrees."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS, CRSError

from geoseg.config.area import Area, Bbox, Box, Geometry
from geoseg.config.fields import check_number
from geoseg.core.errors import ConfigError, SceneError, listed, one_line
from geoseg.core.paths import at_home, plain_path
from geoseg.core.secrets import redact
from geoseg.scenes.remote import has_version, is_remote, read_uri, uri_of

WGS84 = CRS("EPSG:4326")
"""Longitude and latitude: the CRS of WKT, GeoJSON and boxes."""

_MOST_SHOWN = 60
_MOST_BYTES = 100_000_000
_WKT = re.compile(
    r"\s*(?:SRID=(?P<srid>\d{1,6});\s*)?(?P<wkt>(?:POLYGON|MULTIPOLYGON|GEOMETRYCOLLECTION|POINT|MULTIPOINT|"
    r"LINESTRING|MULTILINESTRING)\s*(?:Z|M|ZM)?\s*(?:\(|EMPTY).*)",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_FOUR = re.compile(rf"\s*\[?\s*{_NUMBER}(?:\s*[,\s]\s*{_NUMBER}){{3}}\s*\]?\s*", re.IGNORECASE)
_LAYER = re.compile(r"\|layer(?:name)?=")
_POLYGON, _MULTIPOLYGON, _COLLECTION = 3, 6, 7
_BEYOND = 1e-6
"""Degrees: rounding errors of what ends at a pole."""


@dataclass(frozen=True, eq=False)
class GivenArea:
    """An area of interest, before it is brought to a scene."""

    source: str
    """What was given, without credentials; of WKT and GeoJSON the begin."""
    polygons: NDArray[np.object_]
    """Valid polygons; they may overlap."""
    crs: CRS


def read_area(area: Area) -> GivenArea:
    """Read an area of interest; parameters and errors as `geoseg.scenes.aoi.resolve_aoi`."""
    geometry, crs, source = _read(area)
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise ConfigError(f"{source}: has coordinates that are not finite")
    polygons = polygons_of(geometry)
    if not len(polygons):
        kinds = dict.fromkeys(str(g.geom_type) for g in geometry if g is not None and not g.is_empty)
        kinds = {k: None for k in kinds if k not in {"Polygon", "MultiPolygon"}}
        holds = f"holds {listed(kinds, 3)} and no polygon" if kinds else "is empty: it covers no area"
        raise ConfigError(f"{source}: {holds}; an area of interest is made of polygons")
    west, south, east, north = shapely.total_bounds(polygons)
    if crs.geographic and (max(-west, east) > 360 + _BEYOND or max(-south, north) > 90 + _BEYOND):
        raise ConfigError(
            f"{source}: its coordinates reach from {west:.7g}, {south:.7g} to {east:.7g}, {north:.7g}: these "
            "are no degrees of longitude and latitude; give it as a file with its CRS"
        )
    return GivenArea(source, polygons, crs)


def polygons_of(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the valid polygons of geometries of any kind, whose rings may cross themselves."""
    parts = geometry[~(shapely.is_missing(geometry) | shapely.is_empty(geometry))]
    while (shapely.get_type_id(parts) == _COLLECTION).any():
        parts = shapely.get_parts(parts)
    parts = shapely.force_2d(parts[np.isin(shapely.get_type_id(parts), (_POLYGON, _MULTIPOLYGON))])
    bad = ~shapely.is_valid(parts)
    parts[bad] = shapely.make_valid(parts[bad], method="structure", keep_collapsed=False)
    parts = shapely.get_parts(parts)
    found: NDArray[np.object_] = parts[(shapely.get_type_id(parts) == _POLYGON) & (shapely.area(parts) > 0)]
    return found


def _read(area: Area) -> tuple[NDArray[np.object_], CRS, str]:
    """Return the geometries of an area, their CRS and what it is called in messages."""
    if isinstance(area, Box):
        return _read(area.bbox)
    if isinstance(area, tuple):
        return _in_box(area), WGS84, f"bbox {', '.join(f'{v:g}' for v in area)}"
    if isinstance(area, Geometry):
        return _read_json(json.dumps(area.model_dump(mode="json")))
    if _FOUR.fullmatch(area):
        numbers = tuple(float(n) for n in re.findall(_NUMBER, area, re.IGNORECASE))
        check_number(numbers, Bbox, "aoi", ConfigError)
        return _read((numbers[0], numbers[1], numbers[2], numbers[3]))
    if found := _WKT.fullmatch(area):
        return _read_wkt(found["wkt"], found["srid"])
    return _read_json(area) if area.lstrip().startswith("{") else _read_file(at_home(area))


def _in_box(box: tuple[float, float, float, float]) -> NDArray[np.object_]:
    west, south, east, north = box
    if west > east:
        west, east = (west, east + 360) if east <= 0 else (west - 360, east)
    return np.array([shapely.box(west, south, east, north)], dtype=object)


def _read_wkt(text: str, srid: str | None) -> tuple[NDArray[np.object_], CRS, str]:
    source = f"aoi {_shown(text)}"
    try:
        crs = WGS84 if srid is None else CRS(f"EPSG:{srid}")
        return np.array([shapely.from_wkt(text)], dtype=object), crs, source
    except shapely.errors.ShapelyError as error:
        raise ConfigError(f"aoi: is no valid WKT: {one_line(error)[:120]} (in {_shown(text)})") from None
    except CRSError:
        raise ConfigError(f"aoi: there is no CRS EPSG:{srid}, as its SRID says") from None


def _read_json(text: str) -> tuple[NDArray[np.object_], CRS, str]:
    import pyogrio  # noqa: PLC0415 (slow, and most runs have no area of interest)

    source = f"aoi {_shown(text)}"
    with _as_config_errors("aoi: GeoJSON"):
        meta, _, found, _ = pyogrio.raw.read(text.encode(), columns=[], force_2d=True)
        return shapely.from_wkb(found), CRS(meta["crs"] or WGS84), source


def _read_file(text: str) -> tuple[NDArray[np.object_], CRS, str]:
    import pyogrio  # noqa: PLC0415 (as above)

    path, *layer = _LAYER.split(text, maxsplit=1)
    source = redact(text)
    if Path(path).suffix.lower() in (".parquet", ".geoparquet"):
        raise ConfigError(f"{source}: GeoParquet is not read; convert it: ogr2ogr aoi.gpkg {source}")
    if not (is_remote(path) or path.startswith("/vsi") or _exists(path)):
        raise ConfigError(
            f"{_shown(source)}: no such file, and neither WKT, GeoJSON nor a box of four numbers (west, "
            "south, east, north); an area of interest is one of them"
        )
    with _as_config_errors(source), _readable(path) as plain:
        chosen = layer[0] if layer else _only_layer(plain, source)
        meta, _, found, _ = pyogrio.raw.read(plain, layer=chosen, columns=[], force_2d=True)
        if found is None:
            raise ConfigError(f"{source}: layer {chosen} has no geometry; name another: {path}|layer=NAME")
        geometry = shapely.from_wkb(found)
    if meta["crs"] is None and len(geometry):
        raise ConfigError(
            f"{source}: has no CRS, so its place is unknown; give it one: ogr2ogr -a_srs EPSG:CODE aoi.gpkg "
            f"{source}"
        )
    return geometry, CRS(meta["crs"] or WGS84), source


@contextlib.contextmanager
def _readable(path: str) -> Iterator[str | bytes]:
    """Yield what pyogrio reads: of a URL the content, since GDAL would show the URL with its secrets."""
    if not has_version(path):
        with plain_path(path) as plain:
            yield plain
        return
    try:
        data = read_uri(uri_of(path), _MOST_BYTES)
    except SceneError as error:
        raise ConfigError(str(error)) from None
    if data is None:
        raise ConfigError(f"{redact(path)}: no such file")
    yield data


def _only_layer(path: str | bytes, source: str) -> str:
    import pyogrio  # noqa: PLC0415 (as above)

    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if len(layers) != 1:
        found = listed(layers, 5) or "none"
        raise ConfigError(f"{source}: which layer? write {source}|layer=NAME; layers with geometry: {found}")
    return layers[0]


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, or with a NUL
        return False


def _shown(text: str) -> str:
    """Return the begin of a text, for messages and records."""
    plain = " ".join(text.split())
    return plain if len(plain) <= _MOST_SHOWN else f"{plain[: _MOST_SHOWN - 3]}..."


@contextlib.contextmanager
def _as_config_errors(source: str) -> Iterator[None]:
    from pyogrio import errors  # noqa: PLC0415 (as above)

    try:
        yield
    except (
        errors.DataSourceError, errors.DataLayerError, errors.FeatureError, errors.GeometryError,
        shapely.errors.ShapelyError, CRSError, OSError,
    ) as error:  # fmt: skip
        raise ConfigError(f"{source}: cannot be read as polygons: {one_line(error)[:150]}") from error
