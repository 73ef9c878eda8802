import re
from pathlib import Path

import pytest

from geoseg.config.dataset import CatalogDocument
from geoseg.config.loader import load
from geoseg.config.pipeline import Pipeline
from geoseg.core.errors import ConfigError

GOOD = """\
name: toy
scene: scene.tif
model: bundle
tiling:
  tile: 256
outputs:
  folder: out
"""


def write(folder, text, name="p.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder, text, model=Pipeline, overrides=()):
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(path, model, overrides)
    return str(caught.value).replace(f"{path}:", "p.yaml:")


def test_a_document_is_read(tmp_path):
    document = load(write(tmp_path, GOOD), Pipeline)
    assert document.name == "toy"
    assert document.tiling.tile == 256
    assert document.tiling.overlap == "auto"
    assert document.outputs.folder == "out"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  tile: 256", "  tiel: 256", "p.yaml:5:3: tiling.tiel: unknown key; did you mean 'tile'?"),
        ("model: bundle", "modle: bundle", "p.yaml:3:1: modle: unknown key; did you mean 'model'?"),
        ("model: bundle", "model: bundle\nqqqq: 1", "p.yaml:4:1: qqqq: unknown key"),
        ("  folder: out", "  folder: out\n  confidnce: no",
         "p.yaml:8:3: outputs.confidnce: unknown key; did you mean 'confidence'?"),
        ("scene: scene.tif", "scene:\n  uri: a.tif\n  nodta: 0",
         "p.yaml:4:3: scene.nodta: unknown key; did you mean 'nodata'?"),
        ("scene: scene.tif", "scene:\n  uri: a.tif\n  bands: {red: {bnd: 2}}",
         "p.yaml:4:17: scene.bands.red.bnd: unknown key; did you mean 'band'?"),
        ("scene: scene.tif", "scene:\n  uri: a.tif\n  mask: {model: a, invalid: [b], dilat: 2}",
         "p.yaml:4:34: scene.mask.dilat: unknown key; did you mean 'dilate'?"),
        ("scene: scene.tif", "scene:\n  uri: a.tif\n  mask: [{model: a, invalid: [b], uri: c}]",
         "p.yaml:4:35: scene.mask.0.uri: unknown key"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_located_with_a_suggestion(tmp_path, old, new, expected):
    assert expected in refusal(tmp_path, GOOD.replace(old, new)).splitlines()


def test_a_missing_key_is_located_at_the_mapping_that_lacks_it(tmp_path):
    assert refusal(tmp_path, GOOD.replace("model: bundle\n", "")) == "p.yaml:1:1: model: this key is required"
    text = GOOD.replace("outputs:\n  folder: out\n", "outputs:\n  confidence: true\n")
    assert refusal(tmp_path, text) == "p.yaml:6:1: outputs.folder: this key is required"


def test_every_problem_gets_its_line(tmp_path):
    text = GOOD.replace("tile: 256", "tile: 0").replace("model: bundle", "modle: bundle")
    assert sorted(line.split(": ")[1] for line in refusal(tmp_path, text).splitlines()) == [
        "model",
        "modle",
        "tiling.tile",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "name: again\n", "p.yaml:8:1: name: this key stands twice"),
        (GOOD + "checks:\n  gsd: off\n  gsd: warn\n", "p.yaml:10:3: gsd: this key stands twice"),
        (GOOD + "vectorize: {x: [{a: 1, a: 2}]}\n", "p.yaml:8:24: a: this key stands twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path, text, expected):
    assert refusal(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name: [a\nmodel: b\n", r"p\.yaml:2:6: not valid YAML: "),
        ("name: a\n\tmodel: b\n", r"p\.yaml:2:1: not valid YAML: "),
        ("name: {{ x }}\n", r"p\.yaml:1:\d+: not valid YAML: "),
        ("name: *gone\n", r"p\.yaml:1:7: not valid YAML: "),
        ("name: !!python/object:os.system x\n", r"p\.yaml:1:7: not valid YAML: "),
        ("name: 2024-13-45\n", r"p\.yaml:1:7: not valid YAML: this is no timestamp \(month"),
        ("name: a\x07b\n", r"p\.yaml: not valid YAML: "),
    ],
)
def test_what_is_not_yaml_is_refused_on_one_line(tmp_path, text, place):
    message = refusal(tmp_path, text)
    assert re.match(place, message)
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "just words\n", "42\n"])
def test_a_document_that_is_no_mapping_is_refused(tmp_path, text):
    assert refusal(tmp_path, text) == "p.yaml:1:1: a mapping of keys to values is expected here"


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
        load(tmp_path / "gone.yaml", Pipeline)
    with pytest.raises(ConfigError, match=r"cannot be read"):
        load(tmp_path, Pipeline)
    (tmp_path / "latin.yaml").write_bytes("name: Zürich".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot be read"):
        load(tmp_path / "latin.yaml", Pipeline)


@pytest.mark.parametrize(
    ("override", "get", "expected"),
    [
        ("tiling.tile=512", lambda d: d.tiling.tile, 512),
        ("tiling.tile=auto", lambda d: d.tiling.tile, "auto"),
        (" tiling . overlap = 64", lambda d: d.tiling.overlap, 64),
        ("inference.augment=d4", lambda d: d.inference.augment, "d4"),
        ("outputs.polygons=[]", lambda d: d.outputs.polygons, ()),
        ("outputs.folder=a=b", lambda d: d.outputs.folder, "a=b"),
        ("tiling={block: 3}", lambda d: (d.tiling.tile, d.tiling.block), ("auto", 3)),
        ("gsd=20", lambda d: d.gsd, 20.0),
        ("cluster.workers=2", lambda d: d.cluster.workers, 2),
    ],
)
def test_an_override_replaces_a_value(tmp_path, override, get, expected):
    assert get(load(write(tmp_path, GOOD), Pipeline, [override])) == expected


def test_a_later_override_wins(tmp_path):
    assert load(write(tmp_path, GOOD), Pipeline, ["gsd=20", "gsd=30"]).gsd == 30


def test_an_override_may_bring_a_missing_key(tmp_path):
    text = GOOD.replace("model: bundle\n", "")
    assert load(write(tmp_path, text), Pipeline, ["model=here"]).model == "here"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("tiling.tile", "--set tiling.tile: write it as key=value, for example --set tiling.tile=512"),
        ("=5", "--set =5: write it as key=value, for example --set tiling.tile=512"),
        ("a..b=5", "--set a..b=5: write it as key=value, for example --set tiling.tile=512"),
        ("name.x=5", "--set name.x=5: name is a single value here, not a mapping"),
        ("gsd=[1", "--set gsd=[1: '[1' is not a YAML value: expected ',' or ']', but got '<stream end>'"),
        (
            "name=2024-13-45",
            (
                "--set name=2024-13-45: '2024-13-45' is not a YAML value: this is no timestamp "
                "(month must be in 1..12)"
            ),
        ),
        ("tiling.tiel=5", "--set tiling.tiel: unknown key; did you mean 'tile'?"),
        ("model=", "--set model: a text or a list, not null"),
    ],
)
def test_a_bad_override_is_named(tmp_path, override, expected):
    assert refusal(tmp_path, GOOD, overrides=[override]) == expected


def test_the_members_of_a_union_are_told_on_one_line(tmp_path):
    message = refusal(tmp_path, GOOD.replace("tile: 256", "tile: big"))
    assert message == "p.yaml:5:3: tiling.tile: a number of pixels or auto, not 'big'"


def test_a_value_out_of_range_is_located(tmp_path):
    message = refusal(tmp_path, GOOD.replace("tile: 256", "tile: 0"))
    assert message == "p.yaml:5:3: tiling.tile: a number of pixels of at least 1 or auto, not 0"


def test_a_union_of_shapes_names_only_the_key_inside(tmp_path):
    text = GOOD.replace("scene: scene.tif", "scene: {uri: a.tif, scale: -1}")
    assert refusal(tmp_path, text) == "p.yaml:2:21: scene.scale: a number above 0, not -1"


def test_a_long_value_is_shortened(tmp_path):
    message = refusal(tmp_path, GOOD.replace("tile: 256", f"tile: {'x' * 500}"))
    assert len(message) < 250
    assert message.endswith("xxx...")


def test_a_place_in_a_list_is_located(tmp_path):
    mask = "{uri: q.tif, invalid_values: [1, b]}"
    text = f"scenes:\n  a:\n    uri: x.tif\n    mask: {mask}\n"
    message = refusal(tmp_path, text, CatalogDocument)
    assert message.startswith("p.yaml:4:44: scenes.a.mask.invalid_values.1: ")


def test_a_check_over_several_keys_is_located_at_their_mapping(tmp_path):
    message = refusal(tmp_path, "scenes:\n  a:\n    title: x\n", CatalogDocument)
    assert message.startswith("p.yaml:2:3: scenes.a: a scene needs a uri or bands with a uri each")


def test_documents_are_frozen(tmp_path):
    document = load(write(tmp_path, GOOD), Pipeline)
    with pytest.raises(ValueError, match="frozen"):
        document.name = "other"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("zzz=" + "[" * 3000 + "]" * 3000, "more than 64 lists and mappings"),
        (".".join(["a"] * 3000) + "=1", "no document has keys that deep"),
        ("zzz=&a [*a]", "an alias stands inside the value that it repeats"),
        ("zzz=" + "9" * 5000, "a number of 5000 characters"),
        ("zzz=[a" + "b" * 10_000, "is not a YAML value"),
    ],
)
def test_a_change_beyond_the_limits_is_one_short_line(tmp_path, change, said):
    message = refusal(tmp_path, GOOD, overrides=[change])
    assert message.startswith(f"--set {change[:20]}")
    assert said in message
    assert "\n" not in message
    assert len(message) <= 300


def test_a_mapping_of_changes_that_holds_itself_is_refused(tmp_path):
    changes = {}
    changes["tiling"] = changes
    assert refusal(tmp_path, GOOD, overrides=changes) == "changes: tiling: no document has keys that deep"


@pytest.mark.parametrize("added", ["zzz: &z [*z]\n", "zzz: " + "[" * 1500 + "]" * 1500 + "\n"])
def test_a_document_beyond_the_limits_is_told_with_its_place(tmp_path, added):
    message = refusal(tmp_path, GOOD + added)
    assert re.match(r"p\.yaml:8:\d+: not valid YAML: (an alias stands|more than 64 lists)", message)


@pytest.mark.timeout(20)
def test_a_document_that_is_endless_or_too_large_is_refused(tmp_path):
    (tmp_path / "large.yaml").write_text(GOOD + "zzz: " + "a" * 4_000_000)
    with pytest.raises(ConfigError, match=r"large\.yaml: cannot be read: is larger than 4 MB"):
        load(tmp_path / "large.yaml", Pipeline)
    with pytest.raises(ConfigError, match=r"/dev/zero: cannot be read: is no regular file"):
        load(Path("/dev/zero"), Pipeline)
    (tmp_path / "wide.yaml").write_text(GOOD.encode().decode(), encoding="utf-16")
    with pytest.raises(ConfigError, match=r"wide\.yaml: cannot be read: it is not UTF-8; save it as UTF-8"):
        load(tmp_path / "wide.yaml", Pipeline)


def test_a_flood_of_problems_is_cut(tmp_path):
    lines = refusal(tmp_path, GOOD + "".join(f"k{i}: 1\n" for i in range(2000))).splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith(": 1980 further problems")


def test_keys_and_values_are_shown_without_what_a_terminal_obeys(tmp_path):
    message = refusal(tmp_path, GOOD + '"a\\e[2Jb": 1\n')
    assert "a\\x1b[2Jb: unknown key" in message
