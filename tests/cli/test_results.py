"""Results as people read them."""

import pytest

from geoseg.cli.layout import as_text, table
from geoseg.cli.results import area_text, folder_text, run_text, size_text
from geoseg.cli.show import run_folder
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from geoseg.storage.store import open_store
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster


@pytest.fixture(scope="module")
def finished(tmp_path_factory, bundle):
    folder = tmp_path_factory.mktemp("two words")
    scene = write_raster(folder / "s.tif", reflectance(96, 96), names=BAND_NAMES, scale=0.0001)
    path = write_pipeline(folder, scene, bundle.folder)
    return run(prepare(path, [f"outputs.folder={folder / 'out'}"]))


def test_a_run_is_told_by_titles_with_its_folder_once(finished):
    text = run_text(finished)
    head, rest = text.split("\n\n")
    assert head.splitlines()[0].split() == ["class", "share", "area"]
    assert all(line.startswith("Class ") and line.endswith(" km²") for line in head.splitlines()[1:])
    assert len({len(line) for line in head.splitlines()}) == 1  # numbers end below each other
    first, *files, last = rest.splitlines()
    assert first.startswith(f"{finished.folder}, in ")
    assert [line.split()[0] for line in files] == [*finished.record.outputs, "run.json"]
    assert text.count(str(finished.folder)) == 2
    assert last == f"open it: geoseg view '{finished.folder}'"


def test_a_run_folder_is_told_alike_and_its_json_stays(finished):
    facts = run_folder(open_store(finished.folder))
    assert facts["area_m2"] == finished.record.area_m2
    text = folder_text(facts)
    assert "Class 1" in text
    assert " km²" in text
    assert "class-1" not in text
    assert "m2" not in text
    assert folder_text({"run": "x", "state": "unfinished"}) == as_text({"run": "x", "state": "unfinished"})


def test_a_table_shows_titles_and_leaves_slugs_to_scripts():
    rows = [{"slug": "a-b", "title": "A and b", "iou": 0.5}]
    assert table(rows).splitlines() == ["title    iou", "A and b  0.5"]
    assert table([{"slug": "a-b"}]).splitlines() == ["slug", "a-b"]


@pytest.mark.parametrize(("size", "text"), [(999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB")])
def test_sizes_have_units(size, text):
    assert size_text(size) == text


def test_areas_are_in_square_kilometres():
    assert area_text(1_234_567_890) == "1,234.568 km²"
