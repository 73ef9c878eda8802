import numpy as np
import pytest
import torch

from geoseg.config.training import Augmentation, Chips, DetectionEntry, Training
from geoseg.core.geometry import Window
from geoseg.core.legend import Legend
from geoseg.training.augment import make_augmentation
from geoseg.training.build import evaluation_chips, training_chips
from geoseg.training.instances.build import object_source
from geoseg.training.instances.chips import TrainingObjects, collate, target, truth
from geoseg.training.prepare import prepare
from tests.objects import LEGEND, ORIGIN, object_scene, write_coco, write_ids
from tests.training.instances.worlds import document, prepared_from

FORMS = {
    "polygons": lambda folder, scene: {"labels": "a.geojson", "attribute": "class"},
    "numbers": lambda folder, scene: dict(
        zip(("labels", "classes"), (p.name for p in write_ids(folder, scene)), strict=True)
    ),
    "coco": lambda folder, scene: {"labels": write_coco(folder / "coco.json", "a.tif", scene).name},
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepared_from(tmp_path_factory.mktemp("chips"))


def square(row=10, col=20, side=10, size=64, pixels=None):
    masks = torch.zeros(1, size, size, dtype=torch.uint8)
    masks[0, row : row + side, col : col + side] = 1
    whole = torch.tensor([float(pixels or side * side)])
    return {
        "image": torch.zeros(2, size, size), "valid": torch.ones(size, size, dtype=torch.uint8),
        "masks": masks, "classes": torch.tensor([1]), "pixels": whole,
    }  # fmt: skip


def test_boxes_are_half_open_and_labels_start_at_one():
    found = target(square(), DetectionEntry())
    assert found["boxes"].tolist() == [[20, 10, 30, 20]]
    assert found["labels"].tolist() == [2]
    (mask,) = truth(found).masks
    assert mask.shape == (10, 10)
    assert mask.all()


@pytest.mark.parametrize(
    ("sample", "kept"),
    [
        (square(side=4), 0),  # 16 pixels
        (square(side=5), 1),
        (square(pixels=660), 1),  # 15.2 % of it is inside
        (square(pixels=670), 0),
    ],
)
def test_objects_of_which_too_little_is_inside_are_left_out(sample, kept):
    assert len(target(sample, DetectionEntry())["masks"]) == kept


def test_nothing_is_seen_where_pixels_are_invalid():
    sample = square()
    sample["valid"][:, 25:] = 0
    assert target(sample, DetectionEntry())["boxes"].tolist() == [[20, 10, 25, 20]]


def test_a_chip_without_objects_is_a_target():
    empty = {**square(), "masks": torch.zeros(0, 64, 64, dtype=torch.uint8)}
    empty |= {"classes": torch.zeros(0, dtype=torch.int64), "pixels": torch.zeros(0)}
    found = target(empty, DetectionEntry())
    assert found["boxes"].shape == (0, 4)
    assert found["masks"].shape == (0, 64, 64)
    assert len(truth(found)) == 0


def test_masks_move_with_the_image():
    entry = Augmentation(flips=True, turns=True, scale=(0.5, 2.0), scale_probability=1.0)
    augment = make_augmentation(entry, 64, Legend.of(_classes()), torch.zeros(2), [0.5, 0.6])
    sizes = set()
    for seed in range(12):
        torch.manual_seed(seed)
        sample = square(row=50, col=60, side=20, size=128)
        sample["image"][:] = sample["masks"].float()
        moved = augment(sample)
        seen, drawn = moved["image"][0] > 0.5, moved["masks"][0].bool()
        # Bilinear and nearest resampling differ on rims only.
        assert (seen ^ drawn).sum() <= 0.25 * max(int(drawn.sum()), 40)
        if drawn[1:-1, 1:-1].sum() == drawn.sum() > 0:
            assert float(moved["pixels"]) == pytest.approx(float(drawn.sum()), rel=0.15)
            sizes.add(int(drawn.sum()))
    assert len(sizes) > 3


def _classes():
    return Training.model_validate(
        {"name": "x", "dataset": "x", "output": "x", "legend": LEGEND}
    ).legend.classes


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_labels_give_the_same_targets(prepared, tmp_path, form):
    values = document(tmp_path)
    scene = object_scene(128, 128, seed=0, halls=1, houses=10, trees=18, panels=0)
    place = {k: v for k, v in values["dataset"]["scenes"][0].items() if k in ("scene", "part")}
    values["dataset"]["scenes"][0] = place | FORMS[form](tmp_path, scene)
    assert ORIGIN == (500_000.0, 4_500_000.0)
    for draw in (0, 5):
        expected, found = (
            training_chips(prepared)[draw],
            training_chips(prepared_from(tmp_path, values))[draw],
        )
        assert torch.equal(expected["image"], found["image"])
        mine, its = expected["target"], found["target"]
        assert len(mine["labels"]) > 1
        keys = [sorted(zip(t["boxes"].tolist(), t["labels"].tolist(), strict=True)) for t in (mine, its)]
        assert keys[0] == keys[1]
        assert mine["masks"].sum() == its["masks"].sum()


def test_chips_of_evaluation_hold_every_object_as_it_is(prepared):
    chips = evaluation_chips(prepared, "val")
    assert len(chips) == 4
    scene = object_scene(128, 128, seed=1, halls=1, houses=10, trees=18, panels=0)
    corner = chips[0]["target"]
    kinds = scene.kinds()[:64, :64]
    painted = np.zeros((64, 64), np.uint8)
    for label, mask in zip(corner["labels"].tolist(), corner["masks"].numpy(), strict=True):
        painted[mask.astype(bool)] = label
    assert ((painted == kinds) | (painted == 0)).all()
    assert (painted > 0).sum() > 0.9 * (kinds > 0).sum()


def test_unlabelled_pixels_become_the_band_mean(prepared):
    source = object_source(prepared, "train")
    beyond = source.sample(source.cells[0], Window.of(-32, 0, 64, 64))
    assert (beyond["valid"][:32] == 0).all()
    assert torch.equal(beyond["image"][:, 0, 0], source.mean)
    assert (beyond["masks"][:, :32] == 0).all()


def test_balance_draws_chips_around_objects(prepared):
    source = object_source(prepared, "train")
    chips = TrainingObjects(source, Chips(size=32, balance=1.0, per_epoch=20), lambda s: s, 1.0, 0)
    assert all(len(chips[draw]["target"]["labels"]) for draw in range(12))


def test_a_batch_keeps_the_objects_of_each_chip(prepared):
    chips = training_chips(prepared)
    batch = collate([chips[0], chips[1]])
    assert batch["image"].shape == (2, 4, 64, 64)
    assert [len(t["labels"]) for t in batch["targets"]] == [len(chips[i]["target"]["labels"]) for i in (0, 1)]


def test_a_document_of_objects_takes_the_network_that_finds_them(tmp_path):
    values = document(tmp_path)
    del values["network"]
    assert Training.model_validate(values).network.architecture == "MaskRCNN"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "classes"}, "finds objects; say task: instances"),
        ({"network": {"architecture": "Unet"}}, "gives classes; task: instances needs MaskRCNN"),
        ({"loss": [{"kind": "dice"}]}, "loss is for task: classes"),
        ({"measure": {"augment": "d4"}}, r"measure\.augment is for task: classes"),
    ],
)
def test_keys_of_the_other_task_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        Training.model_validate(document(tmp_path) | changes)


def test_preparing_tells_objects_and_what_cannot_be_learned(prepared, tmp_path):
    assert prepared.summary()["parts"]["train"]["objects"] == {"building": 11, "tree": 17}
    assert prepared.warnings == ()
    few = prepare(_written(tmp_path, detection={"min_pixels": 200}))
    assert "have fewer than 200 pixels and are not learned" in few.warnings[0]


def _written(folder, **changes):
    from tests.training.instances.worlds import written

    return written(folder, document(folder) | changes)
