"""Documents with STAC items: an item, the answer of a catalog to a search, or a table of items."""

import posixpath
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from geoseg.core.errors import SceneError, one_line
from geoseg.core.parsing import parse_json, read_bytes
from geoseg.core.text import check_line
from geoseg.scenes.products.archives import suffix_of
from geoseg.scenes.remote import is_remote, read_uri, uri_of
from geoseg.storage.object_store import SCHEMES

Item = dict[str, Any]
"""An item as JSON has it; its assets are a mapping, nothing else of it is known."""

RASTERS = {".tif", ".tiff", ".jp2"}
"""Suffixes of the files that assets name."""

_MOST_BYTES = 100_000_000
_SUFFIXES = {".json", ".geojson", ".parquet"}


def names_item(uri: str) -> bool:
    """Return whether a path or URL looks like that of a STAC item or a collection of items."""
    suffix = suffix_of(uri)
    return suffix in _SUFFIXES or (
        uri_of(uri).startswith("http") and "/items/" in uri.partition("?")[0] and suffix not in RASTERS
    )


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
    if uri.partition("?")[0].lower().endswith(".parquet"):
        return _items_of_table(uri)
    try:
        value = parse_json(_read(uri))
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


def resolve_link(href: str, base: str) -> str:
    """Return the path or URL that a link of an item means.

    Parameters
    ----------
    href
        The link.
    base
        Path or URL of the item's file, where relative links start.

    Raises
    ------
    SceneError
        When the item came over a network and names a file of this machine.

    Examples
    --------
    >>> resolve_link("../B02.tif", "https://host/items/a/item.json")
    'https://host/items/B02.tif'
    """
    base, link = uri_of(base), uri_of(href)
    try:
        check_line(href)
        if "://" not in base:
            return _signed(link) if is_remote(link) else str(Path(base).absolute().parent / link)
        if "://" not in link and not link.startswith("/vsi"):
            link = urljoin(base, link) if base.startswith("http") else _joined(base, link)
        if link.partition("://")[0] in {"http", "https", *SCHEMES}:
            return _signed(link)
    except ValueError as error:
        raise SceneError(
            f"{base}: links to {' '.join(href.split())}, which is no URL ({one_line(error)})"
        ) from None
    raise SceneError(
        f"{base}: links to {href}, and an item that came over a network may not name files of this machine"
    )


def _joined(base: str, link: str) -> str:
    """Return the URI of an object that is named relative to another one: stores know no `..`."""
    scheme, _, place = base.partition("://")
    bucket, _, name = place.partition("/")
    path = posixpath.normpath(posixpath.join("/", posixpath.dirname(name), link))
    return f"{scheme}://{bucket}/{path.lstrip('/')}"


def _signed(url: str) -> str:
    """Return a link of the Planetary Computer as its own package signs it, where that is installed."""
    if not (urlsplit(url).hostname or "").endswith(".blob.core.windows.net") or "?" in url:
        return url
    if find_spec("planetary_computer") is None:
        return url
    return str(import_module("planetary_computer").sign(url))


def _read(uri: str) -> bytes:
    place = uri_of(uri)
    if "://" in place:
        data = read_uri(place, _MOST_BYTES)
        if data is None:
            raise SceneError.absent(f"{uri}: no such file")
        return data
    try:
        return read_bytes(Path(place), _MOST_BYTES)
    except FileNotFoundError:
        raise SceneError.absent(f"{uri}: no such file") from None
    except (OSError, ValueError) as error:
        raise SceneError(f"{uri}: cannot be read: {one_line(error)}") from error


def _items_of_table(uri: str) -> list[Item] | None:
    """Return the items in a table of stac-geoparquet, whose columns are the properties."""
    from pyarrow import ArrowException, BufferReader, parquet  # noqa: PLC0415

    data = _read(uri)
    try:
        names = parquet.read_schema(BufferReader(data)).names
        if not {"id", "assets"} <= set(names):
            return None
        columns = [n for n in names if n not in {"geometry", "bbox", "links"}]
        rows = parquet.read_table(BufferReader(data), columns=columns).to_pylist()
    except (OSError, ValueError, ArrowException) as error:
        raise SceneError(f"{uri}: cannot be read as a table: {one_line(error)}") from error
    own = {"id", "assets", "collection", "stac_version", "stac_extensions", "type"}
    items = [
        {
            **{k: v for k, v in row.items() if k in own},
            "properties": {k: v for k, v in row.items() if k not in own},
        }
        for row in map(_without_nulls, rows)
    ]
    return items if items and all(isinstance(i.get("assets"), dict) for i in items) else None


def _without_nulls(value: Any) -> Any:
    """Return a value without the empty fields that a table gives each of its rows."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value
