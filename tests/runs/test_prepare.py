"""Pipelines and their scenes, before they are planned."""

import json

import numpy as np
import pytest

from geoseg.core.errors import ConfigError, SceneError
from geoseg.runs.prepare import prepare, read_batch
from geoseg.scenes import sources
from geoseg.scenes.scene import Scene
from tests.conftest import write_pipeline, write_raster


@pytest.mark.parametrize(
    ("entry", "key", "value"),
    [
        ("{mask: null}", "mask", None),
        ("{scale: 0.5, bands: {red: 3}}", "scale", 0.5),
        ("{radiometry: {dark_object: true}}", "scale", None),
    ],
)
def test_what_holds_for_each_scene_names_no_file(tmp_path, scene_file, bundle, entry, key, value):
    pipeline = write_pipeline(tmp_path, entry, bundle.folder)
    (listed,) = read_batch(pipeline, scenes=str(scene_file)).scenes
    assert (listed.scene.uri, getattr(listed.scene, key)) == (str(scene_file), value)
    assert listed.scene.model_fields_set >= {"uri", *entry.strip("{").split(":")[:1]}
    (same,) = read_batch(pipeline, {"scenes": str(scene_file)}).scenes
    assert same == listed
    with pytest.raises(ConfigError, match=r"scene: a scene needs a uri or bands with a uri each; without"):
        read_batch(pipeline)


@pytest.mark.parametrize("masked", [False, True])
def test_a_window_of_a_server_is_read_again_by_the_checks(tmp_path, scene_file, bundle, monkeypatch, masked):
    entry = {"uri": str(scene_file)}
    if masked:
        quality = write_raster(tmp_path / "qa.tif", np.ones((300, 260), np.uint8))
        entry["mask"] = {"uri": str(quality), "invalid_values": [3]}
    read, failures = sources.read, {str(scene_file), str(tmp_path / "qa.tif")}

    def failing_once(source, *arguments):
        if source.path in failures:
            failures.remove(source.path)
            raise SceneError(f"{source.path}: the transfer was cut off")
        return read(source, *arguments)

    monkeypatch.setattr(sources, "read", failing_once)
    pipeline = write_pipeline(tmp_path, json.dumps(entry), bundle.folder, "reading: {wait: 0}")
    with pytest.raises(SceneError, match=r"the transfer was cut off$"):
        prepare(pipeline)
    failures.update([str(scene_file), str(tmp_path / "qa.tif")])
    monkeypatch.setattr(Scene, "remote", True)
    assert prepare(pipeline).scene.shape == (300, 260)
