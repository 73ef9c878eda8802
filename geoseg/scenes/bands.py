"""Bands and quality bands of a scene, read onto its grid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.core.geometry import Span, Window
from geoseg.scenes import grid, resample, sources
from geoseg.scenes.resample import Taps
from geoseg.scenes.sources import SourceFile

_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class SceneBand:
    """One band of a scene."""

    name: str
    """Name in the scene, for messages (`B02`)."""
    common_name: str
    """Common name (`blue`)."""
    source: SourceFile
    index: int
    """Number of the band in its file, from 1."""
    scale: float
    """Physical value = number * scale + offset."""
    offset: float
    nodata: float | None
    wavelength_um: float | None
    declared: bool
    """Whether scale and offset were declared, by the catalog or the file, or are the default 1 and 0."""
    saturated: float | None = None
    """The number of pixels whose signal was too strong; they are nodata, too."""

    @property
    def invalid(self) -> tuple[float, ...]:
        """Numbers that are no measurement: nodata and saturation."""
        return tuple(n for n in (self.nodata, self.saturated) if n is not None)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of its numbers."""
        return self.source.dtype(self.index)


@dataclass(frozen=True)
class SceneMask:
    """A quality band: which of its values mean nodata. Where it is nodata itself, the scene is, too."""

    source: SourceFile
    index: int
    invalid_values: tuple[int, ...]
    invalid_bits: tuple[int, ...]
    """Bit patterns: a pixel is nodata when all bits of one of them are set."""

    def read(self, geobox: GeoBox, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Read a window inside a grid, nearest neighbour.

        Returns
        -------
        values
            Shape (rows, cols).
        known
            False where the quality band is nodata, NaN or masked itself, shape (rows, cols); None: nowhere.
        """
        nodata = self.source.nodata[self.index - 1]
        invalid = (() if nodata is None else (nodata,),)
        read, known = read_on(self.source, (self.index,), geobox, window, resample.nearest, invalid)
        return read[0], known

    def valid_in(self, geobox: GeoBox, window: Window) -> NDArray[np.bool_]:
        """Read where a window inside a grid is valid, shape (rows, cols)."""
        quality, known = self.read(geobox, window)
        valid = self.valid(quality)
        return valid if known is None else valid & known

    def valid(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where the values of the quality band are valid, same shape."""
        bad = np.isin(values, self.invalid_values)
        # Through its unsigned type: the sign of a negative number must not fill bits that the type has not.
        wide = values.view(f"u{values.itemsize}").astype(np.int64) if self.invalid_bits else values
        for pattern in self.invalid_bits:
            bad |= (wide & pattern) == pattern
        return ~bad


def read_on(
    source: SourceFile,
    indexes: Sequence[int],
    target: GeoBox,
    window: Window,
    method: Callable[[NDArray[np.float64], int], Taps] | None,
    invalid: Sequence[Sequence[float]],
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Read bands of one file onto a window of the target grid, with their validity (None: all valid).

    Without a `method`, coarser files are interpolated and finer ones averaged. Files on the target grid are
    read into `out`, if it is given.
    """
    if source.geobox == target:
        values, mask = sources.read(source, indexes, window, out)
        return values, valid_numbers(values, invalid, mask)
    coarser = abs(target.resolution.x) > abs(source.geobox.resolution.x) * (1 + 1e-9)
    method = method or (resample.average if coarser else resample.bilinear)
    taps = [
        method(grid.edges_in(source.geobox, target, span, axis), source.geobox.shape[axis])
        for axis, span in enumerate((window.rows, window.cols))
    ]
    part = Window(*(Span(t.first, t.stop) for t in taps))
    values, mask = sources.read(source, indexes, part)
    valid = valid_numbers(values, invalid, mask)
    resampled, valid = resample.apply(values, valid, *taps)
    if values.dtype.kind in "iu":
        np.rint(resampled, out=resampled)
    return resampled.astype(values.dtype), valid


def valid_numbers(
    values: NDArray[Any], invalid: Sequence[Sequence[float]], mask: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """Return where no band has one of its invalid numbers, and the mask holds; None: everywhere."""
    bad = _invalid(values, invalid)
    if bad is None:
        return mask
    return ~bad if mask is None else mask & ~bad


def _invalid(values: NDArray[Any], invalid: Sequence[Sequence[float]]) -> NDArray[np.bool_] | None:
    """Return where a band has one of its invalid numbers, NaN or infinity, (rows, cols); None: nowhere."""
    bad: NDArray[np.bool_] | None = None
    for band, numbers in zip(values, invalid, strict=True):
        # Whole numbers are compared as integers, which needs no copy of the band in float64.
        checks = [
            band == (int(n) if values.dtype.kind in "iu" and float(n).is_integer() else n)
            for n in numbers
            if not np.isnan(n)
        ]
        if values.dtype.kind == "f":
            # Networks compute in single precision, where larger numbers are infinite.
            checks.append(~(np.abs(band) <= _LARGEST))
        for check in checks:
            bad = check if bad is None else bad | check
    return bad
