"""Photographs from folder to map: measured as they are mapped, in tiles, whole or resized."""

import numpy as np
import pytest
import rasterio
from PIL import Image

from geoseg.config.training import Augmentation, Chips
from geoseg.core.errors import ConfigError
from geoseg.evaluation.metrics import confusion_matrix, scores
from geoseg.models.bundle import open_bundle
from geoseg.runs.batch import run_batch
from geoseg.runs.prepare import read_batch
from geoseg.training.augment import resolve_turns
from geoseg.training.build import check_network, training_chips
from geoseg.training.evaluate import evaluate_bundle
from geoseg.training.prepare import prepare
from geoseg.training.train import train
from tests.training.photos import LEGEND, write_streets

UNET = (
    "{architecture: Unet, arguments: {encoder_name: tu-tf_efficientnet_lite0, encoder_depth: 3, "
    "decoder_channels: [16, 8, 8]}}"
)
SHAPE = (44, 70)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_streets(tmp_path_factory.mktemp("streets"), {"train": 3, "val": 1, "test": 1}, SHAPE)


def document(folder, photos, *lines):
    classes = "\n".join(f"  - {c.model_dump(exclude_none=True)}" for c in LEGEND.classes)
    path = folder / "training.yaml"
    path.write_text(f"""\
name: streets
dataset:
  {{kind: chips, folder: {photos}, images: "{{part}}/{{stem}}.png", labels: "{{part}}annot/{{stem}}.png"}}
legend:
 classes:
{classes}
 ignore: [255]
network: {UNET}
fit: {{epochs: 1, batch: 4, device: cpu}}
output: {folder / "trained"}
""" + "\n".join(lines) + "\n")  # fmt: skip
    return path


def run_all(folder, photos, bundle, *lines):
    """Run a bundle on the test photographs; return the class maps by name."""
    path = folder / "run.yaml"
    path.write_text(f"""\
name: streets
scenes: {photos}/test/*.png
model: {bundle}
inference: {{device: cpu, backend: torch}}
outputs: {{folder: {folder / "run"}, polygons: []}}
""" + "\n".join(lines) + "\n")  # fmt: skip
    outcomes = run_batch(read_batch(path))
    assert {o.state for o in outcomes} == {"done"}
    # No word of ground sample distances or coordinate systems.
    assert [w for o in outcomes for w in o.warnings] == []
    maps = {}
    for outcome in outcomes:
        with rasterio.open(f"{outcome.folder}/classes.tif") as src:
            maps[outcome.name] = src.read(1)
    return maps


KINDS = {
    # Two tiles along the rows and three along the columns, all inside the picture.
    "tiles": ("chips: {size: 32}", "tile: {size: 32, min: 32, max: 32, overlap: 8}"),
    "resized": ("chips: {resize: [32, 48]}",),
    "whole": ("chips: whole",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_and_run_give_the_same_figures(kind, tmp_path, photos):
    path = document(tmp_path, photos, *KINDS[kind])
    trained = train(prepare(path))
    card = open_bundle(trained.bundle).card
    assert card.gsd_m is None
    assert card.resize == ((32, 48) if kind == "resized" else None)
    assert trained.record.metrics.reference.startswith("agreement with the labels of 1 pictures of test")
    report = evaluate_bundle(path, [], trained.bundle, "test")
    assert report.chips == 1
    matrix = np.zeros((4, 4), np.int64)
    for name, classes in run_all(tmp_path, photos, trained.bundle).items():
        assert classes.shape == SHAPE
        known = np.array(Image.open(photos / f"testannot/{name}.png"))
        matrix += confusion_matrix(known, classes, 4)
    found = scores(matrix).to_dict(LEGEND.legend)
    assert report.miou == pytest.approx(found["miou"], abs=1e-4)
    assert trained.record.metrics.overall_accuracy == pytest.approx(found["overall_accuracy"], abs=1e-4)


def test_parts_that_folders_state_need_no_split(tmp_path, photos):
    prepared = prepare(document(tmp_path, photos, "chips: {size: 32}"))
    assert {p: len({c.region.scene for c in cells}) for p, cells in prepared.parts.items()} == {
        "train": 3, "val": 1, "test": 1,
    }  # fmt: skip
    assert prepared.pictures
    assert prepared.warnings == ()


def test_whole_pictures_are_chips_and_resized_ones_all_of_a_picture(tmp_path, photos):
    prepared = prepare(document(tmp_path, photos, "chips: whole"))
    chips = training_chips(prepared)
    assert len(chips) == 3
    assert tuple(chips[0]["image"].shape) == (3, 64, 96)
    # What was filled up to a multiple of 32 has no label.
    assert int((chips[0]["label"] != 255).sum()) == SHAPE[0] * SHAPE[1]
    prepared = prepare(document(tmp_path, photos, "chips: {resize: [32, 48]}"))
    chips = training_chips(prepared)
    assert tuple(chips[0]["image"].shape) == (3, 32, 48)
    assert int((chips[0]["label"] != 255).sum()) == 32 * 48
    # The sky is above in every chip.
    for i in range(3):
        label = chips[i]["label"]
        assert (label[:8] == 0).float().mean() > (label[-8:] == 0).float().mean()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("chips: {resize: [33, 50]}", r"chips.resize: \[33, 50\] are no multiples of 8.*write \[32, 48\]"),
        ("chips: {resize: [32, 48]}\naugmentation: {turns: true}", "turns: chips of 32 x 48 px cannot be"),
        ("chips: {size: 32, resize: [32, 48]}", "resize and size both say how large chips are"),
        (
            "chips: {resize: [32, 48]}\ntile: {size: 32, min: 32, max: 32, overlap: 8}",
            "whole pictures, which have no tiles",
        ),
    ],
)
def test_sizes_that_cannot_work_are_said_before_the_training(line, said, tmp_path, photos):
    with pytest.raises(ConfigError, match=said):
        check_network(prepare(document(tmp_path, photos, line)))


def test_photographs_are_mirrored_left_and_right_only_unless_asked():
    def turns(**keys):
        return resolve_turns(Augmentation(**keys), (32, 32), pictures=True)

    assert turns() == ("horizontal", False)
    assert turns(flips=True, turns=True) == (True, True)
    assert resolve_turns(Augmentation(), (32, 32), pictures=False) == (True, True)
    assert resolve_turns(Augmentation(), (32, 48), pictures=False) == (True, False)
    assert Chips().size == 256
