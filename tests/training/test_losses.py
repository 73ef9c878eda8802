import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.config.training import LossTerm
from geoseg.core.legend import IGNORE
from geoseg.training.losses import Loss, class_weights, tversky

KINDS = ("cross-entropy", "focal", "dice", "jaccard", "tversky", "lovasz")
COUNTS = np.array([100, 10, 1000, 0])


def batch(seed=0, classes=4, shape=(2, 8, 9)):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator, requires_grad=True)
    target = torch.randint(classes, shape, generator=generator)
    return logits, target


def loss(kind, **more):
    return Loss([LossTerm(kind=kind, **more)], COUNTS)


@pytest.mark.parametrize("kind", KINDS)
def test_ignored_pixels_have_no_influence_at_all(kind):
    logits, target = batch()
    target[:, :, ::2] = IGNORE
    value = loss(kind, class_weights="sqrt", label_smoothing=0.1)(logits, target)
    value.backward()
    assert not logits.grad[:, :, :, ::2].any()
    assert logits.grad[:, :, :, 1::2].any()
    other = logits.detach().clone()
    other[:, :, :, ::2] = 1e4 * torch.randn_like(other[:, :, :, ::2])
    assert loss(kind, class_weights="sqrt", label_smoothing=0.1)(other, target) == value


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_the_labelled_pixels_alone(kind):
    logits, target = batch()
    cut = loss(kind)(logits[..., :5], target[..., :5])
    target[..., 5:] = IGNORE
    assert loss(kind)(logits, target).item() == pytest.approx(cut.item(), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_labelled_gives_zero_with_gradient_zero(kind):
    logits, target = batch()
    value = loss(kind)(logits, torch.full_like(target, IGNORE))
    value.backward()
    assert value == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_train_lacks_gives_a_finite_loss(kind, smoothing):
    """Such as when all pixels of a batch of val are of it."""
    logits, target = batch()
    for weights in ("none", "sqrt"):
        chosen = loss(kind, class_weights=weights, **({"label_smoothing": smoothing} if smoothing else {}))
        assert torch.isfinite(chosen(logits, torch.full_like(target, 3)))
    half = torch.where(target == 3, IGNORE, target)
    if kind in ("cross-entropy", "focal") and not smoothing:
        assert chosen(logits, target).item() == pytest.approx(chosen(logits, half).item(), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_answer_costs_nearly_nothing_and_a_wrong_one_much(kind):
    _, target = batch()
    right = 50.0 * F.one_hot(target, 4).movedim(-1, 1)
    assert loss(kind)(right, target) < 1e-3
    assert loss(kind)(-right, target) > 0.5


def test_terms_add_up_with_their_weights():
    logits, target = batch()
    both = Loss([LossTerm(kind="cross-entropy"), LossTerm(kind="dice", weight=0.5)], COUNTS)
    expected = loss("cross-entropy")(logits, target) + 0.5 * loss("dice")(logits, target)
    assert both(logits, target).item() == pytest.approx(expected.item())


def test_focal_without_gamma_is_cross_entropy():
    logits, target = batch()
    weighted = {"class_weights": "inverse"}
    target[target == 3] = 0  # a class without pixels has weight 0
    focal = loss("focal", gamma=0, **weighted)(logits, target)
    assert focal.item() == pytest.approx(loss("cross-entropy", **weighted)(logits, target).item(), rel=1e-5)


def test_dice_and_jaccard_are_those_of_smp():
    import segmentation_models_pytorch as smp

    logits, target = batch()
    for kind, known in (("dice", smp.losses.DiceLoss), ("jaccard", smp.losses.JaccardLoss)):
        expected = known("multiclass", smooth=0.0)(logits, target)
        assert loss(kind)(logits, target).item() == pytest.approx(expected.item(), rel=1e-5)


def test_tversky_weighs_false_positives_and_negatives():
    truth = torch.tensor([0, 0, 0, 1])
    says_zero = torch.tensor([[9.0, -9.0]] * 4)
    # Class 1 is missed once: a false negative of class 1, a false positive of class 0.
    mild = tversky(says_zero, truth, alpha=0.1, beta=0.1)
    assert tversky(says_zero, truth, alpha=0.9, beta=0.1) > mild
    assert float(tversky(says_zero, truth, 0.5, 0.5)) == pytest.approx(1 - 0.5 * (6 / 7 + 0), abs=1e-3)


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=8).filter(any))
@settings(deadline=None, max_examples=50)
def test_class_weights_are_one_for_the_average_pixel(counts):
    counts = np.array(counts)
    for kind in ("none", "inverse", "sqrt", "effective"):
        weights = class_weights(counts, kind).astype(np.float64)
        assert (weights * counts).sum() / counts.sum() == pytest.approx(1, rel=1e-5)
        assert not weights[counts == 0].any()
        # A rarer class never weighs less.
        present = np.flatnonzero(counts)
        order = present[np.argsort(counts[present])]
        assert (np.diff(weights[order]) <= 1e-6 * weights[order][:-1]).all()


def test_effective_number_is_that_of_the_paper():
    weights = class_weights(np.array([1, 99]), "effective")
    beta = 0.99
    expected = [(1 - beta) / (1 - beta**n) for n in (1, 99)]
    assert weights[0] / weights[1] == pytest.approx(expected[0] / expected[1], rel=1e-5)


def test_half_precision_logits_are_summed_in_full():
    logits, target = batch()
    full = loss("cross-entropy")(logits, target)
    assert loss("cross-entropy")(logits.bfloat16(), target).dtype == torch.float32
    assert loss("cross-entropy")(logits.bfloat16(), target).item() == pytest.approx(full.item(), rel=0.02)
