"""What a search found: a table of its trials, and the best one as a training file."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from optuna.trial import FrozenTrial, TrialState

from geoseg.config import lookup
from geoseg.config.loader import load
from geoseg.config.lookup import Shelf
from geoseg.config.training import Training
from geoseg.core.errors import TrainingError
from geoseg.core.files import write_atomic
from geoseg.training.search.space import as_changes
from geoseg.training.task import Monitor

if TYPE_CHECKING:
    from geoseg.training.search.run import Asked

TABLE, BEST = "trials.csv", "best.yaml"
VALUES, EPOCH, ERROR = "values", "epoch", "error"
"""What is kept of a trial besides what Optuna keeps."""

_STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "ended early", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Trial:
    """A trial of a search."""

    number: int
    """From 1."""
    state: str
    """`finished`, `ended early` or `failed`."""
    figure: float | None
    """The best one on val; of a trial that ended early the last one."""
    epoch: int | None
    """Epoch of the figure, from 1."""
    values: dict[str, Any]
    """What was tried, by key."""
    error: str = ""
    """Why it failed."""

    def row(self, figure: str) -> dict[str, Any]:
        """Return it as plain values, with the name of the figure."""
        shown = None if self.figure is None else round(self.figure, 4)
        tried = {k: v if isinstance(v, int | float | str) else json.dumps(v) for k, v in self.values.items()}
        return {"trial": self.number, "state": self.state, figure: shown, "epoch": self.epoch, **tried}


@dataclass(frozen=True)
class Found:
    """The trials of a search and the document of the best one."""

    trials: tuple[Trial, ...]
    best: Trial
    figure: str
    """Name of the figure that chose: `val_miou`."""
    document: Path
    """The training file of the best one."""
    table: Path
    """All trials."""

    def facts(self) -> dict[str, Any]:
        """Return it as plain values to show."""
        failed = {f"trial {t.number}": t.error for t in self.trials if t.error}
        return {
            "trials": [t.row(self.figure) for t in self.trials],
            **({"failed": failed} if failed else {}),
            "best": f"trial {self.best.number}, {self.figure} {self.best.figure:.4g}",
            "chosen_by": "val; test was not looked at",
            "table": str(self.table),
            "document": str(self.document),
            "train": f"geoseg train {self.document}",
        }


def report(
    folder: Path, asked: "Asked", trials: Sequence[FrozenTrial], monitor: Monitor, output: Path
) -> Found:
    """Write table and document of a search.

    Parameters
    ----------
    folder
        Where they are written.
    asked
        The search.
    trials
        Its trials; those that were interrupted are left out.
    monitor
        The figure that chose.
    output
        Folder of the training.

    Raises
    ------
    TrainingError
        When no trial was finished.
    """
    known = [t for t in trials if t.state in _STATES]
    ended = [t for t in known if t.state != TrialState.FAIL or ERROR in t.user_attrs]
    found = tuple(_trial(n, t) for n, t in enumerate(ended, 1))
    figure = f"val_{monitor.name}"
    table = folder / TABLE
    write_atomic(table, _table([t.row(figure) for t in found]).encode())
    finished = [t for t in found if t.state == _STATES[TrialState.COMPLETE] and t.figure is not None]
    if not finished:
        first = next((t.error for t in found if t.error), "all of them ended early")
        raise TrainingError(f"none of {len(found)} trials was finished; the first: {first[:200]}")
    sign = 1 if monitor.mode == "max" else -1
    best = max(finished, key=lambda t: (sign * (t.figure or 0.0), -t.number))
    document = folder / BEST
    write_atomic(document, _document(asked, best, len(found), figure, output).encode())
    return Found(found, best, figure, document, table)


def _trial(number: int, trial: FrozenTrial) -> Trial:
    kept = trial.user_attrs
    epoch, values = kept.get(EPOCH, trial.last_step), kept.get(VALUES, {})
    return Trial(number, _STATES[trial.state], trial.value, epoch, values, kept.get(ERROR, ""))


def _table(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(k for row in rows for k in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _document(asked: "Asked", best: Trial, count: int, figure: str, output: Path) -> str:
    """Return the training file of the best trial; comments of the file that it came from are lost."""
    path = lookup.locate(Shelf.TRAININGS, asked.training)
    changes = [*asked.changes, *as_changes(best.values), f"output={json.dumps(str(output))}"]
    document = load(path, Training, changes).model_dump(mode="json", exclude_unset=True)
    head = (
        f"# The best of {count} trials by {figure}: {best.figure:.4g} in epoch {best.epoch}. Test was not "
        "looked at.\n"
    )
    return head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
