import pytest
from pydantic import ValidationError

from geoseg.config.scene import MaskEntry, Radiometry, SceneEntry


def test_short_forms_of_bands_mean_a_file_or_a_band_number():
    entry = SceneEntry(
        uri="all.tif", bands={"red": "r.tif", "nir": 4, "blue": {"uri": "b.tif", "scale": 0.5}}
    )
    assert (entry.bands["red"].uri, entry.bands["red"].band) == ("r.tif", 1)
    assert (entry.bands["nir"].uri, entry.bands["nir"].band) == (None, 4)
    assert (entry.bands["blue"].uri, entry.bands["blue"].scale) == ("b.tif", 0.5)


def test_a_scene_needs_files():
    with pytest.raises(ValidationError, match="a scene needs a uri or bands with a uri each"):
        SceneEntry(title="x")
    with pytest.raises(ValidationError, match="band red has no uri and neither has the scene"):
        SceneEntry(bands={"red": 1})
    assert SceneEntry(bands={"red": "r.tif"}).uri is None


@pytest.mark.parametrize(
    "fields",
    [
        {"scale": 0}, {"scale": -1}, {"gsd": 0}, {"sensor": "sentinel-3"}, {"bands": {"red": 0}},
        {"bands": {"red": {"band": 1.5}}}, {"bands": {"red": None}}, {"bands": ["red"]}, {"colour": "x"},
        {"radiometry": {"dark_object": {"atmosphere": "foggy"}}},
    ],
)  # fmt: skip
def test_impossible_values_are_refused(fields):
    with pytest.raises(ValidationError):
        SceneEntry(uri="a.tif", **fields)


def test_a_mask_must_say_what_is_invalid():
    with pytest.raises(ValidationError, match="a mask needs invalid_values or invalid_bits"):
        MaskEntry(uri="q.tif")
    assert MaskEntry(uri="q.tif", invalid_bits=(3, (8, 9))).invalid_bits == (3, (8, 9))


@pytest.mark.parametrize("bits", [(-1,), ((3, -2),), ((),), (64,)])
def test_bits_that_no_quality_band_has_are_refused(bits):
    with pytest.raises(ValidationError):
        MaskEntry(uri="q.tif", invalid_bits=bits)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, "clear"), ({}, "clear"), ({"atmosphere": "hazy"}, "hazy"), (False, None), (None, None)],
)
def test_dark_object_may_be_switched_by_a_word(value, expected):
    dark = Radiometry(dark_object=value).dark_object
    assert (None if dark is None else dark.atmosphere) == expected


QUALITY = {"uri": "qa.tif", "invalid_values": [3]}
CLOUDS = {"model": "clouds", "invalid": ["cloud", 2]}


@pytest.mark.parametrize(
    ("upper", "lower", "bands", "models"),
    [
        (CLOUDS, QUALITY, ["qa.tif"], ["clouds"]),
        ({**CLOUDS, "alone": True}, QUALITY, [], ["clouds"]),
        ([CLOUDS, {"uri": "own.tif", "invalid_bits": [1]}], QUALITY, ["own.tif"], ["clouds"]),
        ({"uri": "own.tif", "invalid_bits": [1]}, [QUALITY, CLOUDS], ["own.tif"], ["clouds"]),
        ({**CLOUDS, "model": "others"}, [QUALITY, CLOUDS], ["qa.tif"], ["others"]),
        (None, [QUALITY, CLOUDS], [], []),
        ([], [QUALITY, CLOUDS], [], []),
    ],
)
def test_masks_from_models_join_quality_bands_and_each_kind_replaces_its_own(upper, lower, bands, models):
    over, under = (SceneEntry.model_validate({"uri": "a.tif", "mask": m}) for m in (upper, lower))
    found = over.model_copy(update={"mask": over.masks_over(under)})
    assert [m.uri for m in found.masks] == bands
    assert [m.model for m in found.model_masks] == models
