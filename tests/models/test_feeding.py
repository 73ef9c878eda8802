import numpy as np
import pytest
import torch
from pydantic import ValidationError

from geoseg.core.errors import BundleError
from geoseg.models.backends.load import make_segmenter
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.bundle import open_bundle
from geoseg.models.importing.reference import reference
from tests.conftest import BAND_NAMES, make_bundle

GAIN, BIAS = np.array([1e-4, 2e-4, 1e-4, 5e-5], np.float32), np.array([0, -0.1, 0.01, 0.2], np.float32)
STEPS = [
    {"step": "clip", "min": 0, "max": 9000}, {"step": "log", "factor": 0.005},
    {"step": "standardise", "mean": [2.0] * 4, "std": [0.5, 1, 1, 2]},
    {"step": "logistic", "slope": 2, "shift": -0.5},
]  # fmt: skip
RAW = [{"name": n, "common_name": n, "mean": 2000 + 100 * i, "std": 900} for i, n in enumerate(BAND_NAMES)]
CASES = {
    "steps": {"preprocess": STEPS, "input_scale": 10_000},
    "no steps": {"preprocess": [], "input_scale": 2.0},
    "raw": {"numbers": "raw", "bands": RAW},
    "channels": {"channels": [2, 0, 1], "temperature": 1.7},
    "sigmoid": {"output": "sigmoid", "temperature": 1.7, "channels": [1]},
    "vector": {"calibration": {"scale": [0.5, 2, 1.3], "shift": [1, -2, 0.25]}},
    "vector of channels": {"channels": [2, 0, 1], "calibration": {"scale": [0.5, 2, 1], "shift": [1, -2, 0]}},
    "vector of a sigmoid": {
        "output": "sigmoid", "channels": [1], "calibration": {"scale": [0.7], "shift": [-1.5]},
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(folder, case):
    changes = dict(CASES[case])
    if "sigmoid" in case:
        changes["classes"] = [
            {"id": k, "slug": f"c{k}", "title": f"C{k}", "color": "#112233"} for k in (3, 7)
        ]
        return _with(make_bundle(folder), changes)
    return make_bundle(folder, **changes)


def _with(bundle, changes):
    """Change the card of a bundle."""
    from geoseg.models.bundle import write_card
    from geoseg.models.card import Card

    write_card(Card.model_validate({**bundle.card.model_dump(), **changes}), bundle.folder)
    return open_bundle(bundle.folder)


@pytest.mark.parametrize("case", CASES)
def test_each_backend_feeds_and_reads_a_network_as_the_card_says(tmp_path, case):
    bundle = made(tmp_path / "bundle", case)
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5000, (2, 4, 64, 64)).astype(np.uint16)
    valid = rng.random((2, 64, 64)) > 0.1
    network = bundle.network()

    def original(x):
        with torch.inference_mode():
            return network(torch.from_numpy(x)).numpy()

    linear = (values, GAIN[:, None, None], BIAS[:, None, None])
    numbers = values.astype(np.float32) if case == "raw" else linear[0] * linear[1] + linear[2]
    mean = np.array([b.mean for b in bundle.card.bands], np.float32)[:, None, None]
    filled = np.where(valid[:, None], numbers, mean).astype(np.float32)
    expected = reference(original, bundle.card, [b.common_name for b in bundle.card.bands], filled)
    assert np.abs(expected.sum(axis=1) - 1).max() < 1e-6
    assert expected.std() > 0.01
    for backend in ("torch", "openvino"):
        spec = SegmenterSpec(bundle.folder, bundle.sha256, "cpu", backend, "fp32", "none", 1)
        segmenter = make_segmenter(bundle, spec)
        segmenter.prepare(values.shape, values.dtype)
        found = segmenter.predict(values, valid, GAIN, BIAS)
        assert np.abs(found - expected).max() < 2e-3, backend


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": "sigmoid"}, "one channel tells two classes apart, and classes has 3"),
        ({"channels": [0, 1]}, "channels must name one channel of each of the 3 classes"),
        ({"channels": [0, 1, 1]}, "names a channel twice"),
        ({"output": "probabilities", "temperature": 2.0}, "temperature must be 1"),
        ({"calibration": {"scale": [1, 1], "shift": [0, 0]}}, "calibration has 2 factors for 3 channels"),
        ({"calibration": {"scale": [1, 1, 1], "shift": [0, 0]}}, "scale has 3 numbers, and shift has 2"),
        ({"calibration": {"scale": [1, -1, 1], "shift": [0, 0, 0]}}, "calibration"),
        ({"calibration": {"scale": [1] * 3, "shift": [0] * 3}, "temperature": 2}, "temperature must be 1"),
        (
            {"calibration": {"scale": [1] * 3, "shift": [0] * 3}, "output": "probabilities"},
            "scales logits of classes, and task is classes, output probabilities",
        ),
        (
            {"format": "geoseg-bundle/1", "calibration": {"scale": [1] * 3, "shift": [0] * 3}},
            "calibration is a key of geoseg-bundle/2",
        ),
        (
            {"preprocess": [{"step": "standardise", "mean": [1], "std": [1]}]},
            "needs a mean and a std of each of 4 bands",
        ),
        ({"preprocess": [{"step": "exec", "code": "x"}]}, "step"),
        ({"format": "geoseg-bundle/1", "numbers": "raw"}, "numbers is a key of geoseg-bundle/2"),
        ({"input_scale": 0}, "input_scale"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(bundle, changes, message):
    from geoseg.models.card import Card

    fields = bundle.card.model_dump(exclude_defaults=True)
    with pytest.raises(ValidationError, match=message):
        Card.model_validate({**fields, **changes})


def test_a_format_of_before_is_read(bundle, tmp_path):
    import json
    import shutil

    from geoseg.models.card import NEW_KEYS

    shutil.copytree(bundle.folder, tmp_path / "old")
    path = tmp_path / "old" / "geoseg.json"
    card = {k: v for k, v in json.loads(path.read_text()).items() if k not in NEW_KEYS}
    path.write_text(json.dumps({**card, "format": "geoseg-bundle/1"}))
    assert open_bundle(tmp_path / "old").card.is_plain
    path.write_text(json.dumps({**card, "format": "geoseg-bundle/3"}))
    with pytest.raises(BundleError, match="format"):
        open_bundle(tmp_path / "old")
