"""Settings of GDAL: its access to remote files, its memory; whether a file that it wrote is whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import rasterio
from rasterio._env import set_gdal_config  # rasterio.Env would take them away again
from rasterio.env import getenv, hasenv
from rasterio.errors import RasterioError

from geoseg.core.files import unusable_place
from geoseg.core.process import GDAL_CACHE_MB, GDAL_NETWORK, GDAL_VARIABLES
from geoseg.scenes import network
from geoseg.scenes.remote import STORES, has_version, uri_of
from geoseg.scenes.versions import file_of
from geoseg.storage import aws

RASTER_ERRORS = (RasterioError, UnicodeDecodeError)
"""What rasterio raises for damaged files; the second where GDAL quotes what is no UTF-8."""


def prepare_gdal(path: str) -> None:
    """Let GDAL find S3 where the object stores find it, and count what it reads over the network."""
    if not has_version(path):
        return
    network.count_requests()
    options = {k: v for k, v in GDAL_NETWORK.items() if k not in os.environ}
    if not network.can_forget():
        # GDAL would mix the bytes of a new version with cached ones of the old version.
        options["CPL_VSIL_CURL_NON_CACHED"] = ":".join(("/vsicurl/", *STORES))
    if uri_of(path).startswith("s3://"):
        options.update(aws.access().gdal_options())
    for key, value in options.items():
        set_gdal_config(key, value)


def open_raster(path: str, **options: Any) -> Any:
    """Open a raster with the settings that its place needs.

    A server cannot list a folder, and GDAL would ask it for ten files that may lie beside a raster. So files
    beside a remote raster (`.ovr`, `.msk`, `.aux.xml`) are not looked for.
    """
    place = file_of(path)
    prepare_gdal(place)
    theirs = {*os.environ, *(getenv() if hasenv() else ())}
    alone = has_version(place) and _LISTING not in theirs
    with rasterio.Env(**{_LISTING: "EMPTY_DIR"}) if alone else nullcontext():
        return rasterio.open(path, **options)


_LISTING = "GDAL_DISABLE_READDIR_ON_OPEN"


@contextmanager
def limited_gdal() -> Iterator[None]:
    """Keep GDAL in this process to the memory that a plan announces, until the block ends.

    In a process of geoseg's own the environment says so from the start, see `geoseg.core.process`, and
    nothing changes here. In a notebook GDAL may be in use already, with a cache of 5 % of the machine: GDAL
    reads the variable only once, but rasterio can shrink the cache, and restores it afterwards. What the user
    has set, in the environment or in a `rasterio.Env`, stays.
    """
    theirs = {*os.environ, *(getenv() if hasenv() else ())}
    # Bytes as a number: a text would be read as megabytes, and only where GDAL has not begun yet.
    announced = {**GDAL_VARIABLES, "GDAL_CACHEMAX": GDAL_CACHE_MB * 1_000_000}
    options = {name: value for name, value in announced.items() if name not in theirs}
    with rasterio.Env.from_defaults(**options) if options else nullcontext():
        yield


def check_whole(path: Path) -> None:
    """Check that all internal tiles of a GeoTIFF are there: errors while GDAL closes a file are not raised.

    Raises
    ------
    OutputError
        When a tile is missing.
    """
    size = path.stat().st_size
    with rasterio.open(path) as src:
        for (row, col), _ in src.block_windows(1):
            offset, length = (
                int(src.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1) or 0)
                for what in ("OFFSET", "SIZE")
            )
            if not offset or offset + length > size:
                raise unusable_place(path, "it is not whole")
