import json

import pytest

from geoseg.core.bands import Band
from geoseg.core.errors import BundleError
from geoseg.models.card import read_card

CARD = {
    "name": "toy",
    "version": "1",
    "title": "Toy",
    "bands": [{"name": "swir1", "common_name": "swir16", "wavelength_um": 1.61, "mean": 0.2, "std": 0.1}],
    "gsd_m": {"min": 10, "max": 20},
    "tile": {"size": 256, "min": 128, "max": 512, "overlap": 64, "divisor": 32},
    "classes": [
        {"id": 5, "slug": "a", "title": "A", "color": "#102030"},
        {"id": 2, "slug": "b", "title": "B", "color": "#405060"},
    ],
    "weights_sha256": "0" * 64,
}


def changed(folder, key, value):
    """Write the card with one value changed; `key` is a path like `tile.size`."""
    card = json.loads(json.dumps(CARD))
    *path, last = key.split(".")
    target = card
    for part in path:
        target = target[int(part) if part.isdigit() else part]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    path = folder / "geoseg.json"
    path.write_text(json.dumps(card), encoding="utf-8")
    return path


def test_a_card_is_read(tmp_path):
    card = read_card(changed(tmp_path, "title", "Tøy & 水"))
    assert card.title == "Tøy & 水"
    assert card.legend.ids.tolist() == [5, 2]
    assert card.input_bands == (Band("swir1", "swir16", 1.61, 0.2, 0.1),)
    assert (card.temperature, card.ignore_index, card.memory_bytes_per_pixel) == (1.0, 255, None)


def test_a_card_survives_being_written(tmp_path):
    card = read_card(changed(tmp_path, "temperature", 1.7))
    (tmp_path / "again.json").write_text(card.model_dump_json())
    assert read_card(tmp_path / "again.json") == card


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("title", ..., "title: "),
        ("colour", "red", "colour: "),
        ("format", "geoseg-bundle/3", "format: "),
        ("bands", [], "bands: "),
        ("bands.0.std", 0, r"bands\.0\.std: "),
        ("bands.0.mean", ..., r"bands\.0\.mean: "),
        ("bands.0.mean", float("nan"), r"bands\.0\.mean: "),
        ("bands.0.std", float("inf"), r"bands\.0\.std: "),
        ("bands.0.std", float("nan"), r"bands\.0\.std: "),
        ("classes.0.id", 255, r"classes\.0\.id: "),
        ("classes.0.color", "red", r"classes\.0\.color: "),
        ("classes.0.id", 2, "classes: .*class id 2 is used twice"),
        ("classes.0.slug", "b", "classes: .*class slug 'b' is used twice"),
        ("classes", CARD["classes"][:1], "document: classes: at least two"),
        ("gsd_m.min", 0, r"gsd_m\.min: "),
        ("gsd_m.min", 30, "gsd_m: "),
        ("tile.size", 64, "tile: .*min <= size <= max"),
        ("tile.size", 1024, "tile: .*min <= size <= max"),
        ("tile.overlap", 130, "tile: .*overlap of at most half the size"),
        ("tile.overlap", 63, r"tile\.overlap: "),
        ("tile.size", 250, "tile: .*multiples of the divisor"),
        ("tile.min", 100, "tile: .*multiples of the divisor"),
        ("temperature", 0, "temperature: "),
        ("weights_sha256", "abc", "weights_sha256: "),
    ],
)
def test_an_impossible_card_is_refused_with_its_key(tmp_path, key, value, named):
    path = changed(tmp_path, key, value)
    with pytest.raises(BundleError, match=rf"geoseg\.json: {named}") as caught:
        read_card(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2", b"[]", b"null", b"3"])
def test_what_is_no_card_is_refused_on_one_line(tmp_path, content):
    path = tmp_path / "geoseg.json"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"geoseg\.json: [^:\s]") as caught:
        read_card(path)
    assert "\n" not in str(caught.value)


def test_a_missing_card_is_told_with_what_a_bundle_is(tmp_path):
    with pytest.raises(
        BundleError, match=r"geoseg\.json: no such file; a bundle is a folder with geoseg\.json"
    ):
        read_card(tmp_path / "geoseg.json")


@pytest.mark.parametrize(
    "key", ["name", "version", "title", "license", "bands.0.name", "bands.0.common_name"]
)
@pytest.mark.parametrize("value", ["a\x1b[2Jb", "two\nlines", "\ud800", "x" * 1001])
def test_names_in_a_card_are_lines_of_plain_text(tmp_path, key, value):
    with pytest.raises(BundleError, match=key.replace(".", r"\.")) as caught:
        read_card(changed(tmp_path, key, value))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", ["classes.0.slug", "classes.0.title"])
@pytest.mark.parametrize("value", ["", "a\x1b[2Jb", "\ud800", "x" * 300])
def test_names_of_classes_in_a_card_are_checked(tmp_path, key, value):
    with pytest.raises(BundleError, match=r"geoseg\.json: classes") as caught:
        read_card(changed(tmp_path, key, value))
    assert str(caught.value).isprintable()
    assert len(str(caught.value).removeprefix(str(tmp_path))) <= 300


def test_an_unknown_key_is_shown_short_and_printable(tmp_path):
    card = {**CARD, "a\x1b[2J" + "b" * 10**5: 1}
    (tmp_path / "geoseg.json").write_text(json.dumps(card))
    with pytest.raises(BundleError) as caught:
        read_card(tmp_path / "geoseg.json")
    assert str(caught.value).isprintable()
    assert len(str(caught.value).removeprefix(str(tmp_path))) <= 300


DETECTION = {"per_tile": 100, "object_px": {"median": 20, "p99": 60}}


def test_a_card_of_instances_may_have_a_single_class(tmp_path):
    body = {**CARD, "task": "instances", "detection": DETECTION, "classes": CARD["classes"][:1]}
    (tmp_path / "geoseg.json").write_text(json.dumps(body))
    card = read_card(tmp_path / "geoseg.json")
    assert (card.detection.score_threshold, card.detection.mask_threshold) == (0.5, 0.5)


@pytest.mark.parametrize("change", [{"task": "instances"}, {"detection": DETECTION}])
def test_detection_goes_with_instances(tmp_path, change):
    (tmp_path / "geoseg.json").write_text(json.dumps({**CARD, **change}))
    with pytest.raises(BundleError, match="neither without the other"):
        read_card(tmp_path / "geoseg.json")
