from collections import Counter

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from geoseg.config.training import Augmentation
from geoseg.core.errors import ConfigError
from geoseg.core.legend import IGNORE
from geoseg.training.augment import (
    BandDropout,
    Blur,
    IgnoreContradicted,
    Light,
    Turn,
    Zoom,
    as_input,
    as_sample,
    make_augmentation,
)
from tests.training.worlds import LEGEND

OFF = Augmentation(flips=False, turns=False)
WAVELENGTHS = (0.49, 0.665, 0.842)
MEANS = torch.tensor([0.1, 0.2, 0.3])


def sample(side=32, bands=3, seed=0):
    """Values of 0.1 and 0.9 where the label is 0 and 1, in patches of 8 px."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randint(2, (side // 8, side // 8), generator=generator)
    label = patches.repeat_interleave(8, 0).repeat_interleave(8, 1)
    image = (0.1 + 0.8 * label.float()).expand(bands, -1, -1)
    return as_sample(image.clone(), label.to(torch.uint8), MEANS[:bands])


def make(entry, size=32):
    return make_augmentation(entry, size, LEGEND.legend, MEANS, WAVELENGTHS)


def test_everything_off_changes_nothing():
    before = sample()
    after = make(OFF)(before)
    for key in before:
        assert torch.equal(after[key], before[key])


@pytest.mark.parametrize(
    "entry",
    [
        Augmentation(turns=False),
        Augmentation(flips=False),
        Augmentation(flips=False, turns=False, scale=(1.0, 3.0), scale_probability=1.0),
        Augmentation(flips=True, turns=True, scale=(0.5, 2.0), scale_probability=1.0),
    ],
)
def test_labels_stay_on_their_pixels(entry):
    for seed in range(8):
        torch.manual_seed(seed)
        after = make(entry)(sample(side=64 if entry.scale[0] < 1 else 32, seed=seed))
        assert after["image"].shape == (3, 32, 32)
        assert after["label"].shape == (32, 32)
        inside = torch.nn.functional.max_pool2d(after["label"][None].float(), 5, 1, 2)[0]
        inside -= -torch.nn.functional.max_pool2d(-after["label"][None].float(), 5, 1, 2)[0]
        inner = inside == 0  # away from edges, where bilinear values mix
        inner[[0, 1, -2, -1]] = inner[:, [0, 1, -2, -1]] = False
        expected = 0.1 + 0.8 * after["label"].float()
        assert torch.allclose(after["image"][0][inner], expected[inner], atol=1e-5)
        assert inner.any()


@pytest.mark.parametrize(("flips", "turns", "reached"), [(True, True, 8), (True, False, 4), (False, True, 4)])
def test_flips_and_turns_reach_all_symmetries_alike(flips, turns, reached):
    corner = torch.zeros(1, 4, 4)
    corner[0, 0, 1] = 1.0
    change = Turn(flips, turns)
    seen = Counter()
    torch.manual_seed(0)
    for _ in range(400):
        after = change({"image": corner.expand(3, -1, -1), "label": corner[0]})
        assert torch.equal(after["image"][0], after["label"])
        seen[tuple(torch.nonzero(after["label"])[0].tolist())] += 1
    assert len(seen) == reached
    assert min(seen.values()) > 400 / reached * 0.6


def test_flips_alone_never_turn():
    corner = torch.zeros(4, 4)
    corner[0, 1] = 1.0
    change = Turn(True, False)
    for _ in range(50):
        row, col = torch.nonzero(change({"label": corner})["label"])[0].tolist()
        assert row in (0, 3)
        assert col in (1, 2)


def test_blur_keeps_what_is_even_and_masks():
    before = sample()
    assert all(torch.equal(v, before[k]) for k, v in Blur(0.0)(before).items())
    after = Blur(1.0)(before)
    assert torch.equal(after["label"], before["label"])
    assert float((after["image"] - before["image"]).abs().max()) > 0.01
    even = {**before, "image": torch.full((3, 16, 16), 0.4)}
    assert torch.allclose(Blur(1.0)(even)["image"], even["image"])


def test_zoom_enlarges_by_its_factor():
    torch.manual_seed(0)
    bar = torch.zeros(1, 40, 40)
    bar[:, :, 16:24] = 1
    after = Zoom(20, 2.0, 2.0, 1.0, None)({"image": bar, "label": bar[0].byte()})
    assert after["label"].shape == (20, 20)
    wide = Zoom(40, 1.999, 2.0, 1.0, None)
    widths = []
    for seed in range(20):
        torch.manual_seed(seed)
        widths.append(int(wide({"image": bar, "label": bar[0].byte()})["label"][0].sum()))
    assert max(widths) == 16


def test_grain_is_as_strong_as_its_class_says():
    flat = torch.full((3, 64, 64), 0.5)
    label = torch.zeros(64, 64, dtype=torch.uint8)
    label[:, 32:] = 1
    zoom = Zoom(64, 1.99, 2.0, 1.0, torch.tensor([0.0, 0.3, 0.0]))
    spread = []
    for seed in range(20):
        torch.manual_seed(seed)
        after = zoom(as_sample(flat, label, MEANS))
        quiet = after["image"][:, after["label"] == 0]
        assert torch.allclose(quiet, torch.tensor(0.5))
        spread.append(float(after["image"][:, after["label"] == 1].std()))
    assert 0.01 < np.nanmean(spread) < 0.2


def test_light_changes_images_only_and_haze_falls_off_with_the_wavelength():
    entry = Augmentation(haze=(0.03, 0.03))
    torch.manual_seed(0)
    before = sample()
    after = Light(entry, WAVELENGTHS)(before)
    added = (after["image"] - before["image"]).mean((1, 2))
    assert float(added[0]) == pytest.approx(0.03, rel=1e-3)
    assert added[0] > added[1] > added[2] > 0
    assert torch.equal(after["label"], before["label"])


def test_gains_stay_in_their_range():
    entry = Augmentation(brightness=0.2, band_gain=0.1, low_sun=0.5)
    before = sample()
    ratios = []
    for seed in range(100):
        torch.manual_seed(seed)
        ratios.append((Light(entry, WAVELENGTHS)(before)["image"] / before["image"]).mean((1, 2)))
    ratios = torch.stack(ratios)
    assert ratios.max() <= 1.2 * 1.1 + 1e-5
    assert ratios.min() >= 0.8 * 0.5 * 0.9 - 1e-5
    assert (ratios[:, 0] != ratios[:, 1]).any()


def test_noise_has_at_most_its_deviation():
    torch.manual_seed(1)
    before = as_sample(torch.full((3, 200, 200), 0.2), torch.zeros(200, 200, dtype=torch.uint8), MEANS)
    spread = float(Light(Augmentation(noise=0.01), WAVELENGTHS)(before)["image"].std())
    assert 0 < spread <= 0.0101


def test_a_dropped_band_is_its_mean_and_one_is_always_left():
    for seed in range(50):
        torch.manual_seed(seed)
        before = sample()
        after = BandDropout(0.9, MEANS)(before)["image"]
        kept = [torch.equal(a, b) for a, b in zip(after, before["image"], strict=True)]
        assert any(kept)
        for band, mean, whole in zip(after, MEANS, kept, strict=True):
            assert whole or torch.all(band == mean)


def test_invalid_pixels_enter_as_zero_and_train_nothing():
    values = torch.full((3, 8, 8), 0.5)
    values[:, 0] = torch.nan
    image, label = as_input(as_sample(values, torch.ones(8, 8, dtype=torch.uint8), MEANS), MEANS, MEANS)
    assert image.dtype == torch.float32
    assert label.dtype == torch.int64
    assert not image[:, 0].any()
    assert (label[0] == IGNORE).all()
    assert image[0, 1, 0] == pytest.approx((0.5 - 0.1) / 0.1)
    assert torch.isfinite(image).all()


def test_light_does_not_reach_invalid_pixels():
    values = torch.full((3, 8, 8), 0.5)
    values[:, :4] = torch.nan
    torch.manual_seed(0)
    bright = make(Augmentation(brightness=0.5, haze=(0.02, 0.03), flips=False, turns=False), 8)
    image, _ = as_input(bright(as_sample(values, torch.ones(8, 8, dtype=torch.uint8), MEANS)), MEANS, MEANS)
    assert not image[:, :4].any()


def test_labels_that_the_image_contradicts_are_ignored_and_no_others():
    names = ["green", "nir", "swir16"]
    snow, sand, water, mud, nothing = (
        (0.6, 0.5, 0.02),
        (0.4, 0.45, 0.5),
        (0.08, 0.03, 0.01),
        (0.05, 0.06, 0.07),
        (0, 0, 0),
    )
    image = torch.tensor([snow, sand, water, mud, nothing]).T[:, None]

    def left(kinds, channel):
        labels = torch.full((1, 5), channel, dtype=torch.uint8)
        return IgnoreContradicted(kinds, names, 2)(as_sample(image, labels, torch.zeros(3)))[
            "label"
        ].tolist()[0]

    assert left(("snow",), 0) == [255, 0, 0, 0, 0]
    assert left(("snow",), 2) == [255, 2, 2, 2, 2]
    assert left(("dry",), 0) == [0, 0, 0, 0, 0]
    assert left(("dry",), 2) == [2, 255, 2, 255, 2]
    assert left(("snow", "dry"), 2) == [255, 255, 2, 255, 2]
    with pytest.raises(ConfigError, match="needs the band swir16; bands are green, nir"):
        IgnoreContradicted(("snow",), names[:2], None)
    assert left(("flooded",), 0) == [0, 0, 255, 0, 0]
    assert left(("flooded",), 2) == [2, 2, 2, 2, 2]
    with pytest.raises(ConfigError, match="need a class with the slug water"):
        IgnoreContradicted(("dry",), names, None)


def test_a_fixed_zoom_is_done_too():
    zoomed = Zoom(16, 2.0, 2.0, 1.0, None)(sample(32))
    assert zoomed["image"].shape[-2:] == (16, 16)
    # Of patches of 8 px, a cut of 8 px shows few; without the zoom 16 px would show four.
    assert (zoomed["label"][:, 1:] != zoomed["label"][:, :-1]).sum() <= 16


@pytest.mark.parametrize(("zoom", "done"), [(1.0, False), (1.2, False), (1.5, True), (0.7, False)])
def test_something_more_is_done_to_enlarged_chips_only(zoom, done):
    class Blank(v2.Transform):
        def forward(self, sample):
            return {**sample, "label": torch.full_like(sample["label"], 255)}

    label = Zoom(16, zoom, zoom, 1.0, None, Blank())(sample(32))["label"]
    assert bool((label == 255).all()) == done


def test_grain_of_unknown_classes_is_refused():
    with pytest.raises(ConfigError, match=r"augmentation\.texture: no class has the slug forest; .*tree"):
        make(Augmentation(texture={"forest": 0.2}))
