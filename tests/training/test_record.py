"""`training.json`: written and read in one place."""

import json
import math

import pytest

from geoseg.core.errors import OutputError
from geoseg.evaluation.reports import ChipScores
from geoseg.training.history import EpochRow
from geoseg.training.record import (
    BundleEntry,
    Seconds,
    TrainingRecord,
    TrainingScores,
    read_record,
    write_record,
)

SCORES = {
    "pixels": 4, "overall_accuracy": 1.0, "miou": 1.0, "macro_f1": 1.0, "frequency_weighted_iou": 1.0,
    "kappa": None, "absent": ["tree"], "classes": [],
    "confusion_matrix": {"rows": "reference", "columns": "map", "slugs": ["water"], "pixels": [[4]]},
    "brier": 0.1, "expected_calibration_error": 0.02,
}  # fmt: skip
ROW = EpochRow(
    epoch=1, rate=0.01, seconds=2.0, train_loss=0.5, train_miou=0.4, train_iou=(0.4, math.nan),
    val_loss=math.nan, val_miou=math.nan, val_iou=(),
)  # fmt: skip


@pytest.fixture
def record():
    return TrainingRecord(
        name="toy",
        finished="2026-01-02T03:04:05+00:00",
        command="geoseg train toy.yaml",
        document={"name": "toy", "fit": {"epochs": 1}},
        measured_on="test",
        resumed=False,
        batch=4,
        accumulate=1,
        seconds=Seconds(epochs=2.0, total=3.5),
        history=(ROW,),
        machine={"system": "Linux", "python": "3.12"},
        versions={"geoseg": "0.1.0"},
        warnings=("said",),
        training={"network": "Unet", "best_epoch": 1},
        metrics=TrainingScores(
            reference="of test", other_parts={"val": ChipScores.model_validate(SCORES)}, **SCORES
        ),
        temperature=1.2,
        bundle=BundleEntry(folder="bundle", sha256="0" * 64),
    )


@pytest.fixture
def path(record, tmp_path):
    write_record(tmp_path / "training.json", record)
    return tmp_path / "training.json"


def change(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in {**content, **changes}.items() if v is not None}))


def test_the_format_comes_first_and_a_figure_that_is_no_number_is_null(path):
    content = json.loads(path.read_text())
    assert next(iter(content.items())) == ("format", "geoseg-training/1")
    assert content["history"] == [
        {
            "epoch": 1, "rate": 0.01, "seconds": 2.0, "train_loss": 0.5, "train_miou": 0.4,
            "train_iou": [0.4, None], "val_loss": None, "val_miou": None, "val_iou": [],
            "train_accuracy": None, "val_accuracy": None,
        }
    ]  # fmt: skip
    assert next(iter(content["metrics"])) == "reference"
    assert list(content["metrics"])[-1] == "other_parts"


def test_a_record_is_read_as_it_was_written(record, path):
    found = read_record(path)
    assert found.model_dump(mode="json") == record.model_dump(mode="json")
    assert math.isnan(found.history[0].train_iou[1])


def test_a_record_without_a_format_is_of_the_first(record, path):
    change(path, format=None)
    assert read_record(path).model_dump(mode="json") == record.model_dump(mode="json")


def test_keys_of_later_versions_are_ignored(record, path):
    change(path, mood="good")
    assert read_record(path).name == record.name


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"format": "geoseg-training/2"}', "has the format 'geoseg-training/2', but this geoseg reads"),
        (b'{"format": "geoseg-training/1", "na', "cannot be read: .*; remove it and run the same training"),
        (b"[]", "is damaged: an object is expected; remove it"),
        (b'{"format": "geoseg-training/1"}', "is damaged at name: .*; remove it .* --overwrite"),
        (b"\xff\xfe", "cannot be read: .*; remove it"),
    ],
)
def test_a_record_that_cannot_be_used_is_said_in_one_line(path, content, said):
    path.write_bytes(content)
    with pytest.raises(OutputError, match=rf"training\.json: {said}") as caught:
        read_record(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_value_is_named(path):
    change(path, seconds={"epochs": "long", "total": 1.0})
    with pytest.raises(OutputError, match=r"is damaged at seconds\.epochs: "):
        read_record(path)
