import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from geoseg.config.training import Augmentation, Chips
from geoseg.core.geometry import Span, Window
from geoseg.core.legend import IGNORE
from geoseg.training import chips as module
from geoseg.training.augment import make_augmentation
from geoseg.training.census import Region, Statistics, statistics, take_census
from geoseg.training.chips import (
    ChipSource,
    DrawSampler,
    EvaluationChips,
    TrainingChips,
    UnrepeatedSampler,
    cell_odds,
    centred,
)
from tests import processes
from tests.training.worlds import LEGEND, Known, labelled_scene

SAME = v2.Identity()
UNIT = Statistics(np.zeros(2), np.ones(2))


def known_source(channels, size=32, window=None, bands=2):
    region = Region(0, window or Window.of(0, 0, *channels.shape), "u")
    place = Known(channels, bands)
    return ChipSource([place], take_census([place], [region], size, 3), UNIT)


def origin_of(chip):
    """The row and column of a chip's first pixel, read from its values."""
    value = round(float(chip["image"][0, 0, 0]))
    col = (value + 500) % 1000 - 500
    return (value - col) // 1000, col


def eight_draws(folder):
    """Random, augmented chips of a scene made in a folder."""
    place = labelled_scene(folder, size=(128, 96))
    cells = take_census([place], [Region(0, Window.of(0, 0, 128, 96), "u")], 32, 3)
    source = ChipSource([place], cells, statistics(cells))
    augmentation = make_augmentation(
        Augmentation(scale=(0.7, 2.0), brightness=0.2, noise=0.01), 32, LEGEND.legend, source.mean, [None] * 4
    )
    return TrainingChips(source, Chips(size=32, per_epoch=8), augmentation, 1 / 0.7, seed=5)


def save_loaded(folder):
    """Save what two processes of a loader give."""
    loader = DataLoader(eight_draws(folder), batch_size=1, sampler=DrawSampler(8), num_workers=2)
    torch.save([chip["image"][0] for chip in loader], folder / "loaded.pt")


def test_a_draw_gives_the_same_chip_whoever_asks(tmp_path):
    chips = eight_draws(tmp_path)
    torch.manual_seed(1)
    once = [chips[i] for i in range(8)]
    torch.manual_seed(2)
    again = [chips[i] for i in reversed(range(8))][::-1]
    # A process of its own: what hundreds of tests leave behind in this one is not made for being forked.
    code = f"import pathlib; from tests.training import test_chips as t; t.save_loaded(pathlib.{tmp_path!r})"
    done = processes.run(*processes.ONCE, code, imported=processes.TRAINING, timeout=120)
    assert done.returncode == 0, done.stderr
    for a, b, c in zip(once, again, torch.load(tmp_path / "loaded.pt"), strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["label"], b["label"])
        assert torch.equal(a["image"], c)
    assert len({float(a["image"].sum()) for a in once}) > 1


def test_the_global_generator_is_left_alone():
    chips = TrainingChips(known_source(np.zeros((64, 64), np.uint8)), Chips(size=32), SAME, 1.0, 0)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    _ = chips[0]
    assert torch.equal(torch.rand(3), expected)


def test_chips_come_from_everywhere_and_stay_inside():
    chips = TrainingChips(known_source(np.zeros((100, 70), np.uint8)), Chips(size=32), SAME, 1.0, 0)
    origins = np.array([origin_of(chips[i]) for i in range(300)])
    assert origins.min() == 0
    assert origins.max(axis=0).tolist() == [68, 38]
    assert len(np.unique(origins[:, 0])) > 40


def test_labels_beyond_the_region_are_ignored():
    window = Window.of(0, 0, 40, 40)
    chips = TrainingChips(
        known_source(np.zeros((80, 80), np.uint8), window=window), Chips(size=32), SAME, 2.0, 0
    )
    for i in range(20):
        chip = chips[i]
        row, col = origin_of(chip)
        rows, cols = np.mgrid[row : row + 64, col : col + 64]
        inside = (rows >= 0) & (rows < 40) & (cols >= 0) & (cols < 40)
        assert ((chip["label"].numpy() != IGNORE) == inside).all()


def test_a_scene_smaller_than_a_chip_is_reflected(tmp_path):
    place = labelled_scene(tmp_path, size=(20, 24))
    cells = take_census([place], [Region(0, Window.of(0, 0, 20, 24), "u")], 32, 3)
    chips = TrainingChips(ChipSource([place], cells, statistics(cells)), Chips(size=32), SAME, 1.0, 0)
    chip = chips[0]
    assert chip["image"].shape == (4, 32, 32)
    assert int((chip["label"] != IGNORE).sum()) == 20 * 24
    assert torch.equal(chip["image"][:, 5], chip["image"][:, 7])  # mirrored at row 6, the scene's first


@given(st.integers(0, 50), st.integers(1, 40), st.integers(1, 60), st.integers(-30, 30))
@settings(deadline=None)
def test_a_span_lies_in_its_region_whenever_that_can_hold_it(start, length, side, shift):
    region = Span(start, start + length)
    span = centred(Span(start, start + min(length, 8)), region, side, shift)
    assert len(span) == side
    if length >= side:
        assert region.start <= span.start <= span.stop <= region.stop
    else:
        assert span.start <= region.start <= region.stop <= span.stop


def test_balance_draws_every_class_alike():
    channels = np.zeros((256, 256), np.uint8)
    channels[:8, :8] = 1
    channels[200:, 200:] = 2
    source = known_source(channels)
    odds = {b: cell_odds(source.cells, b) for b in (0.0, 0.5, 1.0)}
    assert odds[0.0] == pytest.approx(np.full(64, 1 / 64))
    # Class 1 lies in one cell, which a third of the draws then goes to, and its share of class 0.
    assert odds[1.0][0] == pytest.approx(1 / 3, abs=0.02)
    assert odds[0.5] == pytest.approx((odds[0.0] + odds[1.0]) / 2)
    for o in odds.values():
        assert o.sum() == pytest.approx(1)


def test_the_grid_sampler_takes_every_cell_once_an_epoch_in_another_order():
    chips = TrainingChips(
        known_source(np.zeros((96, 64), np.uint8)), Chips(size=32, sampler="grid"), SAME, 1.0, 0
    )
    assert len(chips) == 6
    orders = [[origin_of(chips[e * 6 + i]) for i in range(6)] for e in range(2)]
    assert sorted(orders[0]) == sorted(orders[1]) == [(r, c) for r in (0, 32, 64) for c in (0, 32)]
    assert orders[0] != orders[1]


def test_draws_go_on_where_the_epoch_before_ended():
    draws = DrawSampler(3)
    assert list(draws) == [0, 1, 2]
    draws.set_epoch(2)
    assert list(draws) == [6, 7, 8]


def test_devices_divide_the_draws_and_the_chips_to_measure(monkeypatch):
    taken, measured = [], []
    for rank in range(3):
        monkeypatch.setattr(module, "_rank", lambda rank=rank: rank)
        draws = DrawSampler(7, devices=3)
        draws.set_epoch(1)
        assert len(list(draws)) == len(draws) == 2  # as many each: gradients are averaged step by step
        taken += list(draws)
        share = UnrepeatedSampler(7, devices=3)
        assert len(list(share)) == len(share)
        measured += list(share)
    assert sorted(taken) == [7, 8, 9, 10, 11, 12]
    assert sorted(measured) == list(range(7))


@pytest.mark.parametrize(
    ("start", "side", "length", "span"),
    [(0, 8, 20, (0, 8)), (16, 8, 20, (12, 20)), (16, 8, 24, (16, 24)), (0, 8, 8, (0, 8)), (0, 8, 5, (0, 8))],
)
def test_a_chip_is_moved_into_a_scene_that_is_large_enough(start, side, length, span):
    assert module._inside(start, side, length) == Span(*span)


def test_grid_chips_count_every_labelled_pixel_once():
    rng = np.random.default_rng(0)
    channels = rng.choice([0, 1, 2, IGNORE], size=(70, 50)).astype(np.uint8)
    chips = EvaluationChips(known_source(channels), 32)
    seen = np.zeros(channels.shape, int)
    for i in range(len(chips)):
        row, col = origin_of(chips[i])
        assert 0 <= row <= 70 - 32
        assert 0 <= col <= 50 - 32
        label = chips[i]["label"].numpy()
        assert label.shape == (32, 32)
        part = (slice(row, row + 32), slice(col, col + 32))
        counted = label[: 70 - row, : 50 - col] != IGNORE
        assert (label[: 70 - row, : 50 - col][counted] == channels[part][counted]).all()
        seen[part] += counted
    assert (seen == (channels != IGNORE)).all()
