"""Versions of the files that a raster consists of, by which a change of one is noticed.

Contents are not hashed: a scene may have a hundred gigabytes. Of a file on a disk, size, time of the last
change and time of the last change of its inode count. The last one is set by the system alone: a file that
was replaced by another of the same size and time (`cp -p`, `rsync --times`, `touch -r`) has a new one. Of an
object or a URL, size and ETag count.
"""

import errno
import re
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.core.errors import SceneError, one_line
from geoseg.core.paths import plain_path
from geoseg.core.secrets import redact
from geoseg.scenes import network, remote
from geoseg.scenes.remote import gdal_path, has_version, is_remote, uri_of

_AT_ONCE = 16
_DEEPEST = 8
"""Levels of virtual rasters inside virtual rasters whose files are listed."""
_MOST_PARTS = 100_000
_ARCHIVE = re.compile(r"/vsi(?:zip|tar|gzip|7z|rar)/(?P<rest>.*)", re.DOTALL)
_ARCHIVE_END = re.compile(r"\.(?:zip|kmz|tar|tgz|tar\.gz|gz|7z|rar)(?=/|$)", re.IGNORECASE)
_VIRTUAL = frozenset({".vrt", ".gti", ".fgb", ".gpkg"})


@dataclass(frozen=True, order=True)
class FileVersion:
    """A file and what changes when it is written."""

    path: str
    """Path or URL, without credentials."""
    size: int
    """Bytes, 0 when unknown."""
    stamp: str
    """Times of the last change of content and inode in nanoseconds; of a remote file its ETag."""


def version_of(path: str) -> FileVersion:
    """Return the version of the file behind a path, URL or name of GDAL.

    Parameters
    ----------
    path
        A path, a URL, a path in an archive (`/vsizip/scene.zip/band.tif`), or a name of GDAL for a part of a
        file (`NETCDF:cube.nc:red`).

    Raises
    ------
    SceneError
        When the file does not exist, is no regular file, or may not be read.
    """
    place = file_of(path)
    if has_version(place):
        return FileVersion(redact(path), *remote.version(place))
    if is_remote(place):
        return FileVersion(redact(path), *remote.unknown(place, "GDAL alone reads it"))
    try:
        found = Path(place).stat()
    except (OSError, ValueError) as error:
        missing = getattr(error, "errno", None) == errno.ENOENT
        if missing:
            raise SceneError.absent(f"{path}: no such file") from None
        raise SceneError(f"{path}: {one_line(error)}") from None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise SceneError(f"{path}: is no regular file, so it cannot be read window by window; copy it to one")
    return FileVersion(redact(path), found.st_size, f"{found.st_mtime_ns}/{found.st_ctime_ns}")


def forget_older(path: str, version: FileVersion) -> None:
    """Let GDAL forget what it has of a remote file in another version than this one."""
    place = file_of(path)
    if has_version(place):
        network.forget_other_version(gdal_path(uri_of(place)), (version.size, version.stamp))


def versions_of(paths: Sequence[str]) -> tuple[FileVersion, ...]:
    """Return the versions of files; those of remote files are requested in parallel."""
    if not any(map(is_remote, paths)):
        return tuple(map(version_of, paths))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(version_of, paths))


def file_of(path: str) -> str:
    """Return the file that contains what GDAL opens by a path: the archive, or the file of a data set."""
    if archive := _ARCHIVE.fullmatch(path):
        rest = archive["rest"]
        if rest.startswith("{"):
            return file_of(rest[1:].partition("}")[0])
        ends = [m.end() for m in _ARCHIVE_END.finditer(rest)]
        local = (rest[:end] for end in ends if not is_remote(rest) and Path(rest[:end]).is_file())
        return file_of(next(local, rest[: ends[0]] if ends else rest))
    if path.startswith(_VRT):
        return file_of(path.removeprefix(_VRT).partition("?")[0])
    return part_of_dataset(path) or path


def same_file(path: str) -> str:
    """Return a text that is equal for all paths and names by which GDAL opens the same thing.

    A file is known by its number on its disk: through links and `./`, too.
    """
    try:
        file = file_of(path)
        if is_remote(file):
            return uri_of(path)
        found = Path(file).stat()
    except (SceneError, OSError, ValueError):
        return path
    return path.replace(file, f"{found.st_dev}:{found.st_ino}", 1)


def placed(path: str, base: Path) -> str:
    """Return a path with a relative file in it taken from a folder, also inside names of GDAL.

    Examples
    --------
    >>> placed("vrt://a.tif?bands=1", Path("/data")), placed("/vsizip/a.zip/b.tif", Path("/data"))
    ('vrt:///data/a.tif?bands=1', '/vsizip//data/a.zip/b.tif')
    """
    if path.startswith(_VRT):
        inner, sign, options = path.removeprefix(_VRT).partition("?")
        return f"{_VRT}{placed(inner, base)}{sign}{options}"
    if archive := _ARCHIVE.fullmatch(path):
        rest = archive["rest"]
        if rest.startswith("vsi"):  # GDAL takes it for /vsi
            return path
        start = len(path) - len(rest) + rest.startswith("{")
        return path[:start] + placed(path[start:], base)
    if is_remote(path):
        return path
    if part := part_of_dataset(path, base):
        return path.replace(part, str(base / part), 1)
    return str(base / path)


_VRT = "vrt://"
_DATASETS = re.compile(
    r"(?:NETCDF|HDF5|HDF4_SDS|HDF4_EOS|SENTINEL2_L1[BC]|SENTINEL2_L2A|GTIFF_DIR|GTIFF_RAW|GPKG|ZARR|GTI"
    r"|DERIVED_SUBDATASET):(?P<rest>.*)",
    re.DOTALL | re.IGNORECASE,
)
"""Names by which GDAL opens a part of a file."""


def names_dataset(path: str) -> bool:
    """Return whether a text is a name of GDAL for a part of a file, like `NETCDF:cube.nc:red`."""
    return _DATASETS.fullmatch(path) is not None


def part_of_dataset(name: str, base: Path = Path()) -> str | None:
    """Return the file in a name of GDAL for a part of a file; None when the text is no such name.

    Raises
    ------
    SceneError
        When no file of the name exists.
    """
    found = _DATASETS.fullmatch(name)
    if found is None:
        return None
    rest = found["rest"]
    if '"' in rest:
        candidates = [rest.split('"')[1]]
    else:
        fields = rest.split(":")
        ranges = [(i, j) for i in range(len(fields)) for j in range(len(fields), i, -1)]
        candidates = [":".join(fields[i:j]) for i, j in sorted(ranges, key=lambda r: r[0] - r[1])]
    for candidate in candidates:
        if is_remote(candidate):
            return candidate
        if candidate and (base / candidate).exists():
            return candidate
    raise SceneError.absent(f"{name}: no such file; write the name as `gdalinfo` lists it under Subdatasets")


def parts_of(path: str, dataset: Any) -> tuple[FileVersion, ...]:
    """Return the versions of all other files that an open raster consists of.

    Parameters
    ----------
    path
        What was opened.
    dataset
        The open rasterio data set. Of virtual rasters (VRT, tile index) and of those inside them, the files
        that they name count, too.
    """
    found: dict[str, None] = {}
    _collect(path, dataset.driver, dataset.files, found, 0)
    own = uri_of(file_of(path))
    return versions_of([f for f in found if uri_of(f) not in {own, uri_of(path)}])


def _collect(path: str, driver: str, files: Sequence[str], found: dict[str, None], depth: int) -> None:
    named = [f for f in files if _exists(f)]
    if driver == "GTI":
        named += [f for f in _tiles(path) if _exists(f)]
    new = [f for f in dict.fromkeys(named) if f not in found and f != path]
    found.update(dict.fromkeys(new))
    if len(found) > _MOST_PARTS:
        raise SceneError(f"{path}: consists of more than {_MOST_PARTS} files; build one raster of them")
    for file in new if depth < _DEEPEST else ():
        if Path(file).suffix.lower() in _VIRTUAL:
            _collect_inside(file, found, depth + 1)


def _collect_inside(file: str, found: dict[str, None], depth: int) -> None:
    import rasterio  # noqa: PLC0415 (most rasters have no virtual ones inside)

    from geoseg.scenes.gdal import RASTER_ERRORS  # noqa: PLC0415

    try:
        with rasterio.open(file) as inside:
            _collect(file, inside.driver, inside.files, found, depth)
    except RASTER_ERRORS:
        return  # read when its pixels are, with an error of its own


def _tiles(path: str) -> Iterator[str]:
    """Yield the files that a tile index of GDAL lists."""
    import pyogrio  # noqa: PLC0415
    from pyogrio.errors import DataSourceError  # noqa: PLC0415

    index = file_of(path)
    if index.lower().endswith(".gti"):
        found = re.search(r"<IndexDataset>(.*?)</IndexDataset>", Path(index).read_text(errors="replace"))
        index = index if found is None else str(Path(index).parent / found[1])
    try:
        with plain_path(index) as plain:
            frame = pyogrio.read_dataframe(plain, read_geometry=False)
    except DataSourceError:
        return
    # The column has any name: what names no file is no tile.
    for place in (v for column in frame for v in frame[column] if isinstance(v, str)):
        beside = str(Path(index).parent / place)
        yield beside if not is_remote(place) and Path(beside).exists() else place


def _exists(file: str) -> bool:
    return has_version(file) or Path(file).is_file()
