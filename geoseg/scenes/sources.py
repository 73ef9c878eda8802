"""Raster files: their paths, headers and pixels."""

import importlib.util
import math
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.rpc import RPC

from geoseg.core.bands import WAVELENGTH_UM, common_name
from geoseg.core.errors import SceneError, one_line
from geoseg.core.geometry import Window
from geoseg.core.notices import waiting_for
from geoseg.core.secrets import redact
from geoseg.scenes import handles
from geoseg.scenes.exif import orientation_of
from geoseg.scenes.gdal import RASTER_ERRORS, open_raster
from geoseg.scenes.nodata import idle_nodata
from geoseg.scenes.remote import has_version, is_remote
from geoseg.scenes.turns import AS_STORED, OF_EXIF, Turn
from geoseg.scenes.versions import (
    FileVersion,
    file_of,
    forget_older,
    names_dataset,
    parts_of,
    placed,
    version_of,
    versions_of,
)
from geoseg.scenes.windows import to_rasterio

_ROTATION = 1e-3
"""Pixels by which a grid may be rotated over the whole file, and still count as north-up: rounding."""
_REFERRING = {"VRT", "GTI", "MRF", "WMS", "WMTS", "WCS", "STACIT", "STACTA", "ISIS3", "PDS4"}
"""Drivers of GDAL whose files name others; it knows them by their content."""
_PLAIN = (".tif", ".tiff", ".jp2")
MOST_PIXELS = 1 << 40
"""Pixels of a file or a map: a million a side."""
LONGEST_SIDE = 2**31 - 1
"""Pixels along a side, of which GDAL reads no more."""


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
        # Found without being imported: sample data needs none of its package's dependencies, and a document
        # runs no code. To look for a package inside another one would import that.
        try:
            spec = importlib.util.find_spec(package) if package.isidentifier() else None
        except (ImportError, ValueError):
            spec = None
        if spec is None or spec.origin is None:
            raise SceneError(f"{uri}: not installed; get it with: python -m pip install --no-deps {package}")
        return str(Path(spec.origin).parent / path)
    if uri.startswith("file://"):
        return url2pathname(urlsplit(uri).path)
    return placed(uri, base)


@dataclass(frozen=True)
class SourceFile:
    """The header of a raster file."""

    geobox: GeoBox
    """Its grid, north-up where it has a CRS."""
    dtypes: tuple[str, ...]
    """Data type of each band."""
    names: tuple[str, ...]
    """Name of each band from its description or colour interpretation; else an empty text."""
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: tuple[float | None, ...]
    """For each band the number that means nodata; None: the file states none that the type can hold."""
    masks: tuple[int, ...]
    """For each band the number of the band whose mask of GDAL is its own, from 1; 0: it has none."""
    alpha: tuple[int, ...]
    """Numbers of the alpha bands, which are masks and no data, from 1."""
    palettes: tuple[int, ...]
    """Numbers of the bands whose values are numbers of colours, from 1."""
    version: FileVersion
    parts: tuple[FileVersion, ...] = ()
    """Every other file that it consists of, like those of a VRT."""
    turn: Turn = AS_STORED
    """How the grid is made of rows and columns of the file."""
    level: int | None = None
    """Number of the overview that is read, from 0; None for full resolution."""
    opened_as: str | None = field(default=None, repr=False)
    """What GDAL opens where it differs from `path`: a signed URL, for example. Never written to a file."""
    idle_nodata: tuple[tuple[int, float], ...] = field(default=(), compare=False)
    """Number and stated nodata of the bands whose type cannot hold it."""

    @property
    def path(self) -> str:
        """Path or URL, without credentials."""
        return self.version.path

    @property
    def place(self) -> str:
        """What GDAL opens."""
        return self.opened_as or self.path

    @property
    def data_bands(self) -> tuple[int, ...]:
        """Numbers of the bands that are no alpha bands, from 1."""
        return tuple(i for i in range(1, len(self.names) + 1) if i not in self.alpha)

    @property
    def files(self) -> tuple[FileVersion, ...]:
        """The file and all others that it consists of."""
        return (self.version, *self.parts)

    def dtype(self, band: int) -> np.dtype[Any]:
        """Return the data type of a band, counted from 1."""
        return np.dtype(self.dtypes[band - 1])


def inspect(path: str) -> SourceFile:
    """Read a file's header.

    Raises
    ------
    SceneError
        When the file is missing or no raster, or its grid is rotated or lies nowhere.
    """
    _refuse_stream(path)
    found = _inspect(path, version_of(path))
    local = tuple(p for p in found.parts if not has_version(p.path))
    if local != versions_of([p.path for p in local]):
        # A part of a VRT changed, which the version of the VRT does not show.
        _inspect.cache_clear()
        found = _inspect(path, version_of(path))
    return found


def coarser(source: SourceFile, factor: float) -> SourceFile:
    """Return the coarsest overview of a file that is at most `factor` times coarser, else the file itself.

    Raises
    ------
    SceneError
        When the file cannot be opened.
    """
    try:
        with open_raster(source.place) as src:
            fitting = [i for i, f in enumerate(src.overviews(1)) if f <= factor]
        if not fitting:
            return source
        with open_raster(source.place, overview_level=fitting[-1]) as src:
            shape = source.turn.shape((src.height, src.width))
    except RASTER_ERRORS as error:
        raise SceneError(f"{source.path}: cannot be opened: {one_line(error)}") from error
    return replace(source, geobox=source.geobox.zoom_to(shape), level=fitting[-1])


def changed_file(source: SourceFile) -> str | None:
    """Return the path of a file of a raster that is not what it was when its header was read; None: none is.

    Raises
    ------
    SceneError
        When a file cannot be looked at again.
    """
    now = {v.path: v for v in inspect(source.place).files}
    return next((v.path for v in source.files if now.get(v.path) != v), None)


def with_absolute_path(source: SourceFile) -> SourceFile:
    """Return the file with an absolute path, for processes with another current folder."""
    absolute = placed(source.path, Path.cwd())
    return replace(source, version=replace(source.version, path=absolute))


def _refuse_stream(path: str) -> None:
    if path.startswith(("/vsistdin", "/vsistdout")) or "_streaming/" in path:
        raise SceneError(f"{path}: is a stream, and windows are read in any order; save it to a file first")


@lru_cache(maxsize=1024)
def _inspect(path: str, version: FileVersion) -> SourceFile:
    forget_older(path, version)
    try:
        with waiting_for(path) if is_remote(path) else nullcontext(), open_raster(path) as src:
            _check_bands(path, src)
            parts = parts_of(path, src)
            _check_parts(path, src.driver, parts)
            geobox, turn = _grid(path, src)
            idle = idle_nodata(src)
            return SourceFile(
                geobox=geobox,
                dtypes=tuple(src.dtypes),
                names=tuple(_band_name(src, i) for i in src.indexes),
                scales=tuple(src.scales),
                offsets=tuple(src.offsets),
                nodata=tuple(None if i in dict(idle) else n for i, n in enumerate(src.nodatavals, 1)),
                masks=tuple(
                    _mask_of(i, flags, nodata_is_told=nodata is not None)
                    for i, flags, nodata in zip(src.indexes, src.mask_flag_enums, src.nodatavals, strict=True)
                ),
                alpha=tuple(i for i in src.indexes if _is_alpha(src, i)),
                palettes=tuple(i for i in src.indexes if src.colorinterp[i - 1] is ColorInterp.palette),
                version=version,
                parts=parts,
                turn=turn,
                opened_as=path if redact(path) != path else None,
                idle_nodata=idle,
            )
    except RASTER_ERRORS as error:
        why = "may not be read" if is_remote(path) else "truncated or damaged; get it again"
        said = f"'{path}'"  # GDAL names the file, too: once is enough
        raise SceneError(
            f"{path}: cannot be opened: it is no raster, or {why} ({one_line(error).replace(said, 'it is')})"
        ) from error


def _check_parts(path: str, driver: str, parts: Sequence[FileVersion]) -> None:
    """Refuse a file that has others read, where its name hides that, or where it came from a server.

    Who wrote it could have any raster of this machine mapped.
    """
    place = file_of(path)
    name = place.partition("?")[0] if is_remote(place) else place
    if driver in _REFERRING and not path.startswith("vrt://") and name.lower().endswith(_PLAIN):
        raise SceneError(
            f"{path}: is a virtual raster ({driver}) by the name of an image, and names the files to be "
            "read; if you trust who wrote it, rename it to .vrt"
        )
    here = next((p.path for p in parts if not is_remote(file_of(p.path))), None)
    if has_version(place) and here is not None:
        raise SceneError(f"{path}: lies on a server, and may not name {here}, a file of this machine")


def _check_bands(path: str, src: Any) -> None:
    if src.count:
        if src.width * src.height > MOST_PIXELS:
            raise SceneError(
                f"{path}: {src.width} x {src.height} px are more than any scene has; is its header damaged?"
            )
        return
    inside = [name for name in src.subdatasets if names_dataset(name)]
    if not inside:
        raise SceneError(f"{path}: has no band")
    raise SceneError(
        f"{path}: holds {len(inside)} data sets and no raster of its own; name one of them: {inside[0]}"
    )


def _grid(path: str, src: Any) -> tuple[GeoBox, Turn]:
    """Return the grid of an open file, and how it is made of rows and columns of the file."""
    shape, transform = (src.height, src.width), src.transform
    if transform.is_identity:
        _refuse_other_georeference(path, src)
        if src.crs is not None:
            raise SceneError(
                f"{path}: has the CRS {src.crs.to_string()[:40]} and no grid, so a map of it would lie "
                "nowhere; say where it lies with gdal_edit.py -a_ullr, or take the CRS away: -a_srs ''"
            )
        turn = OF_EXIF.get(orientation_of(path, src), AS_STORED)
        # GDAL says the identity, in which rows go north. QGIS and others show such a raster upright,
        # with its upper-left corner at (0, 0) and y = -row: so maps and polygons of it lie on it.
        return GeoBox(turn.shape(shape), Affine.scale(1, -1), None), turn
    if not all(map(math.isfinite, transform)):
        raise SceneError(f"{path}: its geotransform holds NaN or infinity; set it with gdal_edit.py -a_ullr")
    if abs(transform.b) * shape[0] > _ROTATION * abs(transform.a) or (
        abs(transform.d) * shape[1] > _ROTATION * abs(transform.e)
    ):
        raise SceneError(
            f"{path}: its grid is rotated; make a north-up copy first: gdalwarp {path} north_up.tif"
        )
    if transform.a == 0 or transform.e == 0:
        raise SceneError(f"{path}: its pixels have no width or height; set them with gdal_edit.py -a_ullr")
    left, top, wide, high = transform.c, transform.f, transform.a, transform.e
    if src.crs is None:
        _refuse_unknown_crs(path, src)
        return GeoBox(shape, Affine(wide, 0, left, 0, high, top), None), AS_STORED
    turn = Turn(rows_reversed=high > 0, cols_reversed=wide < 0)
    if turn.rows_reversed:
        top, high = top + high * shape[0], -high
    if turn.cols_reversed:
        left, wide = left + wide * shape[1], -wide
    try:
        return GeoBox(shape, Affine(wide, 0, left, 0, high, top), src.crs), turn
    except Exception as error:  # odc-geo and PROJ have no common error
        raise SceneError(
            f"{path}: its CRS cannot be used ({one_line(error)}); give it another: gdal_edit.py -a_srs"
        ) from error


def _refuse_other_georeference(path: str, src: Any) -> None:
    """Refuse a file that says where its pixels lie otherwise than by a grid: the map would lie nowhere."""
    ways = (
        ("ground control points", "-tps", bool(src.gcps[0])),
        ("rational polynomial coefficients (RPC)", "-rpc", isinstance(src.rpcs, RPC)),
        ("geolocation arrays", "-geoloc", "GEOLOCATION" in src.tag_namespaces()),
    )
    for what, option, there in ways:
        if there:
            raise SceneError(
                f"{path}: has {what} and no grid, so a map of it would lie nowhere; warp it first: "
                f"gdalwarp {option} -t_srs EPSG:CODE {path} warped.tif"
            )


def _refuse_unknown_crs(path: str, src: Any) -> None:
    """Refuse a VRT whose CRS PROJ does not know: GDAL drops it, and the map would lie nowhere."""
    if src.driver == "VRT" and Path(path).is_file():
        found = re.search(r"<SRS[^>]*>([^<]+)</SRS>", Path(path).read_text(errors="replace"))
        if found is not None:
            raise SceneError(
                f"{path}: its CRS {found[1][:60]} is not known to PROJ; correct it: gdal_edit.py "
                "-a_srs EPSG:CODE"
            )


def _mask_of(band: int, flags: Sequence[MaskFlags], *, nodata_is_told: bool) -> int:
    """Return the number of the band whose mask a band shares; 0 where nodata or alpha alone make the mask.

    Nodata of 64-bit numbers that rasterio cannot tell is known to GDAL's mask only.
    """
    if MaskFlags.all_valid in flags or MaskFlags.alpha in flags:
        return 0
    if list(flags) == [MaskFlags.nodata] and nodata_is_told:
        return 0
    return 1 if MaskFlags.per_dataset in flags else band


def _is_alpha(src: Any, band: int) -> bool:
    """Return whether a band is the mask of the others; its description may say that it is data."""
    described = common_name(src.descriptions[band - 1] or "")
    return src.colorinterp[band - 1] is ColorInterp.alpha and described not in WAVELENGTH_UM


def _band_name(src: Any, index: int) -> str:
    description = src.descriptions[index - 1]
    if description:
        return str(description)
    color = src.colorinterp[index - 1].name
    return color if color in {"red", "green", "blue", "nir"} else ""


def read(
    source: SourceFile, indexes: Sequence[int], window: Window, out: NDArray[Any] | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Read a window that lies inside a file.

    Parameters
    ----------
    source, indexes, window
        The file, its bands from 1, which have one data type, and the window.
    out
        Array of shape (bands, rows, cols) for numbers of that data type; it may be a view of a larger one.

    Returns
    -------
    values
        Shape (bands, rows, cols): `out` or a new array in the bands' data type.
    valid
        Shape (rows, cols), True where the masks of these bands and the alpha bands that are not among them
        say so; None when there are none. Nodata is not looked at.

    Raises
    ------
    SceneError
        When the data cannot be read, for example from a truncated file.
    """
    part = to_rasterio(source.turn.window(window, source.geobox.shape))
    masks = {source.masks[i - 1] for i in indexes} - {0}
    alphas = [i for i in source.alpha if i not in indexes]
    try:
        with handles.borrow(source) as src:
            # GDAL would clamp numbers of another data type, including nodata.
            whole = out is not None and source.turn == AS_STORED and out.dtype == source.dtype(indexes[0])
            values = src.read(list(indexes), window=part, out=out if whole else None)
            planes = [src.read_masks(i, window=part) > 0 for i in sorted(masks)]
            planes += [src.read(i, window=part) > 0 for i in alphas]
    except RASTER_ERRORS as error:
        raise SceneError(
            f"{source.path}: cannot be read at {window}: the file is truncated or damaged; "
            f"get it again ({one_line(error.__cause__ or error)})"
        ) from error
    valid = source.turn.picture(np.logical_and.reduce(planes)) if planes else None
    return source.turn.picture(values), valid
