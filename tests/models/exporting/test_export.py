import json

import numpy as np
import pytest

from geoseg.core.errors import BundleError, OutputError
from geoseg.models.exporting.export import deepness_metadata, export_bundle
from geoseg.models.importing import proof
from geoseg.models.importing.importer import Checks, import_model
from geoseg.models.importing.source import Ask
from tests.conftest import BAND_NAMES, make_bundle

FORMS = {
    "plain": {"temperature": 1.4},
    "raw": {
        "numbers": "raw",
        "bands": [{"name": n, "common_name": n, "mean": 90, "std": 40} for n in BAND_NAMES],
    },
    "steps": {
        "input_scale": 10_000,
        "preprocess": [
            {"step": "clip", "min": 0, "max": 9000}, {"step": "log", "factor": 0.005},
            {"step": "standardise", "mean": [2.0] * 4, "std": [0.5, 1, 1, 2]},
            {"step": "logistic", "slope": 2, "shift": -0.5},
        ],
    },
    "fewer": {"channels": [2, 0, 1]},
    "vector": {"calibration": {"scale": [0.5, 2, 1.3], "shift": [1, -2, 0.25]}},
    "photographs": {"gsd_m": None, "resize": [64, 96]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(proof, "BATCHES", 2)
    monkeypatch.setattr(proof, "resolve_backend", lambda _, b, *__: "openvino" if b.is_graph else "torch")


@pytest.mark.parametrize("form", FORMS)
def test_an_exported_network_comes_back_with_the_same_probabilities(tmp_path, form):
    bundle = make_bundle(tmp_path / "made", **FORMS[form])
    _, item = export_bundle(bundle, "stac", tmp_path / "out")
    back = import_model(item, tmp_path / "back", {}, Ask(), Checks()).bundle
    values = next(iter(proof.seeded(bundle.card)))
    found, expected = (proof.predict(proof.segmenter_of(b), values) for b in (back, bundle))
    assert expected.std() > 0.01
    assert np.abs(found - expected).max() < 1e-3
    for key in ("mean", "std"):
        ours, theirs = ([getattr(b, key) for b in c.card.bands] for c in (back, bundle))
        assert np.allclose(ours, theirs)
    assert [c.slug for c in back.card.classes] == [c.slug for c in bundle.card.classes]
    assert (back.card.gsd_m, back.card.resize) == (bundle.card.gsd_m, bundle.card.resize)
    with pytest.raises(OutputError, match="exists already"):
        export_bundle(bundle, "onnx", tmp_path / "out")


def test_the_item_is_valid_and_the_metadata_are_those_of_deepness(tmp_path):
    import onnx
    import pystac
    from pystac.extensions.mlm import MLMExtension

    bundle = make_bundle(tmp_path / "made")
    file, item = export_bundle(bundle, "stac", tmp_path / "out")
    read = MLMExtension.ext(pystac.Item.from_file(str(item)))
    assert read.mlm_name == "toy"
    assert [str(b) for b in read.input[0].bands] == list(BAND_NAMES)
    metadata = {p.key: json.loads(p.value) for p in onnx.load(file).metadata_props}
    assert metadata == json.loads(json.dumps(deepness_metadata(bundle.card)))
    assert metadata["class_names"] == {"0": "Class 1", "1": "Class 2", "2": "Class 3"}
    assert (metadata["resolution"], metadata["tile_size"], metadata["tiles_overlap"]) == (1000, 128, 25)


def test_an_export_that_would_answer_otherwise_is_refused(tmp_path, monkeypatch):
    from geoseg.models.exporting import export

    bundle = make_bundle(tmp_path / "made")
    wrong = bundle.card.model_copy(update={"temperature": 2.0})
    real = export.wrapped
    monkeypatch.setattr(export, "wrapped", lambda model, _, scale: real(model, wrong, scale))
    with pytest.raises(BundleError, match=r"differ by up to 0\.\d+.*nothing was written"):
        export_bundle(bundle, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Plugin:
    """An ONNX file as Deepness loads it: types and shapes from the graph, defaults from the metadata."""

    def __init__(self, path):
        import onnxruntime

        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (self.entry,), (self.answer,) = self.session.get_inputs(), self.session.get_outputs()
        self.texts = self.session.get_modelmeta().custom_metadata_map

    def value(self, key):
        return json.loads(self.texts[key])

    def names(self):
        pairs = sorted(self.value("class_names").items(), key=lambda pair: int(pair[0]))
        assert [int(number) for number, _ in pairs] == list(range(len(pairs)))
        return [name for _, name in pairs]

    def predict(self, picture):
        """Answer a picture (rows, cols, bands) of numbers as the layer has them."""
        x = np.float32(picture[None] * 1.0 / 255.0).transpose(0, 3, 1, 2)
        return self.session.run(None, {self.entry.name: x})[0]


SCALED = [
    {"name": n, "common_name": n, "mean": 0.2, "std": 0.1, "scale": 0.002, "offset": offset}
    for n, offset in zip(BAND_NAMES, (0, -0.1, 0, -0.1), strict=True)
]
FOR_DEEPNESS = {
    "raw": FORMS["raw"],
    "physical": {"bands": SCALED, "temperature": 1.4},
    "steps": {
        "bands": [{**b, "offset": 0.0} for b in SCALED], "input_scale": 100, "channels": [2, 0, 1],
        "preprocess": [
            {"step": "log", "factor": 0.5}, {"step": "standardise", "mean": [2] * 4, "std": [1] * 4},
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("form", FOR_DEEPNESS)
def test_deepness_loads_the_file_and_gets_the_probabilities_of_the_bundle(tmp_path, form):
    bundle = make_bundle(tmp_path / "made", **FOR_DEEPNESS[form])
    (file,) = export_bundle(bundle, "deepness", tmp_path / "out")
    plugin, card = Plugin(file), bundle.card
    # The size of the tiles is the shape of the input; a free one, or one that is not square, is refused.
    assert plugin.entry.shape[1:] == [4, card.tile.size, card.tile.size]
    assert plugin.answer.shape[1:] == [3, card.tile.size, card.tile.size]
    assert isinstance(plugin.entry.shape[0], str)  # any batch
    assert plugin.names() == [c.title for c in card.classes]
    assert str(plugin.value("model_type")).capitalize() == "Segmentor"
    assert float(plugin.value("resolution")) == 100 * card.gsd_m.min  # cm a pixel
    assert int(plugin.value("tile_size")) == int(plugin.value("tiles_size")) == card.tile.size
    assert int(plugin.value("tiles_overlap")) == round(100 * card.tile.overlap / card.tile.size)
    assert "standardization_mean" not in plugin.texts  # it is in the graph
    picture = np.random.default_rng(0).integers(0, 256, (card.tile.size, card.tile.size, 4), np.uint8)
    numbers = picture.astype(np.float32)
    if card.numbers == "physical":
        numbers = numbers * [b.scale for b in card.bands] + [b.offset for b in card.bands]
    values = numbers.transpose(2, 0, 1)[None].astype(np.float32)
    expected = proof.predict(proof.segmenter_of(bundle), values)
    found = plugin.predict(picture)
    assert expected.std() > 0.01
    assert np.abs(found - expected).max() < 1e-3
    if form == "physical":
        back = import_model(file, tmp_path / "back", {}, Ask(), Checks()).bundle
        assert (back.card.numbers, back.card.tile.size) == ("raw", card.tile.size)


def test_steps_that_cannot_take_in_an_offset_are_told(tmp_path):
    changes = {**FOR_DEEPNESS["steps"], "bands": SCALED}
    with pytest.raises(BundleError, match=r"toy: its bands have scales or offsets .*--to onnx"):
        export_bundle(make_bundle(tmp_path / "made", **changes), "deepness", tmp_path / "out")
