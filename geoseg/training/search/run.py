"""Run a search: trials in one folder, which a later call goes on with; the best one by val as a document.

The next values of a search follow from its seed and the trials before, so that one that was interrupted goes
on as an undisturbed one does.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from geoseg.config.search import Search
from geoseg.core.errors import ConfigError, GeosegError, OutputError, TrainingError
from geoseg.core.files import as_output_error, discard
from geoseg.core.locks import lock_folder
from geoseg.core.notices import collect_warnings
from geoseg.training.build import build_task, check_network, evaluation_chips, training_chips
from geoseg.training.callbacks import EpochDone, Event, Notice
from geoseg.training.fit import fit
from geoseg.training.folder import identity_of
from geoseg.training.history import EpochRow
from geoseg.training.prepare import PreparedTraining, prepare
from geoseg.training.search.report import EPOCH, ERROR, VALUES, Found, report
from geoseg.training.search.space import as_changes, draw
from geoseg.training.task import Monitor

STUDY = "study.journal"
_IDENTITY = "identity"
_ALONE = ("fit.devices=1", "fit.loggers=[]")
"""Changes of each trial: one device, and no logs of it."""


@dataclass(frozen=True)
class Asked:
    """A search and the training that it is for."""

    training: Path | str
    search: Search
    changes: tuple[str, ...] = ()
    """`KEY=VALUE` that hold for all trials."""
    output: Path | None = None
    catalog: Path | str | None = None
    trust: bool = False

    def prepared(self, more: Sequence[str] = ()) -> PreparedTraining:
        """Return the training with further changes."""
        changes = [*self.changes, *more]
        return prepare(self.training, changes, self.output, self.catalog, trust=self.trust)


def run_search(asked: Asked, on_event: Callable[[Event], None] = lambda _: None) -> Found:
    """Try settings until there are as many trials as asked for, and write what was found.

    Nothing is measured on test: a figure that chose settings is no figure of the network.

    Parameters
    ----------
    asked
        The search.
    on_event
        Called with the events of the trainings, and a notice for each trial.

    Returns
    -------
    Found
        All trials, and the best one as a document.

    Raises
    ------
    GeosegError
        When the training cannot work, the folder holds another search, or every trial failed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    base = asked.prepared()
    monitor = _monitor(base)
    folder = base.folder.parent / f"{base.folder.name}-search"
    with as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder):
        study = _open(folder, asked, base, monitor)
        while (done := _ended(study)) < asked.search.trials:
            _one(study, done, asked, folder, monitor, on_event)
        return report(folder, asked, study.get_trials(deepcopy=False), monitor, base.folder)


def _monitor(base: PreparedTraining) -> Monitor:
    """Return the figure on val that chooses, once it is sure that there is one."""
    document = base.document
    if document.repeats:
        raise ConfigError("--search tries single trainings; leave out split.folds and seeds")
    if document.fit.devices not in ("auto", 1):
        raise ConfigError("--search: a trial has one device; leave out fit.devices")
    if not base.parts["val"]:
        raise ConfigError("--search chooses by val, which these data have not; set split.val")
    check_network(base)
    return build_task(base)[0].monitor


def _open(folder: Path, asked: Asked, base: PreparedTraining, monitor: Monitor) -> optuna.Study:
    """Return the study in a folder, new or begun."""
    search = asked.search
    space = search.model_dump(mode="json", exclude={"trials"})
    text = json.dumps([identity_of(base), space], sort_keys=True)
    identity = hashlib.sha256(text.encode()).hexdigest()
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / STUDY))), study_name="geoseg",
        direction="maximize" if monitor.mode == "max" else "minimize", load_if_exists=True,
        pruner=MedianPruner() if search.prune else optuna.pruners.NopPruner(),
    )  # fmt: skip
    if study.user_attrs.setdefault(_IDENTITY, identity) != identity:
        raise OutputError(
            f"{folder}: holds a search of other settings or data; choose another folder of the training with "
            "--output, or remove this one"
        )
    study.set_user_attr(_IDENTITY, identity)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # Its process ended in the middle: it is tried again, with the same values.
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _ended(study: optuna.Study) -> int:
    """Return the number of trials that need not be made again."""
    trials = study.get_trials(deepcopy=False)
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    return sum(t.state in done or ERROR in t.user_attrs for t in trials)


def _one(
    study: optuna.Study,
    done: int,
    asked: Asked,
    folder: Path,
    monitor: Monitor,
    on_event: Callable[[Event], None],
) -> None:
    """Make one trial; one that cannot be trained is told as failed."""
    # A seed for each: the values of a trial follow from those before it, and not from where a call began.
    study.sampler = TPESampler(seed=asked.search.seed + done)
    trial = study.ask()
    values = draw(trial, asked.search)
    trial.set_user_attr(VALUES, values)
    told = f"trial {done + 1} of {asked.search.trials}"
    on_event(Notice(f"{told}: {', '.join(as_changes(values))}"))
    place = folder / "trial"
    discard(place)
    try:
        with collect_warnings():
            value, epoch = _train(asked, trial, values, place, monitor, on_event)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        on_event(Notice(f"{told}: ended early, others were better by then"))
    except GeosegError as error:
        trial.set_user_attr(ERROR, str(error))
        study.tell(trial, state=TrialState.FAIL)
        on_event(Notice(f"{told}: failed: {error}"))
    else:
        trial.set_user_attr(EPOCH, epoch)
        study.tell(trial, value)
        on_event(Notice(f"{told}: val {monitor.name} {value:.4g} in epoch {epoch}"))
    finally:
        discard(place)


def _train(
    asked: Asked,
    trial: optuna.Trial,
    values: dict[str, Any],
    place: Path,
    monitor: Monitor,
    on_event: Callable[[Event], None],
) -> tuple[float, int]:
    """Return the best figure on val of a training with these values, and its epoch."""
    prepared = asked.prepared([*as_changes(values), *_ALONE])
    document = prepared.document
    check_network(prepared)
    best, sign = (-math.inf, 0), 1 if monitor.mode == "max" else -1

    def watch(event: Event) -> None:
        nonlocal best
        on_event(event)
        if isinstance(event, EpochDone) and math.isfinite(figure := figure_of(event.row, monitor)):
            best = max(best, (sign * figure, -event.epoch))
            trial.report(figure, event.epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

    fit(
        lambda: build_task(prepared)[0], training_chips(prepared), evaluation_chips(prepared, "val"),
        document.fit, place, clip=document.optimizer.clip, on_event=watch,
    )  # fmt: skip
    if not best[1]:
        raise TrainingError(f"no epoch has a {monitor.name} on val")
    return sign * best[0], -best[1]


def figure_of(row: EpochRow, monitor: Monitor) -> float:
    """Return the figure of an epoch on val that chooses the best one, NaN where it has none."""
    if monitor.name == "miou":
        return row.val_miou
    found = row.val_figures.get(monitor.name, row.val_ap.get(f"mask_{monitor.name}", math.nan))
    return float(found)
