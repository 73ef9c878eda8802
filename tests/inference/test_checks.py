import re
import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from geoseg.config.pipeline import Strangeness
from geoseg.config.scene import MaskEntry, SceneEntry
from geoseg.core.errors import GeosegWarning, PlanError, SceneError
from geoseg.core.geometry import Window
from geoseg.inference import checks
from geoseg.inference.band_order import likely_order
from geoseg.models.card import read_card
from geoseg.scenes.catalog import resolve_scene
from tests.conftest import BAND_NAMES, ROOT, reflectance, write_raster


@pytest.fixture
def scene(scene_file):
    return resolve_scene(str(scene_file), "s", BAND_NAMES)


def test_a_scene_like_the_training_pixels_passes_in_silence(scene, bundle):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_statistics(scene, bundle.card, "error")
        checks.check_gsd(scene, bundle.card, "error")


@pytest.mark.parametrize(("gsd", "fine"), [(7.6, True), (7.4, False), (12.4, True), (12.6, False)])
def test_gsd_may_lie_a_quarter_outside(tmp_path, bundle, gsd, fine):
    path = write_raster(tmp_path / "g.tif", reflectance(64, 64), gsd=gsd, names=BAND_NAMES, scale=0.0001)
    scene = resolve_scene(str(path), "g", BAND_NAMES)
    if fine:
        checks.check_gsd(scene, bundle.card, "error")
        return
    with pytest.raises(PlanError, match="more than 25 % outside"):
        checks.check_gsd(scene, bundle.card, "error")
    with pytest.warns(GeosegWarning, match="more than 25 % outside"):
        checks.check_gsd(scene, bundle.card, "warn")
    checks.check_gsd(scene, bundle.card, "off")


def test_only_the_bands_that_are_off_are_named(tmp_path, bundle):
    values = reflectance(128, 128)
    values[2] = 9000
    path = write_raster(tmp_path / "b.tif", values, names=BAND_NAMES, scale=0.0001)
    scene = resolve_scene(str(path), "b", BAND_NAMES)
    with pytest.raises(PlanError) as caught:
        checks.check_statistics(scene, bundle.card, "error")
    assert "the mean of red is 0.9, where toy knows 0.22; likely" in str(caught.value)
    assert "wrong scale, offset or band order, or a place unlike the training data" in str(caught.value)


def test_a_large_scene_that_is_valid_in_a_corner_only_is_looked_at_there(tmp_path, bundle):
    values = np.zeros((4, 4000, 4000), np.uint16)
    values[:, 300:500, 300:500] = reflectance(200, 200)
    path = write_raster(tmp_path / "c.tif", values, names=BAND_NAMES, scale=0.0001, nodata=0, compress="zstd")
    scene = resolve_scene(str(path), "c", BAND_NAMES)
    assert not scene.sample().valid.any()
    checks.check_statistics(scene, bundle.card, "error")


def refusal(path, card, scale=None):
    scene = resolve_scene(SceneEntry(uri=str(path), scale=scale), "s", BAND_NAMES)
    with pytest.raises(PlanError) as caught:
        checks.check_statistics(scene, card, "error")
    return str(caught.value)


def test_a_scale_that_makes_all_pixels_alike_is_found_by_the_spread(tmp_path, bundle):
    # The mean of an 8-bit picture at 0.0001 is dark, and dark is near the mean of these training pixels.
    picture = (reflectance(128, 128) // 40).astype(np.uint8)
    path = write_raster(tmp_path / "p.tif", picture, names=BAND_NAMES)
    said = refusal(path, bundle.card, scale=0.0001)
    assert " hardly varies, by " in said
    assert said.endswith(
        "the given scale 0.0001 is wrong; scale: 0.00392157, offset: 0 (8-bit pictures) would fit; "
        "to go on all the same: --set checks.statistics=warn"
    )


def test_one_value_everywhere_is_refused(tmp_path, bundle):
    path = write_raster(tmp_path / "c.tif", np.full((4, 64, 64), 2200, np.uint16), names=BAND_NAMES)
    said = refusal(path, bundle.card, scale=0.0001)
    assert " hardly varies, by " in said
    assert "likely cause: one value everywhere" in said


def test_the_scaling_of_landsat_is_named(tmp_path, bundle):
    numbers = np.rint((reflectance(64, 64) / 10_000 + 0.2) / 2.75e-5).astype(np.uint16)
    path = write_raster(tmp_path / "l.tif", numbers, names=BAND_NAMES)
    said = refusal(path, bundle.card)
    assert "scale: 2.75e-05, offset: -0.2 (Landsat Collection 2 Level-2) would fit" in said


def test_undeclared_nodata_among_the_pixels_is_noticed_by_the_spread(tmp_path, bundle):
    values = reflectance(256, 256).astype(np.int32)
    values[:, 0, :3] = -(10**8)
    values[:, 1, :3] = 10**8
    path = write_raster(tmp_path / "n.tif", values, names=BAND_NAMES)
    assert "(green, red, nir alike)" in refusal(path, bundle.card, scale=0.0001)


def test_numbers_beyond_single_precision_are_refused_even_without_the_check(tmp_path, bundle):
    values = reflectance(64, 64).astype(np.float64)
    values[1, 5, 5] = 1e35
    scene = resolve_scene(str(write_raster(tmp_path / "h.tif", values, names=BAND_NAMES)), "h", BAND_NAMES)
    with pytest.raises(SceneError, match="too large for single precision"):
        checks.check_statistics(scene, bundle.card, "off")


def test_the_share_of_unknown_quality_is_said(tmp_path):
    quality = np.zeros((1, 64, 64), np.uint8)
    quality[0, :16] = 255
    write_raster(tmp_path / "qa.tif", quality, nodata=255)
    path = write_raster(tmp_path / "s.tif", reflectance(64, 64), names=BAND_NAMES)
    mask = MaskEntry(uri=str(tmp_path / "qa.tif"), invalid_values=(1,))
    scene = resolve_scene(SceneEntry(uri=str(path), mask=mask), "s", BAND_NAMES)
    with pytest.warns(
        GeosegWarning, match=r"^s: 25 % of the pixels looked at are nodata in the quality band"
    ):
        checks.check_quality(scene)
    assert int((~scene.read(Window.of(0, 0, 64, 64)).valid).sum()) == 16 * 64


@pytest.fixture(scope="module")
def landcover():
    return read_card(ROOT / "configs/models/landcover-s2/geoseg.json")


PATCH = 4


def like_training(card, offset=0.0, seed=0, side=768):
    """Patches with the mean and covariance of the training pixels, 0.005 at least, plus an offset."""
    rng, patches = np.random.default_rng(seed), side // PATCH
    mean = [b.mean for b in card.bands]
    drawn = rng.multivariate_normal(mean, np.array(card.covariance), patches * patches).clip(0.005)
    pixels = drawn.T.reshape(-1, patches, patches).repeat(PATCH, axis=1).repeat(PATCH, axis=2)
    return np.rint((pixels + offset) * 10_000).clip(0).astype(np.uint16)


def opened(path, values, card, names=None, **entry):
    names = names or [b.common_name for b in card.bands]
    write_raster(path, values, names=names)
    return resolve_scene(
        SceneEntry(uri=str(path), scale=0.0001, **entry), "s", [b.common_name for b in card.bands]
    )


def test_pixels_like_the_training_pixels_pass_all_checks(tmp_path, landcover):
    checks.check_statistics(
        opened(tmp_path / "s.tif", like_training(landcover), landcover), landcover, "error"
    )
    shifted = opened(tmp_path / "o.tif", like_training(landcover, 0.1), landcover, offset=-0.1)
    checks.check_statistics(shifted, landcover, "error")


@pytest.mark.parametrize(("one", "other"), [("red", "blue"), ("red", "nir"), ("swir16", "swir22")])
def test_swapped_bands_are_named(tmp_path, landcover, one, other):
    names = [{one: other, other: one}.get(b.common_name, b.common_name) for b in landcover.bands]
    scene = opened(tmp_path / "s.tif", like_training(landcover), landcover, names)
    with pytest.raises(PlanError, match=rf"likely cause: ({one} and {other}|{other} and {one}) are swapped"):
        checks.check_statistics(scene, landcover, "error")


def test_reversed_bands_are_named(tmp_path, landcover):
    names = [b.common_name for b in landcover.bands][::-1]
    scene = opened(tmp_path / "s.tif", like_training(landcover), landcover, names)
    with pytest.raises(PlanError, match="likely cause: the bands are in reverse order"):
        checks.check_statistics(scene, landcover, "error")


def test_an_offset_that_was_forgotten_or_taken_twice_is_named(tmp_path, landcover):
    dark = like_training(landcover, 0.1 / 0.6) * 0.6  # so that the mean alone does not tell
    forgotten = opened(tmp_path / "f.tif", dark.astype(np.uint16), landcover)
    with pytest.raises(PlanError, match=r"an offset of -0\.1 is missing"):
        checks.check_statistics(forgotten, landcover, "error")
    bright = like_training(landcover) * 1.8
    twice = opened(tmp_path / "t.tif", bright.astype(np.uint16), landcover, offset=-0.1)
    with pytest.raises(PlanError, match="the offset is taken twice, offset: 0 would fit"):
        checks.check_statistics(twice, landcover, "error")


def test_one_window_is_too_few_to_tell_the_order(landcover):
    mean, covariance = np.array([b.mean for b in landcover.bands]), np.array(landcover.covariance)
    pixels = like_training(landcover, side=64).reshape(6, -1)[[2, 1, 0, 3, 4, 5]] * 1e-4
    assert likely_order([pixels] * 3, mean, covariance) is None
    assert likely_order([pixels] * 4, mean, covariance) == (2, 1, 0, 3, 4, 5)
    assert likely_order([pixels] * 8 + [pixels[[2, 1, 0, 3, 4, 5]]], mean, covariance) is None


def test_noise_is_told_from_land_though_mean_and_spread_are_right(tmp_path, bundle):
    rng = np.random.default_rng(0)
    noise = rng.normal(
        [[b.mean] for b in bundle.card.bands], [[b.std] for b in bundle.card.bands], (4, 65536)
    )
    numbers = np.rint(noise.clip(0.001) * 10_000).astype(np.uint16).reshape(4, 256, 256)
    said = refusal(write_raster(tmp_path / "n.tif", numbers, names=BAND_NAMES), bundle.card, scale=0.0001)
    assert "neighbouring pixels are correlated by " in said
    assert "likely cause: noise, or a file that was decoded wrongly" in said


def scenery(card, side=256):
    """Smooth land with the mean and the covariance of the training pixels, in blots."""
    rng = np.random.default_rng(1)
    drawn = rng.normal(size=(len(card.bands), side, side))
    smooth = gaussian_filter(drawn, (0, 4, 4), mode="wrap")
    white = (smooth - smooth.mean(axis=(1, 2), keepdims=True)) / smooth.std(axis=(1, 2), keepdims=True)
    # Reflectance is not below 0: land is somewhat darker than it may be, and varies less.
    lower = np.linalg.cholesky(np.array(card.covariance))
    mean = np.array([b.mean for b in card.bands])[:, None, None]
    return (mean + 0.45 * np.einsum("ij,jkl->ikl", lower, white)).clip(0.005)


NOISE = np.random.default_rng(2).normal(size=(6, 256, 256))
CLOUD = np.array([0.5, 0.5, 0.5, 0.55, 0.4, 0.3])[:, None, None]
SNOW = np.array([0.9, 0.9, 0.88, 0.8, 0.1, 0.08])[:, None, None]
UNLIKE = "of its pixels are unlike the training pixels of landcover-s2; likely cause"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x: x + 0.03 * NOISE,
            "neighbouring pixels differ .* times more|correlated by|unlike the training",
        ),
        (lambda x: x[[0, 1, 3, 2, 4, 5]], f"swapped|{UNLIKE}"),
        (lambda x: np.broadcast_to(x.mean(axis=(1, 2), keepdims=True), x.shape), "hardly varies"),
        (lambda x: 0.2 * x + 0.8 * CLOUD, "the mean of blue is"),
        (lambda x: 0.7 * x + 0.3 * SNOW, f"the mean of blue is|{UNLIKE}"),
        (lambda x: 3 * x, f"the mean of|{UNLIKE}"),
        (lambda x: x + 0.05 * np.array([1, -1, 1, 0, 0, 0])[:, None, None], UNLIKE),
    ],
    ids=["noise", "swapped", "constant", "cloud", "thin snow", "times 3", "other colours"],
)
def test_what_the_network_never_saw_stops_a_run(tmp_path, landcover, change, message):
    values = np.rint(change(scenery(landcover)) * 10_000).clip(0).astype(np.uint16)
    with pytest.raises(PlanError, match=message):
        checks.check_statistics(opened(tmp_path / "s.tif", values, landcover), landcover, "error")


@pytest.mark.parametrize("factor", [1.0, 0.7])
def test_land_as_in_the_training_is_silent_in_a_low_sun_too(tmp_path, landcover, factor):
    values = np.rint(factor * scenery(landcover) * 10_000).astype(np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_statistics(opened(tmp_path / "s.tif", values, landcover), landcover, "error")


def test_a_scene_darker_than_any_of_the_training_is_told(tmp_path, landcover):
    values = np.rint(0.3 * scenery(landcover) * 10_000).astype(np.uint16)
    with pytest.warns(GeosegWarning, match=r"every band is darker than 0\.3 times .* low sun"):
        checks.check_statistics(opened(tmp_path / "s.tif", values, landcover), landcover, "error")


@pytest.mark.parametrize(("share", "found"), [(0.05, "silent"), (0.2, "told"), (0.6, "stop")])
def test_the_share_of_unlike_pixels_decides(tmp_path, landcover, share, found):
    land = scenery(landcover)
    # As blue as no land is, which moves no mean by three standard deviations.
    strange = land + 0.06 * np.array([1, -1, 0, 0, 0, 0])[:, None, None]
    values = np.where(np.arange(256)[:, None] < 256 * share, strange, land)
    scene = opened(tmp_path / "s.tif", np.rint(values * 10_000).clip(0).astype(np.uint16), landcover)
    told = f"s: {100 * np.ceil(256 * share) / 256:.3g} % of its pixels are unlike the training pixels"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if found == "stop":
            with pytest.raises(PlanError, match=re.escape(told)):
                checks.check_statistics(scene, landcover, "error")
            checks.check_statistics(scene, landcover, "warn")
            checks.check_statistics(scene, landcover, "error", shares=Strangeness(stop=0.7))
        else:
            checks.check_statistics(scene, landcover, "error")
    assert [told in str(w.message) for w in said] == {"silent": [], "told": [True], "stop": [True] * 2}[found]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_statistics(scene, landcover, "off")
        checks.check_statistics(scene, landcover.model_copy(update={"strangeness": None}), "error")


def test_bright_land_in_a_part_of_a_scene_is_told_and_does_not_stop(tmp_path, landcover):
    values = scenery(landcover)
    values[:3, :70] = 0.55  # a quarter, which moves the mean of blue by four standard deviations
    scene = opened(tmp_path / "s.tif", np.rint(values * 10_000).astype(np.uint16), landcover)
    with pytest.warns(GeosegWarning, match="the mean of blue is"):
        checks.check_statistics(scene, landcover, "error")
    old = landcover.model_copy(update={"strangeness": None})
    with pytest.raises(PlanError, match="the mean of blue is"):
        checks.check_statistics(scene, old, "error")
