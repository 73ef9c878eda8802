"""Pipelines and their scenes, before they are planned."""

import pytest

from geoseg.core.errors import ConfigError
from geoseg.runs.prepare import read_batch
from tests.conftest import write_pipeline


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
