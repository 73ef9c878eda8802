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
