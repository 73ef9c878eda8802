"""Trainings of numbers: from labels to a bundle whose map is compared with them."""

import json
import textwrap

import numpy as np
import pytest
import rasterio
import torch
from torchmetrics.functional import mean_absolute_error, mean_squared_error, r2_score

import geoseg
from geoseg.config.training import LossTerm, Training
from geoseg.core.errors import ConfigError, SceneError
from geoseg.core.geometry import Window
from geoseg.evaluation.numbers import NumberAgreement
from geoseg.models.bundle import open_bundle
from geoseg.training import train
from geoseg.training.evaluate import evaluate_bundle
from geoseg.training.prepare import prepare
from geoseg.training.regression.loss import NumberLoss, NumberMeter
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster

UNET = (
    "{architecture: Unet, arguments: {encoder_name: tu-tf_efficientnet_lite0, encoder_depth: 3, "
    "decoder_channels: [16, 8, 8]}}"
)
PARTS = ("train", "train", "val", "test")


def heights(numbers):
    """Canopy heights in metres that follow from the first two bands."""
    return (numbers[0].astype(np.float32) - 0.5 * numbers[1]) / 100 + 10


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four scenes of 128 px with heights, stored in decimetres; nodata in a corner of each."""
    folder = tmp_path_factory.mktemp("heights")
    for i in range(4):
        numbers, origin = reflectance(128, 128, seed=i), (5e5 + 5000 * i, 4.5e6)
        write_raster(folder / f"s{i}.tif", numbers, names=BAND_NAMES, scale=0.0001, origin=origin)
        labels = (heights(numbers) * 10).astype(np.float32)
        labels[:20, :20] = -9999
        write_raster(folder / f"s{i}_height.tif", labels, nodata=-9999, scale=0.1, origin=origin)
    return folder


def document(folder, data, *more):
    listed = "\n".join(
        f"            - {{scene: s{i}.tif, labels: s{i}_height.tif, part: {part}}}"
        for i, part in enumerate(PARTS)
    )
    text = f"""\
        name: canopy
        task: regression
        target: {{name: canopy_height, title: Canopy height, unit: m, min: -15}}
        dataset:
          kind: scenes
          folder: {data}
          scenes:
{listed}
        split: {{by: given}}
        chips: {{size: 64, per_epoch: 16}}
        network: {UNET}
        optimizer: {{rate: 0.01}}
        fit: {{epochs: 4, batch: 4, device: cpu}}
        tile: {{size: 128, min: 64, max: 256, overlap: 32}}
        output: {folder / "trained"}
"""
    path = folder / "training.yaml"
    path.write_text(textwrap.dedent(text) + "\n".join(more) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("training")
    return train.train(prepare(document(folder, data)))


def test_labels_are_physical_numbers(data, tmp_path):
    prepared = prepare(document(tmp_path, data))
    pixels = prepared.labelled[0].read(Window.of(-4, 0, 40, 30))
    expected = heights(reflectance(128, 128, seed=0))[:36, :30]
    expected[:20, :20] = np.nan
    assert np.isnan(pixels.channels[:4]).all()
    assert np.allclose(pixels.channels[4:], expected, atol=1e-4, equal_nan=True)
    sums = sum((c.numbers for c in prepared.parts["train"]), start=type(prepared.parts["train"][0].numbers)())
    both = np.concatenate([heights(reflectance(128, 128, seed=i)) for i in range(2)])
    outside = np.ones(both.shape, bool)
    outside[:20, :20] = outside[128:148, :20] = False
    assert sums.count == outside.sum()
    assert (sums.mean, sums.std) == pytest.approx((both[outside].mean(), both[outside].std()), rel=1e-4)
    assert prepared.summary()["parts"]["val"]["labelled_pixels"] == {"canopy_height": 128 * 128 - 400}


def test_a_regression_learns_what_its_labels_say(trained, data, tmp_path):
    scores, card = trained.record.metrics, open_bundle(trained.bundle).card
    assert scores.r2 > 0.3, trained.record.history  # the mean everywhere has 0
    assert card.task == "regression"
    assert (card.target.min, card.target.unit, card.target.label) == (-15, "m", "Canopy height [m]")
    assert card.target.max >= max(heights(reflectance(128, 128, seed=i)).max() for i in range(2))
    assert card.metrics["rmse"] == scores.rmse
    rows = trained.record.history
    assert rows[-1].val_figures["rmse"] < rows[0].train_figures["rmse"]
    best = min(rows, key=lambda r: r.val_figures["rmse"])
    assert trained.record.training["best_epoch"] == best.epoch
    # The map, and its comparison with the labels of the test part.
    run = geoseg.run(write_pipeline(tmp_path, data / "s3.tif", trained.bundle), progress=False)
    report = geoseg.evaluate(run, data / "s3_height.tif")
    assert report.unit == "m"
    assert report.pixels == 128 * 128 - 400
    assert report.unlabelled_pixels == 400
    assert report.rmse == pytest.approx(scores.rmse, rel=0.25)
    with rasterio.open(run.folder / "values.tif") as src:
        found = src.read(1)
    truth = heights(reflectance(128, 128, seed=3))
    truth[:20, :20] = np.nan
    known = ~np.isnan(truth)
    assert report.rmse == pytest.approx(np.sqrt(((found - truth)[known] ** 2).mean()), rel=1e-4)


def test_a_bundle_is_measured_on_the_data_of_its_training(trained, data, tmp_path):
    report = evaluate_bundle(document(tmp_path, data), [], trained.bundle, "test")
    assert (report.rmse, report.unit) == (pytest.approx(trained.record.metrics.rmse, rel=1e-3), "m")


def test_the_folder_holds_what_people_look_at(trained):
    page = (trained.folder / "training.html").read_text()
    for words in ("RMSE", "Prediction over label", "Differences", "Worst chips", "Canopy height [m]"):
        assert words in page
    assert f"{trained.record.metrics.rmse:.3g} m" in page
    head = (trained.folder / "metrics.csv").read_text().splitlines()[0]
    assert head == (
        "epoch,rate,seconds,train_loss,val_loss,train_rmse,train_mae,train_r2,train_bias,val_rmse,val_mae,"
        "val_r2,val_bias"
    )
    record = json.loads((trained.folder / "training.json").read_text())
    assert record["metrics"]["r2"] == trained.record.metrics.r2
    readme = (trained.bundle / "README.md").read_text()
    assert "## Values\n\n- Canopy height [m], from -15 to" in readme
    assert "RMSE" in readme


@pytest.mark.parametrize("kind", ["mse", "huber", "mae"])
def test_losses_ignore_what_is_not_known(kind):
    loss = NumberLoss([LossTerm(kind=kind, delta=0.5)], mean=10.0, std=2.0)
    output = torch.randn(2, 1, 8, 8, requires_grad=True)
    target = torch.rand(2, 8, 8) * 8 + 6
    target[:, :3] = torch.nan
    value = loss(output, target)
    z = (target[:, 3:] - 10) / 2
    difference = (output[:, 0, 3:] - z).abs()
    expected = {
        "mse": (difference**2).mean(),
        "mae": difference.mean(),
        "huber": torch.where(difference < 0.5, difference**2 / 2, 0.5 * (difference - 0.25)).mean(),
    }[kind]
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    value.backward()
    assert (output.grad[:, :, :3] == 0).all()
    assert loss(output, torch.full((2, 8, 8), torch.nan)).item() == 0.0


def test_the_figures_are_those_of_torchmetrics():
    rng = np.random.default_rng(0)
    truth, found = rng.normal(1000, 3, (3, 50, 40)), rng.normal(1000.5, 3, (3, 50, 40))
    truth[0, :5] = np.nan
    sums, meter = NumberAgreement(990, 1010), NumberMeter(1000.0, 4.0)
    for one, other in zip(truth, found, strict=True):
        sums.add(one, other)
        z = torch.from_numpy((other - 1000) / 4)[None, None]
        meter.see(z.float(), torch.from_numpy(one)[None].float())
    known = ~np.isnan(truth)
    t, f = torch.from_numpy(truth[known]), torch.from_numpy(found[known])
    scores, figures = sums.scores(), meter.figures()["figures"]
    expected = {
        "rmse": float(mean_squared_error(f, t)) ** 0.5,
        "mae": float(mean_absolute_error(f, t)),
        "r2": float(r2_score(f, t)),
        "bias": float((f - t).mean()),
    }
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, rel=1e-4)
        assert figures[name] == pytest.approx(value, rel=1e-3)
    assert scores["correlation"] == pytest.approx(np.corrcoef(t, f)[0, 1], abs=1e-5)
    assert sums.cells.sum() == sums.differences.sum() == known.sum()
    meter.reset()
    meter.see(torch.zeros(1, 1, 4, 4), torch.full((1, 4, 4), torch.nan))  # nothing is known
    assert np.isnan(meter.figures()["figures"]["rmse"])


BASE = {"name": "x", "dataset": "d", "output": "o"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"task": "regression"}, "target goes with task: regression"),
        ({"legend": "l", "target": {"name": "h"}}, "target goes with"),
        ({"task": "regression", "target": {"name": "h"}, "legend": "l"}, "a regression has none"),
        ({}, "say which classes there are"),
        ({"task": "regression", "target": {"name": "h", "min": 3, "max": 3}}, "min < max"),
        (
            {"task": "regression", "target": {"name": "h"}, "loss": [{"kind": "dice"}]},
            "dice is none of task regression; it has mse, huber, mae",
        ),
        ({"legend": "l", "loss": [{"kind": "mse"}]}, "mse is none of task classes"),
        ({"task": "regression", "target": {"name": "h"}, "chips": {"balance": 0.5}}, "has no classes"),
    ],
)
def test_a_document_that_contradicts_its_task_is_refused(more, message):
    with pytest.raises(ValueError, match=message):
        Training.model_validate({**BASE, **more})


def test_each_task_has_a_loss_of_its_own():
    number = Training.model_validate({**BASE, "task": "regression", "target": {"name": "h"}})
    label = Training.model_validate({**BASE, "task": "multilabel", "legend": "l"})
    assert [number.loss[0].kind, label.loss[0].kind] == ["mse", "bce"]


def test_labels_that_no_regression_can_learn_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match="does not hold the labels of train"):
        _ = prepare(document(tmp_path, data), ["target.min=500", "target.max=600"]).aim
    with rasterio.open(data / "s0.tif") as src:
        two = src.read([1, 2]).astype(np.float32)
    write_raster(tmp_path / "two.tif", two)
    text = document(tmp_path, data).read_text().replace("s0_height.tif", str(tmp_path / "two.tif"))
    (tmp_path / "training.yaml").write_text(text)
    with pytest.raises(SceneError, match="has 2 bands; labels are one band of numbers"):
        prepare(tmp_path / "training.yaml")
