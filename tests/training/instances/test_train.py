import csv
import json
import time

import numpy as np
import pytest
import torch

from geoseg.core.errors import ConfigError
from geoseg.models.backends.detector import make_detector
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.bundle import open_bundle
from geoseg.runs.prepare import prepare as prepare_run
from geoseg.runs.run import run
from geoseg.runs.validate import validate
from geoseg.training.build import evaluation_chips
from geoseg.training.instances.measure import detect_chips
from geoseg.training.record import read_record
from geoseg.training.train import train
from tests import processes
from tests.conftest import read_manifest, write_pipeline
from tests.objects import object_scene, write_scene
from tests.training.instances.worlds import document, prepared_from


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A finished training of three short epochs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    prepared = prepared_from(tmp_path_factory.mktemp("objects"))
    yield prepared, train(prepared)
    torch.set_num_threads(before)


def test_a_training_learns_and_tells_each_loss(world):
    _, trained = world
    first, *_, last = trained.record.history
    assert last.train_loss < 0.8 * first.train_loss
    assert last.train_loss == pytest.approx(sum(last.train_parts.values()))
    assert len(last.val_parts) == 5
    with (trained.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val_mask_ap"]) == pytest.approx(last.val_ap["mask_ap"])
    assert float(rows[0]["train_loss_mask"]) == pytest.approx(first.train_parts["loss_mask"])


def test_the_card_says_how_objects_are_found(world):
    prepared, trained = world
    card = open_bundle(trained.bundle).card
    assert card.task == "instances"
    metrics = trained.record.metrics
    assert card.detection.score_threshold == metrics.score_threshold == card.metrics["score_threshold"]
    assert card.detection.object_px.median == np.median(prepared.objects["train"].sides)
    assert card.tile.overlap >= card.detection.object_px.p99 + 32
    assert card.training["data"]["train"]["objects"] == {"building": 11, "tree": 17}
    assert card.memory_bytes_per_pixel > 100
    assert "average precision of masks" in (trained.bundle / "README.md").read_text()
    assert read_record(trained.folder / "training.json").metrics == metrics


def test_the_page_shows_losses_precision_and_outlines(world):
    _, trained = world
    page = (trained.folder / "training.html").read_text()
    for text in (
        "Mask AP",
        "Precision and recall",
        "Loss of masks",
        "Loss of proposals, objectness",
        "Detections",
        "Count error",
    ):
        assert text in page
    assert "mIoU" not in page
    assert "What is taken for what" not in page


def test_the_bundle_finds_what_the_trained_network_found(world):
    prepared, trained = world
    bundle = open_bundle(trained.bundle)
    detector = make_detector(
        bundle, SegmenterSpec(bundle.folder, bundle.sha256, "cpu", "torch", "fp32", "none", 1)
    )
    numbers = object_scene(128, 128, seed=1, halls=1, houses=10, trees=18, panels=0).numbers[
        None, :, :64, :64
    ]
    scale = np.full(4, 1e-4, np.float32)
    (found,) = detector.detect(
        np.ascontiguousarray(numbers), np.ones((1, 64, 64), bool), scale, np.zeros(4, np.float32)
    )
    chip = next(
        iter(detect_chips(bundle.network(), evaluation_chips(prepared, "val"), bundle.card.detection, 1))
    )
    threshold = round(bundle.card.detection.score_threshold * 10_000)
    assert len(found)
    assert found.scores.min() >= threshold
    # The surest ones: further down, masks that overlap by about the limit are dropped or not by rounding.
    surest = [d.scores[:30].astype(int) for d in (found, chip.predicted)]
    assert np.abs(surest[0] - surest[1]).max() <= 2
    assert found.classes[:30].tolist() == chip.predicted.classes[:30].tolist()


def test_the_bundle_maps_a_scene_with_the_same_bytes_after_a_kill(world, tmp_path):
    """From labels to a map in two commands: the trained network, a run, and the same run after kill -9."""
    _, trained = world
    scene = tmp_path / "scene.tif"
    write_scene(scene, object_scene(260, 330, seed=2, halls=1, houses=30, trees=60, panels=0))
    path = write_pipeline(
        tmp_path, scene, trained.bundle, "tiling: {tile: 192, overlap: 64, block: 1}",
    )  # fmt: skip
    whole = run(prepare_run(path, ["outputs.coco=true"], tmp_path / "whole"))
    killed = tmp_path / "killed"
    command = "geoseg", "run", path, "--output", killed, "--quiet", "--set", "outputs.coco=true"
    process = processes.start(*command, imported=processes.TRAINING)
    while process.poll() is None and not list(killed.glob("staging/block_*.done")):
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=120)
    assert not (killed / "run.json").exists()
    assert processes.run(*command, imported=processes.TRAINING).returncode == 0
    assert whole.record.objects.count > 0
    assert not validate(killed).failures
    outputs = [read_manifest(f)["outputs"] for f in (whole.folder, killed)]
    for name in ("instances.tif", "classes.tif", "confidence.tif", "objects.coco.json", "polygons.gpkg"):
        assert outputs[0][name]["sha256"] == outputs[1][name]["sha256"], name


def test_a_finished_training_can_start_another_with_other_classes(world, tmp_path):
    _, trained = world
    values = document(tmp_path)
    values["legend"] = {"classes": list(reversed(values["legend"]["classes"]))}
    del values["network"]
    values["transfer"] = {"bundle": str(trained.bundle)}
    from geoseg.training.build import build_network

    network, start = build_network(prepared_from(tmp_path, values))
    assert "channels of 2 of 2 classes kept" in start
    mine = open_bundle(trained.bundle).network().roi_heads.box_predictor
    now = network.roi_heads.box_predictor
    assert torch.equal(now.cls_score.weight, mine.cls_score.weight[[0, 2, 1]])
    assert torch.equal(now.bbox_pred.bias.reshape(3, 4), mine.bbox_pred.bias.reshape(3, 4)[[0, 2, 1]])


def test_a_part_of_the_data_is_scored_again(world):
    from geoseg.training.evaluate import evaluate_bundle

    prepared, trained = world
    path = prepared.folder.parent / "training.yaml"
    report = evaluate_bundle(path, (), trained.bundle, "val")
    assert report.masks == trained.record.metrics.masks
    assert report.f1 == trained.record.metrics.f1
    assert json.loads(report.model_dump_json())["part"] == "val"


def test_training_without_objects_is_refused(tmp_path):
    values = document(tmp_path, detection={"min_pixels": 100_000})
    with pytest.raises(ConfigError, match="train holds no object of 100000 pixels or more"):
        prepared_from(tmp_path, values)
