"""The space of a search: how Optuna draws a value of each key."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from geoseg.config.search import Interval, Search


class Drawing(Protocol):
    """The part of an Optuna trial that draws values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draw a number."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Draw a whole number."""
        ...

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        """Draw one of several texts."""
        ...


def draw(trial: Drawing, search: Search) -> dict[str, Any]:
    """Return a value for each key of the space, as plain values of YAML."""
    found: dict[str, Any] = {}
    for key, values in search.space.items():
        if not isinstance(values, Interval):
            # Optuna knows plain values only, and a loss is a list of mappings.
            found[key] = json.loads(trial.suggest_categorical(key, [json.dumps(v) for v in values]))
        elif values.whole is not None:
            found[key] = trial.suggest_int(key, *values.whole, step=values.step or 1)
        else:
            low, high = values.log or values.uniform or (0.0, 1.0)
            # Three digits: what is written into a file is what was tried.
            drawn = trial.suggest_float(key, low, high, log=values.log is not None)
            found[key] = min(max(float(f"{drawn:.3g}"), low), high)
    return found


def as_changes(values: Mapping[str, Any]) -> list[str]:
    """Return values as `--set` takes them.

    Examples
    --------
    >>> as_changes({"optimizer.rate": 0.001, "loss": [{"kind": "dice"}]})
    ['optimizer.rate=0.001', 'loss=[{"kind": "dice"}]']
    """
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]
