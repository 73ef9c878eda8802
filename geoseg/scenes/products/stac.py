"""STAC items, versions 1.0 and 1.1, and collections of items, as catalogs answer a search.

The fields of 1.0 (`eo:bands`, `raster:bands`) and of 1.1 (`bands`, `raster:scale`) are read side by side,
because libraries that raise the version of an item leave its fields where they were.
"""

import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin, urlsplit

from geoseg.config.scene import BandEntry, MaskEntry, SceneEntry
from geoseg.core.bands import SENSORS, common_name, named_by_wavelength
from geoseg.core.errors import GeosegWarning, SceneError, one_line
from geoseg.core.parsing import parse_json, read_bytes
from geoseg.scenes.products import quality
from geoseg.scenes.remote import is_remote, read_url, uri_of
from geoseg.storage.object_store import SCHEMES, ObjectStore

Item = dict[str, Any]

_MOST_BYTES = 100_000_000
_SUFFIXES = {".json", ".geojson"}
_RASTERS = {".tif", ".tiff", ".jp2"}
_PICTURES = {
    "visual",
    "thumbnail",
    "overview",
    "preview",
    "rendered_preview",
    "tci",
    "true_color",
    "metadata",
}
"""Assets and roles that are pictures of a scene, or no pixels."""
_MASKS = {
    "scl": quality.scene_classification, "qa_pixel": quality.pixel_quality, "fmask": quality.fmask,
    "udm2": quality.usable_data, "ortho_udm2": quality.usable_data,
}  # fmt: skip
"""Quality bands by the key of their asset in lower case."""
_SENTINEL2_OFFSET_SINCE = "04.00"


@dataclass(frozen=True)
class _Band:
    """One band of one asset."""

    key: str
    """Key of the asset."""
    name: str
    common_name: str
    entry: BandEntry
    rank: tuple[int, float, int, str]
    """What is taken first: single bands, fine ones, GeoTIFF."""


def names_item(uri: str) -> bool:
    """Return whether a path or URL looks like that of a STAC item or a collection of items."""
    path = urlsplit(uri).path if "://" in uri else uri
    if PurePosixPath(path).suffix.lower() in _SUFFIXES:
        return True
    return uri.startswith("http") and "/items/" in path and PurePosixPath(path).suffix.lower() not in _RASTERS


def read_items(uri: str) -> list[Item] | None:
    """Return the STAC items in a file or behind a URL; None when it holds other JSON or another table.

    Parameters
    ----------
    uri
        An item or a collection of items (a search result) as JSON, or a table of items (stac-geoparquet).

    Raises
    ------
    SceneError
        When it cannot be read, or is a STAC collection or catalog, which has no pixels.
    """
    if uri.lower().endswith(".parquet"):
        return _items_of_table(uri)
    data = _read(uri)
    try:
        value = parse_json(data)
    except ValueError as error:
        raise SceneError(f"{uri}: is no JSON, or damaged: {one_line(error)}") from None
    if not isinstance(value, dict):
        return None
    if value.get("type") in {"Collection", "Catalog"} and "stac_version" in value:
        raise SceneError(
            f"{uri}: is a STAC {value['type'].lower()}, which holds no pixels; search it with "
            "pystac-client, and save the items that it finds"
        )
    features = value.get("features") if value.get("type") == "FeatureCollection" else [value]
    items = features if isinstance(features, list) else []
    if not items or not all(isinstance(i, dict) and isinstance(i.get("assets"), dict) for i in items):
        return None
    return items


def entry_of(item: Item, base: str) -> SceneEntry:
    """Return the entry of an item.

    Parameters
    ----------
    item
        The item as JSON has it.
    base
        Path or URL of its file; relative links of assets start there.

    Raises
    ------
    SceneError
        When it has no band.
    """
    properties = _mapping(item.get("properties"))
    ident = str(item.get("id", "without an id"))
    sensor = _sensor(item, properties)
    found = [
        b for key, asset in item["assets"].items() for b in _bands(key, _mapping(asset), item, sensor, base)
    ]
    if not found:
        raise SceneError(f"{base}: item {ident} has no asset with a band of a raster")
    bands: dict[str, _Band] = {}
    for band in sorted(found, key=lambda b: b.rank, reverse=True):
        bands[band.common_name] = band
    ordered = sorted(bands.values(), key=lambda b: b.entry.wavelength_um or math.inf)
    chosen = {b.name: b.entry for b in ordered}
    if len(chosen) < len(ordered):  # two names alike: the common names differ
        chosen = {b.common_name: b.entry for b in ordered}
    _warn_of_missing_scale(ident, chosen)
    return SceneEntry(
        bands=chosen,
        sensor=None,
        datetime=properties.get("datetime") or properties.get("start_datetime"),
        mask=_mask(item, base),
        product=str(item["collection"]) if item.get("collection") else None,
        level=_level(item, properties),
        baseline=_baseline(properties),
        platform=properties.get("platform"),
        cloud_cover=properties.get("eo:cloud_cover"),
        item=ident,
    )


def _bands(key: str, asset: Mapping[str, Any], item: Item, sensor: str | None, base: str) -> Iterator[_Band]:
    href = asset.get("href")
    roles = {str(r).lower() for r in asset.get("roles") or ()}
    if not isinstance(href, str) or key.lower() in _PICTURES or roles & _PICTURES or _mask_kind(key):
        return
    path = urlsplit(href).path if "://" in href else href
    suffix = PurePosixPath(path).suffix.lower()
    if (
        suffix not in _RASTERS
        and "tiff" not in str(asset.get("type"))
        and "jp2" not in str(asset.get("type"))
    ):
        return
    spectral = _list(asset.get("bands")) or _list(asset.get("eo:bands"))
    raster = _list(asset.get("raster:bands")) or _list(asset.get("bands"))
    gsd = _first(
        asset.get("gsd"),
        asset.get("raster:spatial_resolution"),
        *(r.get("spatial_resolution") for r in raster),
    )
    for number, band in enumerate(spectral or [{}], start=1):
        name = str(band.get("name") or key)
        centre = _first(band.get("eo:center_wavelength"), band.get("center_wavelength"))
        common = _first(band.get("eo:common_name"), band.get("common_name"))
        if common is None:
            common = common_name(name, sensor)
            if not spectral and common == name.lower() and sensor is not None:
                common = common_name(key, sensor)
            if not spectral and common not in _KNOWN_NAMES:
                continue  # an asset that names no band: angles, aerosol, water vapour
        here = raster[number - 1] if number <= len(raster) else {}
        scale, offset = _scaling(here, asset, item)
        entry = BandEntry(
            uri=_href(href, base),
            band=number,
            scale=scale,
            offset=offset,
            nodata=_number(_first(here.get("nodata"), asset.get("nodata"))),
            common_name=named_by_wavelength(str(common), centre),
            wavelength_um=centre,
            width_um=_first(band.get("eo:full_width_half_max"), band.get("full_width_half_max")),
        )
        rank = (len(spectral) > 1, float(gsd or 0), suffix == ".jp2", key)
        yield _Band(key, name, entry.common_name or name, entry, rank)


_KNOWN_NAMES = {band.common_name for table in SENSORS.values() for band in table.values()}


def _scaling(
    band: Mapping[str, Any], asset: Mapping[str, Any], item: Item
) -> tuple[float | None, float | None]:
    """Return scale and offset of a band, None where the item does not tell them.

    Some catalogs took the offset of Sentinel-2 off the numbers, say so with a flag, and still list the
    offset. Others list neither, and leave it to the baseline.
    """
    properties = _mapping(item.get("properties"))
    scale = _first(band.get("scale"), band.get("raster:scale"), asset.get("raster:scale"))
    offset = _first(band.get("offset"), band.get("raster:offset"), asset.get("raster:offset"))
    if properties.get("earthsearch:boa_offset_applied") is True:
        return (0.0001 if scale is None else scale), 0.0
    if scale is None and offset is None and _is_sentinel2(item, properties) and _baseline(properties):
        return 0.0001, (-0.1 if str(_baseline(properties)) >= _SENTINEL2_OFFSET_SINCE else 0.0)
    return scale, offset


def _warn_of_missing_scale(ident: str, bands: Mapping[str, BandEntry]) -> None:
    silent = [n for n, b in bands.items() if b.scale is None and b.offset is None]
    if silent:
        warnings.warn(
            f"item {ident}: tells no scale of {', '.join(silent[:3])}; what the files say counts, else 1",
            GeosegWarning,
            stacklevel=2,
        )


def _mask(item: Item, base: str) -> MaskEntry | None:
    for key, asset in item["assets"].items():
        kind = _mask_kind(key)
        if kind is not None and isinstance(asset.get("href"), str):
            return _MASKS[kind](_href(asset["href"], base))
    return None


def _mask_kind(key: str) -> str | None:
    """Return the kind of a quality band, by the key of its asset."""
    name = key.lower().removesuffix("-jp2")
    return name if name in _MASKS else None


def _sensor(item: Item, properties: Mapping[str, Any]) -> str | None:
    """Return the sensor whose designations an item uses for bands without a common name."""
    said = " ".join(str(properties.get(k, "")) for k in ("platform", "constellation")).lower()
    collection = str(item.get("collection", "")).lower()
    if "hls" in collection:
        return "hls-l30" if "l30" in collection else "hls-s30"
    if _is_sentinel2(item, properties):
        return "sentinel-2"
    number = re.search(r"landsat-?([45789])", said)
    return f"landsat-{number[1]}" if number else None


def _is_sentinel2(item: Item, properties: Mapping[str, Any]) -> bool:
    collection = str(item.get("collection", "")).lower()
    said = " ".join(str(properties.get(k, "")) for k in ("platform", "constellation")).lower()
    return ("sentinel-2" in said or "sentinel-2" in collection) and "hls" not in collection


def _baseline(properties: Mapping[str, Any]) -> str | None:
    found = _first(properties.get("s2:processing_baseline"), properties.get("processing:version"))
    return None if found is None else str(found)


def _level(item: Item, properties: Mapping[str, Any]) -> str | None:
    said = f"{properties.get('processing:level', '')} {item.get('collection', '')}".lower()
    if re.search(r"l2|level-?2|hls|-sr\b", said):
        return "surface"
    return "toa" if re.search(r"l1|level-?1", said) else None


def _href(href: str, base: str) -> str:
    """Return the path or URL of an asset."""
    if base.startswith("http"):
        link = href if "://" in href else urljoin(base, href)
        if link.partition("://")[0] not in {"http", "https", *SCHEMES}:
            raise SceneError(
                f"{base}: links to {href}, and an item behind a URL may not name files of this machine"
            )
    elif is_remote(href):
        link = href
    elif "://" in base:
        link = f"{base.rpartition('/')[0]}/{href.removeprefix('./')}"
    else:
        link = str(Path(base).absolute().parent / href)
    return _signed(link)


def _signed(url: str) -> str:
    """Return a link of the Planetary Computer as its own package signs it, where that is installed."""
    if not (urlsplit(url).hostname or "").endswith(".blob.core.windows.net") or "?" in url:
        return url
    if find_spec("planetary_computer") is None:
        return url
    return str(import_module("planetary_computer").sign(url))


def _read(uri: str) -> bytes:
    place = uri_of(uri)
    if place.startswith("http"):
        data = read_url(place, _MOST_BYTES)
        if data is None:
            raise SceneError(f"{uri}: no such file")
        return data
    try:
        if place.partition("://")[0] in SCHEMES and "://" in place:
            folder, _, name = place.rpartition("/")
            found = ObjectStore(folder).read(name)
            if found is None:
                raise SceneError(f"{uri}: no such object")
            return found
        return read_bytes(Path(place), _MOST_BYTES)
    except (OSError, ValueError) as error:
        raise SceneError(f"{uri}: cannot be read: {one_line(error)}") from error


def _items_of_table(uri: str) -> list[Item] | None:
    """Return the items in a table of stac-geoparquet, whose columns are the properties."""
    from pyarrow import ArrowException, parquet  # noqa: PLC0415

    try:
        names = parquet.read_schema(uri).names
        if not {"id", "assets"} <= set(names):
            return None
        rows = parquet.read_table(
            uri, columns=[n for n in names if n not in {"geometry", "bbox", "links"}]
        ).to_pylist()
    except (OSError, ArrowException) as error:
        raise SceneError(f"{uri}: cannot be read as a table: {one_line(error)}") from error
    own = {"id", "assets", "collection", "stac_version", "stac_extensions", "type"}
    kept = [_without_nulls(row) for row in rows]
    return [
        {
            **{k: v for k, v in row.items() if k in own},
            "properties": {k: v for k, v in row.items() if k not in own},
        }
        for row in kept
    ]


def _without_nulls(value: Any) -> Any:
    """Return a value without the empty fields that a table gives each of its rows."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _first(*values: Any) -> Any:
    return next((v for v in values if v is not None), None)


def _number(value: Any) -> Any:
    """Return a number that JSON may have as a text: it has no NaN."""
    return float("nan") if isinstance(value, str) and value.lower() == "nan" else value
