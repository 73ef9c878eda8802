import json
import os

import pytest

from geoseg.core.errors import OutputError
from geoseg.runs.folder import open_run_folder
from tests.kills import every_moment, killed_after
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


def staged(folder, *, overwrite=False):
    """An unfinished run with what a real one has in its staging: blocks, drafts, a folder."""
    run = interrupt(folder, overwrite=overwrite)
    for i in range(3):
        run.staging.write(f"block_0000{i}_00000.tif", b"1")
        run.staging.write(f"block_0000{i}_00000.done", b"1")
    (run.workspace / "parts").mkdir()
    (run.workspace / "parts/0.bin").write_bytes(b"1")
    return folder


def hidden(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_killed_while_its_staging_is_cleared_is_finished_or_goes_on(tmp_path, overwrite):
    for moment in every_moment():
        folder = staged(tmp_path / f"{moment}")
        with killed_after(moment) as ended:
            publish(folder)
        if (folder / "run.json").exists() and not overwrite:
            with pytest.raises(OutputError, match="holds a finished run"):
                publish(folder)
        else:
            publish(folder, overwrite=overwrite)
        assert not hidden(folder)
        assert (folder / "classes.tif").read_text() == f"{PLAN}"
        if not ended:
            break
    assert moment > 10


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_killed_while_it_discards_another_goes_on_from_every_moment(tmp_path, finished):
    other = {"tile": [1, 1]}
    for moment in every_moment():
        folder = tmp_path / f"{moment}"
        if finished:
            publish(folder)
        staged(folder, overwrite=finished)
        with killed_after(moment) as ended:
            interrupt(folder, other, overwrite=True)
        publish(folder, other, overwrite=True)
        assert sorted(p.name for p in folder.iterdir()) == ["classes.tif", "run.json"]
        assert (folder / "classes.tif").read_text() == f"{other}"
        if not ended:
            break
    assert moment > 10


def test_what_a_killed_run_left_of_a_discarded_staging_goes_before_the_next_is_refused(tmp_path):
    publish(tmp_path)
    (tmp_path / ".staging.x1.discarded").mkdir()
    (tmp_path / ".staging.x1.discarded/block.tif").write_text("1")
    (tmp_path / ".staging.mine").mkdir()
    with pytest.raises(OutputError, match="holds a finished run"):
        publish(tmp_path)
    assert hidden(tmp_path) == [".staging.mine"]


def test_a_folder_is_locked_while_a_run_writes(tmp_path):
    with (
        open_run_folder(tmp_path, PLAN, NAMES, overwrite=False),
        pytest.raises(OutputError, match="another geoseg run is writing here"),
        open_run_folder(tmp_path, PLAN, NAMES, overwrite=True),
    ):
        pass


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["run.json", "events.jsonl", "staging/plan.json", "staging/block.tif"])
def test_a_pipe_in_a_run_folder_is_refused_and_not_waited_for(tmp_path, name):
    interrupt(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=f"{name}: is a pipe or a device, and no file; move it away"):
            publish(tmp_path, overwrite=overwrite)
