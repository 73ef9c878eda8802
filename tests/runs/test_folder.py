import json

import pytest

from geoseg.core.errors import OutputError
from geoseg.runs.folder import open_run_folder
from tests.run_folders import NAMES, PLAN, interrupt, publish


def test_a_finished_run_leaves_its_outputs_and_nothing_else(tmp_path):
    assert publish(tmp_path / "run") is False
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["classes.tif", "run.json"]


def test_the_same_plan_is_resumed_and_keeps_its_blocks(tmp_path):
    assert not interrupt(tmp_path).resumed
    with open_run_folder(tmp_path, PLAN, NAMES, overwrite=False) as run:
        assert run.resumed
        assert (run.workspace / "block.tif").exists()


def test_another_plan_is_refused_and_the_difference_named(tmp_path):
    interrupt(tmp_path)
    other = {**PLAN, "tile": [128, 64]}
    with (
        pytest.raises(OutputError, match=r"its tile is \[64, 64\], now \[128, 64\]"),
        open_run_folder(tmp_path, other, NAMES, overwrite=False),
    ):
        pass
    assert (tmp_path / "staging/block.tif").exists()
    assert not interrupt(tmp_path, other, overwrite=True).resumed


def test_an_overwriting_run_keeps_the_old_outputs_until_its_own_are_ready(tmp_path):
    publish(tmp_path)
    other = {"tile": [1, 1]}
    interrupt(tmp_path, other, overwrite=True)
    assert (tmp_path / "run.json").exists()
    assert (tmp_path / "classes.tif").read_text() == f"{PLAN}"
    # The interrupted one goes on without being told to overwrite once more.
    assert publish(tmp_path, other) is True
    assert json.loads((tmp_path / "run.json").read_text())["identity"] == other
    assert (tmp_path / "classes.tif").read_text() == f"{other}"


def test_outputs_that_are_no_longer_wanted_go(tmp_path):
    publish(tmp_path, names=["classes.tif", "confidence.tif"])
    (tmp_path / "notes.txt").write_text("mine")
    publish(tmp_path, names=["classes.tif"], overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["classes.tif", "notes.txt", "run.json"]


def test_a_run_that_finished_but_could_not_clean_up_counts_as_finished(tmp_path):
    publish(tmp_path)
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging/plan.json").write_text(json.dumps(PLAN))
    with (
        pytest.raises(OutputError, match="holds a finished run"),
        open_run_folder(tmp_path, PLAN, NAMES, overwrite=False),
    ):
        pass


def test_an_interrupted_overwrite_of_the_same_plan_is_resumed_by_the_same_command(tmp_path):
    publish(tmp_path)
    assert not interrupt(tmp_path, overwrite=True).resumed
    with open_run_folder(tmp_path, PLAN, NAMES, overwrite=True) as run:
        assert run.resumed
        assert (run.workspace / "block.tif").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_staging_folder_of_somebody_else_is_never_deleted(tmp_path, overwrite):
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging/precious.txt").write_text("mine")
    with (
        pytest.raises(OutputError, match="is not the staging of a geoseg run; move it away"),
        open_run_folder(tmp_path, PLAN, NAMES, overwrite=overwrite),
    ):
        pass
    assert (tmp_path / "staging/precious.txt").read_text() == "mine"


def test_a_manifest_that_is_not_ours_is_not_overwritten(tmp_path):
    (tmp_path / "run.json").write_text("[]")
    with (
        pytest.raises(OutputError, match=r"has a run.json that is not of a geoseg run"),
        open_run_folder(tmp_path, PLAN, NAMES, overwrite=False),
    ):
        pass
    assert (tmp_path / "run.json").read_text() == "[]"


def test_a_folder_is_locked_while_a_run_writes(tmp_path):
    with (
        open_run_folder(tmp_path, PLAN, NAMES, overwrite=False),
        pytest.raises(OutputError, match="another geoseg run is writing here"),
        open_run_folder(tmp_path, PLAN, NAMES, overwrite=True),
    ):
        pass
