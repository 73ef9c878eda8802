"""Fit what makes probabilities calibrated, a temperature or a factor and a shift of each class; choose one.

Both have the highest likelihood of the labels (Guo et al. 2017, On calibration of modern neural networks).
Vector scaling has two numbers for each class, so it is held by a weak pull towards the temperature, and which
of the two is kept is decided by cross-validation over places: never by test.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from geoseg.core.legend import IGNORE
from geoseg.models.scaling import UNSCALED, Scaling, VectorScaling

Kind = Literal["none", "temperature", "vector", "auto"]

FEWEST_UNITS = 4
"""Places that are needed to cross-validate over two halves of them."""
_MOST_ROWS = 200_000
_MOST_NUMBERS = 4_000_000
"""Most pixels, and pixels times classes, that are fitted on."""
_PULL = 1e-3
"""Weight of the squared distance from the temperature beside the mean log-likelihood of a pixel: that of one
pixel in a thousand, so that it decides for classes that hardly any pixel speaks of."""
_FEWEST_ROWS = 50
"""A class with fewer pixels keeps the temperature: nothing is known of it."""
_BETTER = 1e-3
"""Share of the negative log-likelihood that vector scaling must save to be chosen."""
_REACH = 30.0
"""Furthest that a shift goes, and the most that a factor differs from the temperature's."""


@dataclass(frozen=True)
class LogitRows:
    """Labelled pixels with the logits of a network."""

    logits: NDArray[np.float32]
    """As the network gave them, shape (pixels, C)."""
    labels: NDArray[np.uint8]
    """Channel of each, shape (pixels,)."""
    units: NDArray[np.int64]
    """Number of the place of each, shape (pixels,)."""

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, chosen: NDArray[np.bool_]) -> "LogitRows":
        """Return some of them."""
        return LogitRows(self.logits[chosen], self.labels[chosen], self.units[chosen])


@dataclass(frozen=True)
class Calibrated:
    """What was fitted, and why it was kept."""

    scaling: Scaling = UNSCALED
    told: str = ""
    """Which of the two was kept and their figures, in one line; empty where there was nothing to choose."""


def most_rows(classes: int, most: int = _MOST_ROWS, numbers: int = _MOST_NUMBERS) -> int:
    """Return the most pixels that are kept of a network with so many classes."""
    return min(most, max(1, numbers // classes))


def draw_rows(
    predicted: Iterable[tuple[int, NDArray[np.float32], NDArray[np.uint8]]], labelled: int, most: int
) -> LogitRows:
    """Draw labelled pixels, of each chip as large a share, in a way that depends on nothing but their order.

    Parameters
    ----------
    predicted
        Of each chip the number of its place, logits (C, rows, cols) and channels (rows, cols), 255 where
        nothing is labelled.
    labelled
        Labelled pixels of all chips, about.
    most
        Pixels that are wanted.
    """
    share = min(1.0, most / max(1, labelled))
    logits, labels, units, due = [], [], [], 0.0
    for number, (unit, answer, label) in enumerate(predicted):
        known = np.flatnonzero(label != IGNORE)
        due += len(known) * share
        taken = min(int(due + 1e-6), len(known))
        due -= taken
        rng = np.random.default_rng([0, number])
        chosen = known if taken == len(known) else np.sort(rng.choice(known, taken, replace=False))
        logits.append(answer.reshape(len(answer), -1)[:, chosen].T)
        labels.append(label.reshape(-1)[chosen].astype(np.uint8))
        units.append(np.full(taken, unit, np.int64))
    return LogitRows(np.concatenate(logits), np.concatenate(labels), np.concatenate(units))


def joined(rows: Sequence[LogitRows]) -> LogitRows:
    """Return the rows of several networks as one; places with one number are one place."""
    parts = ([getattr(r, name) for r in rows] for name in ("logits", "labels", "units"))
    return LogitRows(*(np.concatenate(p) for p in parts))


def calibrated(
    kind: Kind, rows: LogitRows, source: str, folds: NDArray[np.int64] | None = None
) -> Calibrated:
    """Fit what is asked for, or choose it by cross-validation.

    Parameters
    ----------
    kind
        `temperature`, `vector`, or `auto`: vector scaling where cross-validation says that it is better.
    rows
        Labelled pixels, at least one.
    source
        What they are, for people: `val`.
    folds
        Number of the fold of each, of which each is left out once; None: two halves of the places.

    Returns
    -------
    Calibrated
        A temperature without a word for `temperature`; else with the figures of both.
    """
    temperature = fit_rows(rows)
    if kind == "temperature":
        return Calibrated(Scaling(temperature))
    places = len(np.unique(rows.units))
    if folds is None and places >= FEWEST_UNITS:
        folds, over = _halves(rows.units), f"2 halves of {places} places"
    else:
        over = "" if folds is None else f"{len(np.unique(folds))} folds"
    if folds is None:
        few = f"{source} has {places} place{'s' * (places != 1)}, and {FEWEST_UNITS} are needed to choose"
        if kind == "auto":
            return Calibrated(Scaling(temperature), f"temperature {temperature:g}: {few}")
        return Calibrated(fit_vector(rows, temperature), f"vector scaling, as asked for; {few}")
    single, vector = cross_validated(rows, folds)
    better = vector < single * (1 - _BETTER)
    figures = (
        f"negative log-likelihood {vector:.4f} with vector scaling, {single:.4f} with a temperature "
        f"(cross-validated over {over} of {source})"
    )
    if kind == "auto" and not better:
        return Calibrated(Scaling(temperature), f"temperature {temperature:g}: {figures}")
    asked = "" if kind == "auto" else ", as asked for"
    return Calibrated(fit_vector(rows, temperature), f"vector scaling{asked}: {figures}")


def _halves(units: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0 or 1 for each row: places by size, each to the half that has fewer rows."""
    names, counts = np.unique(units, return_counts=True)
    half, filled = {}, [0, 0]
    for i in np.argsort(-counts, kind="stable"):
        half[int(names[i])] = least = filled.index(min(filled))
        filled[least] += int(counts[i])
    return np.array([half[int(n)] for n in names], np.int64)[np.searchsorted(names, units)]


def cross_validated(rows: LogitRows, folds: NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean negative log-likelihood of a temperature and of vector scaling on what is left out."""
    loss = np.zeros(2)
    for fold in np.unique(folds):
        own, left_out = rows.where(folds != fold), rows.where(folds == fold)
        temperature = fit_rows(own)
        for i, scaling in enumerate((Scaling(temperature), fit_vector(own, temperature))):
            loss[i] += log_loss(left_out, scaling) * len(left_out)
    single, vector = (float(v) for v in loss / len(rows))
    return single, vector


def log_loss(rows: LogitRows, scaling: Scaling) -> float:
    """Return the mean negative log-likelihood of the labels."""
    logits = scaling.apply(rows.logits.T[None, :, :, None])[0, :, :, 0].T
    return _cross_entropy(logits.astype(np.float64), rows.labels)


def fit_rows(rows: LogitRows) -> float:
    """Return the temperature with the highest likelihood of the labels."""
    logits = rows.logits.astype(np.float64)
    best = minimize_scalar(
        lambda log_t: _cross_entropy(logits / np.exp(log_t), rows.labels),
        bounds=(-2.5, 2.5),
        method="bounded",
    )
    return round(float(np.exp(best.x)), 4)


def fit_vector(rows: LogitRows, temperature: float) -> Scaling:
    """Return the factors and shifts with the highest likelihood of the labels, near those of a temperature.

    Parameters
    ----------
    rows
        Labelled pixels.
    temperature
        That of the same pixels, towards which there is a weak pull; classes with hardly any pixel keep it.
    """
    x, y = rows.logits.astype(np.float64) / temperature, rows.labels.astype(np.intp)
    count = x.shape[1]
    free = np.tile(np.bincount(y, minlength=count) >= _FEWEST_ROWS, 2)
    start = np.repeat([1.0, 0.0], count)
    places = np.arange(len(y))

    def loss(chosen: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        found = start.copy()
        found[free] = chosen
        logits = x * found[:count] + found[count:]
        logits -= logits.max(axis=1, keepdims=True)
        p = np.exp(logits)
        total = p.sum(axis=1, keepdims=True)
        mean = float((np.log(total[:, 0]) - logits[places, y]).mean())
        p /= total
        p[places, y] -= 1
        away = found - start
        slope = np.concatenate([np.einsum("nc,nc->c", p, x), p.sum(axis=0)]) / len(y) + _PULL * away
        return mean + 0.5 * _PULL * float(away @ away), slope[free]

    found = start.copy()
    if free.any():
        limits = [(1 / _REACH, _REACH)] * count + [(-_REACH, _REACH)] * count
        bounds = [pair for pair, is_free in zip(limits, free, strict=True) if is_free]
        best = minimize(
            loss, start[free], jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}
        )
        found[free] = best.x
    scale, shift = found[:count] / temperature, found[count:]
    return Scaling(
        calibration=VectorScaling(
            scale=tuple(float(f"{v:.5g}") for v in scale), shift=tuple(round(float(v), 5) for v in shift)
        )
    )


def _cross_entropy(logits: NDArray[np.float64], labels: NDArray[np.uint8]) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    at = np.take_along_axis(shifted, labels.astype(np.intp)[:, None], axis=1)[:, 0]
    return float((np.log(np.exp(shifted).sum(axis=1)) - at).mean())


def numbered(units: Sequence[str]) -> Iterator[int]:
    """Yield the number of each place, in the order in which places appear."""
    seen: dict[str, int] = {}
    for unit in units:
        yield seen.setdefault(unit, len(seen))
