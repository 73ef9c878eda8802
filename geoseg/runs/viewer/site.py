"""What a browser may ask of the map of a run, and the answers; nothing of this listens or writes."""

import gzip
import importlib
import importlib.util
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.windows import Window

from geoseg.core.errors import OutputError
from geoseg.core.run_files import RunFile
from geoseg.core.sharing import shared_path
from geoseg.report.html import read_template
from geoseg.runs.finished import Run, open_run
from geoseg.runs.viewer.layers import MapLayer, map_layers
from geoseg.runs.viewer.polygons import Polygons, polygons_of
from geoseg.runs.viewer.scene import SceneTiles, scene_tiles
from geoseg.runs.viewer.tiles import Place, deepest_zoom
from geoseg.scenes import sources
from geoseg.scenes.grid import gsd_m
from geoseg.storage.store import open_store

_TILE = re.compile(
    r"(tiles/(?P<layer>[a-z]+)|polygons)/(?P<z>\d{1,2})/(?P<x>\d{1,8})/(?P<y>\d{1,8})\.(png|mvt)"
)
_OWN = {"": ("view.html", "text/html"), "view.js": ("view.js", "text/javascript"),
        "view.css": ("view.css", "text/css")}  # fmt: skip
_LIBRARY = {"maplibre-gl.js": "text/javascript", "maplibre-gl.css": "text/css"}


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    body: bytes = b""
    kind: str = "text/plain"
    status: int = 200
    lasting: bool = False
    """Whether the browser may keep it as long as the map is served."""
    gzipped: bool = False


ABSENT = Answer(b"not part of this map\n", status=404)


@dataclass(frozen=True)
class Site:
    """The map of one run."""

    run: Run
    folder: Path
    geobox: GeoBox
    """The grid of its maps."""
    layers: dict[str, MapLayer]
    bounds: tuple[float, float, float, float]
    """West, south, east and north in degrees; east is beyond 180 where the map crosses the antimeridian."""
    scene: SceneTiles | None
    polygons: Polygons | None
    notes: list[str]
    """What the user is told of both."""

    def answer(self, path: str, query: str = "") -> Answer:
        """Answer a request for a path below the address of the map, without a slash at its beginning.

        No path leads to a file: each is compared with what there is.

        Raises
        ------
        OSError, rasterio.errors.RasterioError, GeosegError
            When a file of the run or of its scene cannot be read.
        """
        if path in _OWN:
            name, kind = _OWN[path]
            return Answer(read_template(f"viewer/{name}").encode(), kind)
        if path in _LIBRARY:
            return Answer((_library() / path).read_bytes(), _LIBRARY[path], lasting=True)
        if path == "map.json":
            return _json(self._about())
        if path == "pixel.json":
            return self._pixel(query)
        if path == "polygons.json" and self.polygons is not None and self.polygons.whole is not None:
            return Answer(gzip.compress(self.polygons.whole(), 1), "application/geo+json", gzipped=True)
        asked = _TILE.fullmatch(path)
        return ABSENT if asked is None else self._tile(asked)

    def _tile(self, asked: re.Match[str]) -> Answer:
        place, name = Place(*(int(asked[part]) for part in "zxy")), _layer_of(asked)
        if not place.exists:
            return ABSENT
        if name == "polygons":
            data = None if self.polygons is None else self.polygons.tile(place)
            if data is None:
                return Answer(status=204)
            return Answer(data, "application/vnd.mapbox-vector-tile", lasting=True, gzipped=True)
        layer = self.scene if name == "scene" else self.layers.get(name)
        return ABSENT if layer is None else Answer(layer.tile(place), "image/png", lasting=True)

    def _about(self) -> dict[str, Any]:
        """Return all that the page must know."""
        record, scene = self.run.record, self.scene
        deepest = deepest_zoom(gsd_m(self.geobox), (self.bounds[1] + self.bounds[3]) / 2)
        layers: list[dict[str, Any]] = [
            {"name": m.name, "title": m.title, "maxzoom": deepest, "legend": m.legend, "ramp": m.ramp}
            for m in self.layers.values()
        ]
        return {
            "title": f"{record.name}: {shared_path(record.plan.scene)}",
            "bounds": self.bounds,
            "layers": layers,
            "scene": None if scene is None else {"title": scene.title, "maxzoom": deepest},
            "polygons": None if self.polygons is None else self.polygons.about,
            "notes": self.notes,
        }

    def _pixel(self, query: str) -> Answer:
        """Tell what the maps say at a longitude and latitude."""
        fields = parse_qs(query)
        try:
            lon, lat = (float(fields[name][0]) for name in ("lon", "lat"))
            to_map = Transformer.from_crs("EPSG:4326", self.geobox.crs.proj, always_xy=True)
            x, y = to_map.transform(lon, lat)
            col, row = (math.floor(v) for v in ~self.geobox.transform @ (x, y))
        except (LookupError, ValueError, OverflowError, ProjError):
            return ABSENT
        height, width = self.geobox.shape
        said: list[tuple[str, str]] = [("Place", f"{lat:.6f}, {lon:.6f}")]
        if 0 <= row < height and 0 <= col < width:
            said += [("Pixel", f"column {col}, row {row}"), ("Coordinates", f"{x:.10g}, {y:.10g}")]
            said += [(m.title, _at(m, col, row)) for m in self.layers.values()]
        return _json({"rows": said})


def _layer_of(asked: re.Match[str]) -> str:
    """Return the layer of a tile, `polygons` of a vector tile; nothing when the suffix is not that of it."""
    layer, suffix = asked["layer"], asked[0].rpartition(".")[2]
    if layer is None:
        return "polygons" if suffix == "mvt" else ""
    return layer if suffix == "png" and layer != "polygons" else ""


def open_site(place: Path | str) -> Site:
    """Make the map of a finished run.

    Raises
    ------
    OutputError
        When the folder holds no finished run or lies in an object store, its maps are gone, or they have no
        place on the earth.
    """
    importlib.import_module("rio_tiler.io")  # before there are threads, see `Raster.tile`
    store = open_store(place)
    if store.local is None:
        raise OutputError(
            f"{store.at(RunFile.RECORD)}: lies in an object store; copy the run to this machine"
        )
    run, folder = open_run(place), store.local
    layers = {m.name: m for m in map_layers(run.record, folder)}
    if not layers:
        raise OutputError(f"{place}: holds no map that can be shown; its page may: geoseg view {place}")
    geobox = sources.inspect(next(iter(layers.values())).raster.path).geobox
    try:
        bounds = bounds_of(geobox)
    except ProjError:
        raise OutputError(
            f"{place}: its map has no place on the earth, so a web map cannot show it; "
            f"its page {RunFile.PAGE} shows it whole: geoseg view {place}"
        ) from None
    scene, of_scene = scene_tiles(run.record.identity["scene"], folder, (bounds[1] + bounds[3]) / 2)
    polygons, of_polygons = polygons_of(run, folder)
    notes = [note for note in (of_scene, of_polygons) if note]
    return Site(run, folder, geobox, layers, bounds, scene, polygons, notes)


def bounds_of(geobox: GeoBox) -> tuple[float, float, float, float]:
    """Return west, south, east and north in degrees.

    Raises
    ------
    ProjError
        When the grid has no place on the earth.
    """
    if geobox.crs is None:
        raise ProjError("no CRS")
    to_earth = Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
    west, south, east, north = to_earth.transform_bounds(*geobox.boundingbox.bbox)
    if not all(map(math.isfinite, (west, south, east, north))):
        raise ProjError("no finite place")
    return west, south, east + 360 if east < west else east, north


def _at(layer: MapLayer, col: int, row: int) -> str:
    """Return what a pixel of a map says."""
    with rasterio.open(layer.raster.path) as source:
        values = source.read(window=Window(col, row, 1, 1), masked=True)[:, 0, 0]
    if np.ma.getmaskarray(values).any() or not np.isfinite(values.data).all():
        return "no data"
    return layer.say(values)


def _json(value: Any) -> Answer:
    return Answer(json.dumps(value, ensure_ascii=False).encode(), "application/json")


def _library() -> Path:
    """Return the folder of the package `maplibre` with its scripts; the package itself is not imported."""
    found = importlib.util.find_spec("maplibre")
    if found is None or found.origin is None:
        raise OutputError("the package maplibre has gone")
    return Path(found.origin).parent / "srcjs"
