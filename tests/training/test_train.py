"""Trainings from document to bundle, on scenes whose classes follow from their values."""

import json
import re
import shutil
import signal
import textwrap
import time
import warnings

import numpy as np
import pytest
import rasterio
import torch
from safetensors.torch import load_file

from geoseg.core.errors import ConfigError, GeosegError, GeosegWarning, OutputError, SceneError, TrainingError
from geoseg.evaluation.text import report_text
from geoseg.models.bundle import open_bundle, write_card
from geoseg.runs.prepare import prepare as prepare_run
from geoseg.runs.run import run as run_pipeline
from geoseg.training import train
from geoseg.training.bands import measure_bands
from geoseg.training.evaluate import evaluate_bundle
from geoseg.training.folder import open_folder
from geoseg.training.prepare import prepare
from tests import processes
from tests.conftest import write_pipeline, write_raster
from tests.training.worlds import labelled_scene

LEGEND = """
    legend:
      classes:
        - {id: 1, slug: water, title: Water, color: "#2b7bba"}
        - {id: 2, slug: tree, title: Tree, color: "#1b7837"}
        - {id: 3, slug: crop, title: Crop, color: "#f2cf63"}
      ignore: [0]
"""
UNET = (
    "{architecture: Unet, arguments: {encoder_name: tu-tf_efficientnet_lite0, encoder_depth: 3, "
    "decoder_channels: [16, 8, 8]}}"
)
DEEPLAB = (
    "{architecture: DeepLabV3Plus, arguments: {encoder_name: tu-mobilenetv3_small_050, decoder_channels: 64}}"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four labelled scenes of 128 px."""
    folder = tmp_path_factory.mktemp("labelled")
    for i in range(4):
        labelled_scene(folder, f"s{i}", (128, 128), seed=i, origin=(5e5 + 5000 * i, 4.5e6), keep=False)
    return folder


def document(folder, data, network=UNET, *more, scenes=4, epochs=3):
    """Write a training file."""
    parts = ("train", "train", "val", "test")
    listed = "\n".join(
        f"            - {{scene: s{i}.tif, labels: s{i}_labels.tif, part: {parts[i]}}}" for i in range(scenes)
    )
    text = f"""\
        name: toy
        dataset:
          kind: scenes
          folder: {data}
          scenes:
{listed}
        split: {{by: given}}
        chips: {{size: 64, per_epoch: 8}}
        network: {network}
        optimizer: {{rate: 0.01}}
        fit: {{epochs: {epochs}, batch: 4, device: cpu}}
        output: {folder / "trained"}
"""
    path = folder / "training.yaml"
    path.write_text(textwrap.dedent(text) + textwrap.dedent(LEGEND) + "\n".join(more) + "\n")
    return path


def run(path, *overrides, **more):
    return train.train(prepare(path, overrides), **more)


# Network, learning rate, epochs and chips of an epoch.
FAMILIES = {
    "Unet": (UNET, 0.01, 4, 16),
    "PSPNet": ("{architecture: PSPNet, arguments: {encoder_name: resnet18}}", 0.005, 8, 16),
    "DeepLabV3Plus": (DEEPLAB, 0.005, 6, 16),
    "SegNet": ("{architecture: SegNet, arguments: {encoder_name: vgg11, encoder_depth: 3}}", 0.005, 6, 16),
    "FCN": ("{architecture: FCN, arguments: {encoder_name: resnet50}}", 0.003, 1, 32),
}


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_learns_what_its_labels_say_and_maps_a_scene(name, tmp_path, data):
    network, rate, epochs, chips = FAMILIES[name]
    # A local network would otherwise get tiles of 1024 px, and its conversion be tried in that size.
    local = {"Unet", "SegNet", "FCN"}
    tile = "tile: {size: 128, min: 64, max: 256, overlap: 32}" if name in local else ""
    path = document(tmp_path, data, network, tile, epochs=epochs)
    trained = run(path, f"optimizer.rate={rate}", f"chips.per_epoch={chips}")
    # Guessing the largest class everywhere gives an mIoU of about 0.15.
    assert trained.record.metrics.miou > 0.45, trained.record.history
    report = evaluate_bundle(path, [], trained.bundle, "test")
    assert report.miou == pytest.approx(trained.record.metrics.miou, abs=1e-3)
    # How each family is converted for a run is tested in tests/models/networks/test_architectures.py.
    torch_alone = "inference: {backend: torch}"
    run_pipeline(prepare_run(write_pipeline(tmp_path, data / "s3.tif", trained.bundle, torch_alone)))
    with rasterio.open(tmp_path / "out/classes.tif") as map_, rasterio.open(data / "s3_labels.tif") as known:
        assert (map_.read(1) == known.read(1)).mean() > 0.6


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    return run(document(folder, data, UNET, "measure: {augment: flips}"))


def test_the_folder_holds_what_people_look_at(trained):
    names = {p.name for p in trained.folder.iterdir()}
    assert {"bundle", "checkpoints", "metrics.csv", "training.html", "training.json"} <= names
    lines = (trained.folder / "metrics.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,rate,seconds,train_loss,train_miou,val_loss,val_miou,val_iou_water")
    assert len(lines) == 1 + 3
    page = (trained.folder / "training.html").read_text()
    assert "Water" in page
    record = json.loads((trained.folder / "training.json").read_text())
    assert record["format"] == "geoseg-training/1"
    assert record["metrics"] == trained.record.metrics.model_dump(mode="json")
    assert set(record["metrics"]["other_parts"]) == {"val", "test with flips"}


def test_the_card_says_bands_statistics_tiles_and_figures(trained, data):
    card = open_bundle(trained.bundle).card
    with rasterio.open(data / "s0.tif") as a, rasterio.open(data / "s1.tif") as b:
        numbers = np.concatenate([a.read().reshape(4, -1), b.read().reshape(4, -1)], axis=1) * 1e-4
    assert [x.common_name for x in card.bands] == ["blue", "green", "red", "nir"]
    assert [x.mean for x in card.bands] == pytest.approx(numbers.mean(axis=1), abs=1e-5)
    assert [x.std for x in card.bands] == pytest.approx(numbers.std(axis=1), abs=1e-5)
    assert card.gsd_m.min == card.gsd_m.max == 10
    assert card.temperature != 1.0
    assert card.metrics["miou"] == trained.record.metrics.miou
    assert "test" in card.metrics["reference"]


def test_the_best_epoch_is_kept(trained):
    rows = trained.record.history
    best = max(rows, key=lambda r: r.val_miou)
    assert trained.record.training["best_epoch"] == best.epoch
    assert trained.record.metrics.other_parts["val"].miou == pytest.approx(best.val_miou, abs=1e-4)


def test_a_finished_training_is_not_replaced_unasked(trained, tmp_path):
    path = trained.folder.parent / "training.yaml"
    with pytest.raises(OutputError, match="holds a finished training"):
        run(path)
    shutil.copytree(trained.folder, tmp_path / "damaged")
    (tmp_path / "damaged/training.json").write_text("{")
    with pytest.raises(OutputError, match=r"training.json: cannot be read: .*; remove it"):
        run(path, f"output={tmp_path / 'damaged'}")


def test_the_same_training_gives_the_same_weights(tmp_path, data, trained):
    again = run(document(tmp_path, data, UNET, "measure: {augment: flips}"))
    one, two = (load_file(t.bundle / "model.safetensors") for t in (trained, again))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_training_killed_at_any_moment_ends_with_the_same_weights(tmp_path, data):
    more = "fit: {epochs: 4, batch: 4, device: cpu, average: 0.9}\ntransfer: {freeze_epochs: 1}"
    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    for folder in (undisturbed, killed):
        folder.mkdir()
        path = document(folder, data, UNET)
        path.write_text(path.read_text().replace("fit: {epochs: 3, batch: 4, device: cpu}", more))
    expected = run(undisturbed / "training.yaml")
    command = "geoseg", "train", killed / "training.yaml", "--quiet"
    process = processes.start(*command, imported=processes.TRAINING)
    last = killed / "trained/checkpoints/last.ckpt"
    for _ in range(600):
        if last.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert last.exists()
    assert not (killed / "trained/training.json").exists()
    found = run(killed / "training.yaml")
    assert found.record.resumed
    assert len(found.record.history) == 4
    one, two = (load_file(t.bundle / "model.safetensors") for t in (expected, found))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_other_settings_do_not_go_on_from_old_checkpoints(tmp_path, data):
    path = document(tmp_path, data, epochs=1)
    prepared = prepare(path)
    prepared.folder.mkdir()
    open_folder(prepared, overwrite=False)
    # Nothing was trained yet, so nothing is lost.
    open_folder(prepare(path, ["optimizer.rate=0.02"]), overwrite=False)
    open_folder(prepared, overwrite=False)
    (prepared.folder / "checkpoints").mkdir()
    open_folder(prepare(path, ["title=Other", "gsd={min: 5, max: 20}"]), overwrite=False)
    with pytest.raises(OutputError, match=r"its training.optimizer.rate is 0.01, now 0.5"):
        open_folder(prepare(path, ["optimizer.rate=0.5"]), overwrite=False)


def test_a_damaged_checkpoint_is_said_in_one_line(tmp_path, data):
    path = document(tmp_path, data, epochs=1)
    prepared = prepare(path)
    prepared.folder.mkdir()
    open_folder(prepared, overwrite=False)
    (prepared.folder / "checkpoints").mkdir()
    (prepared.folder / "checkpoints/last.ckpt").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(TrainingError, match=r"last.ckpt: is damaged: .*--overwrite"):
        train.train(prepared)


def test_two_devices_train_one_network_and_count_together(tmp_path, data):
    path = document(tmp_path, data, epochs=2)
    command = "geoseg", "train", path, "--quiet", "--set", "fit.devices=2"
    done = processes.run(*command, imported=processes.TRAINING)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "trained/training.json").read_text())["history"]
    assert len(rows) == 2
    # Figures of both halves of val, and of the weights that were written.
    report = evaluate_bundle(path, [], tmp_path / "trained/bundle", "val")
    best = max(rows, key=lambda r: r["val_miou"])
    assert report.miou == pytest.approx(best["val_miou"], abs=1e-4)


def test_too_little_memory_means_smaller_passes_and_the_same_steps(tmp_path, data, monkeypatch):
    from geoseg.training.task import SegmentationTask

    real = SegmentationTask.training_step

    def scarce(self, batch, number):
        if len(batch["image"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, batch, number)

    monkeypatch.setattr(SegmentationTask, "training_step", scarce)
    trained = run(document(tmp_path, data, epochs=1))
    assert trained.record.batch == 4
    assert trained.record.accumulate == 2
    assert any("out of memory: goes on with 2 passes of 2 chips" in w for w in trained.record.warnings)


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(tmp_path, data, monkeypatch):
    from geoseg.training.task import SegmentationTask

    real = SegmentationTask.training_step

    def poisoned(self, batch, number):
        if self.current_epoch == 1:
            batch["image"][0] = torch.nan
        return real(self, batch, number)

    monkeypatch.setattr(SegmentationTask, "training_step", poisoned)
    with pytest.raises(TrainingError, match=r"in epoch 2 at \S*s[01].tif, rows [^;]*; look"):
        run(document(tmp_path, data))
    monkeypatch.setattr(SegmentationTask, "training_step", real)
    assert run(tmp_path / "training.yaml").record.resumed


def test_every_epoch_is_kept_though_the_best_is_an_earlier_one(tmp_path, data, monkeypatch):
    from geoseg.training.task import SegmentationTask

    def worse(self):
        self.val = {**self.results("val_"), "miou": 0.9 - 0.1 * self.current_epoch}
        self.log("val_miou", self.val["miou"])

    monkeypatch.setattr(SegmentationTask, "on_validation_epoch_end", worse)
    trained = run(document(tmp_path, data))
    epochs = {
        name: torch.load(trained.folder / f"checkpoints/{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    }
    assert epochs == {"best": 0, "last": 2}


def test_a_bundle_is_fine_tuned(tmp_path, data, trained):
    path = document(tmp_path, data, UNET, f"transfer: {{bundle: {trained.bundle}}}", epochs=1)
    text = path.read_text()
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("network:")))
    again = run(path, "optimizer.rate=0.00001")
    # It starts where the other ended.
    assert again.record.history[0].val_miou == pytest.approx(
        max(r.val_miou for r in trained.record.history), abs=0.1
    )


def test_labels_elsewhere_on_earth_are_refused(tmp_path, data):
    for name in ("s0", "s1", "s2", "s3"):
        for suffix in (".tif", "_labels.tif"):
            (tmp_path / f"{name}{suffix}").symlink_to(data / f"{name}{suffix}")
    (tmp_path / "s2_labels.tif").unlink()
    write_raster(tmp_path / "s2_labels.tif", np.ones((128, 128), np.uint8), origin=(9e5, 5.5e6))
    with pytest.raises(SceneError, match=r"s2_labels.tif: .*overlap"):
        prepare(document(tmp_path, tmp_path))


def test_labels_in_another_crs_are_reprojected_and_that_is_said(tmp_path, data):
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    for name in ("s0", "s1", "s2", "s3"):
        for suffix in (".tif", "_labels.tif"):
            (tmp_path / f"{name}{suffix}").symlink_to(data / f"{name}{suffix}")
    (tmp_path / "s0_labels.tif").unlink()
    with rasterio.open(data / "s0_labels.tif") as src:
        transform, width, height = calculate_default_transform(src.crs, "EPSG:4326", 128, 128, *src.bounds)
        target = np.zeros((height, width), np.uint8)
        reproject(src.read(1), target, src_transform=src.transform, src_crs=src.crs, dst_transform=transform,
                  dst_crs="EPSG:4326", resampling=Resampling.nearest, dst_nodata=0)  # fmt: skip
    with rasterio.open(
        tmp_path / "s0_labels.tif", "w", driver="GTiff", count=1, height=height, width=width, dtype="uint8",
        crs="EPSG:4326", transform=transform, nodata=0,
    ) as dst:  # fmt: skip
        dst.write(target, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeosegWarning)
        prepared = prepare(document(tmp_path, tmp_path))
    assert any("s0_labels.tif" in w and "EPSG:4326" in w for w in prepared.warnings)


def test_a_single_class_is_refused(tmp_path, data):
    for name in ("s0", "s1"):
        (tmp_path / f"{name}.tif").symlink_to(data / f"{name}.tif")
        origin = (5e5 + 5000 * int(name[1]), 4.5e6)
        write_raster(tmp_path / f"{name}_labels.tif", np.ones((128, 128), np.uint8), origin=origin)
    with pytest.raises(ConfigError, match=r"train holds a single class \(water\)"):
        prepare(document(tmp_path, tmp_path, scenes=2))


def test_a_class_without_pixels_is_said(tmp_path, data):
    path = document(tmp_path, data)
    text = path.read_text().replace("ignore: [0]", "ignore: [0]")
    path.write_text(text.replace('{id: 3, slug: crop, title: Crop, color: "#f2cf63"}',
                                 '{id: 3, slug: crop, title: Crop, color: "#f2cf63"}\n'
                                 '    - {id: 9, slug: snow, title: Snow, color: "#ffffff"}'))  # fmt: skip
    prepared = prepare(path)
    assert "train has no pixel of snow" in prepared.warnings


def test_a_class_of_val_that_train_lacks_is_said(tmp_path, data):
    for i in range(4):
        (tmp_path / f"s{i}.tif").symlink_to(data / f"s{i}.tif")
        codes = rasterio.open(data / f"s{i}_labels.tif").read(1)
        codes = np.full_like(codes, 3) if i == 2 else np.minimum(codes, 2)
        write_raster(tmp_path / f"s{i}_labels.tif", codes, origin=(5e5 + 5000 * i, 4.5e6))
    prepared = prepare(document(tmp_path, tmp_path))
    (said,) = (w for w in prepared.warnings if w.startswith("train has no pixel"))
    assert said.startswith("train has no pixel of crop, but val has: what train lacks cannot be learned")


def test_early_stopping_stays_stopped_when_the_end_is_done_again(tmp_path, data, monkeypatch):
    from geoseg.training.task import SegmentationTask

    def worse(self):
        self.val = {**self.results("val_"), "miou": 0.9 - 0.1 * self.current_epoch}
        self.log("val_miou", self.val["miou"])

    monkeypatch.setattr(SegmentationTask, "on_validation_epoch_end", worse)
    path = document(tmp_path, data, epochs=5)
    first = run(path, "fit.patience=1")
    assert len(first.record.history) == 2
    weights = (first.bundle / "model.safetensors").read_bytes()
    # As if it had been killed while the bundle was written.
    (first.folder / "training.json").unlink()
    (first.bundle / "model.safetensors").unlink()
    again = run(path, "fit.patience=1")
    assert len(again.record.history) == 2
    assert (again.bundle / "model.safetensors").read_bytes() == weights


def test_mistakes_are_found_before_anything_is_trained(tmp_path, data):
    path = document(tmp_path, data, epochs=1)
    for wrong, said in (
        ("network.architecture=Unett", "Unett"),
        ("chips.size=60", "chips.size: 60 is no multiple of 8"),
        ("tile={size: 1001, min: 256, max: 2048, overlap: 128}", "wrong at tile: .*multiples of the divisor"),
        ("gsd={min: 30, max: 10}", "gsd"),
    ):
        with pytest.raises(GeosegError, match=said):
            train.train(prepare(path, [wrong]))
    assert not (tmp_path / "trained").exists()


def test_batch_norm_needs_more_than_one_chip_in_a_pass(tmp_path, data):
    network = "{architecture: DeepLabV3Plus, arguments: {encoder_name: resnet18}}"
    with pytest.raises(TrainingError, match="more than one chip in a pass"):
        run(document(tmp_path, data, network, epochs=1), "fit.accumulate=4")


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_gradients_are_clipped_in_mixed_precision_too(tmp_path, data, kind):
    settings = ("fit.precision=bf16", f"optimizer.kind={kind}", "optimizer.clip=1", "chips.per_epoch=4")
    trained = run(document(tmp_path, data, epochs=1), *settings)
    assert np.isfinite(trained.record.history[0].train_loss)


def test_a_lost_checkpoint_is_not_called_damaged(tmp_path):
    from geoseg.training.fit import _read_checkpoint

    with pytest.raises(TrainingError, match=r"best.ckpt: no such checkpoint; start again with --overwrite"):
        _read_checkpoint(tmp_path / "best.ckpt")


def test_fine_tuning_normalises_as_the_bundle_did(tmp_path, data, trained):
    shutil.copytree(trained.bundle, tmp_path / "old")
    card = json.loads((tmp_path / "old/geoseg.json").read_text())
    card["bands"][1]["mean"], card["bands"][1]["std"] = 0.5, 0.25
    (tmp_path / "old/geoseg.json").write_text(json.dumps(card))
    prepared = prepare(document(tmp_path, data, UNET, f"transfer: {{bundle: {tmp_path / 'old'}}}"))
    assert (prepared.statistics.mean[1], prepared.statistics.std[1]) == (0.5, 0.25)
    assert prepared.statistics.mean[0] == pytest.approx(card["bands"][0]["mean"], abs=1e-6)


def test_a_bundle_is_measured_on_data_that_train_nothing(tmp_path, data, trained):
    path = document(tmp_path, data)
    path.write_text(re.sub("part: (train|val)", "part: test", path.read_text()))
    report = evaluate_bundle(path, [], trained.bundle, "test")
    assert report.chips == 16
    assert report.other_parts is None
    turned = evaluate_bundle(path, ["measure.augment=flips"], trained.bundle, "test")
    flips = turned.other_parts["test with flips"]
    assert (turned.miou, turned.pixels) == (report.miou, flips.pixels)
    assert flips.miou != report.miou
    (line,) = (li for li in report_text(turned).splitlines() if li.startswith("mean IoU, test with flips"))
    assert f" {flips.miou:.3f} " in line
    with pytest.raises(ConfigError, match=r"--split val: .*they have test"):
        evaluate_bundle(path, [], trained.bundle, "val")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "names no scene"),
        ({"train": [], "val": []}, "names no scene"),
        ({"train": ["s0.tif"], "val": ["s0.tif"]}, "names 's0.tif' twice, under train and val"),
        ({"train": ["s0"]}, "names 's0' and 0 more, which the data do not have; they have s0.tif, s1.tif"),
    ],
)
def test_a_file_of_parts_is_checked(tmp_path, data, content, said):
    (tmp_path / "parts.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=said):
        prepare(document(tmp_path, data), [f"split.parts={tmp_path / 'parts.json'}"])


def test_a_file_of_parts_names_scenes_as_the_document_does(tmp_path, data):
    parts = {"train": ["s1.tif"], "test": ["s3.tif"]}
    (tmp_path / "parts.json").write_text(json.dumps(parts))
    prepared = prepare(document(tmp_path, data), [f"split.parts={tmp_path / 'parts.json'}"])
    assert [(p.name, p.part) for p in prepared.labelled] == [("s1.tif", "train"), ("s3.tif", "test")]


def test_a_contrast_trains_and_is_not_in_the_bundle(tmp_path, data, trained):
    more = "loss: [{kind: cross-entropy}, {kind: contrastive, weight: 0.1, dim: 8, samples: 64}]"
    one = run(
        document(tmp_path, data, UNET, more, epochs=1),
        "fit.stop={monitor: loss, patience: 1}",
        "measure.thresholds=f1",
    )
    chosen = open_bundle(one.bundle).card.thresholds
    assert chosen
    assert set(chosen) <= {"water", "tree", "crop"}
    assert evaluate_bundle(tmp_path / "training.yaml", [], one.bundle, "test").miou == pytest.approx(
        one.record.metrics.miou, abs=1e-3
    )
    assert set(load_file(one.bundle / "model.safetensors")) == set(
        load_file(trained.bundle / "model.safetensors")
    )
    (row,) = one.record.history
    assert 0 < row.train_accuracy <= 1
    assert 0 < row.val_accuracy <= 1
    assert "Overall accuracy" in (one.folder / "training.html").read_text()
    assert (one.folder / "metrics.csv").read_text().splitlines()[0].endswith(",train_accuracy,val_accuracy")


def test_early_stopping_watches_the_figure_that_is_asked_for(tmp_path, data, monkeypatch):
    from geoseg.training.task import SegmentationTask

    losses = [1.0, 0.9, 0.8, 0.85, 0.81, 0.7]

    def known(self):
        self.results("val_")
        n = self.current_epoch
        self.val = {"loss": losses[n], "miou": 0.1 * n, "accuracy": 0.9 - 0.1 * n, "iou": [0.1] * 3}
        self.log_figures(self.val["miou"])

    monkeypatch.setattr(SegmentationTask, "on_validation_epoch_end", known)
    path = document(tmp_path, data, epochs=6)
    found = run(path, "fit.stop={monitor: loss, patience: 2, min_delta: 0.25}", "chips.per_epoch=4")
    assert len(found.record.history) == 3
    assert found.record.training["best_epoch"] == 3
    with pytest.raises(ConfigError, match="patience and stop both say when to stop"):
        prepare(path, ["fit.stop={patience: 2}", "fit.patience=2"])


def test_chips_larger_than_the_scenes_are_said(tmp_path, data):
    said = prepare(document(tmp_path, data), ["chips.size=160"]).warnings
    assert any(
        w.startswith("chips.size: 160 px is more than 4 of 4 scenes have") and "{size: 128}" in w
        for w in said
    )
    assert not prepare(document(tmp_path, data), ["chips.size=128"]).warnings


def test_touching_tiles_that_a_split_by_file_parts_are_said(tmp_path):
    for i in range(4):
        labelled_scene(tmp_path, f"s{i}", (64, 64), seed=i, origin=(5e5 + 640 * i, 4.5e6), keep=False)
    said = prepare(document(tmp_path, tmp_path), ["split={by: file, val: 0.25, test: 0.25}"]).warnings
    assert any(
        "pairs of scenes touch and lie in different parts" in w and "split by place" in w for w in said
    )


def test_a_bundle_is_measured_again_as_its_training_measured_it(trained, data, tmp_path, geoseg_here):
    card = open_bundle(trained.bundle).card
    assert card.strangeness.distance > 2
    copy = tmp_path / "bundle"
    shutil.copytree(trained.bundle, copy)
    write_card(card.model_copy(update={"covariance": None, "strangeness": None}), copy)
    (copy / "README.md").write_text("by hand")
    path = document(tmp_path, data)
    done = geoseg_here("models", "measure", copy, path, "--json")
    assert json.loads(done.stdout)["strangeness"] == card.strangeness.model_dump()
    assert open_bundle(copy).card == card
    assert (copy / "README.md").read_text() == "by hand"
    # Other pixels than those that it was trained on.
    far = tuple(b.model_copy(update={"mean": b.mean + 2 * b.std}) for b in card.bands)
    write_card(card.model_copy(update={"bands": far}), copy)
    with pytest.raises(ConfigError, match=r"the mean of blue in train is .* name the training"):
        measure_bands(copy, path)
    near = tuple(b.model_copy(update={"mean": b.mean + 0.5 * b.std}) for b in card.bands)
    write_card(card.model_copy(update={"bands": near}), copy)
    with pytest.warns(GeosegWarning, match="these may be other pixels"):
        measure_bands(copy, path)
    write_card(card.model_copy(update={"numbers": "raw"}), copy)
    with pytest.raises(ConfigError, match="takes numbers as they are stored"):
        measure_bands(copy, path)
    write_card(card.model_copy(update={"gsd_m": None}), copy)
    with pytest.raises(ConfigError, match="knows photographs"):
        measure_bands(copy, path)
    with pytest.raises(ConfigError, match="lies in an object store"):
        measure_bands("s3://bucket/model", path)
