"""Labels that are pictures: a colour for each class, in three bands or in a palette."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ConfigError, SceneError, one_line
from geoseg.core.geometry import Window
from geoseg.core.legend import UNLABELLED, Legend, Remap
from geoseg.scenes import sources
from geoseg.scenes.gdal import RASTER_ERRORS, open_raster
from geoseg.scenes.sources import SourceFile

RGB = tuple[int, int, int]

_MOST_COUNTED = 1 << 26
"""Pixels of a file that is read whole, to count its unknown colours."""


@dataclass(frozen=True)
class ColorTable:
    """The colours of the classes."""

    codes: tuple[tuple[RGB, int], ...]
    """Colour and code of each class."""
    ignore_unknown: bool = False
    """Whether pixels of other colours are unlabelled, and no error."""

    @classmethod
    def of(cls, legend: Legend, remap: Remap, *, ignore_unknown: bool = False) -> "ColorTable":
        """Return the table of a legend, and of the codes of its classes."""
        pairs = zip(legend.classes, remap.codes, strict=True)
        return cls(tuple((c.rgb, codes[0]) for c, codes in pairs if codes), ignore_unknown)

    def check(self) -> None:
        """Check that colours part the classes.

        Raises
        ------
        ConfigError
            When two classes have one colour.
        """
        colors = [rgb for rgb, _ in self.codes]
        double = next((c for c in colors if colors.count(c) > 1), None)
        if double is not None:
            raise ConfigError(
                f"legend: two classes have the colour {_text(_packed(np.array(double)))}, so labels that are "
                "pictures do not part them"
            )

    def of_colors(
        self, path: str, packed: NDArray[np.int32], labelled: NDArray[np.bool_]
    ) -> NDArray[np.int32]:
        """Return the codes of packed colours.

        Raises
        ------
        SceneError
            When there are unknown ones.
        """
        known = np.array([_packed(np.array(rgb)) for rgb, _ in self.codes])
        order = np.argsort(known)
        place = np.searchsorted(known[order], packed).clip(max=len(known) - 1)
        hit = known[order][place] == packed
        if not self.ignore_unknown and (strange := packed[labelled & ~hit]).size:
            raise SceneError(f"{path}: {_unknown(path, strange, packed.size)}")
        codes = np.array([code for _, code in self.codes], dtype=np.int32)[order][place]
        return np.where(labelled & hit, codes, np.int32(UNLABELLED))


def _packed(rgb: NDArray[Any]) -> Any:
    """Return colours (3, ...) as one number each."""
    red, green, blue = rgb.astype(np.int32)
    return red << 16 | green << 8 | blue


def _text(packed: int) -> str:
    return f"#{packed:06x}"


def _unknown(path: str, strange: NDArray[np.int32], pixels: int) -> str:
    colors, counts = np.unique(strange, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:4]
    shown = ", ".join(f"{_text(int(colors[i]))} ({counts[i]} px)" for i in most)
    lossy = path.lower().endswith((".jpg", ".jpeg"))
    advice = (
        "JPEG blurs colours: save masks as PNG"
        if lossy
        else "give them to classes of the legend, or write unknown_colors: ignore"
    )
    return (
        f"{strange.size} of {pixels} px have {len(colors)} colour{'s' * (len(colors) > 1)} that the legend "
        f"lacks, such as {shown}; {advice}"
    )


@dataclass(frozen=True)
class ColorDecoder:
    """Pixels of a picture to codes."""

    table: ColorTable
    palette: tuple[RGB, ...] | None = None
    """Colour of each number of a palette image; None: the picture has red, green and blue."""

    @property
    def bands(self) -> tuple[int, ...]:
        """Bands that are read."""
        return (1, 2, 3) if self.palette is None else (1,)

    def codes(
        self, source: SourceFile, values: NDArray[Any], valid: NDArray[np.bool_] | None, window: Window
    ) -> NDArray[np.int32]:
        """Return the codes of pixels (bands, rows, cols), shape (rows, cols).

        Raises
        ------
        SceneError
            When there are unknown colours; they are counted in the whole file.
        """
        labelled = np.ones(values.shape[1:], dtype=np.bool_) if valid is None else valid
        colors = values if self.palette is None else np.moveaxis(np.array(self.palette)[values[0]], -1, 0)
        try:
            return self.table.of_colors(source.path, _packed(colors), labelled)
        except SceneError:
            height, width = source.geobox.shape
            whole = Window.of(0, 0, height, width)
            if window != whole and height * width <= _MOST_COUNTED:
                self.codes(source, *sources.read(source, self.bands, whole), whole)
            raise


def decoder_of(source: SourceFile, table: ColorTable, *, palettes: bool) -> ColorDecoder | None:
    """Return how the pixels of a file become codes by their colours; None when they are codes themselves.

    Parameters
    ----------
    source
        The file.
    table
        The colours of the classes.
    palettes
        Whether numbers of a palette mean its colours; else they are codes.

    Raises
    ------
    SceneError
        When the file cannot be opened.
    ConfigError
        When two classes have one colour.
    """
    three = source.data_bands == (1, 2, 3) and all(source.dtype(i) == np.uint8 for i in (1, 2, 3))
    if not three and (not palettes or 1 not in source.palettes):
        return None
    table.check()
    if three:
        return ColorDecoder(table)
    try:
        with open_raster(source.place) as src:
            colors = src.colormap(1)
    except (*RASTER_ERRORS, ValueError) as error:
        raise SceneError(f"{source.path}: its palette cannot be read: {one_line(error)}") from error
    black = (0, 0, 0, 255)
    return ColorDecoder(table, tuple((c[0], c[1], c[2]) for c in (colors.get(i, black) for i in range(256))))
