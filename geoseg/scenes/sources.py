"""Raster files: where they are, what they say of themselves, and the handles that are open."""

import errno
import importlib.util
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError

from geoseg.core.errors import SceneError, one_line
from geoseg.core.geometry import Window
from geoseg.core.secrets import redact
from geoseg.scenes.gdal import prepare_gdal
from geoseg.scenes.remote import has_version, is_remote, uri_of, version
from geoseg.scenes.windows import to_rasterio

_AT_ONCE = 16
_IDLE_HANDLES = 64


def resolve(uri: str, base: Path) -> str:
    """Return the place that a URI of a document means.

    Parameters
    ----------
    uri
        A path, a URL or GDAL path that GDAL opens itself (`s3://`, `/vsicurl/`), or `package://NAME/PATH` for
        a file inside an installed Python package.
    base
        The folder of the document, for relative paths.

    Raises
    ------
    SceneError
        When the package is not installed.
    """
    if uri.startswith("package://"):
        package, _, path = uri.removeprefix("package://").partition("/")
        # Found without being imported: sample data needs none of its package's dependencies.
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            spec = None
        if spec is None or spec.origin is None:
            raise SceneError(f"{uri}: not installed; get it with: python -m pip install --no-deps {package}")
        return str(Path(spec.origin).parent / path)
    if is_remote(uri):
        return uri
    return str(base / uri)


@dataclass(frozen=True)
class SourceFile:
    """What a raster file says of itself."""

    path: str
    """Path or URL, without credentials."""
    geobox: GeoBox
    """Its grid."""
    dtype: str
    names: tuple[str, ...]
    """A name for each band from its description or colour interpretation, else an empty text."""
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: tuple[float | None, ...]
    masked: bool
    """Whether it has a mask band or an alpha band."""
    size: int
    """Bytes, 0 when nobody knows."""
    modified: int | str
    """Time of the last change in nanoseconds; of a remote file the ETag."""
    parts: tuple[tuple[str, int, int | str], ...] = ()
    """The same of every other file that it consists of, as a VRT does."""
    level: int | None = None
    """Which of its overviews is meant, from 0; None is the file in full."""
    opened_as: str | None = field(default=None, repr=False)
    """What GDAL opens where `path` does not say it all: a signed URL, for example. Never written down."""

    def open(self, **options: Any) -> Any:
        """Open the file with rasterio."""
        path = self.opened_as or self.path
        prepare_gdal(path)
        return rasterio.open(path, **options)


def inspect(path: str) -> SourceFile:
    """Read a file's header.

    Raises
    ------
    SceneError
        When the file is missing, is no raster, or its grid is rotated or stands on its head.
    """
    found = _inspect(path, *_version(path))
    near = [p for p in found.parts if not has_version(p[0])]
    if near != list(_parts([f for f, *_ in near])):
        # A part of a VRT changed behind its back.
        _inspect.cache_clear()
        found = _inspect(path, *_version(path))
    return found


def coarser(source: SourceFile, factor: float) -> SourceFile:
    """Return the coarsest overview of a file that is at most `factor` times coarser, else the file itself.

    Raises
    ------
    SceneError
        When the file cannot be opened any more.
    """
    try:
        with source.open() as src:
            fitting = [i for i, f in enumerate(src.overviews(1)) if f <= factor]
        if not fitting:
            return source
        with source.open(overview_level=fitting[-1]) as src:
            geobox = GeoBox((src.height, src.width), src.transform, source.geobox.crs)
    except RasterioError as error:
        raise SceneError(f"{source.path}: cannot be opened: {one_line(error)}") from error
    return replace(source, geobox=geobox, level=fitting[-1])


def with_absolute_path(source: SourceFile) -> SourceFile:
    """Return the file with an absolute path, for processes that began in another folder."""
    if "://" in source.path or source.path.startswith("/vsi"):
        return source
    return replace(source, path=str(Path(source.path).absolute()))


def _version(path: str) -> tuple[int, int | str]:
    """Return size and time of the last change, of a remote file size and ETag, zeros when nobody knows.

    Raises
    ------
    SceneError
        When the file does not exist.
    """
    if has_version(path):
        return version(path)
    if is_remote(path):
        return 0, 0
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise SceneError(
            f"{path}: {'no such file' if error.errno == errno.ENOENT else error.strerror}"
        ) from None
    return stat.st_size, stat.st_mtime_ns


def _parts(files: Sequence[str]) -> tuple[tuple[str, int, int | str], ...]:
    """Return name, size and time or ETag of files; many that are far away are asked for together."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple((redact(f), *v) for f, v in zip(files, pool.map(_version, files), strict=True))


@lru_cache(maxsize=1024)
def _inspect(path: str, size: int, modified: int | str) -> SourceFile:
    prepare_gdal(path)
    try:
        with rasterio.open(path) as src:
            transform, crs = src.transform, src.crs
            info = SourceFile(
                path=redact(path),
                geobox=GeoBox((src.height, src.width), transform, crs),
                dtype=src.dtypes[0],
                names=tuple(_band_name(src, i) for i in src.indexes),
                scales=tuple(src.scales),
                offsets=tuple(src.offsets),
                nodata=tuple(src.nodatavals),
                masked=any(MaskFlags.per_dataset in flags for flags in src.mask_flag_enums),
                size=size,
                modified=modified,
                parts=_parts([f for f in src.files if uri_of(f) != uri_of(path) and _exists(f)]),
                opened_as=path if redact(path) != path else None,
            )
    except RasterioError as error:
        why = "may not be read" if is_remote(path) else "truncated or damaged; get it again"
        raise SceneError(
            f"{path}: cannot be opened: it is no raster, or {why} ({one_line(error)})"
        ) from error
    if transform.b != 0 or transform.d != 0:
        raise SceneError(
            f"{path}: its grid is rotated; make a north-up copy first: gdalwarp {path} north_up.tif"
        )
    if crs is not None and (transform.a <= 0 or transform.e >= 0):
        raise SceneError(
            f"{path}: its grid is not north-up; make a copy that is: gdalwarp {path} north_up.tif"
        )
    if np.dtype(info.dtype).kind == "c":
        raise SceneError(
            f"{path}: complex numbers ({info.dtype}) cannot be classified; export amplitudes first"
        )
    return info


def _exists(file: str) -> bool:
    return has_version(file) or Path(file).is_file()


def _band_name(src: Any, index: int) -> str:
    description = src.descriptions[index - 1]
    if description:
        return str(description)
    color = src.colorinterp[index - 1].name
    return color if color in {"red", "green", "blue", "nir"} else ""


class _Handles:
    """The open files of this process, each lent to one thread at a time, as GDAL demands.

    The last one given back is lent first: GDAL keeps decoded internal tiles by handle, and the next window
    shares some with the last one, whatever thread reads it.
    """

    def __init__(self) -> None:
        self.idle: OrderedDict[SourceFile, list[Any]] = OrderedDict()
        self.lock = threading.Lock()

    @contextmanager
    def lent(self, source: SourceFile) -> Iterator[Any]:
        """Lend a handle; one that failed is closed, since it may hold broken state."""
        with self.lock:
            kept = self.idle.pop(source, [])
            handle = kept.pop() if kept else None
            if kept:
                self.idle[source] = kept
        if handle is None:
            handle = source.open(**({} if source.level is None else {"overview_level": source.level}))
        else:
            # Settings of GDAL hold for one thread, and another one opened the file.
            prepare_gdal(source.opened_as or source.path)
        try:
            yield handle
        except BaseException:
            handle.close()
            raise
        with self.lock:
            self.idle.setdefault(source, []).append(handle)
            self.idle.move_to_end(source)
            extra = self._oldest() if sum(map(len, self.idle.values())) > _IDLE_HANDLES else None
        if extra is not None:
            extra.close()

    def _oldest(self) -> Any:
        source, kept = next(iter(self.idle.items()))
        handle = kept.pop(0)
        if not kept:
            del self.idle[source]
        return handle


_handles = _Handles()
_inherited: list[_Handles] = []


def _forget_handles() -> None:
    """Let a forked process, such as a worker that loads training data, open its files anew.

    Parent and child share the offset in an open file: each would read where the other one left it. The
    parent's handles stay open here, unused: closing takes locks of GDAL that may be held for ever.
    """
    global _handles  # noqa: PLW0603
    _inherited.append(_handles)
    _handles = _Handles()


os.register_at_fork(after_in_child=_forget_handles)


def read(
    source: SourceFile,
    indexes: Sequence[int],
    window: Window,
    *,
    mask: bool = False,
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Read a window that lies inside a file.

    Parameters
    ----------
    source, indexes, window
        The file, its bands from 1, and the place.
    mask
        Whether its mask is read, too.
    out
        Shape (bands, rows, cols), where numbers of its type go; it may be a part of a larger array.

    Returns
    -------
    values
        Shape (bands, rows, cols): `out` or a new array in the file's data type.
    mask
        Shape (rows, cols), True where the file's mask or alpha band says valid; None when `mask` is False.

    Raises
    ------
    SceneError
        When the data cannot be read, for example from a truncated file.
    """
    place = to_rasterio(window)
    try:
        with _handles.lent(source) as src:
            # GDAL would clamp numbers of another type, and nodata among them.
            alike = out is not None and {src.dtypes[i - 1] for i in indexes} == {out.dtype.name}
            values = src.read(list(indexes), window=place, out=out if alike else None)
            valid = src.read_masks(indexes[0], window=place) > 0 if mask else None
    except RasterioError as error:
        raise SceneError(
            f"{source.path}: cannot be read at {window}: the file is truncated or damaged; "
            f"get it again ({one_line(error.__cause__ or error)})"
        ) from error
    return values, valid
