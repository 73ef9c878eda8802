"""Compare a class map with its reference, block by block."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import SceneError
from geoseg.core.geometry import Span, Window
from geoseg.core.legend import IGNORE, UNLABELLED, Legend, Remap
from geoseg.evaluation.boundary import BoundaryCounts, count_boundaries, halo
from geoseg.evaluation.calibration import Calibration, add_reliability
from geoseg.evaluation.class_map import ClassMap
from geoseg.evaluation.metrics import Scores, confusion_matrix, scores
from geoseg.scenes import sources
from geoseg.scenes.labels import Labels
from geoseg.scenes.sources import SourceFile

_TITLE = "probability of "
"""How a run describes the bands of `probabilities.tif`, before the slug."""


@dataclass(frozen=True)
class ProbabilityRaster:
    """A raster of the map's probabilities: those of all classes, or of the chosen class (confidence)."""

    source: SourceFile
    bands: tuple[int, ...]
    """Band of each class in channel order, or the one band of confidence."""

    def read(self, window: Window, where: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the values of a window inside the map where `where` is true, shape (bands, pixels).

        Raises
        ------
        SceneError
            When a value is not from 0 to 1.
        """
        values = sources.read(self.source, self.bands, window)[0][:, where]
        if values.size and not (values.min() >= 0 and values.max() <= 1):  # NaN is neither
            raise SceneError(
                f"{self.source.path}: holds values that are no probabilities from 0 to 1 at {window}"
            )
        return values


@dataclass(frozen=True)
class Comparison:
    """Agreement of a map with its reference."""

    scores: Scores
    unmapped: NDArray[np.int64]
    """Pixels of each class of the reference where the map has nodata, shape (C,)."""
    unlabelled: int
    """Pixels of the map about which the reference says nothing."""
    boundary: BoundaryCounts | None
    tolerance: float | None
    """Tolerance of the boundaries in pixels."""
    calibration: Calibration | None

    def to_dict(self, legend: Legend) -> dict[str, Any]:
        """Return the fields of a `MapReport` as plain values."""
        slugs = [c.slug for c in legend.classes]
        fields = self.scores.to_dict(legend)
        missing = {s: int(n) for s, n in zip(slugs, self.unmapped, strict=True) if n}
        fields["unmapped"] = {"pixels": int(self.unmapped.sum()), "classes": missing}
        fields["unlabelled_pixels"] = self.unlabelled
        if self.boundary is not None:
            fields["boundary"] = {"tolerance_pixels": self.tolerance, **self.boundary.to_dict(slugs)}
        if self.calibration is not None:
            fields["calibration"] = self.calibration.to_dict()
            add_reliability(fields, self.calibration)
        return fields


def open_probabilities(path: str, class_map: ClassMap, *, all_classes: bool) -> ProbabilityRaster:
    """Open `probabilities.tif` or `confidence.tif` of a map.

    Raises
    ------
    SceneError
        When it is not on the map's grid or its bands are not the map's classes.
    """
    source, legend = sources.inspect(path), class_map.legend
    if source.geobox != class_map.source.geobox:
        raise SceneError(f"{path}: is not on the grid of {class_map.source.path}; take both from one run")
    if not all_classes:
        if len(source.names) != 1 or source.dtype(1).kind != "f":
            raise SceneError(f"{path}: is no confidence map: one band of probabilities from 0 to 1 is needed")
        return ProbabilityRaster(source, (1,))
    if len(source.names) != len(legend):
        raise SceneError(f"{path}: has {len(source.names)} bands for {len(legend)} classes")
    named = [n.removeprefix(_TITLE) for n in source.names]
    slugs, titles = [c.slug for c in legend.classes], [c.title for c in legend.classes]
    for names in (titles, slugs):  # a run writes titles; rasters of others may hold slugs
        if named == names:
            return ProbabilityRaster(source, tuple(range(1, len(names) + 1)))
        if set(named) == set(names) and len(set(names)) == len(names):
            return ProbabilityRaster(source, tuple(named.index(n) + 1 for n in names))
    if any(n.startswith(_TITLE) for n in source.names):
        raise SceneError(
            f"{path}: its bands are {', '.join(named)}, the classes {', '.join(slugs)}; give the legend "
            "that made them with --legend"
        )
    return ProbabilityRaster(source, tuple(range(1, len(slugs) + 1)))


def compare(
    class_map: ClassMap,
    labels: Labels,
    remap: Remap,
    *,
    probabilities: ProbabilityRaster | None = None,
    confidence: ProbabilityRaster | None = None,
    tolerance: float | None = None,
    side: int = 1024,
) -> Comparison:
    """Compare a map with its reference, window by window; the size of the windows changes no figure.

    Parameters
    ----------
    class_map
        The map.
    labels
        The reference, on the map's grid.
    remap
        Codes of the reference to the channels of the map's legend.
    probabilities
        Raster for Brier score and calibration error.
    confidence
        Raster for the calibration error, used when `probabilities` is None.
    tolerance
        Tolerance of boundary F1 in pixels; None leaves it out.
    side
        Height and width of the windows in pixels.

    Raises
    ------
    SceneError
        When the reference has codes that the legend does not know, or no pixel has both map and reference.
    """
    classes = len(class_map.legend)
    matrix = np.zeros((classes, classes), dtype=np.int64)
    unmapped, unlabelled = np.zeros(classes, dtype=np.int64), 0
    boundary = None if tolerance is None else BoundaryCounts.nothing(classes)
    calibration = None if probabilities is None and confidence is None else Calibration(classes=classes)
    unknown: Counter[int] = Counter()
    rim = 0 if tolerance is None else halo(tolerance)
    for window in _windows(class_map.shape, side):
        wide = _grown(window, rim)
        core = window.relative_to(wide)
        codes, mapped = labels.read(wide), class_map.read(wide)
        reference = remap.channels(codes)
        ignored = reference[core] == IGNORE
        unknown.update(remap.unknown(codes[core][ignored & (codes[core] != UNLABELLED)]))
        unlabelled += int((ignored & (mapped[core] != IGNORE)).sum())
        if ignored.all():
            continue
        here, truth = mapped[core], reference[core]
        matrix += confusion_matrix(truth, here, classes)
        unmapped += np.bincount(truth[(here == IGNORE) & ~ignored], minlength=classes)
        if boundary is not None and tolerance is not None:
            boundary += count_boundaries(reference, mapped, classes, tolerance, core)
        if calibration is not None:
            _add_calibration(calibration, probabilities, confidence, window, truth, here)
    _check_codes(labels.path, unknown)
    if not matrix.any():
        raise SceneError(
            f"{labels.path}: no pixel has both a class on {class_map.source.path} and a label; "
            "check extents, nodata and what the legend ignores"
        )
    return Comparison(scores(matrix), unmapped, unlabelled, boundary, tolerance, calibration)


def _add_calibration(
    calibration: Calibration,
    probabilities: ProbabilityRaster | None,
    confidence: ProbabilityRaster | None,
    window: Window,
    truth: NDArray[np.uint8],
    here: NDArray[np.uint8],
) -> None:
    both = (truth != IGNORE) & (here != IGNORE)
    raster = probabilities or confidence
    if raster is None or not both.any():
        return
    values = raster.read(window, both)
    if probabilities is not None:
        calibration.add(values, truth[both])
    else:
        calibration.add_confidence(values[0], truth[both] == here[both], here[both])


def _check_codes(path: str, unknown: Counter[int]) -> None:
    if unknown:
        listed = ", ".join(f"{code} ({n} px)" for code, n in sorted(unknown.items())[:20])
        more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
        raise SceneError(
            f"{path}: codes that the legend does not know: {listed}{more}; add them to codes: or ignore: of "
            f"the legend, or --ignore {','.join(str(c) for c in sorted(unknown)[:20])}"
        )


def _windows(shape: tuple[int, int], side: int) -> Iterator[Window]:
    for row in range(0, shape[0], side):
        for col in range(0, shape[1], side):
            yield Window.of(row, col, side, side).clip(shape)


def _grown(window: Window, by: int) -> Window:
    rows, cols = window.rows, window.cols
    return Window(Span(rows.start - by, rows.stop + by), Span(cols.start - by, cols.stop + by))
