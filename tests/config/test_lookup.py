from pathlib import Path

import pytest

from geoseg.config import lookup
from geoseg.config.lookup import Shelf
from tests.conftest import ROOT


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty current folder, and a folder of the user."""
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("GEOSEG_HOME", str(home))
    return here, home


def write(folder, name):
    path = folder / Shelf.LEGENDS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


def test_the_first_folder_that_has_a_name_wins(places):
    here, home = places
    assert lookup.find(Shelf.LEGENDS, "landcover-6") == ROOT / "configs/legends/landcover-6.yaml"
    of_user = write(home, "landcover-6.yaml")
    assert lookup.find(Shelf.LEGENDS, "landcover-6") == of_user
    write(here, "landcover-6.yaml")
    assert lookup.find(Shelf.LEGENDS, "landcover-6") == Path("configs/legends/landcover-6.yaml")


def test_relative_paths_are_looked_up_too_and_absolute_ones_are_not(places):
    path = "configs/legends/landcover-6.yaml"
    assert lookup.find(Shelf.LEGENDS, path) == ROOT / path
    assert lookup.find(Shelf.LEGENDS, ROOT / path) == ROOT / path
    assert lookup.find(Shelf.LEGENDS, "/configs/legends/landcover-6.yaml") is None
    assert lookup.find(Shelf.LEGENDS, "") is None


def test_a_folder_of_the_same_name_is_no_document(places):
    here, _ = places
    (here / "landcover").mkdir()
    assert lookup.find(Shelf.PIPELINES, "landcover") == ROOT / "pipelines/landcover.yaml"


def test_an_unknown_name_says_what_is_known_and_what_may_have_been_meant(places):
    _, home = places
    write(home, "mine.yaml")
    text = lookup.not_found(Shelf.LEGENDS, "mien")
    assert "did you mean 'mine'" in text
    assert "cityscapes, landcover-6, mine" in text
    assert str(home) in text


def test_in_a_checkout_no_folder_is_looked_through_twice(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lookup.folders().count(Path()) == 1
    assert ROOT not in lookup.folders()
