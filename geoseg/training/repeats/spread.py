"""Figures of several trainings: of all networks together, of seeds and folds, and an interval over places."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.evaluation.metrics import plain
from geoseg.training.repeats.tally import Sums, Tally, figures
from geoseg.training.scores import PlaceRow, Repeats, Spread

RESAMPLES = 2000
"""Draws of the bootstrap."""


@dataclass(frozen=True)
class MemberSums:
    """What was counted of one network on its test part."""

    fold: int
    """From 1."""
    seed: int
    places: Mapping[str, Sums]
    """Sums of each place."""


def total(found: Sequence[MemberSums]) -> Sums:
    """Return the sums over all places and networks."""
    return np.asarray(np.sum([sums for m in found for sums in m.places.values()], axis=0))


def spread_of(tally: Tally, found: Sequence[MemberSums], about: Mapping[str, str]) -> Repeats:
    """Return the figures of several trainings.

    Parameters
    ----------
    tally
        Makes figures of sums.
    found
        The sums of each network.
    about
        The fields of `Repeats` that are words.
    """
    seeds = {s: _figures(tally, [m for m in found if m.seed == s]) for s in sorted({m.seed for m in found})}
    folds = {f: _figures(tally, [m for m in found if m.fold == f]) for f in sorted({m.fold for m in found})}
    by_place: dict[str, list[Sums]] = {}
    fold_of = {}
    for member in found:
        for place, sums in member.places.items():
            by_place.setdefault(place, []).append(sums)
            fold_of[place] = member.fold
    places = {place: np.sum(sums, axis=0) for place, sums in sorted(by_place.items())}
    whole = _figures(tally, found)
    limits = _bootstrap(tally, list(places.values()), list(whole))
    return Repeats(
        **about,
        folds=len(folds),
        seeds=len(seeds),
        networks=len(found),
        places=len(places),
        figures={
            name: Spread(
                value=plain(value),
                ci95=limits.get(name),
                seeds_mean=_mean([f[name] for f in seeds.values()]),
                seeds_sd=_sd([f[name] for f in seeds.values()]),
                folds_mean=_mean([f[name] for f in folds.values()]),
                folds_sd=_sd([f[name] for f in folds.values()]),
            )
            for name, value in whole.items()
        },
        by_fold={str(f): _plain(row) for f, row in folds.items()},
        by_seed={str(s): _plain(row) for s, row in seeds.items()},
        by_place=tuple(
            PlaceRow(
                place=place,
                fold=fold_of[place],
                pixels=int(tally.scores(sums)["pixels"]) // len(seeds),
                figures=_plain(figures(tally.scores(sums))),
            )
            for place, sums in places.items()
        ),
    )


def _figures(tally: Tally, found: Sequence[MemberSums]) -> dict[str, float]:
    return figures(tally.scores(total(found)))


def _bootstrap(tally: Tally, places: Sequence[Sums], names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the 95 % percentile interval of each figure over places that are drawn with replacement.

    Pixels and chips of a place are alike, so places are what is drawn (a cluster bootstrap; Davison and
    Hinkley 1997, Bootstrap methods and their application, section 3.8). Empty with a single place.
    """
    if len(places) < 2:
        return {}
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(places), np.full(len(places), 1 / len(places)), size=RESAMPLES)
    drawn = counts @ np.stack(places)
    values: NDArray[np.float64] = np.array([list(figures(tally.scores(sums)).values()) for sums in drawn])
    # A class that a draw lacks has no figure in it; one that most draws lack has no interval.
    known = np.isfinite(values).mean(axis=0) > 0.5
    found = {}
    for name, column, enough in zip(names, values.T, known, strict=True):
        if enough:
            low, high = np.nanpercentile(column, [2.5, 97.5])
            found[name] = (round(float(low), 6), round(float(high), 6))
    return found


def _plain(row: Mapping[str, float]) -> dict[str, float | None]:
    return {name: plain(value) for name, value in row.items()}


def _mean(values: Sequence[float]) -> float | None:
    known = [v for v in values if np.isfinite(v)]
    return plain(np.mean(known)) if known else None


def _sd(values: Sequence[float]) -> float | None:
    """Return the standard deviation of a sample; None of a single value."""
    known = [v for v in values if np.isfinite(v)]
    return plain(np.std(known, ddof=1)) if len(known) > 1 else None
