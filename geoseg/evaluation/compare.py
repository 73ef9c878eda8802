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
from geoseg.evaluation.calibration import Calibration
from geoseg.evaluation.class_map import ClassMap
from geoseg.evaluation.metrics import Scores, confusion_matrix, scores
from geoseg.scenes import sources
from geoseg.scenes.labels import Labels
from geoseg.scenes.sources import SourceFile

_TITLE = "probability of "
"""How a run describes the bands of `probabilities.tif`, before the slug."""


@dataclass(frozen=True)
class Beliefs:
    """What the map's maker thought of it: probabilities of all classes, or of the chosen one."""

    source: SourceFile
    bands: tuple[int, ...]
    """Band of each class, or the one band of confidence."""

    def read(self, window: Window, where: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the values at some pixels of a window inside the map, shape (bands, pixels).

        Raises
        ------
        SceneError
            When they are no probabilities.
        """
        values = sources.read(self.source, self.bands, window)[0][:, where]
        if values.size and not (values.min() >= 0 and values.max() <= 1):  # NaN is neither
            raise SceneError(
                f"{self.source.path}: holds values that are no probabilities from 0 to 1 at {window}"
            )
        return values


@dataclass(frozen=True)
class Assessment:
    """How a map agrees with its reference."""

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
        """Return all figures as plain values for JSON."""
        slugs = [c.slug for c in legend.classes]
        facts = self.scores.to_dict(legend)
        missing = {s: int(n) for s, n in zip(slugs, self.unmapped, strict=True) if n}
        facts["unmapped"] = {"pixels": int(self.unmapped.sum()), "classes": missing}
        facts["unlabelled_pixels"] = self.unlabelled
        if self.boundary is not None:
            facts["boundary"] = {"tolerance_pixels": self.tolerance, **self.boundary.to_dict(slugs)}
        if self.calibration is not None:
            facts["calibration"] = self.calibration.to_dict()
        return facts


def open_beliefs(path: str, class_map: ClassMap, *, all_classes: bool) -> Beliefs:
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
        if len(source.names) != 1 or np.dtype(source.dtype).kind != "f":
            raise SceneError(f"{path}: is no confidence map: one band of probabilities from 0 to 1 is needed")
        return Beliefs(source, (1,))
    if len(source.names) != len(legend):
        raise SceneError(f"{path}: has {len(source.names)} bands for {len(legend)} classes")
    named = [n.removeprefix(_TITLE) for n in source.names]
    slugs = [c.slug for c in legend.classes]
    if set(named) == set(slugs):
        return Beliefs(source, tuple(named.index(s) + 1 for s in slugs))
    if any(n.startswith(_TITLE) for n in source.names):
        raise SceneError(
            f"{path}: its bands are {', '.join(named)}, the classes {', '.join(slugs)}; give the legend "
            "that made them with --legend"
        )
    return Beliefs(source, tuple(range(1, len(slugs) + 1)))


def assess(
    class_map: ClassMap,
    labels: Labels,
    remap: Remap,
    *,
    probabilities: Beliefs | None = None,
    confidence: Beliefs | None = None,
    tolerance: float | None = None,
    side: int = 1024,
) -> Assessment:
    """Compare a map with its reference in windows; their size changes no figure.

    Parameters
    ----------
    class_map
        The map.
    labels
        The reference, on the map's grid.
    remap
        Codes of the reference to the channels of the map's legend.
    probabilities
        For Brier score and calibration error.
    confidence
        For the calibration error, when there are no probabilities.
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
    calibration = None if probabilities is None and confidence is None else Calibration()
    strange: Counter[int] = Counter()
    rim = 0 if tolerance is None else halo(tolerance)
    for window in _windows(class_map.shape, side):
        wide = _grown(window, rim)
        core = window.relative_to(wide)
        codes, mapped = labels.read(wide), class_map.read(wide)
        reference = remap.channels(codes)
        silent = reference[core] == IGNORE
        strange.update(remap.unknown(codes[core][silent & (codes[core] != UNLABELLED)]))
        unlabelled += int((silent & (mapped[core] != IGNORE)).sum())
        if silent.all():
            continue
        here, truth = mapped[core], reference[core]
        matrix += confusion_matrix(truth, here, classes)
        unmapped += np.bincount(truth[(here == IGNORE) & ~silent], minlength=classes)
        if boundary is not None and tolerance is not None:
            boundary += count_boundaries(reference, mapped, classes, tolerance, core)
        if calibration is not None:
            _judge(calibration, probabilities, confidence, window, truth, here)
    _check_codes(labels.path, strange)
    if not matrix.any():
        raise SceneError(
            f"{labels.path}: no pixel has both a class on {class_map.source.path} and a label; "
            "check extents, nodata and what the legend ignores"
        )
    return Assessment(scores(matrix), unmapped, unlabelled, boundary, tolerance, calibration)


def _judge(
    calibration: Calibration,
    probabilities: Beliefs | None,
    confidence: Beliefs | None,
    window: Window,
    truth: NDArray[np.uint8],
    here: NDArray[np.uint8],
) -> None:
    both = (truth != IGNORE) & (here != IGNORE)
    beliefs = probabilities or confidence
    if beliefs is None or not both.any():
        return
    values = beliefs.read(window, both)
    if probabilities is not None:
        calibration.add(values, truth[both])
    else:
        calibration.add_confidence(values[0], truth[both] == here[both])


def _check_codes(path: str, strange: Counter[int]) -> None:
    if strange:
        listed = ", ".join(f"{code} ({n} px)" for code, n in sorted(strange.items())[:20])
        more = f" and {len(strange) - 20} more" if len(strange) > 20 else ""
        raise SceneError(
            f"{path}: codes that the legend does not know: {listed}{more}; add them to codes: or ignore: of "
            f"the legend, or --ignore {','.join(str(c) for c in sorted(strange)[:20])}"
        )


def _windows(shape: tuple[int, int], side: int) -> Iterator[Window]:
    for row in range(0, shape[0], side):
        for col in range(0, shape[1], side):
            yield Window.of(row, col, side, side).clip(shape)


def _grown(window: Window, by: int) -> Window:
    rows, cols = window.rows, window.cols
    return Window(Span(rows.start - by, rows.stop + by), Span(cols.start - by, cols.stop + by))
