"""The top of a page: what the card says of the model, and the date, place and pixel of the scene."""

import pytest
from odc.geo.geobox import GeoBox

from geoseg.config.run_record import RecordedModel, RunRecord
from geoseg.report.lonlat import lonlat_of
from geoseg.report.worth import accuracy_figure, class_scores, degrees_text, worth_of


def record(task="classes", metrics=None, *, model=True, **more):
    plan = {"name": "fields", "scene": "fields", "gsd_m": 10.0}
    card = RecordedModel(
        name="net", version="2", title="Fields of wheat", metrics=metrics or {},
        limitations=["Not in /home/me/x"],
    )  # fmt: skip
    parts = {"name": "fields", "task": task, "plan": type("Plan", (), plan), "model": card if model else None}
    return RunRecord.model_construct(**{"values": None, "acquired": None, **parts, **more})


@pytest.mark.parametrize(
    ("task", "metrics", "title", "value", "meaning"),
    [
        ("classes", {"miou": 0.5, "macro_f1": 0.625, "reference": "test chips"}, "mean IoU", "0.500",
         "macro F1 0.625; test chips"),
        ("multilabel", {"miou": 0.25, "micro_f1": 0.5, "reference": "agreement"}, "mean IoU", "0.250",
         "micro F1 0.500; agreement"),
        ("instances", {"masks": {"ap": 0.3, "ap50": 0.6}, "f1": 0.7}, "mask AP", "0.300",
         "at IoU 0.5 0.600, F1 0.700"),
        ("regression", {"mae": 1.5, "r2": 0.5}, "MAE", "1.500", "R² 0.500"),
    ],
)  # fmt: skip
def test_accuracy_is_that_of_the_card(task, metrics, title, value, meaning):
    found = accuracy_figure(record(task, metrics))
    assert (found.title, found.value, found.meaning) == (f"Model: {title}", value, meaning)


@pytest.mark.parametrize(
    "metrics", [{}, {"miou": None}, {"miou": float("nan")}, {"miou": "good"}, {"masks": 3}]
)
def test_a_card_without_figures_says_so(metrics):
    for task in ("classes", "instances"):
        found = accuracy_figure(record(task, metrics))
        assert found.value == "not stated"
        assert "geoseg evaluate" in found.meaning


def test_a_record_of_an_older_version_has_no_model():
    assert accuracy_figure(record(model=False)).value == "not stated"
    geobox = GeoBox.from_bbox((0, 0, 100, 100), "EPSG:32633", resolution=10)
    assert worth_of(record(model=False), "net 2", geobox, None).model == "net 2"
    assert class_scores(record(model=False)) == {}


def test_scores_of_classes_are_found_by_slug():
    rows = [{"slug": "a", "iou": 0.5, "f1": 0.6}, {"slug": "b"}, "nonsense"]
    assert class_scores(record(metrics={"classes": rows})) == {"a": (0.5, 0.6), "b": (None, None)}


def test_the_top_says_when_where_and_on_which_grid():
    geobox = GeoBox.from_bbox((500_000, 4_499_000, 502_000, 4_500_000), "EPSG:32633", resolution=10)
    taken = ("2024-06-01T10:20:00+00:00",) * 2
    found = worth_of(record(acquired=taken), "net 2", geobox, lonlat_of(geobox))
    assert found.title == "fields"  # once
    assert found.model == "net 2: Fields of wheat"
    assert found.limits == ("Not in x",)
    assert found.facts == (
        "taken 2024-06-01 10:20 UTC", "40.6464° N, 15.0118° E", "EPSG:32633", "10 m pixels",
        "200 × 100 px (2 × 1 km)",
    )  # fmt: skip
    several = record(acquired=("2024-06-01T10:20:00+00:00", "2024-07-02T10:20:00+00:00"))
    assert worth_of(several, "", geobox, None).facts[0] == "taken 2024-06-01 to 2024-07-02"


@pytest.mark.parametrize(
    ("longitude", "latitude", "text"),
    [
        (15.5, 37.66244, "37.6624° N, 15.5000° E"),
        (-75.67771, 37.66244, "37.6624° N, 75.6777° W"),
        (284.3, -10.5, "10.5000° S, 75.7000° W"),
        (0, 0, "0.0000° N, 0.0000° E"),
    ],
)
def test_places_have_the_letters_of_their_hemispheres(longitude, latitude, text):
    assert degrees_text(longitude, latitude, 4) == text
