"""Runs of several networks whose probabilities are averaged."""

import json
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import rasterio

import geoseg
from geoseg.core.errors import ConfigError, PlanError
from geoseg.evaluation.class_map import open_class_map
from geoseg.inference import predict
from geoseg.models.bundle import open_bundle, write_card
from geoseg.models.card import Card
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from geoseg.runs.validate import validate
from tests import processes
from tests.conftest import BAND_NAMES, make_bundle, read_manifest, reflectance, write_pipeline, write_raster
from tests.runs.test_resume import finish, staged, wait_for

LINES = (
    "checks: {statistics: off}",
    "inference: {backend: torch, precision: fp32}",
    "tiling: {tile: 96, overlap: 16}",
)
MAPS = ("classes.tif", "confidence.tif", "probabilities.tif", "disagreement.tif")
ALL = {"outputs.probabilities": True, "outputs.disagreement": True, "outputs.polygons": []}


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_pictures):
    """A scene with nodata, and three networks with other bands, classes in another order, and other tiles."""
    folder = tmp_path_factory.mktemp("ensemble")
    numbers = reflectance(230, 210)
    numbers[:, 60:90, 100:180] = 0
    write_raster(folder / "scene.tif", numbers, names=BAND_NAMES, scale=0.0001, nodata=0)
    first = make_bundle(folder / "a", name="a").card
    bands = [{"name": n, "common_name": n, "mean": 0.2, "std": 0.12} for n in ("nir", "red", "green", "blue")]
    make_bundle(folder / "b", seed=1, name="b", bands=bands, version="2")
    made = make_bundle(folder / "c", seed=2, name="c")
    tile = {"size": 96, "min": 64, "max": 256, "overlap": 16, "divisor": 32}
    classes = [c.model_dump() for c in (first.classes[2], first.classes[0], first.classes[1])]
    card = {**made.card.model_dump(), "classes": classes, "tile": tile}
    write_card(Card.model_validate(card), folder / "c")
    write_pipeline(folder, folder / "scene.tif", f"[{folder}/a, {folder}/b, {folder}/c]", *LINES)
    return folder


def made(place, name, models="abc", **changes):
    changes = {**ALL, **{k.replace("__", "."): v for k, v in changes.items()}}
    if models != "abc":
        listed = [str(place / m) for m in models]
        changes["model"] = listed[0] if len(listed) == 1 else listed
    if len(models) == 1:
        del changes["outputs.disagreement"]
    return run(prepare(place / "pipeline.yaml", changes, place / name))


@pytest.fixture(scope="module")
def together(place):
    return made(place, "together", tiling__block=2, **{"outputs.polygons": ["gpkg"]})


def read(folder, name):
    with rasterio.open(folder / name) as src:
        return src.read()


@pytest.mark.usefixtures("without_pictures")
def test_an_ensemble_is_the_mean_of_its_networks(place, together):
    alone = [read(made(place, f"alone-{m}", m).folder, "probabilities.tif") for m in "abc"]
    # Of c the classes come in another order.
    alone[2] = alone[2][[1, 2, 0]]
    mean = np.mean(alone, axis=0)
    shares, (classes,) = (read(together.folder, n) for n in ("probabilities.tif", "classes.tif"))
    seen = classes != 255
    assert (~seen).sum() == 30 * 80
    # Each of the three is written in whole per cent.
    assert np.abs(shares - mean)[:, seen].max() <= 0.0101
    ordered = np.sort(mean, axis=0)
    clear = seen & (ordered[-1] - ordered[-2] > 0.011)
    assert clear.mean() > 0.8
    assert (classes == mean.argmax(axis=0) + 1)[clear].all()
    assert not (classes == alone[0].argmax(axis=0) + 1)[clear].all()
    (confidence,) = read(together.folder, "confidence.tif")
    assert np.allclose(confidence[seen], shares.max(axis=0)[seen])
    # Where the networks choose three classes they disagree more than where they choose one.
    votes = np.sort([a.argmax(axis=0) for a in alone], axis=0)
    one = seen & (votes[0] == votes[2])
    (differ,) = read(together.folder, "disagreement.tif")
    assert differ[one].mean() < differ[seen & ~one].mean()
    assert ((differ == 255) == ~seen).all()


def test_every_file_says_what_the_ensemble_is(place, together):
    assert validate(together.folder).failures == []
    record = read_manifest(together.folder)
    assert [m["model"] for m in record["plan"]["members"]] == ["a 1", "b 2", "c 1"]
    assert record["plan"]["members"][1]["bands"] == ["nir", "red", "green", "blue"]
    assert record["plan"]["model"] == "a + b + c"
    assert record["plan"]["tile"] == [96, 96]
    assert [m["name"] for m in record["identity"]["members"]] == ["a", "b", "c"]
    item = json.loads((together.folder / "item.json").read_text())
    titles = [link.get("title", "") for link in item["links"]]
    assert [t for t in titles if t.startswith("model")] == ["model a 1", "model b 2", "model c 1"]
    assert item["assets"]["disagreement"]["title"].startswith("Disagreement")
    page = (together.folder / "report.html").read_text()
    assert 'value="disagreement"' in page
    assert "network 2" in page
    assert (together.folder / "disagreement.qml").exists()
    # What evaluates it takes its legend from the first network.
    slugs = [c.slug for c in open_class_map(together.folder / "classes.tif").legend.classes]
    assert slugs == ["class-1", "class-2", "class-3"]
    lazy = together.disagreement()
    assert np.nanmax(lazy.values) <= 1
    assert np.isnan(lazy.values).sum() == 30 * 80


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("change", [{"tiling__block": 1}, {"inference__batch": 1, "tiling__block": 9}])
def test_every_block_size_gives_the_same_bytes(place, together, change):
    other = made(place, f"other-{next(iter(change.values()))}-{len(change)}", **change)
    for name in MAPS:
        assert (read(other.folder, name) == read(together.folder, name)).all(), name


@pytest.mark.usefixtures("without_pictures")
def test_one_network_twice_is_that_network(place):
    alone, twice = made(place, "once", "a"), made(place, "twice", "aa")
    for name in MAPS[:3]:
        assert (read(twice.folder, name) == read(alone.folder, name)).all(), name
    assert set(np.unique(read(twice.folder, "disagreement.tif")).tolist()) == {0, 255}


def test_the_door_of_arrays_gives_the_same(place, together):
    scene = geoseg.open_scene(place / "scene.tif")
    models = [place / "a", open_bundle(place / "b"), str(place / "c")]
    keywords = {"tile": 96, "overlap": 16, "backend": "torch", "precision": "fp32", "checks": "off"}
    outputs = ["class", "confidence", "probability", "disagreement"]
    for data in (scene, scene.compute()):
        found = geoseg.segment(data, models, outputs=outputs, **keywords)
        assert found.probability.shape[0] == 3
        for name, variable in zip(MAPS, outputs, strict=True):
            expected = read(together.folder, name).astype(np.float32)
            values = found[variable].values.astype(np.float32)
            if variable != "class":
                expected[expected == 255] = np.nan
            assert np.array_equal(values.reshape(expected.shape), expected, equal_nan=True), name
    with pytest.raises(ConfigError, match="is of an ensemble"):
        geoseg.segment(scene, place / "a", outputs=["disagreement"])


def test_networks_that_do_not_go_together_are_refused_in_a_line(place, tmp_path):
    card = open_bundle(place / "a").card.model_dump()
    make_bundle(tmp_path / "two", classes=2, name="two")
    other = make_bundle(tmp_path / "labels", name="labels")
    fields = {**card, "task": "multilabel", "output": "sigmoid"}
    write_card(Card.model_validate(fields | {"weights_sha256": other.card.weights_sha256}), other.folder)
    tile = {"size": 80, "min": 80, "max": 80, "overlap": 16, "divisor": 80}
    fixed = make_bundle(tmp_path / "fixed", name="fixed", tile=tile)
    for more, error, text in (
        ([tmp_path / "two"], ConfigError, "two has no class-3"),
        ([other.folder], ConfigError, "of task multilabel"),
        ([fixed.folder], PlanError, "no size fits all"),
        ([place / "a"] * 16, ConfigError, "give 1 to 16"),
    ):
        with pytest.raises(error, match=text) as caught:
            prepare(place / "pipeline.yaml", {"model": [str(place / "c"), *map(str, more)]}, tmp_path / "o")
        assert len(str(caught.value)) <= 300
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"outputs\.disagreement: is of the networks of an ensemble"):
        prepare(
            place / "pipeline.yaml", {"model": str(place / "a"), "outputs.disagreement": True}, tmp_path / "o"
        )


def test_each_network_is_held_to_what_it_knows(place, tmp_path):
    card = open_bundle(place / "b").card
    far = [b.model_copy(update={"mean": 0.9}) if b.name == "red" else b for b in card.bands]
    other = make_bundle(tmp_path / "far", name="far", bands=[b.model_dump() for b in far])
    models = [str(place / "a"), str(other.folder)]
    with pytest.raises(PlanError, match=r"where far knows 0\.9"):
        prepare(place / "pipeline.yaml", {"model": models, "checks.statistics": "error"}, tmp_path / "out")


def test_memory_is_that_of_all_networks_and_grows_with_them(place):
    plans = {
        models: prepare(place / "pipeline.yaml", {"model": [str(place / m) for m in models]}, place / "plan")
        for models in ("a", "ab", "abc")
    }
    memory = {models: plan.memory for models, plan in plans.items()}
    assert memory["a"].blocks < memory["ab"].blocks < memory["abc"].blocks
    assert memory["a"].network < memory["ab"].network < memory["abc"].network
    assert memory["abc"].fringes > 2.5 * memory["a"].fringes
    # A list of one is that one.
    alone = prepare(place / "pipeline.yaml", {"model": str(place / "a")}, place / "plan")
    assert plans["a"].fingerprint == alone.fingerprint
    assert plans["abc"].fingerprint != replace(plans["abc"], others=plans["abc"].others[::-1]).fingerprint
    summary = plans["abc"].summary()
    assert [m["model"] for m in summary["members"]] == ["a 1", "b 2", "c 1"]


def test_kill_9_and_run_again_on_workers_gives_the_same_bytes(place, together):
    target = place / "killed"
    changes = [f"--set={k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in ALL.items()]
    command = ["geoseg", "run", place / "pipeline.yaml", "--output", target, "--quiet", *changes]
    command += ["--set=tiling.block=1", "--set=inference.device=cpu"]
    process = processes.start(*command)
    wait_for(lambda: staged(target) >= 2, process)
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    assert not (target / "run.json").exists()
    assert finish(processes.start(*command, "--cluster", "workstation")) == (0, "")
    assert read_manifest(target)["resumed"]
    for name in MAPS:
        assert (read(target, name) == read(together.folder, name)).all(), name


@pytest.mark.usefixtures("without_pictures")
def test_each_tile_goes_through_each_network_once(place, monkeypatch):
    seen, load = Counter(), predict.load_segmenter

    class Counting:
        def __init__(self, segmenter, sha256):
            self.segmenter, self.sha256, self.arrays = segmenter, sha256, segmenter.arrays

        def predict(self, values, valid, gain, bias):
            for tile, mask in zip(values, valid, strict=True):
                seen[self.sha256, tile.tobytes(), mask.tobytes()] += 1
            return self.segmenter.predict(values, valid, gain, bias)

    monkeypatch.setattr(predict, "load_segmenter", lambda spec: Counting(load(spec), spec.sha256))
    plan = prepare(place / "pipeline.yaml", {**ALL, "tiling.block": 2}, place / "counted")
    skipped = run(plan).record.tiles_skipped
    assert len(seen) == 3 * (plan.blocks.tiles - skipped)
    assert set(seen.values()) == {1}
