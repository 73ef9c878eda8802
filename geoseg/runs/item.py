"""A run as a STAC item (SpatioTemporal Asset Catalog 1.1), which catalogs and data cubes read."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import antimeridian
import numpy as np
import pystac
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pyproj.exceptions import ProjError
from pystac.extensions.classification import Classification
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension

import geoseg
from geoseg.core.legend import NODATA
from geoseg.core.notices import ignore_warnings
from geoseg.core.run_files import RunFile
from geoseg.core.sharing import shared_path
from geoseg.models.bundle import CARD, Bundle
from geoseg.models.ensemble import members_of
from geoseg.scenes.areas import polygons_of
from geoseg.scenes.scene import Scene
from geoseg.vector.write.antimeridian import cut_at_antimeridian

# pystac has no classes for these extensions, or only for older versions.
_RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
_PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"

MULTIHASH_SHA256 = "1220"
"""Prefix of a multihash: the code of sha2-256 and its length, 32 bytes."""

_KINDS = {
    ".tif": (pystac.MediaType.COG, ["data"]),
    ".gpkg": (pystac.MediaType.GEOPACKAGE, ["data"]),
    ".parquet": (pystac.MediaType.VND_APACHE_PARQUET, ["data"]),
    ".fgb": (pystac.MediaType.FLATGEOBUF, ["data"]),
    ".geojson": (pystac.MediaType.GEOJSON, ["data"]),
    ".pmtiles": (pystac.MediaType.VND_PMTILES, ["visual"]),
    ".png": (pystac.MediaType.PNG, ["overview"]),
    ".jpg": (pystac.MediaType.JPEG, ["overview"]),
    ".html": (pystac.MediaType.HTML, ["metadata"]),
    ".json": (pystac.MediaType.JSON, ["metadata"]),
    ".xml": (pystac.MediaType.XML, ["metadata"]),
    ".qml": (pystac.MediaType.XML, ["style"]),
    ".sld": ("application/vnd.ogc.sld+xml", ["style"]),
    ".qgz": ("application/vnd.qgis.qgz", ["style"]),
    ".vrt": (pystac.MediaType.XML, ["visual"]),
    ".style.json": ("application/vnd.mapbox.style+json", ["style"]),
}
"""Media type and roles by suffix, or by all suffixes."""

_TITLES: dict[str, str] = {
    RunFile.CLASSES: "Class map",
    RunFile.CONFIDENCE: "Probability of the chosen class",
    RunFile.PROBABILITIES: "Probability of each class",
    RunFile.STRANGENESS: "How far each pixel is from the training pixels of the network",
    RunFile.DISAGREEMENT: "Disagreement of the networks of the ensemble",
    RunFile.OBSERVATIONS: "Clear observations of each pixel",
    RunFile.INSTANCES: "Number of the object",
    RunFile.COCO: "COCO results of the objects",
    RunFile.LABELS: "Labels: 1 where a pixel has one",
    RunFile.GEOPACKAGE: "Polygons of the classes",
    RunFile.DOUBT: "Outlines of what is not to be trusted",
    RunFile.POLYGONS_STYLE: "MapLibre style of the vector tiles",
    RunFile.MASK: "Class map as a picture",
    RunFile.OVERLAY_PNG: "Scene with its classes over it",
    RunFile.OVERLAY_JPG: "Scene with its classes over it",
    RunFile.PROJECT: "Project of QGIS with scene, maps and polygons",
    RunFile.SCENE_VRT: "Bands of the scene as red, green and blue",
    RunFile.QUICKLOOK: "Picture of scene and classes",
    RunFile.PAGE: "Report",
    RunFile.RECORD: "Settings, hashes, versions, areas, timings",
}


_CONTENT = {"instances": "Objects", "multilabel": "Labels"}
"""What a map holds, where that is not one class for each pixel."""

LATER = (RunFile.PAGE, RunFile.RECORD)
"""Files that are written after the item: assets without size and checksum."""


@dataclass(frozen=True)
class Output:
    """A finished file of a run."""

    path: Path
    bytes: int
    sha256: str
    """Hexadecimal digits."""


def make_item(
    name: str,
    scene: Scene,
    bundle: Bundle,
    outputs: list[Output],
    pixels: Mapping[int, int],
    *,
    folder: Path | str,
    fingerprint: str,
    finished: datetime,
    area: shapely.Polygon | shapely.MultiPolygon | None = None,
) -> dict[str, Any]:
    """Describe a run as a STAC item, with relative links to its files.

    Extensions: projection 2.0, raster 2.0, classification 2.0, processing 1.2, file 2.1. The geometry is the
    footprint of the map, or of the area of interest in it; null without a CRS.

    Parameters
    ----------
    name
        Name of the run.
    scene, bundle
        The classified scene and the model, linked as `derived_from`.
    outputs
        The files, each an asset with size and checksum. `report.html` and `run.json` become assets without
        them, because they are written after the item.
    pixels
        Pixels of each class id, and of nodata (255).
    folder
        The run folder or its URI. Files that lie with it below the current folder are linked by a relative
        path, others on this machine by their name.
    fingerprint
        Hash of everything that decides the map; its first digits make the item's id unique.
    finished
        When the run ended; also the `datetime` of the item when the acquisition time is unknown. A mosaic of
        several times has `start_datetime` and `end_datetime` instead.
    area
        The area of interest, in the CRS of the scene; None when all of the scene was mapped.

    Returns
    -------
    dict
        The item, plain values for JSON.
    """
    outline = footprint(scene.geobox, area)
    geometry = None if outline is None else json.loads(shapely.to_geojson(outline))
    period = None if _time(scene, finished) else scene.period
    item = pystac.Item(
        id=f"{name}-{fingerprint[:12]}",
        geometry=geometry,
        bbox=None if geometry is None else antimeridian.bbox(geometry),
        datetime=_time(scene, finished),
        start_datetime=None if period is None else period[0],
        end_datetime=None if period is None else period[1],
        properties=_properties(scene, bundle, finished),
        stac_extensions=[_RASTER, _CLASSIFICATION, _PROCESSING],
    )
    _project(item, scene.geobox)
    for output in outputs:
        asset = _asset(output.path.name)
        item.add_asset(_key(output.path), asset)
        checksum = MULTIHASH_SHA256 + output.sha256
        FileExtension.ext(asset, add_if_missing=True).apply(size=output.bytes, checksum=checksum)
        if output.path.suffix == ".tif":
            asset.extra_fields["bands"] = _bands(output.path, scene.gsd_m)
            if output.path.name == RunFile.VALUES and bundle.card.target is not None:
                asset.title = bundle.card.target.label
            if output.path.name == RunFile.CLASSES:
                asset.extra_fields["bands"][0]["classification:classes"] = _classes(bundle, pixels)
    for later in LATER:
        item.add_asset(later, _asset(later))
    item.add_links(_links(scene, bundle, folder))
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def footprint(
    geobox: GeoBox, area: shapely.Polygon | shapely.MultiPolygon | None = None
) -> shapely.Polygon | shapely.MultiPolygon | None:
    """Return the outline of a grid in WGS 84 longitude and latitude, cut at the antimeridian (RFC 7946).

    Return None without a CRS, or when a part of the grid lies outside the earth.

    Parameters
    ----------
    geobox
        The grid.
    area
        Polygons in its CRS: the outline is that of their part of the grid, to half a pixel.
    """
    if geobox.crs is None:
        return None
    frame = shapely.box(*geobox.boundingbox.bbox)
    outline = frame if area is None else _simpler(area.intersection(frame), geobox)
    step = max(geobox.boundingbox.span_x, geobox.boundingbox.span_y) / 8

    def place(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        lon, lat = transformer.transform(xy[:, 0], xy[:, 1], errcheck=True)
        return np.column_stack([lon, lat])

    try:
        # An engineering CRS has no way to longitude and latitude.
        transformer = Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
        lonlat = shapely.transform(shapely.segmentize(outline, step), place)
    except ProjError:
        return None
    west, south, east, north = geobox.boundingbox
    if area is None and geobox.crs.geographic and east - west > 360 - 1e-6:
        # All longitudes, wherever they begin to count.
        return shapely.box(-180, round(max(south, -90), 7), 180, round(min(north, 90), 7))
    if geobox.crs.geographic:
        (cut,) = cut_at_antimeridian(np.array([lonlat], dtype=object), (west + east) / 2)
        cut = shapely.orient_polygons(_one(cut))
    else:
        with ignore_warnings():  # of a reversed ring, which is what is wanted
            parts = shapely.MultiPolygon(shapely.get_parts(lonlat).tolist())
            cut = _one(antimeridian.fix_multi_polygon(parts))
    rounded: shapely.Polygon | shapely.MultiPolygon = shapely.transform(cut, lambda xy: np.round(xy, 7))
    return rounded  # to about a centimetre


def _simpler(area: Any, geobox: GeoBox) -> Any:
    """Return an area with as few vertices as half a pixel allows: a catalog holds many items."""
    simple = shapely.simplify(area, max(abs(geobox.resolution.x), abs(geobox.resolution.y)) / 2)
    return shapely.multipolygons(polygons_of(np.array([area if simple.is_empty else simple], dtype=object)))


def _one(area: Any) -> shapely.Polygon | shapely.MultiPolygon:
    """Return a multipolygon of one polygon as a polygon."""
    one: shapely.Polygon | shapely.MultiPolygon = area
    return one.geoms[0] if isinstance(one, shapely.MultiPolygon) and len(one.geoms) == 1 else one


def _properties(scene: Scene, bundle: Bundle, finished: datetime) -> dict[str, Any]:
    card, stamp = bundle.card, finished.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    name = shared_path(scene.name)
    finds, target = card.task == "instances", card.target
    what, how = ("searched", "their objects merged") if finds else ("classified", "blended")
    about = f"{name} {what if target is None else 'mapped'} by {card.name} {card.version} ({card.title})"
    if scene.period is None:
        about += "; it is not known when the scene was taken, datetime is that of the processing"
    properties: dict[str, Any] = {
        "title": f"{_CONTENT.get(card.task, 'Classes') if target is None else target.label} of {name}",
        "description": about,
        "created": stamp,
        "processing:datetime": stamp,
        "processing:level": "L4",
        "processing:lineage": f"Overlapping tiles of {name} through {card.name}, {how}",
        "processing:software": {"geoseg": geoseg.__version__},
    }
    return properties if scene.gsd_m is None else {**properties, "gsd": scene.gsd_m}


def _time(scene: Scene, finished: datetime) -> datetime | None:
    """Return when a scene was taken, or the map was made when that is not known; None for a period."""
    if scene.period is None:
        return finished
    first, last = scene.period
    return first if first == last else None


def _project(item: pystac.Item, geobox: GeoBox) -> None:
    crs = geobox.crs
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=f"EPSG:{crs.epsg}" if crs is not None and crs.epsg else None,
        wkt2=None if crs is None or crs.epsg else crs.to_wkt(),
        bbox=None if crs is None else list(geobox.boundingbox.bbox),
        shape=list(geobox.shape),
        transform=list(geobox.transform)[:6],
    )


def _asset(name: str) -> pystac.Asset:
    path = Path(name)
    unknown = ("application/octet-stream", ["data"])
    media_type, roles = _KINDS.get("".join(path.suffixes)) or _KINDS.get(path.suffix, unknown)
    return pystac.Asset(f"./{name}", title=_TITLES.get(name), media_type=media_type, roles=roles)


def _key(path: Path) -> str:
    """Return the key of an asset: stem of a raster, which data cubes use as variable name, else file name."""
    return path.stem if path.suffix == ".tif" else path.name


def _bands(path: Path, gsd_m: float | None) -> list[dict[str, Any]]:
    with rasterio.open(path) as src:
        facts = list(zip(src.descriptions, src.dtypes, src.nodatavals, src.units, src.indexes, strict=True))
        statistics = [src.tags(i) if dtype == "float32" else {} for _, dtype, _, _, i in facts]
    resolution = {} if gsd_m is None else {"raster:spatial_resolution": gsd_m}
    return [
        {
            "name": name, "data_type": dtype, "nodata": "nan" if math.isnan(nodata) else int(nodata),
            "raster:sampling": "area", **resolution, **({"unit": unit} if unit else {}),
            **({"statistics": found} if (found := _statistics(tags)) else {}),
        }
        for (name, dtype, nodata, unit, _), tags in zip(facts, statistics, strict=True)
    ]  # fmt: skip


def _statistics(tags: Mapping[str, str]) -> dict[str, float]:
    """Return the statistics that GDAL keeps of a band, in the words of STAC."""
    names = {"minimum": "MINIMUM", "maximum": "MAXIMUM", "mean": "MEAN", "stddev": "STDDEV",
             "valid_percent": "VALID_PERCENT"}  # fmt: skip
    return {k: float(tags[f"STATISTICS_{n}"]) for k, n in names.items() if f"STATISTICS_{n}" in tags}


def _classes(bundle: Bundle, pixels: Mapping[int, int]) -> list[dict[str, Any]]:
    classes = [
        Classification.create(
            value=c.id,
            # The extension allows only letters, digits, - and _ in names.
            name=re.sub(r"[^0-9A-Za-z_-]+", "-", c.slug),
            title=c.title,
            color_hint=c.color[1:].upper(),
            count=pixels.get(c.id, 0),
        )
        for c in bundle.card.legend.by_id().values()
    ]
    nodata = Classification.create(value=NODATA, name="nodata", nodata=True, count=pixels.get(NODATA, 0))
    return [c.to_dict() for c in (*classes, nodata)]


def _links(scene: Scene, bundle: Bundle, folder: Path | str) -> list[pystac.Link]:
    """Link the files of the scene and the cards of the networks."""
    bands: dict[str, list[str]] = {}
    for band in (b for member in scene.members for b in member.bands):
        bands.setdefault(band.source.path, []).append(band.name)
    derived = [
        pystac.Link(
            "derived_from", _href(path, folder), title=f"{shared_path(scene.name)}: {', '.join(names)}"
        )
        for path, names in bands.items()
    ]
    bundles = {m.bundle.sha256: m.bundle for m in members_of(bundle)}.values()
    models = [
        pystac.Link(
            "derived_from",
            f"{_href(b.place, folder)}/{CARD}",
            media_type=pystac.MediaType.JSON,
            title=f"model {b.card.name} {b.card.version}",
        )
        for b in bundles
    ]
    return [*derived, *models]


def _href(path: str, folder: Path | str) -> str:
    """Return a reference to a file: a URI or a path of GDAL as it is, else a relative path."""
    shared = shared_path(path, folder)
    return shared if "://" in shared or shared.startswith("/vsi") else quote(shared)
