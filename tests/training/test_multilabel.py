"""Trainings of labels: from rasters of 0 and 1 to a bundle with thresholds, and to a map."""

import textwrap

import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torchmetrics.functional.classification import multilabel_average_precision, multilabel_f1_score

import geoseg
from geoseg.config.training import LossTerm
from geoseg.core.errors import ConfigError, SceneError
from geoseg.core.geometry import Window
from geoseg.core.legend import Legend, LegendClass
from geoseg.evaluation.fields import compare_map
from geoseg.evaluation.flags import FlagAgreement
from geoseg.evaluation.text import report_text
from geoseg.models.bundle import open_bundle
from geoseg.training import train
from geoseg.training.evaluate import evaluate_bundle
from geoseg.training.measure import PredictedChip
from geoseg.training.multilabel.loss import LabelLoss, LabelMeter, positive_weights
from geoseg.training.multilabel.measure import best_thresholds, fit_temperature, rarest
from geoseg.training.prepare import prepare
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster
from tests.training.test_regression import PARTS, UNET

LEGEND = """
legend:
  classes:
    - {id: 1, slug: bright, title: Bright, color: "#f2cf63"}
    - {id: 2, slug: green, title: Green, color: "#1b7837"}
    - {id: 3, slug: none, title: None at all, color: "#333333"}
"""


def flags(numbers):
    """Two labels that follow from the bands and overlap, and one that is nowhere."""
    first, second = numbers[0] > 2200, numbers[1] > 2900
    return np.stack([first, second, np.zeros_like(first)]).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four scenes of 128 px with labels: as one raster of three bands, and as a raster for each."""
    folder = tmp_path_factory.mktemp("labels")
    for i in range(4):
        numbers, origin = reflectance(128, 128, seed=i), (5e5 + 5000 * i, 4.5e6)
        write_raster(folder / f"s{i}.tif", numbers, names=BAND_NAMES, scale=0.0001, origin=origin)
        labels = flags(numbers)
        labels[:, :20, :20] = 255
        write_raster(folder / f"s{i}_labels.tif", labels, nodata=255, origin=origin)
        for slug, band in zip(("bright", "green", "none"), labels, strict=True):
            write_raster(folder / f"s{i}_is_{slug}.tif", band, nodata=255, origin=origin)
    return folder


def document(folder, data, *more, labels="s{i}_labels.tif"):
    listed = "\n".join(
        f"            - {{scene: s{i}.tif, labels: '{labels.replace('{i}', str(i))}', part: {part}}}"
        for i, part in enumerate(PARTS)
    )
    text = f"""\
        name: two
        task: multilabel
        dataset:
          kind: scenes
          folder: {data}
          scenes:
{listed}
        split: {{by: given}}
        chips: {{size: 64, per_epoch: 16}}
        network: {UNET}
        loss: [{{kind: bce, class_weights: sqrt}}, {{kind: dice, weight: 0.5}}]
        optimizer: {{rate: 0.01}}
        fit: {{epochs: 4, batch: 4, device: cpu}}
        tile: {{size: 128, min: 64, max: 256, overlap: 32}}
        output: {folder / "trained"}
"""
    path = folder / "training.yaml"
    path.write_text(textwrap.dedent(text) + LEGEND + "\n".join(more) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("training")
    return train.train(prepare(document(folder, data)))


def test_a_raster_of_bands_and_a_raster_for_each_say_the_same(data, tmp_path):
    window = Window.of(-4, 10, 60, 70)
    one, other = (
        prepare(document(tmp_path, data, labels=labels)).labelled[1].read(window)
        for labels in ("s{i}_labels.tif", "s{i}_is_{class}.tif")
    )
    assert one.channels.tobytes() == other.channels.tobytes()
    expected = flags(reflectance(128, 128, seed=1))[:, :56, 10:80]
    expected[:, :20, :10] = 255
    assert (one.channels[:, 4:] == expected).all()
    assert (one.channels[:, :4] == 255).all()


def test_labels_are_learned_and_mapped(trained, data, tmp_path):
    scores, card = trained.record.metrics, open_bundle(trained.bundle).card
    rows = {r.slug: r for r in scores.classes}
    assert rows["bright"].iou > 0.6, trained.record.history
    assert rows["bright"].average_precision > 0.8
    assert rows["none"].iou in {0.0, None}
    assert (card.task, card.output) == ("multilabel", "sigmoid")
    assert set(card.thresholds) == {"bright", "green", "none"}
    assert card.thresholds["none"] == 0.5  # nothing to choose it by
    run = geoseg.run(write_pipeline(tmp_path, data / "s3.tif", trained.bundle), progress=False)
    for reference in ("s3_labels.tif", "s3_is_{class}.tif"):
        report = geoseg.evaluate(run, data / reference)
        assert report.pixels == 128 * 128 - 400
        assert report.classes[0].f1 == pytest.approx(rows["bright"].f1, abs=0.1)
    with rasterio.open(run.folder / "labels.tif") as src:
        found = src.read(1)
    truth = flags(reflectance(128, 128, seed=3))[0].astype(bool)
    known = np.ones(truth.shape, bool)
    known[:20, :20] = False
    both = ((found == 1) & truth & known).sum()
    assert report.classes[0].iou == pytest.approx(both / (((found == 1) | truth) & known).sum(), abs=1e-6)
    assert "macro F1" in report_text(report)
    assert "Bright" not in report_text(report)  # the map knows the names of its bands only
    with pytest.raises(ConfigError, match="attribute: is for maps of classes"):
        compare_map(run.folder / "labels.tif", str(data / "s3_labels.tif"), {"attribute": "x"})


def test_a_bundle_is_measured_on_the_data_of_its_training(trained, data, tmp_path):
    report = evaluate_bundle(document(tmp_path, data), [], trained.bundle, "test")
    assert report.macro_f1 == pytest.approx(trained.record.metrics.macro_f1, abs=1e-3)


def test_the_folder_holds_what_people_look_at(trained):
    page = (trained.folder / "training.html").read_text()
    for words in ("Micro F1", "Average precision", "Worst chips", "None at all"):
        assert words in page
    head = (trained.folder / "metrics.csv").read_text().splitlines()[0]
    assert head.endswith("val_iou_none,train_macro_f1,train_micro_f1,val_macro_f1,val_micro_f1")
    readme = (trained.bundle / "README.md").read_text()
    assert "| id | label | IoU | F1 | precision | recall | threshold |" in readme


@pytest.mark.parametrize("kind", ["bce", "focal", "dice", "jaccard", "tversky"])
def test_losses_ignore_what_is_not_known(kind):
    torch.manual_seed(0)
    loss = LabelLoss([LossTerm(kind=kind)], np.array([10, 20]), 100)
    logits = torch.randn(2, 2, 8, 8, requires_grad=True)
    target = (torch.rand(2, 2, 8, 8) > 0.5).long()
    target[:, :, :3] = 255
    value = loss(logits, target)
    value.backward()
    assert (logits.grad[:, :, :3] == 0).all()
    assert logits.grad[:, :, 3:].abs().sum() > 0
    other = target.clone()
    other[:, :, :3] = 255
    changed = logits.detach().clone()
    changed[:, :, :3] += 9
    assert loss(changed, other).item() == pytest.approx(value.item(), rel=1e-5)
    assert loss(logits, torch.full_like(target, 255)).item() == 0.0
    right = (target == 1).float() * 40 - 20
    assert loss(right, target).item() < 0.01 < value.item()


def test_bce_is_that_of_torch_with_weights_of_rare_labels():
    logits, target = torch.randn(2, 3, 6, 6), (torch.rand(2, 3, 6, 6) > 0.7).long()
    counts = np.array([10, 50, 0])
    weights = positive_weights(counts, 100, "inverse")
    assert weights.tolist() == [9.0, 1.0, 1.0]
    assert positive_weights(counts, 100, "sqrt").tolist() == [3.0, 1.0, 1.0]
    assert positive_weights(counts, 10_000, "effective")[0] == pytest.approx(632, rel=0.02)
    found = LabelLoss([LossTerm(kind="bce", class_weights="inverse", weight=2)], counts, 100)(logits, target)
    expected = F.binary_cross_entropy_with_logits(
        logits, target.float(), pos_weight=torch.from_numpy(weights)[:, None, None]
    )
    assert found.item() == pytest.approx(2 * expected.item(), rel=1e-6)


def chips(count=3, seed=0):
    """Chips whose probabilities fit the labels of a lower threshold than 0.5."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        chance = rng.random((2, 20, 30)).astype(np.float32)
        label = (chance + rng.normal(0, 0.05, chance.shape) > 0.3).astype(np.uint8)
        label[:, :4] = 255
        yield PredictedChip(str(i), np.zeros((1, 20, 30), np.float32), chance, label)


def test_thresholds_are_those_with_the_best_f1():
    found = best_thresholds(chips(), 2)
    p = torch.from_numpy(np.stack([c.probabilities for c in chips()]))
    t = torch.from_numpy(np.stack([c.label for c in chips()])).long()
    for channel in range(2):
        scores = []
        for level in range(1, 101):
            flag = (p[:, channel] >= np.float32(level / 100)) & (t[:, channel] != 255)
            truth = t[:, channel] == 1
            scores.append(float(2 * (flag & truth).sum() / (flag.sum() + truth.sum())))
        assert scores[round(found[channel] * 100) - 1] == pytest.approx(max(scores), abs=1e-6)
    assert 0.2 < found[0] < 0.4


def test_the_temperature_makes_logits_as_sure_as_they_are_right():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (1, 2, 60, 60)).astype(np.float32)
    label = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    many = [PredictedChip("a", np.zeros((1, 60, 60), np.float32), 3 * logits[0], label[0])]
    assert fit_temperature(many, 3600) == pytest.approx(3.0, rel=0.1)


def test_the_figures_are_those_of_torchmetrics():
    sums, meter = None, LabelMeter(2)
    for chip in chips():
        one = FlagAgreement.of(chip.label, (chip.probabilities >= 0.5).astype(np.uint8))
        sums = one if sums is None else sums + one
        logit = torch.logit(torch.from_numpy(chip.probabilities).clamp(1e-6, 1 - 1e-6))
        meter.see(logit[None], torch.from_numpy(chip.label)[None].long())
    p = torch.from_numpy(np.stack([c.probabilities for c in chips()]))
    t = torch.from_numpy(np.stack([c.label for c in chips()])).long()
    classes = tuple(LegendClass(i, s, s, "#808080") for i, s in enumerate("ab"))
    scores, figures = sums.scores(Legend(classes)), meter.figures()
    for average in ("macro", "micro"):
        expected = float(multilabel_f1_score(p, t, 2, average=average, ignore_index=255))
        assert scores[f"{average}_f1"] == pytest.approx(expected, abs=1e-5)
        assert figures["figures"][f"{average}_f1"] == pytest.approx(expected, abs=1e-5)
    assert figures["iou"] == pytest.approx([c["iou"] for c in scores["classes"]], abs=1e-5)
    assert float(multilabel_average_precision(p, t, 2, ignore_index=255)) > 0.9


def test_the_rarest_label_is_shown_on_top():
    stack = np.array([[[1, 1, 0, 255]], [[1, 0, 0, 255]]], np.uint8)
    assert rarest(stack, np.array([0, 1])).tolist() == [[1, 0, 255, 255]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3, 128, 128), 7, np.uint8), "band 1 holds 7"),
        (np.zeros((2, 128, 128), np.uint8), "has 2 bands; labels are 3 bands of 0 or 1, one of each class"),
    ],
)
def test_labels_that_are_no_flags_are_refused(data, tmp_path, values, message):
    write_raster(tmp_path / "bad.tif", values)
    text = document(tmp_path, data).read_text().replace("s0_labels.tif", str(tmp_path / "bad.tif"))
    (tmp_path / "training.yaml").write_text(text)
    with pytest.raises(SceneError, match=message):
        prepare(tmp_path / "training.yaml")
