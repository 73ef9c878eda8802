"""Searches of tiny trainings; what the trials give is made up where only the search is looked at."""

import csv
import json

import pytest

from geoseg.config.loader import load
from geoseg.config.search import Search
from geoseg.config.training import Training
from geoseg.core.errors import ConfigError, OutputError, TrainingError
from geoseg.training.callbacks import EpochDone, Notice
from geoseg.training.history import EpochRow
from geoseg.training.search import run as module
from geoseg.training.search.run import Asked, figure_of, run_search
from geoseg.training.task import Monitor
from tests.training.test_train import UNET, document
from tests.training.worlds import labelled_scene

RATES = {"optimizer.rate": {"log": [1e-4, 1e-2]}, "fit.batch": [2, 4]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    for i in range(4):
        labelled_scene(folder, f"s{i}", (64, 64), seed=i, origin=(5e5 + 5000 * i, 4.5e6), keep=False)
    return folder


def asked(folder, data, trials=3, space=RATES, changes=(), **more):
    path = folder / "training.yaml"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        path = document(folder, data, UNET, epochs=1)
    search = Search.model_validate({"space": space, "trials": trials, **more})
    return Asked(path, search, ("chips.size=32", *changes))


@pytest.fixture
def made_up(monkeypatch):
    """Trainings whose figure on val follows from the learning rate; the rates that were tried."""
    tried = []

    def fit(_make, train, _val, entry, _folder, *, clip, on_event):
        rate = train.document.optimizer.rate
        tried.append(rate)
        for epoch in (1, 2, 3):
            miou = rate * 50 * (1 - abs(2 - epoch) / 10)
            row = EpochRow(epoch=epoch, rate=rate, seconds=0, train_loss=1, val_loss=1, val_miou=miou)
            on_event(EpochDone(epoch, entry.epochs, row))

    monkeypatch.setattr(module, "fit", fit)
    monkeypatch.setattr(module, "training_chips", lambda prepared: prepared)
    monkeypatch.setattr(module, "evaluation_chips", lambda prepared, part: {"val": prepared}[part])
    monkeypatch.setattr(module, "check_network", lambda _: None)
    return tried


def test_the_best_by_val_is_written_as_a_training_file(tmp_path, data):
    told = []
    found = run_search(asked(tmp_path, data, trials=2), told.append)
    best = max(found.trials, key=lambda t: t.figure)
    assert found.best == best
    assert found.figure == "val_miou"
    written = load(found.document, Training)
    assert written.optimizer.rate == best.values["optimizer.rate"]
    assert written.fit.batch == best.values["fit.batch"]
    assert written.chips.size == 32
    assert written.fit.devices == "auto"
    facts = found.facts()
    assert facts["train"] == f"geoseg train {tmp_path / 'trained-search/best.yaml'}"
    assert "test" in facts["chosen_by"]
    with found.table.open() as file:
        rows = list(csv.DictReader(file))
    assert [r["trial"] for r in rows] == ["1", "2"]
    assert set(rows[0]) == {"trial", "state", "val_miou", "epoch", *RATES}
    # Nothing but the study, the table and the document; no checkpoint, and the training was not begun.
    assert {p.name for p in found.document.parent.iterdir()} == {"study.journal", "trials.csv", "best.yaml"}
    assert not (tmp_path / "trained").exists()
    assert any(isinstance(e, Notice) and e.message.startswith("trial 2 of 2: optimizer.rate=") for e in told)


def test_an_interrupted_search_goes_on_as_an_undisturbed_one(tmp_path, data, made_up, monkeypatch):
    undisturbed = run_search(asked(tmp_path / "a", data, trials=6))
    expected = list(made_up)
    made_up.clear()
    run_search(asked(tmp_path / "b", data, trials=2))
    whole = module.fit

    def killed(*args, **more):
        whole(*args, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            run_search(asked(tmp_path / "b", data, trials=6))
    found = run_search(asked(tmp_path / "b", data, trials=6))
    # The third one was tried twice, with the same values.
    assert made_up == [*expected[:3], *expected[2:]]
    assert [t.values for t in found.trials] == [t.values for t in undisturbed.trials]
    assert found.best.values == undisturbed.best.values
    assert found.best.epoch == 2


def test_bad_trials_are_ended_early_and_failed_ones_told(tmp_path, data, made_up, monkeypatch):
    def sometimes(_make, prepared, _val, entry, _folder, *, clip, on_event):
        if prepared.document.fit.batch == 2:
            raise TrainingError("the loss is NaN")
        made_up.append(0)
        # Five trials are needed before one can be worse than most.
        miou = 0.5 + len(made_up) / 100 if len(made_up) < 7 else 0.1
        for epoch in (1, 2, 3):
            row = EpochRow(epoch=epoch, rate=1, seconds=0, train_loss=1, val_loss=1, val_miou=miou)
            on_event(EpochDone(epoch, entry.epochs, row))

    monkeypatch.setattr(module, "fit", sometimes)
    found = run_search(asked(tmp_path, data, trials=20))
    assert len(found.trials) == 20
    assert {t.state for t in found.trials} == {"finished", "ended early", "failed"}
    assert (found.best.state, found.best.figure) == ("finished", pytest.approx(0.56))
    assert "the loss is NaN" in next(iter(found.facts()["failed"].values()))
    assert json.loads(json.dumps(found.facts()))


def test_another_search_in_the_folder_is_refused(tmp_path, data, made_up):
    run_search(asked(tmp_path, data, trials=1))
    with pytest.raises(OutputError, match="holds a search of other settings"):
        run_search(asked(tmp_path, data, space={"fit.batch": [2, 4]}))
    with pytest.raises(OutputError, match="holds a search of other settings"):
        run_search(asked(tmp_path, data, changes=["fit.epochs=2"]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["split.by=group", "split.val=0", "split.test=0"], "chooses by val"),
        (["split.by=file", "seeds=2"], "leave out split.folds and seeds"),
        (["fit.devices=2"], "one device"),
    ],
)
def test_what_cannot_be_searched_is_said_before_anything_is_tried(tmp_path, data, made_up, changes, said):
    with pytest.raises(ConfigError, match=said):
        run_search(asked(tmp_path, data, changes=changes))
    assert not made_up


def test_when_every_trial_failed_the_first_error_is_told(tmp_path, data, made_up, monkeypatch):
    def failing(*_, **__):
        raise TrainingError("the loss is NaN")

    monkeypatch.setattr(module, "fit", failing)
    with pytest.raises(TrainingError, match="none of 2 trials was finished; the first: the loss is NaN"):
        run_search(asked(tmp_path, data, trials=2))


@pytest.mark.parametrize(
    ("figures", "monitor", "value"),
    [
        ({"val_miou": 0.5}, Monitor(), 0.5),
        ({"val_figures": {"rmse": 2.5}}, Monitor("rmse", "min"), 2.5),
        ({"val_ap": {"mask_ap": 0.25}}, Monitor("ap"), 0.25),
    ],
)
def test_each_task_is_chosen_by_its_own_figure(figures, monitor, value):
    row = EpochRow(epoch=1, rate=1, seconds=0, train_loss=1, val_loss=1, **figures)
    assert figure_of(row, monitor) == value


def test_options_that_a_search_would_leave_out_are_refused():
    from geoseg.cli.training import _check_alone

    _check_alone(dry_run=False, find_rate=False)
    with pytest.raises(ConfigError, match="--search goes without --dry-run and --find-rate"):
        _check_alone(dry_run=True, overwrite=False, find_rate=True)


def test_without_optuna_the_command_that_installs_it_is_said(tmp_path, data, monkeypatch):
    from geoseg.cli.training import _search
    from geoseg.core import extras

    found = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "optuna" else found(name))
    path = tmp_path / "search.yaml"
    path.write_text("space: {fit.batch: [2, 4]}\n")
    with pytest.raises(ConfigError, match=r"--search: optuna is not installed.*'geoseg\[search\]'"):
        _search("training.yaml", path, (), None, None, trust=False, quiet=True)
