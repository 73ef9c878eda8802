"""Label sources on the grid of a scene: codes from a raster or from polygons, window by window."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError

from geoseg.core.errors import GeosegWarning, SceneError
from geoseg.core.geometry import Span, Window
from geoseg.core.legend import UNLABELLED, Remap
from geoseg.scenes import sources
from geoseg.scenes.burning import VECTOR_SUFFIXES, PolygonCodes, bounds_in, open_polygons
from geoseg.scenes.grid import crs_name, edges_in, gsd_m
from geoseg.scenes.label_colors import ColorDecoder, ColorTable, decoder_of
from geoseg.scenes.sources import SourceFile

_MOST_PIXELS = 1 << 24
"""Source pixels that are read at once; finer sources are read in parts."""


class Codes(Protocol):
    """A source of label codes: a raster or polygons."""

    def read(self, geobox: GeoBox, window: Window) -> NDArray[np.int32]:
        """Return the codes of a window that lies inside the grid."""

    def identity(self) -> dict[str, Any]:
        """Return the facts by which a change of the codes is noticed."""


@dataclass(frozen=True)
class Labels:
    """Label codes on a grid. Can be pickled, and read by several threads and processes at once."""

    path: str
    """The file with the labels."""
    geobox: GeoBox
    """The grid on which they are read."""
    codes: Codes
    """The raster or the polygons."""

    def read(self, window: Window) -> NDArray[np.int32]:
        """Read a window, which may extend beyond the grid.

        Returns
        -------
        numpy.ndarray
            Codes, shape (rows, cols); `UNLABELLED` where the source has no label: nodata, NaN, masked, no
            polygon, beyond the source or the grid. They do not depend on how the grid is cut into windows.

        Raises
        ------
        SceneError
            When the file cannot be read, or contains values that are no codes.
        """
        shape = self.geobox.shape.y, self.geobox.shape.x
        inside = window.clip(shape)
        found = np.full(window.shape, UNLABELLED, dtype=np.int32)
        if inside:
            found[inside.relative_to(window)] = self.codes.read(self.geobox, inside)
        return found

    def identity(self) -> dict[str, Any]:
        """Return path, size and time of the last change, for fingerprints."""
        return {"path": self.path, **self.codes.identity()}


@dataclass(frozen=True)
class RasterCodes:
    """The codes in the first band of a raster, or those of its colours.

    They are taken at the centres of the grid's pixels (nearest neighbour).
    """

    source: SourceFile
    colors: ColorDecoder | None = None
    """How colours become codes; None: the pixels are codes."""

    def identity(self) -> dict[str, Any]:
        """Return the versions of its files."""
        return {"files": [[v.path, v.size, v.stamp] for v in self.source.files]}

    def read(self, geobox: GeoBox, window: Window) -> NDArray[np.int32]:
        """Return the codes of a window that lies inside the grid, shape (rows, cols)."""
        found = np.full((1, *window.shape), UNLABELLED, dtype=np.int32)
        bands = (1,) if self.colors is None else self.colors.bands
        codes: NDArray[np.int32] = sample(self.source, bands, geobox, window, found, self._decoded)[0]
        return codes

    def _decoded(
        self, planes: NDArray[Any], valid: NDArray[np.bool_] | None, window: Window
    ) -> NDArray[np.int32]:
        if self.colors is None:
            return self._whole_numbers(planes, valid, window)
        return self.colors.codes(self.source, planes, valid, window)[None]

    def _whole_numbers(
        self, planes: NDArray[Any], valid: NDArray[np.bool_] | None, window: Window
    ) -> NDArray[np.int32]:
        """Return values as codes; nodata is unlabelled."""
        values, labelled = planes[0], labelled_in(self.source, 1, planes[0], valid)
        limits = np.iinfo(np.int32)
        if not np.can_cast(values.dtype, np.int32):
            strange = labelled & ((values < limits.min) | (values > limits.max) | (values % 1 != 0))
            if strange.any():
                raise SceneError(
                    f"{self.source.path}: holds {values[strange][0]:g} at {window}; labels are whole-number "
                    "codes of classes, not measurements"
                )
        # Converted first: -1 does not fit an unsigned type, in which numpy would silently write 255.
        codes = np.where(labelled, np.where(labelled, values, 0).astype(np.int32), np.int32(UNLABELLED))
        return codes[None]


Decode = Callable[[NDArray[Any], NDArray[np.bool_] | None, Window], NDArray[Any]]
"""Turns numbers of a file (bands, rows, cols), and which are valid, into labels (layers, rows, cols)."""


def sample(
    source: SourceFile,
    bands: tuple[int, ...],
    geobox: GeoBox,
    window: Window,
    found: NDArray[Any],
    decode: Decode,
) -> NDArray[Any]:
    """Take bands of a file at the centres of a grid's pixels (nearest neighbour).

    Parameters
    ----------
    source, bands
        The file and its bands, from 1.
    geobox, window
        The grid, and a window that lies inside it.
    found
        Labels of pixels beyond the file, shape (layers, rows, cols); filled in where there are others.
    decode
        Turns numbers into labels.

    Returns
    -------
    numpy.ndarray
        Shape (layers, rows, cols).
    """
    rows, cols = _places(source.geobox, geobox, window)
    height, width = source.geobox.shape.y, source.geobox.shape.x
    known = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    if not known.any():
        return found
    rows, cols = np.where(known, rows, rows[known][0]), np.where(known, cols, cols[known][0])
    needed = Window(Span(int(rows.min()), int(rows.max()) + 1), Span(int(cols.min()), int(cols.max()) + 1))
    if needed.shape[0] * needed.shape[1] > _MOST_PIXELS and max(window.shape) > 1:
        for part in _halves(window):
            here = part.relative_to(window)
            found[:, *here] = sample(source, bands, geobox, part, found[:, *here], decode)
        return found
    values, valid = sources.read(source, bands, needed)
    labels = decode(values, valid, needed)
    return np.where(known, labels[:, rows - needed.rows.start, cols - needed.cols.start], found)


def labelled_in(
    source: SourceFile, band: int, values: NDArray[Any], valid: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Return which numbers of a band are labels: neither masked, nor nodata, nor NaN."""
    nodata = source.nodata[band - 1]
    labelled = np.ones(values.shape, dtype=np.bool_) if valid is None else valid
    if nodata is not None:
        labelled = labelled & (values != nodata)
    return labelled & ~np.isnan(values) if values.dtype.kind == "f" else labelled


def _places(source: GeoBox, geobox: GeoBox, window: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of the source under each pixel centre, -1 where there is none."""
    if geobox.crs is None:
        rows, cols = np.arange(window.rows.start, window.rows.stop), np.arange(
            window.cols.start, window.cols.stop
        )  # fmt: skip
        return _crossed(rows, cols)
    if geobox.crs == source.crs:
        edges = (edges_in(source, geobox, s, i) for i, s in enumerate((window.rows, window.cols)))
        rows, cols = (np.floor((e[:-1] + e[1:]) / 2).astype(np.int64) for e in edges)
        return _crossed(rows, cols)
    col, row = np.meshgrid(
        np.arange(window.cols.start, window.cols.stop) + 0.5,
        np.arange(window.rows.start, window.rows.stop) + 0.5,
    )
    # Every centre is transformed: an interpolation between some of them would depend on the window.
    to_source = geobox.crs.transformer_to_crs(source.crs)
    x, y = (~source.transform) @ to_source(*(geobox.transform @ (col, row)))
    finite = np.isfinite(x) & np.isfinite(y)
    place = np.where(finite, np.floor([y, x]), -1).clip(-1, 2**40).astype(np.int64)
    return place[0], place[1]


def _crossed(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    shape = len(rows), len(cols)
    return np.broadcast_to(rows[:, None], shape), np.broadcast_to(cols, shape)


def _halves(window: Window) -> tuple[Window, Window]:
    height, width = window.shape
    (top, left), middle = (window.rows.start, window.cols.start), max(height, width) // 2
    if height >= width:
        return Window.of(top, left, middle, width), Window.of(top + middle, left, height - middle, width)
    return Window.of(top, left, height, middle), Window.of(top, left + middle, height, width - middle)


def warn_of_nodata_codes(labels: Sequence[Labels], remap: Remap, names: Sequence[str]) -> None:
    """Warn when rasters of labels declare the code of a class as nodata: its pixels count as unlabelled.

    Parameters
    ----------
    labels
        The label sources.
    remap
        The codes of the classes.
    names
        The names of the classes, in channel order.
    """
    pairs = zip(names, remap.codes, strict=True)
    name_of: dict[float | None, str] = {code: name for name, codes in pairs for code in codes}
    lost: dict[str, list[str]] = {}
    for one in labels:
        if (
            isinstance(one.codes, RasterCodes)
            and one.codes.colors is None
            and one.codes.source.nodata[0] in name_of
        ):
            lost.setdefault(name_of[one.codes.source.nodata[0]], []).append(one.path)
    for name, paths in lost.items():
        more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
        warnings.warn(
            f"{paths[0]}{more}: its nodata is the code of {name}, so these pixels count as unlabelled; if "
            f"they are {name}, take it away: gdal_edit.py -unsetnodata FILE",
            GeosegWarning,
            stacklevel=3,
        )


def open_labels(
    path: str,
    geobox: GeoBox,
    *,
    attribute: str | None = None,
    names: Mapping[str, int] | None = None,
    layer: str | None = None,
    only: int | None = None,
    colors: ColorTable | None = None,
    palettes: bool = False,
) -> Labels:
    """Open a label source to be read on a grid; labels on another grid are resampled, with a warning.

    Parameters
    ----------
    path
        A raster whose first band holds codes (whole numbers of any type; -1 means unlabelled), a picture in
        the colours of the classes, or polygons: GeoPackage, GeoJSON, Shapefile, FlatGeobuf.
    geobox
        The grid to read on. A grid without CRS (photographs, chips) needs a raster of its shape without CRS.
    attribute
        Column of the polygons with the class: whole numbers are codes, texts are names in `names`. Default:
        `class_id` or `class_name`.
    names
        Code of each name, regardless of case.
    layer
        Layer of the polygons; default: the only one.
    only
        Code of polygons that have no usual column of classes; default: they are refused.
    colors
        Colours of the classes; None: pictures are no labels.
    palettes
        Whether the numbers of a palette image mean its colours, and are no codes.

    Raises
    ------
    SceneError
        When the file is missing or has no labels, the column or a name in it is unknown, or the labels do not
        overlap the grid.
    """
    codes: RasterCodes | PolygonCodes
    if Path(path).suffix.lower() in VECTOR_SUFFIXES:
        codes = open_polygons(path, geobox, attribute, names or {}, layer, only)
        crs, extent, notice = codes.crs, codes.extent, ""
        if geobox.crs != crs:
            notice = f"{path}: labels in {crs_name(crs)} are reprojected to {crs_name(geobox.crs)}"
    else:
        source = sources.inspect(path)
        decoder = None if colors is None else decoder_of(source, colors, palettes=palettes)
        if decoder is None:
            check_bands(source, 1, "class codes")
        codes, crs, extent = RasterCodes(source, decoder), source.geobox.crs, source.geobox.boundingbox
        notice = fit_to(source, geobox)
    if geobox.crs is not None:
        check_overlap(path, geobox, crs, tuple(map(float, extent.bbox)))
    if notice:
        warnings.warn(notice, GeosegWarning, stacklevel=2)
    return Labels(path, geobox, codes)


def check_overlap(path: str, geobox: GeoBox, crs: CRS, theirs: tuple[float, ...]) -> None:
    """Check that labels with an extent (left, bottom, right, top) in their CRS lie on a grid.

    Raises
    ------
    SceneError
        When they do not.
    """
    try:
        ours = bounds_in(crs, geobox)
    except ProjError as error:
        raise SceneError(
            f"{path}: labels in {crs_name(crs)} cannot be brought to {crs_name(geobox.crs)} of the scene; "
            "correct the CRS that is wrong with gdal_edit.py -a_srs"
        ) from error
    if not (_meet(ours[0::2], theirs[0::2]) and _meet(ours[1::2], theirs[1::2])):
        raise SceneError(
            f"{path}: labels do not overlap the scene: in {crs_name(crs)} they cover {_span(theirs)}, "
            f"the scene {_span(ours)} (left, bottom, right, top); check both CRS"
        )


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return max(one[0], other[0]) < min(one[1], other[1])


def _span(bounds: Sequence[float]) -> str:
    return ", ".join(f"{v:.8g}" for v in bounds)


def fit_to(source: SourceFile, geobox: GeoBox) -> str:
    """Check that a raster of labels can be read on a grid; return a warning where it is resampled.

    Raises
    ------
    SceneError
        When one of them has no CRS, or both have none and differ in shape.
    """
    _check_shapes(source, geobox)
    return _resampled(source, geobox)


def check_bands(source: SourceFile, count: int, what: str) -> None:
    """Check that a raster of labels has a number of bands of real numbers.

    Raises
    ------
    SceneError
        When it has not.
    """
    if source.alpha and 1 in source.alpha:
        raise SceneError(
            f"{source.path}: its band 1 is alpha, which masks and is no label; say that it is none: "
            "gdal_edit.py -colorinterp_1 gray, or write the band of the labels first: gdal_translate -b"
        )
    if source.data_bands != tuple(range(1, count + 1)):
        wanted = f"one band of {what}" if count == 1 else f"{count} bands of {what}"
        raise SceneError(f"{source.path}: has {len(source.data_bands)} bands; labels are {wanted}")
    if source.dtype(1).kind == "c":
        form = "whole-number codes of classes" if what == "class codes" else what
        raise SceneError(f"{source.path}: holds {source.dtypes[0]}; labels are {form}")


def _check_shapes(source: SourceFile, geobox: GeoBox) -> None:
    theirs, ours = source.geobox.crs, geobox.crs
    if (theirs is None) != (ours is None):
        raise SceneError(
            f"{source.path}: the CRS of the labels is {crs_name(theirs)}, that of the scene {crs_name(ours)}"
            "; give both one, with gdal_edit.py -a_srs"
        )
    if ours is None and source.geobox.shape != geobox.shape:
        raise SceneError(
            f"{source.path}: {source.geobox.shape.y} x {source.geobox.shape.x} labels for {geobox.shape.y} x "
            f"{geobox.shape.x} pixels; without a CRS both must have one shape"
        )


def _resampled(source: SourceFile, geobox: GeoBox) -> str:
    """Return a warning about resampled labels; an empty text when their pixels are pixels of the grid."""
    theirs, ours = source.geobox, geobox
    if ours.crs is None:
        return ""
    if ours.crs == theirs.crs:
        first = [edges_in(theirs, ours, Span(0, n), i) for i, n in enumerate((ours.shape.y, ours.shape.x))]
        if all(np.array_equal(e, np.round(e[0]) + np.arange(len(e))) for e in first):
            return ""
    return (
        f"{source.path}: labels of {crs_name(theirs.crs)}, GSD {gsd_m(theirs):.4g} m, are brought to "
        f"{crs_name(ours.crs)}, GSD {gsd_m(ours):.4g} m (nearest neighbour)"
    )
