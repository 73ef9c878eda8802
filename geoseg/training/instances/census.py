"""The census of labelled objects: how many, how large, and how dense."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.config.legend import LegendDocument
from geoseg.core.errors import ConfigError, GeosegWarning
from geoseg.core.geometry import Window
from geoseg.scenes.instances import LabelObject, ObjectLabels
from geoseg.scenes.labelled import Labelled
from geoseg.training.census import CensusCell


@dataclass(frozen=True)
class ObjectCensus:
    """The objects of a part of the data."""

    boxes: NDArray[np.int64]
    """Rows and columns of the box of each object, in pixels, shape (n, 2)."""
    classes: NDArray[np.int64]
    """Objects of each class, shape (C,)."""
    densest: int
    """Most objects in a cell, which is as large as a chip."""
    tiny: int
    """Objects of fewer pixels than are trained on."""

    @property
    def sides(self) -> NDArray[np.int64]:
        """The longer side of each box, in pixels."""
        longer: NDArray[np.int64] = self.boxes.max(axis=1, initial=0)
        return longer


def labels_of(place: Labelled) -> ObjectLabels:
    """Return the labels of a scene, which tell objects apart."""
    if not isinstance(place.labels, ObjectLabels):
        raise TypeError(f"{place.name}: labels of classes do not tell objects apart")
    return place.labels


def take_object_census(
    labelled: Sequence[Labelled], cells: Sequence[CensusCell], classes: int, min_pixels: int
) -> ObjectCensus:
    """Count the objects of cells; one that lies in several counts once, with the box of all its parts.

    Parameters
    ----------
    labelled
        The scenes.
    cells
        The cells of a part of the data.
    classes
        Number of classes.
    min_pixels
        Smallest object that is trained on.
    """
    found: dict[tuple[int, int], tuple[Window, int, int]] = {}
    densest = 0
    for cell in cells:
        here = labels_of(labelled[cell.region.scene]).objects(cell.window)
        densest = max(densest, len(here))
        for one in here:
            key = cell.region.scene, one.number
            box = one.window if key not in found else _around(found[key][0], one)
            found[key] = box, one.channel, one.pixels
    boxes = np.array([box.shape for box, _, _ in found.values()], dtype=np.int64).reshape(-1, 2)
    counts = np.bincount([channel for _, channel, _ in found.values()], minlength=classes).astype(np.int64)
    tiny = sum(pixels < min_pixels for _, _, pixels in found.values())
    return ObjectCensus(boxes, counts, densest, tiny)


def _around(box: Window, one: LabelObject) -> Window:
    top, left = min(box.rows.start, one.row), min(box.cols.start, one.col)
    bottom, right = max(box.rows.stop, one.window.rows.stop), max(box.cols.stop, one.window.cols.stop)
    return Window.of(top, left, bottom - top, right - left)


def check_objects(
    censuses: Mapping[str, ObjectCensus], cells: Sequence[CensusCell], legend: LegendDocument, min_pixels: int
) -> None:
    """Refuse to train without objects; warn of what cannot be learned.

    Parameters
    ----------
    censuses
        The objects of each part.
    cells
        The cells of train.
    legend
        The classes.
    min_pixels
        Smallest object that is trained on.

    Raises
    ------
    ConfigError
        When train holds no object that is large enough.
    """
    train, slugs = censuses["train"], np.array([c.slug for c in legend.classes])
    if len(train.boxes) == train.tiny:
        why = f"of {min_pixels} pixels or more (detection.min_pixels)" if train.tiny else "at all"
        raise ConfigError(f"train holds no object {why}; label more, or check labels, legend and split")
    if train.tiny:
        warnings.warn(
            f"{train.tiny} of {len(train.boxes)} objects of train have fewer than {min_pixels} pixels and "
            "are not learned; lower detection.min_pixels, or take images of a finer ground sample distance",
            GeosegWarning,
            stacklevel=2,
        )
    for part, census in censuses.items():
        missing = slugs[census.classes == 0]
        if len(missing) and census.classes.any():
            warnings.warn(f"{part} has no object of {', '.join(missing)}", GeosegWarning, stacklevel=2)
    valid, known = sum(c.valid for c in cells), sum(int(c.classes.sum()) for c in cells)
    if known < valid:
        warnings.warn(
            f"{100 * (1 - known / valid):.1f} % of the pixels of train are not labelled; the network sees "
            "the mean of each band there",
            GeosegWarning,
            stacklevel=2,
        )
