import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from geoseg.core.detections import Detections
from geoseg.evaluation.objects.matching import Tally, match
from geoseg.evaluation.objects.overlap import groups
from geoseg.evaluation.objects.precision import Precision, run_lengths
from tests.objects import object_scene

SHAPE = (96, 128)


def true_objects(seed=0, **counts) -> Detections:
    scene = object_scene(*SHAPE, seed=seed, **counts)
    return Detections.of([(o.row, o.col, o.mask, o.kind, 10_000) for o in scene.objects])


def shaken(true: Detections, seed=0, extra=4) -> Detections:
    """The objects moved by up to two pixels, some missing, some doubled, each with a score."""
    rng, found = np.random.default_rng(seed), []
    for box, kind, mask in zip(true.boxes.tolist(), true.classes.tolist(), true.masks, strict=True):
        for _ in range(rng.choice([0, 1, 1, 1, 1, 2])):
            row, col = (max(0, n + int(rng.integers(-2, 3))) for n in box[:2])
            part = mask[: SHAPE[0] - row, : SHAPE[1] - col]
            found.append((row, col, part, kind, int(rng.integers(1000, 10_000))))
    for _ in range(extra):
        row, col = int(rng.integers(0, 80)), int(rng.integers(0, 110))
        found.append((row, col, np.ones((9, 9), bool), 1, int(rng.integers(1000, 10_000))))
    return Detections.of(found)


def dense(found: Detections, *, scored: bool) -> dict[str, torch.Tensor]:
    masks = np.zeros((len(found), *SHAPE), bool)
    for whole, box, mask in zip(masks, found.boxes.tolist(), found.masks, strict=True):
        whole[box[0] : box[2], box[1] : box[3]] = mask
    item = {
        "boxes": torch.from_numpy(found.boxes[:, [1, 0, 3, 2]].astype(np.float32)),
        "labels": torch.from_numpy(found.classes.astype(np.int64)),
        "masks": torch.from_numpy(masks),
    }
    scores = torch.from_numpy(found.scores.astype(np.float32) / 10_000)
    return {**item, "scores": scores} if scored else item


@pytest.fixture(scope="module")
def images():
    return [(shaken(t, s), t) for s, t in ((s, true_objects(s)) for s in range(2))]


@pytest.fixture(scope="module")
def expected(images):
    """What torchmetrics says of masks as large as the images."""
    metric = MeanAveragePrecision(
        iou_type=("bbox", "segm"), backend="faster_coco_eval", class_metrics=True,
        max_detection_thresholds=[1, 100, 10_000],
    )  # fmt: skip
    for predicted, true in images:
        metric.update([dense(predicted, scored=True)], [dense(true, scored=False)])
    return metric.compute()


@pytest.mark.parametrize(("kind", "name"), [("masks", "segm"), ("boxes", "bbox")])
def test_average_precision_is_that_of_torchmetrics(images, expected, kind, name):
    measure = Precision()
    for predicted, true in images:
        measure.add(predicted, true, SHAPE)
    found = measure.compute()[kind]
    assert 0.1 < found.ap < 0.9
    figures = {"map": found.ap, "map_50": found.ap50, "map_75": found.ap75, "map_small": found.sizes["small"]}
    assert figures == pytest.approx({k: float(expected[f"{name}_{k}"]) for k in figures})
    assert list(found.classes.values()) == pytest.approx(expected[f"{name}_map_per_class"].tolist())


def test_groups_give_the_same_as_the_whole_image(images, expected):
    measure = Precision()
    parts = [g for predicted, true in images for g in groups(predicted, true)]
    for predicted, true in parts:
        measure.add(predicted, true, SHAPE)
    assert len(parts) > 10
    assert measure.compute()["masks"].ap == pytest.approx(float(expected["segm_map"]))


def test_more_than_a_hundred_objects_count():
    true = Detections.of(
        [(8 * r, 8 * c, np.ones((6, 6), bool), 0, 9000) for r in range(12) for c in range(14)]
    )
    measure = Precision()
    measure.add(true, true, (96, 128))
    assert measure.compute()["masks"].ap == 1


def test_nothing_to_find_is_no_score():
    measure = Precision()
    measure.add(Detections.of([]), Detections.of([]), SHAPE)
    assert np.isnan(measure.compute()["masks"].ap)


def test_run_lengths_begin_outside_and_join_over_columns():
    whole = np.zeros((5, 6), bool)
    whole[:, 2:4] = whole[1:3, 4] = True
    assert run_lengths(whole[:, 2:5], 0, 2, (5, 6)).tolist() == [10, 10, 1, 2, 7]
    assert run_lengths(np.ones((5, 6), bool), 0, 0, (5, 6)).tolist() == [0, 30, 0]


def squares(*places, kind=0, scores=None):
    found = [
        (r, c, np.ones((10, 10), bool), kind, s)
        for (r, c), s in zip(places, scores or [9000] * len(places), strict=True)
    ]
    return Detections.of(found)


def test_an_object_is_found_once_and_by_the_best():
    true = squares((0, 0), (0, 40))
    predicted = squares((0, 2), (0, 1), (50, 50), scores=[8000, 9000, 7000])
    one = match(predicted, true)
    assert one.scores.tolist() == [9000, 8000, 7000]
    assert one.found.tolist() == [0, -1, -1]
    assert one.twice.tolist() == [False, True, False]
    assert one.seen.tolist() == [True, False]


@pytest.mark.parametrize(("shift", "is_found"), [(3, True), (4, False)])
def test_half_of_the_union_is_needed(shift, is_found):
    # Squares of 10 px moved by 3: 70 of 130 pixels; by 4: 60 of 140.
    assert match(squares((0, shift)), squares((0, 0))).seen.any() == is_found


def test_classes_must_agree():
    assert not match(squares((0, 0), kind=1), squares((0, 0))).seen.any()


def test_the_threshold_has_the_best_f1_over_all_images():
    tally = Tally()
    true = squares((0, 0), (0, 40), (0, 80))
    predicted = squares((0, 0), (0, 40), (60, 0), (60, 40), (60, 80), scores=[9000, 6000, 5000, 4000, 3000])
    tally.add(match(predicted, true))
    assert tally.best_threshold() == 0.55
    counts = tally.counts(0.55)
    assert (counts.true, counts.predicted, counts.right) == (3, 2, 2)
    assert (counts.precision, counts.recall, counts.f1) == (1, pytest.approx(2 / 3), pytest.approx(0.8))
    assert counts.count_error == pytest.approx(-1 / 3)
    assert tally.counts(0.0, channel=1).true == 0
    best = max(tally.counts(t / 10_000).f1 for t in range(0, 10_000, 250))
    assert tally.counts(tally.best_threshold()).f1 == pytest.approx(best)
    assert Tally().best_threshold() == 0.5


def test_precision_over_recall_keeps_objects_of_one_score_together():
    tally = Tally()
    true = squares((0, 0), (0, 40), (0, 80))
    predicted = squares((0, 0), (0, 40), (60, 0), (60, 40), scores=[9000, 6000, 6000, 4000])
    tally.add(match(predicted, true))

    expected = [(0.9, 1 / 3, 1), (0.6, 2 / 3, 2 / 3), (0.4, 2 / 3, 1 / 2)]
    assert tally.curve() == tuple(pytest.approx(point) for point in expected)
    for score, recall, precision in tally.curve():
        counts = tally.counts(score)
        assert (counts.recall, counts.precision) == (recall, precision)
    assert Tally().curve() == ()


def test_what_the_best_find_does_not_depend_on_the_others(images):
    predicted, true = images[0]
    whole = match(predicted, true)
    order = np.argsort(-predicted.scores.astype(int), kind="stable")
    few = match(predicted.chosen(order[:10]), true)
    assert few.found.tolist() == whole.found[:10].tolist()
