"""The design of a sample: how many points each class of the map gets, and how well areas will be known.

Allocations follow Olofsson et al. 2014 (eq. 13 and section 5.1.1) and Cochran 1977, Sampling techniques,
chapter 5.9: points where they lower the variance most (Neyman). What a design promises is computed from a
conjecture of the map's errors: those of a pilot sample, or accuracies and the assumption that errors fall on
the other classes in proportion to their mapped areas.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ConfigError, did_you_mean
from geoseg.core.legend import Legend
from geoseg.evaluation.area import FEWEST, allocate, estimate

ALLOCATIONS = ("proportional", "equal", "neyman-like", "area")

CONJECTURED = 0.8
"""User's accuracy that is assumed where nothing is known."""

MOST_POINTS = 1_000_000
"""Largest sample that is advised."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """What is asked of a sample."""

    size: int = 500
    """Number of points, those of a pilot among them."""
    allocation: str = "proportional"
    """One of `ALLOCATIONS`."""
    minimum: int = 50
    """Fewest points of each class that has so many pixels; two at least."""
    seed: int = 0
    """The same seed draws the same points."""
    for_area: tuple[str, ...] = ()
    """Slugs of the classes whose areas are to be known, or `all`; the allocation is then `area`."""
    within: float | None = None
    """Share of these areas within which they are to be known: decides the size."""

    def __post_init__(self) -> None:
        if self.allocation not in ALLOCATIONS:
            raise ConfigError(
                f"--allocation {self.allocation}: unknown{did_you_mean(self.allocation, ALLOCATIONS)}; "
                f"known: {', '.join(ALLOCATIONS)}"
            )
        if self.size < 1 or self.minimum < 0 or self.seed < 0:
            raise ConfigError("--size is at least 1, --minimum and --seed at least 0")
        if self.within is not None and (not self.for_area or not 0 < self.within < 1):
            raise ConfigError("--within is a share between 0 and 1 of the areas that --for-area names")

    @property
    def resolved(self) -> str:
        """The allocation that is used."""
        return "area" if self.for_area else self.allocation

    def target(self, legend: Legend) -> list[int]:
        """Return the positions in the legend of the classes whose areas count; none for all.

        Raises
        ------
        ConfigError
            When the map has no such class.
        """
        known = [c.slug for c in legend.classes]
        if self.for_area == ("all",):
            return []
        for slug in self.for_area:
            if slug not in known:
                raise ConfigError(
                    f"--for-area {slug}: no class of the map{did_you_mean(slug, known)}; its classes are "
                    f"{', '.join(known)}"
                )
        return [known.index(s) for s in self.for_area]


@dataclass(frozen=True)
class Conjecture:
    """What is assumed about the map before the points are labelled."""

    shares: Floats
    """Share of each class in the mapped area, shape (C,)."""
    errors: Floats
    """Share of each class of the reference (columns) within each class of the map (rows), shape (C, C)."""
    source: str
    """Where the errors come from, in words."""

    @property
    def true_shares(self) -> Floats:
        """Expected true share of each class, shape (C,)."""
        return np.asarray(self.shares @ self.errors)


def conjecture_of(pixels: NDArray[np.int64], accuracy: Floats | float, source: str) -> Conjecture:
    """Assume user's accuracies, and that errors are other classes in proportion to their mapped areas.

    Parameters
    ----------
    pixels
        Mapped pixels of each class, shape (C,).
    accuracy
        User's accuracy of each class, shape (C,), or of all.
    source
        Where they come from, in words.

    Examples
    --------
    >>> conjecture_of(np.array([60, 30, 10]), 0.9, "assumed").errors[0].round(3).tolist()
    [0.9, 0.075, 0.025]
    """
    shares = pixels / pixels.sum()
    accuracy = np.broadcast_to(np.clip(accuracy, 0.05, 0.98), shares.shape)
    others = np.where(np.eye(len(shares), dtype=bool), 0.0, np.maximum(shares, 1e-6))
    others = others / others.sum(axis=1, keepdims=True)
    return Conjecture(shares, np.diag(accuracy) + (1 - accuracy)[:, None] * others, source)


def conjecture_from(pixels: NDArray[np.int64], counts: NDArray[np.int64]) -> Conjecture:
    """Take the errors from the labelled points of a pilot sample, shape (C, C).

    Each class of the map counts as one point more, of classes as they are mapped: no error that a small pilot
    has not met is taken as impossible.
    """
    shares = pixels / pixels.sum()
    errors = (counts + shares) / (counts.sum(axis=1, keepdims=True) + 1)
    return Conjecture(shares, errors, f"a pilot of {int(counts.sum())} labelled points")


def points_per_class(
    pixels: NDArray[np.int64],
    size: int,
    allocation: str,
    minimum: int,
    conjecture: Conjecture,
    target: Sequence[int] = (),
    had: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Allocate points to the classes of the map, shape (C,).

    `proportional` to the mapped area; `equal`; `neyman-like`: in proportion to W * sqrt(U * (1 - U)), for the
    overall accuracy, with the conjectured user's accuracy U; `area`: for the areas of `target`, whose
    relative variances add up to least. Each class of the map gets at least two points, or its only pixel,
    even when `minimum` is less: one point has no variance.

    Parameters
    ----------
    pixels
        Pixels of each class, shape (C,).
    size
        Points in all.
    allocation
        One of `ALLOCATIONS`.
    minimum
        Fewest points of each class that has so many pixels.
    conjecture
        What is assumed about the map's errors.
    target
        Positions of the classes whose areas count, for `area`; default: all.
    had
        Points of each class that a pilot has drawn, shape (C,); they count.

    Raises
    ------
    ConfigError
        When `size` does not suffice for the minimum.
    """
    shares = conjecture.shares
    spread = conjecture.errors * (1 - conjecture.errors)
    if allocation == "equal":
        weights = np.ones(len(shares))
    elif allocation == "neyman-like":
        weights = shares * np.sqrt(np.diag(spread))
    elif allocation == "area":
        wanted = list(target) or np.flatnonzero(pixels).tolist()
        weights = shares * np.sqrt((spread[:, wanted] / conjecture.true_shares[wanted] ** 2).sum(axis=1))
    else:
        weights = shares
    try:
        return allocate(weights, pixels, size, max(minimum, FEWEST), had)
    except ValueError as error:
        fewer = " or for fewer with --minimum" if minimum > FEWEST else ""
        raise ConfigError(f"{error}; ask for more with --size{fewer}") from None


def expected_widths(conjecture: Conjecture, points: NDArray[np.int64], pixels: NDArray[np.int64]) -> Floats:
    """Return half the width of the interval to be expected of each area, as a share of it, shape (C,).

    From the counts that the conjecture makes of these points; a real sample scatters about it.
    """
    counts = points[:, None] * conjecture.errors
    share = estimate(counts, conjecture.shares, np.where(pixels > 0, pixels, points + FEWEST)).share
    return np.asarray((share.high - share.low) / 2 / share.value)


def allocated(
    design: Design,
    pixels: NDArray[np.int64],
    conjecture: Conjecture,
    target: Sequence[int],
    had: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return the points of each class, shape (C,), of as many points as the design asks for or needs.

    Parameters
    ----------
    design
        Size and allocation, or the share within which the areas of `target` are to be known.
    pixels
        Pixels of each class, shape (C,).
    conjecture
        What is assumed about the map's errors.
    target
        Positions of the classes whose areas count; none: all.
    had
        Points of each class that a pilot has drawn, shape (C,); they count.

    Raises
    ------
    ConfigError
        When the points do not suffice for the minimum, or no number of points for the areas.
    """

    def points_of(size: int) -> NDArray[np.int64]:
        return points_per_class(pixels, size, design.resolved, design.minimum, conjecture, target, had)

    if design.within is None:
        return points_of(design.size)
    wanted, within = list(target) or np.flatnonzero(pixels).tolist(), design.within

    def suffices(size: int) -> bool:
        return bool((expected_widths(conjecture, points_of(size), pixels)[wanted] <= within).all())

    least = np.minimum(max(design.minimum, FEWEST), pixels)
    low = int((least if had is None else np.maximum(least, had)).sum())
    high = int(min(MOST_POINTS, pixels.sum()))
    if not suffices(high):
        raise ConfigError(
            f"--within {within:g}: not even {high:,} points are expected to tell the area so well; ask for "
            "less"
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return points_of(high)
