import json
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from geoseg.cli.app import app
from geoseg.core.errors import BundleError, ConfigError, OutputError
from geoseg.models.bundle import open_bundle
from geoseg.models.card import FORMAT
from geoseg.models.importing import find, proof
from geoseg.models.importing.source import Ask
from tests.models.importing.conftest import SAID, take_in


def named(said, **changes):
    return {**said, **changes}


def agreement(bundle, foreign):
    """Return the largest difference from the network itself, normalised apart."""
    card = bundle.card
    mean, std = (np.array([getattr(b, k) for b in card.bands])[:, None, None] for k in ("mean", "std"))
    x = np.random.default_rng(3).normal(size=(1, 4, 96, 128))
    numbers = (x * std + mean).astype(np.float32)
    found = proof.predict(proof.segmenter_of(bundle), numbers)
    with torch.inference_mode():
        expected = torch.softmax(foreign.network(torch.from_numpy(x.astype(np.float32))), 1).numpy()
    assert expected.std() > 0.05
    return np.abs(found - expected).max()


@pytest.mark.parametrize(
    "name", ["smp", "bare.safetensors", "bare.pth", "nested.pt", "last.ckpt", "program.pt"]
)
def test_each_published_form_becomes_a_bundle_that_answers_alike(foreign, tmp_path, name):
    asks = {"smp": Ask(), "program.pt": Ask(trust=True)}
    if name == "last.ckpt":  # the architecture stands in it; only the arguments do not
        asks[name] = Ask({k: foreign.config[k] for k in ("encoder_depth", "decoder_channels")})
    made = take_in(foreign.folder / name, tmp_path / "bundle", ask=asks.get(name, foreign.ask))
    card = made.bundle.card
    assert (card.format, made.origin) == (FORMAT, card.origin)
    assert (made.origin.source, made.origin.batches) == (name, proof.BATCHES)
    assert 0 <= made.origin.largest_difference <= proof.TOLERANCE
    assert agreement(made.bundle, foreign) <= proof.TOLERANCE
    assert [(c.id, c.slug) for c in card.classes] == [(0, "water"), (1, "trees"), (2, "bare-soil")]
    assert (card.gsd_m.min, card.gsd_m.max, card.tile.divisor) == (10, 30, 8)
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]
    if name == "last.ckpt":
        assert "criterion.weight" in made.notes[0]


def test_an_onnx_file_is_run_as_onnx(foreign, onnx_file, tmp_path):
    made = take_in(onnx_file, tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    assert made.origin.compared_with.startswith("onnxruntime ")
    assert json.loads((bundle.folder / "config.json").read_text()) == {
        "_model_class": "ONNX", "file": "model.onnx", "in_channels": 4, "classes": 3,
    }  # fmt: skip
    assert (bundle.folder / "model.onnx").read_bytes() == onnx_file.read_bytes()
    assert agreement(bundle, foreign) <= proof.TOLERANCE
    assert bundle.card.tile.divisor == 8
    assert 100 < bundle.card.memory_bytes_per_pixel < 2000
    with pytest.raises(BundleError, match="torch can neither run nor train"):
        bundle.network()


WRONG = {
    "mean": {"mean": [0.2, 0.25, 0.25, 0.3]},
    "std": {"std": [0.1, 0.05, 0.16, 0.2]},
    "swapped bands": {"mean": [0.25, 0.2, 0.15, 0.3], "std": [0.05, 0.1, 0.08, 0.2]},
    "scale": {"input_scale": 255.0},
    "steps": {"preprocess": [{"step": "log", "factor": 1.0}]},
    "swapped channels": {"channels": [1, 0, 2]},
    "temperature": {"temperature": 1.5},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_card_that_is_wrong_is_refused_by_the_originals_answers(foreign, tmp_path, wrong):
    answers = foreign.answers(tmp_path / "answers.npz")
    with pytest.raises(BundleError, match=r"differ from the original's by up to [01].*nothing was written"):
        take_in(foreign.folder / "smp", tmp_path / "bundle", named(SAID, **WRONG[wrong]), answers=answers)
    assert [p.name for p in tmp_path.iterdir()] == ["answers.npz"]


def test_the_originals_answers_accept_the_right_card(foreign, as_run, tmp_path):
    made = take_in(foreign.folder / "smp", tmp_path / "bundle", answers=foreign.answers(tmp_path / "a.npz"))
    assert made.origin.compared_with.endswith("and the answers in a.npz")
    assert made.origin.batches == proof.BATCHES + 2


def test_what_are_no_probabilities_is_refused(foreign, onnx_file, tmp_path):
    source = find.read_source(onnx_file, Ask())
    bundle = take_in(onnx_file, tmp_path / "bundle").bundle
    card = bundle.card.model_copy(update={"output": "probabilities"})
    with pytest.raises(BundleError, match="which are no probabilities"):
        proof.largest_difference(bundle, source.original, card, proof.seeded(card))


@pytest.mark.parametrize(
    "wrong", [{"mean": [0.2, 0.25, 0.25, 0.3]}, {"bands": ["green", "blue", "red", "nir"]}]
)
def test_a_card_that_contradicts_its_source_is_refused(foreign, onnx_file, tmp_path, wrong):
    import onnx

    model = onnx.load(onnx_file)
    entry = model.metadata_props.add()
    entry.key = "geoseg"
    entry.value = json.dumps({k: SAID[k] for k in ("bands", "mean", "std", "numbers")})
    onnx.save(model, tmp_path / "said.onnx")
    rest = {k: SAID[k] for k in ("classes", "gsd")}
    with pytest.raises(BundleError, match=f"the source says otherwise than the card: {next(iter(wrong))}"):
        take_in(tmp_path / "said.onnx", tmp_path / "bundle", {**rest, **wrong})
    assert take_in(tmp_path / "said.onnx", tmp_path / "bundle", rest).origin.largest_difference < 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": ["red", "nir"], "mean": [1] * 2, "std": [1] * 2}, "takes 4 bands, and 2 are named"),
        ({"classes": ["a", "b"]}, r"gives 3 channels, and 2 classes are named.*channels=0,1,2"),
        ({"classes": ["a", "b"], "channels": [0, 3]}, "gives 3 channels, and channel 3 is named"),
        ({"output": "probabilities"}, "the source says otherwise than the card: output"),
        ({"mean": [0.1, 0.2]}, "mean has 2 values, and bands has 4"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_network_is_told(foreign, tmp_path, changes, message):
    with pytest.raises((ConfigError, BundleError), match=message):
        take_in(foreign.folder / "smp", tmp_path / "bundle", named(SAID, **changes))
    assert not list(tmp_path.iterdir())


def test_a_dropped_channel_is_dropped_before_the_softmax(foreign, tmp_path):
    said = named(SAID, classes=["water", "bare soil"], channels=[0, 2])
    made = take_in(foreign.folder / "smp", tmp_path / "bundle", said)
    x = np.random.default_rng(3).normal(size=(1, 4, 64, 64)).astype(np.float32)
    mean, std = (np.array(SAID[k], np.float32)[:, None, None] for k in ("mean", "std"))
    found = proof.predict(proof.segmenter_of(made.bundle), x * std + mean)
    with torch.inference_mode():
        expected = torch.softmax(foreign.network(torch.from_numpy(x))[:, [0, 2]], 1).numpy()
    assert np.abs(found - expected).max() < 1e-3


def test_what_nobody_says_is_listed_and_a_form_is_written(foreign, tmp_path):
    with pytest.raises(
        ConfigError, match=r"says: bands, mean, std, numbers, classes, gsd; wrote .*bundle\.card\.yaml"
    ):
        take_in(foreign.folder / "smp", tmp_path / "bundle", {})
    form = tmp_path / "bundle.card.yaml"
    text = form.read_text()
    for key in ("bands", "mean", "std", "numbers", "classes", "gsd"):
        assert f"\n{key}:\n" in text
        text = text.replace(f"\n{key}:\n", f"\n{key}: {json.dumps(SAID[key])}\n")
    form.write_text(text)
    command = ["models", "import", str(foreign.folder / "smp"), "--output", str(tmp_path / "bundle")]
    done = CliRunner().invoke(app, [*command, "--card", str(form)])
    assert done.exit_code == 0, done.output
    assert "its probabilities differ from those of torch" in done.stdout
    again = CliRunner().invoke(app, [*command, "--card", str(form)])
    assert (again.exit_code, "exists already" in again.stderr) == (1, True)


def test_show_tells_what_is_known_of_a_source(foreign):
    done = CliRunner().invoke(app, ["models", "show", str(foreign.folder / "smp"), "--json"])
    told = json.loads(done.stdout)
    assert (told["gives"], told["takes"]) == ("3 channels", "4 bands, tiles of multiples of 8 px")
    assert told["missing"] == ["bands", "mean", "std", "numbers", "classes", "gsd"]


def test_a_scene_is_compared_as_well(foreign, scene_file, tmp_path):
    made = take_in(foreign.folder / "smp", tmp_path / "bundle", scene=str(scene_file))
    assert made.origin.batches == proof.BATCHES + 9
    assert made.origin.scene


def test_a_folder_that_exists_is_not_touched(foreign, tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        take_in(foreign.folder / "smp", tmp_path / "bundle")


def test_a_run_takes_an_imported_graph(onnx_file, scene_file, tmp_path):
    import rasterio

    import geoseg
    from tests.conftest import write_pipeline

    made = take_in(onnx_file, tmp_path / "graph", named(SAID, mean=[0.2] * 4, std=[0.1] * 4))
    path = write_pipeline(tmp_path, scene_file, made.bundle.folder, "tiling: {tile: 128}")
    geoseg.run(path, **{"outputs.polygons": [], "outputs.confidence": False})
    with rasterio.open(tmp_path / "out" / "classes.tif") as src:
        classes = src.read(1)
    assert set(np.unique(classes)) == {0, 1, 2}


def test_damaged_sources_are_refused(foreign, onnx_file, tmp_path):
    for source in (onnx_file, foreign.folder / "bare.pth", foreign.folder / "bare.safetensors"):
        cut = tmp_path / source.name
        cut.write_bytes(source.read_bytes()[:5000])
        with pytest.raises(BundleError, match=rf"{source.name}: (is no ONNX file|cannot be read)"):
            take_in(cut, tmp_path / "bundle", ask=foreign.ask)
    shutil.copytree(foreign.folder / "smp", tmp_path / "smp")
    (tmp_path / "smp" / "model.safetensors").unlink()
    with pytest.raises(BundleError, match="but no weights"):
        take_in(tmp_path / "smp", tmp_path / "bundle")
