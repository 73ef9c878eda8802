"""What labels say: one class of each pixel, objects, numbers of a field, or several labels for each pixel."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.config.legend import LegendDocument
from geoseg.core.errors import GeosegWarning, SceneError
from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE, Remap
from geoseg.scenes import sources
from geoseg.scenes.label_colors import ColorTable
from geoseg.scenes.labelled import Labelled, LabelledField
from geoseg.scenes.labels import check_bands, check_overlap, fit_to, labelled_in, open_labels, sample
from geoseg.scenes.open_objects import class_names, open_objects
from geoseg.scenes.scene import Scene
from geoseg.scenes.sources import SourceFile

CLASS_FIELD = "{class}"
"""In a path of labels, what stands for the slug of each class."""


@dataclass(frozen=True)
class RasterNumbers:
    """The first band of a raster as physical numbers, taken at the centres of a grid's pixels."""

    path: str
    geobox: GeoBox
    source: SourceFile

    def read(self, window: Window) -> NDArray[np.float32]:
        """Read a window, which may extend beyond the grid; NaN where there is no number, (rows, cols)."""
        return _read_inside(self.geobox, window, np.float32(np.nan), self._read, ())

    def _read(self, window: Window) -> NDArray[np.float32]:
        found = np.full((1, *window.shape), np.nan, dtype=np.float32)
        numbers: NDArray[np.float32] = sample(self.source, (1,), self.geobox, window, found, self._physical)[
            0
        ]
        return numbers

    def identity(self) -> dict[str, Any]:
        """Return path, size and time of the last change, for fingerprints."""
        return _identity(self.path, [self.source])

    def _physical(
        self, planes: NDArray[Any], valid: NDArray[np.bool_] | None, _: Window
    ) -> NDArray[np.float32]:
        values, labelled = planes[0], labelled_in(self.source, 1, planes[0], valid)
        physical = values * self.source.scales[0] + self.source.offsets[0]
        return np.where(labelled & np.isfinite(physical), physical, np.nan).astype(np.float32)[None]


@dataclass(frozen=True)
class RasterFlags:
    """Labels that are there or not: a band for each class of one raster, or a raster for each."""

    path: str
    geobox: GeoBox
    sources: tuple[SourceFile, ...]
    """One file with a band for each class, or a file for each."""
    classes: int

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read a window, which may extend beyond the grid.

        Returns
        -------
        numpy.ndarray
            1 where a pixel has the label, 0 where it has not, 255 where nothing is known, (C, rows, cols).
        """
        return _read_inside(self.geobox, window, np.uint8(IGNORE), self._read, (self.classes,))

    def _read(self, window: Window) -> NDArray[np.uint8]:
        bands = tuple(range(1, self.classes // len(self.sources) + 1))
        parts = []
        for source in self.sources:
            found = np.full((len(bands), *window.shape), IGNORE, dtype=np.uint8)
            parts.append(sample(source, bands, self.geobox, window, found, _Flags(source)))
        return np.concatenate(parts)

    def identity(self) -> dict[str, Any]:
        """Return path, size and time of the last change, for fingerprints."""
        return _identity(self.path, self.sources)


@dataclass(frozen=True)
class _Flags:
    """Turns the numbers of a file into labels that are there or not."""

    source: SourceFile

    def __call__(
        self, planes: NDArray[Any], valid: NDArray[np.bool_] | None, window: Window
    ) -> NDArray[np.uint8]:
        flags = np.full(planes.shape, IGNORE, dtype=np.uint8)
        for band, (values, target) in enumerate(zip(planes, flags, strict=True), start=1):
            labelled = labelled_in(self.source, band, values, valid)
            strange = labelled & (values != 0) & (values != 1)
            if strange.any():
                raise SceneError(
                    f"{self.source.path}: band {band} holds {values[strange][0]:g} at {window}; a label is 1 "
                    "where it is and 0 where it is not; declare another number as nodata, or divide by it"
                )
            target[labelled] = values[labelled].astype(np.uint8)
        return flags


def _identity(path: str, files: Sequence[SourceFile]) -> dict[str, Any]:
    return {"path": path, "files": [[v.path, v.size, v.stamp] for f in files for v in f.files]}


def _read_inside(
    geobox: GeoBox, window: Window, empty: Any, read: Any, leading: tuple[int, ...]
) -> NDArray[Any]:
    """Return what is read inside a grid, and `empty` beyond it."""
    inside = window.clip((geobox.shape.y, geobox.shape.x))
    found = np.full((*leading, *window.shape), empty)
    if inside:
        found[..., *inside.relative_to(window)] = read(inside)
    return found


@dataclass(frozen=True)
class Place:
    """A scene of labelled data, and where its labels are."""

    scene: Scene
    labels: str
    """Path; of several labels it may contain `CLASS_FIELD`."""
    group: str
    part: str | None = None
    valid_range: tuple[float, float] | None = None
    attribute: str | None = None
    layer: str | None = None
    image: str = ""
    """File name of the image, by which COCO JSON tells images apart."""
    classes: Path | None = None
    """Raster with the class of each object of a raster of numbers."""
    area: Path | None = None
    """Polygons of the part of the scene where objects were looked for; None: the whole scene."""
    palettes: bool = False
    """Whether the numbers of a palette image mean its colours, and are no codes."""
    ignore_unknown: bool = False
    """Whether pixels in colours that the legend lacks are unlabelled, and no error."""


class Truth(Protocol):
    """What the labels of a data set say."""

    def label(self, place: Place) -> Labelled:
        """Open the labels of a scene.

        Raises
        ------
        SceneError
            When they are missing, are of another kind, or do not lie on the scene.
        """
        ...


@dataclass(frozen=True)
class _Coded:
    """Labels that are codes, or mean codes."""

    legend: LegendDocument
    """The classes as they stand in the labels."""
    remap: Remap | None = None
    """Channels of their codes; None: one for each class of the legend."""
    names: Mapping[str, int] | None = None
    """Code of each text in polygons; None: slugs and titles of the legend."""

    @property
    def channels(self) -> Remap:
        """Channels of the codes."""
        return self.legend.remap if self.remap is None else self.remap

    @property
    def codes(self) -> Mapping[str, int]:
        """Code of each text that a vector file may contain."""
        return class_names(self.legend) if self.names is None else self.names


@dataclass(frozen=True)
class ClassTruth(_Coded):
    """One class for each pixel."""

    def label(self, place: Place) -> Labelled:
        """See `Truth`."""
        legend = self.legend
        colors = ColorTable.of(legend.legend, legend.remap, ignore_unknown=place.ignore_unknown)
        labels = open_labels(
            place.labels, place.scene.geobox, attribute=place.attribute, names=self.codes, layer=place.layer,
            colors=colors, palettes=place.palettes,
        )  # fmt: skip
        return Labelled(place.scene, labels, self.channels, place.group, place.part, place.valid_range)


@dataclass(frozen=True)
class ObjectTruth(_Coded):
    """Single objects, each of a class, see `geoseg.scenes.open_objects`."""

    def label(self, place: Place) -> Labelled:
        """See `Truth`."""
        drawn = open_objects(
            Path(place.labels), place.scene.geobox, self.channels, self.codes, image=place.image,
            classes=place.classes, attribute=place.attribute, layer=place.layer, area=place.area,
        )  # fmt: skip
        return Labelled(place.scene, drawn, drawn.remap, place.group, place.part, place.valid_range)


@dataclass(frozen=True)
class NumberTruth:
    """A number for each pixel."""

    def label(self, place: Place) -> Labelled:
        """See `Truth`."""
        _check_rasters(place)
        numbers = open_numbers(place.labels, place.scene.geobox)
        return LabelledField(place.scene, numbers, Remap(()), place.group, place.part, place.valid_range)


@dataclass(frozen=True)
class FlagTruth:
    """For each class whether a pixel has it."""

    slugs: tuple[str, ...]

    def label(self, place: Place) -> Labelled:
        """See `Truth`."""
        _check_rasters(place)
        flags = open_flags(place.labels, place.scene.geobox, self.slugs)
        return LabelledField(place.scene, flags, Remap(()), place.group, place.part, place.valid_range)


def _check_rasters(place: Place) -> None:
    if place.attribute is not None or place.layer is not None:
        raise SceneError(f"{place.labels}: attribute and layer are of polygons; these labels are rasters")


def open_numbers(path: str, geobox: GeoBox) -> RasterNumbers:
    """Open a raster of numbers to be read on a grid; one on another grid is resampled, with a warning.

    Raises
    ------
    SceneError
        When it is missing, has several bands, or does not lie on the grid.
    """
    return RasterNumbers(path, geobox, _opened(path, geobox, 1, "numbers"))


def open_flags(path: str, geobox: GeoBox, slugs: Sequence[str]) -> RasterFlags:
    """Open labels that are there or not, to be read on a grid; those on another grid are resampled.

    Parameters
    ----------
    path
        A raster with a band for each class; or a path in which `CLASS_FIELD` stands for the slug of each.
    geobox
        The grid.
    slugs
        The classes, in order.

    Raises
    ------
    SceneError
        When a raster is missing, has another number of bands, or does not lie on the grid.
    """
    if CLASS_FIELD in path:
        found = tuple(_opened(path.replace(CLASS_FIELD, slug), geobox, 1, "0 or 1") for slug in slugs)
    else:
        found = (_opened(path, geobox, len(slugs), "0 or 1, one of each class"),)
    return RasterFlags(path, geobox, found, len(slugs))


def _opened(path: str, geobox: GeoBox, bands: int, what: str) -> SourceFile:
    """Open a raster of labels and check that it lies on a grid."""
    source = sources.inspect(path)
    check_bands(source, bands, what)
    notice = fit_to(source, geobox)
    if geobox.crs is not None:
        check_overlap(path, geobox, source.geobox.crs, tuple(map(float, source.geobox.boundingbox.bbox)))
    if notice:
        warnings.warn(notice, GeosegWarning, stacklevel=2)
    return source
