import csv

import lightning.pytorch.loggers as theirs
import pytest

from geoseg.core import extras
from geoseg.core.errors import ConfigError
from geoseg.training import loggers
from geoseg.training.folder import open_folder
from geoseg.training.loggers import make_loggers
from geoseg.training.prepare import prepare
from geoseg.training.train import train
from tests.training.test_train import data, document  # noqa: F401 (a fixture)


def test_the_rows_of_the_history_go_to_csv(tmp_path, data):  # noqa: F811
    path = document(tmp_path, data, epochs=2)
    trained = train(prepare(path, ["fit.loggers=[csv]", "chips.per_epoch=4"]))
    with (trained.folder / "csv/version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["val_miou"]) for r in rows] == pytest.approx([h.val_miou for h in trained.record.history])
    assert not (trained.folder / "tensorboard").exists()


def test_a_missing_package_is_said_with_its_command_before_anything_is_read(tmp_path, data, monkeypatch):  # noqa: F811
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in {"wandb", "mlflow"} else object())
    path = document(tmp_path, data)
    for name in ("wandb", "mlflow"):
        with pytest.raises(ConfigError, match=rf"fit.loggers: {name}: .*pip install 'geoseg\[{name}\]'"):
            prepare(path, [f"fit.loggers=[csv, {name}]"])
    with pytest.raises(ConfigError, match="loggers"):
        prepare(path, ["fit.loggers=[comet]"])


def test_services_get_the_folder_and_what_the_environment_says(tmp_path, monkeypatch):
    made = {}
    monkeypatch.setattr(loggers, "require", lambda *_: None)
    for name in ("WandbLogger", "MLFlowLogger"):
        monkeypatch.setattr(
            theirs, name, lambda _name=name, **options: made.setdefault(_name, []).append(options)
        )
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("WANDB_PROJECT", "land")
    make_loggers(["wandb", "mlflow", "wandb"], tmp_path / "try")
    make_loggers(["wandb"], tmp_path / "try")
    first, again = made["WandbLogger"]
    assert (first["project"], first["name"], first["resume"]) == ("land", "try", "allow")
    assert first["id"] == again["id"]
    assert made["MLFlowLogger"][0]["tracking_uri"] == f"file:{tmp_path / 'try/mlruns'}"
    assert make_loggers([], tmp_path) is False


def test_other_loggers_are_no_other_training(tmp_path, data):  # noqa: F811
    path = document(tmp_path, data)
    begun = prepare(path)
    begun.folder.mkdir()
    open_folder(begun, overwrite=False)
    (begun.folder / "checkpoints").mkdir()
    open_folder(prepare(path, ["fit.loggers=[csv]"]), overwrite=False)
