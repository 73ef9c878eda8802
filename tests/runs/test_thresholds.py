"""A run with thresholds: in every door, and only where they are set part of the plan."""

import json

import numpy as np
import pytest
import rasterio

import geoseg
from geoseg.core.errors import BundleError, ConfigError, SceneError
from geoseg.models.bundle import open_bundle, write_card
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from geoseg.runs.validate import validate
from tests.conftest import read_manifest

RULE = "inference={thresholds: {class-2: 0.15, class-3: 0.5}, otherwise: nodata}"


def read(folder, name="classes.tif"):
    with rasterio.open(folder / name) as src:
        return src.read()


def test_the_map_is_that_of_the_rule_in_every_block_size_and_door(pipeline_file, tmp_path, bundle):
    small = "tiling.tile=64"
    plain = run(
        prepare(pipeline_file, [small, "outputs.probabilities=true", "outputs.polygons=[]"], tmp_path / "a")
    )
    found = run(prepare(pipeline_file, [small, RULE], tmp_path / "b"))
    run(prepare(pipeline_file, [small, RULE, "tiling.block=1", "outputs.polygons=[]"], tmp_path / "c"))
    shares, (classes,) = read(tmp_path / "a", "probabilities.tif"), read(tmp_path / "b")
    # The written probabilities are of whole per cent.
    sure = (np.abs(shares[1] - 0.15) > 0.006) & (np.abs(shares[2] - 0.5) > 0.006)
    second, third = shares[1] / 0.15, shares[2] / 0.5
    expected = np.where(np.maximum(second, third) < 1, 255, np.where(second >= third, 2, 3))
    clear = sure & (np.abs(second - third) > 0.1)
    assert clear.mean() > 0.8
    assert (classes == expected)[clear].all()
    assert {2, 255} <= set(np.unique(classes).tolist())
    assert ((read(tmp_path / "b", "confidence.tif")[0] == 255) == (classes == 255)).all()
    assert (read(tmp_path / "c") == classes).all()
    assert validate(tmp_path / "b").failures == []
    record = read_manifest(tmp_path / "b")
    assert record["plan"]["thresholds"] == "class-2 0.15, class-3 0.5; otherwise nodata"
    assert record["pixels"]["nodata"] == (classes == 255).sum()
    assert "thresholds" not in plain.record.identity
    assert "thresholds" in found.record.identity
    scene = geoseg.open_scene(tmp_path / "scene.tif")
    keywords = {"thresholds": {"class-2": 0.15, "class-3": 0.5}, "otherwise": "nodata"}
    lazy = geoseg.segment(scene, bundle.folder, tile=64, **keywords)
    assert (lazy["class"].values == classes).all()
    assert lazy.attrs["fingerprint"] != geoseg.segment(scene, bundle.folder, tile=64).attrs["fingerprint"]


@pytest.fixture
def with_thresholds(bundle, tmp_path):
    """A copy of the bundle whose card has a threshold."""
    import shutil

    folder = tmp_path / "chosen"
    shutil.copytree(bundle.folder, folder)
    write_card(bundle.card.model_copy(update={"thresholds": {"class-2": 0.3}}), folder)
    return folder


def test_the_card_has_a_default_that_a_pipeline_replaces(pipeline_file, with_thresholds):
    model = f"model={with_thresholds}"

    def rule(*changes):
        return prepare(pipeline_file, [model, *changes]).thresholds

    assert rule().least == (0, round(0.3 * 2**14) << 16, 0)
    assert rule("inference.thresholds=none") is None
    assert rule("inference.thresholds={class-3: 1}").least == (0, 0, 2**30)
    assert rule("inference.otherwise=class-1").otherwise == 0


def test_a_map_without_a_pixel_over_its_threshold_says_so(pipeline_file, tmp_path, with_thresholds):
    unsure = open_bundle(with_thresholds).card.model_copy(update={"temperature": 1000.0})
    write_card(unsure, with_thresholds)
    rule = "inference={thresholds: {class-1: 0.9, class-2: 0.9, class-3: 0.9}, otherwise: nodata}"
    with pytest.raises(SceneError, match=r"no pixel reaches a threshold; lower inference.thresholds, or"):
        run(prepare(pipeline_file, [rule, f"model={with_thresholds}"], tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "inference.thresholds={klass-2: 0.3}",
            r"inference.thresholds: the model has no class 'klass-2'; did you mean 'class-2'",
        ),
        (
            "inference={thresholds: {class-2: 0.3}, otherwise: rest}",
            r"inference.otherwise: the model has no class 'rest'",
        ),
        ("inference.otherwise=nodata", "inference.otherwise: says what is below thresholds"),
        ("inference.thresholds={class-2: 0}", "inference.thresholds"),
        ("inference.thresholds={class-2: 1.5}", "inference.thresholds"),
    ],
)
def test_what_cannot_be_is_told(pipeline_file, change, said):
    with pytest.raises(ConfigError, match=said):
        prepare(pipeline_file, [change])


def test_a_card_with_a_threshold_of_no_class_is_refused(with_thresholds):
    path = with_thresholds / "geoseg.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "thresholds": {"cloud": 0.4}}))
    with pytest.raises(BundleError, match="thresholds: there is no class 'cloud'"):
        open_bundle(with_thresholds)
