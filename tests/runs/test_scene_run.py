"""The picture of the scene is read beside the maps."""

import threading
import time

import pytest

from geoseg.core.errors import OutputError, SceneError
from geoseg.runs import outputs
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run


def test_a_picture_that_cannot_be_read_stops_the_run_and_the_next_one_goes_on(
    pipeline_file, tmp_path, monkeypatch
):
    def broken(_):
        raise SceneError("scene.tif: cannot be read")

    plan = prepare(pipeline_file, output=tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "read_picture", broken)
        with pytest.raises(SceneError, match=r"scene.tif: cannot be read"):
            run(plan)
    assert not (tmp_path / "run/run.json").exists()
    assert run(plan).record.resumed


def test_nobody_waits_for_the_picture_when_the_maps_cannot_be_written(pipeline_file, tmp_path, monkeypatch):
    never = threading.Event()

    def full(*_):
        raise OutputError("classes.tif: cannot be written: no space left")

    monkeypatch.setattr(outputs, "read_picture", lambda _: never.wait(60))
    monkeypatch.setattr(outputs, "write_maps", full)
    start = time.monotonic()
    try:
        with pytest.raises(OutputError, match="no space left"):
            run(prepare(pipeline_file, output=tmp_path / "run"))
        assert time.monotonic() - start < 50
    finally:
        never.set()
