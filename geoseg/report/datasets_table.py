"""The table of the data sets of a training that has several: what each has, and its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geoseg.report.training_parts import SCORES

_FIGURES = ("miou", "overall_accuracy", "macro_f1", "mask_ap", "f1", "rmse", "mae", "bias")
_MORE = {"rmse": "RMSE", "mae": "MAE", "bias": "Bias"}


@dataclass(frozen=True)
class DatasetsTable:
    """Cells of the table as texts."""

    heads: tuple[str, ...]
    """Titles of the columns after the name."""
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """Name and cells of each data set."""


def datasets_table(
    told: Mapping[str, Mapping[str, Any]], scores: Mapping[str, Mapping[str, Any]], part: str
) -> DatasetsTable | None:
    """Return the table of several data sets, None for a single one.

    Parameters
    ----------
    told
        `scenes`, `gsd_m`, `share_of_chips` and `chips` by part, by the name of the data set.
    scores
        Figures by the name of the data set; one that the part lacks has none.
    part
        The part that was measured.

    Examples
    --------
    >>> told = {"a": {"scenes": 2, "gsd_m": 10.0, "share_of_chips": 0.5, "chips": {"train": 8, "test": 4}}}
    >>> datasets_table(told, {"a": {"miou": 0.6}}, "test").rows
    (('a', ('2', '10 m', '50 %', '8', '4', '0.600')),)
    """
    if not told:
        return None
    names = [f for f in _FIGURES if any(f in s for s in scores.values())]
    parts = list(dict.fromkeys(p for row in told.values() for p in row["chips"]))
    titles = [f"{SCORES[f][0] if f in SCORES else _MORE[f]} on {part}" for f in names]
    heads = ("scenes", "GSD", "share of draws", *(f"chips of {p}" for p in parts), *titles)
    rows = [
        (
            name,
            (
                str(row["scenes"]), _gsd(row.get("gsd_m")), f"{100 * row['share_of_chips']:.3g} %",
                *(str(row["chips"].get(p, 0)) for p in parts),
                *(_figure(scores.get(name, {}).get(f)) for f in names),
            ),
        )
        for name, row in told.items()
    ]  # fmt: skip
    return DatasetsTable(heads, tuple(rows))


def _gsd(value: float | Sequence[float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:g} m" if isinstance(value, int | float) else f"{value[0]:g} to {value[1]:g} m"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"
