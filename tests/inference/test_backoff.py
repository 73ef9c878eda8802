"""A device with little memory: batches are halved until they fit."""

import numpy as np
import pytest

from geoseg.core.errors import DeviceMemoryError
from geoseg.inference import backoff, predict
from geoseg.inference.backoff import predict_with_backoff
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from tests.inference.free import FreeSegmenter, install, uninstall


class Small(FreeSegmenter):
    """A device that takes so many tiles at once."""

    def __init__(self, most, error=DeviceMemoryError):
        super().__init__()
        self.most, self.error, self.refused = most, error, 0

    def predict(self, values, valid, gain, bias):
        if len(values) > self.most:
            self.refused += 1
            raise self.error("out of memory: tried to allocate 2 GiB")
        return super().predict(values, valid, gain, bias)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(backoff, "_batch_sizes", {})


SPEC = SegmenterSpec(None, "0", "cpu", "torch", "fp32", "none", 1)


@pytest.mark.parametrize(("most", "size"), [(8, 7), (6, 3), (3, 3), (2, 1), (1, 1)])
@pytest.mark.parametrize("error", [DeviceMemoryError, MemoryError])
def test_any_size_gives_the_same_probabilities_in_the_same_order(most, size, error):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 1000, (7, 4, 8, 8)).astype(np.uint16)
    valid, ones = np.ones((7, 8, 8), bool), np.ones(4, np.float32)
    expected = FreeSegmenter().predict(values, valid, ones, ones)
    segmenter, tiles = Small(most, error), list(zip(values, valid, strict=True))
    for _ in range(2):
        fitted = predict_with_backoff(segmenter, SPEC, tiles, 7, ones, ones)
        np.testing.assert_array_equal(fitted.tiles, expected)
        assert fitted.size == size
    assert {s[0] for s in segmenter.shapes} == {size}
    refused = segmenter.refused
    predict_with_backoff(segmenter, SPEC, tiles, 7, ones, ones)
    assert segmenter.refused == refused  # what did not fit once is not tried again


def test_a_tile_that_does_not_fit_alone_stops_with_advice():
    tiles = [(np.zeros((4, 8, 8), np.uint16), np.ones((8, 8), bool))] * 4
    with pytest.raises(DeviceMemoryError, match=r"one tile of 8 x 8; .*tiling.tile=256"):
        predict_with_backoff(Small(0, MemoryError), SPEC, tiles, 4, np.ones(4), np.ones(4))


def test_a_run_says_that_batches_were_cut_and_gives_the_same_bytes(pipeline_file, tmp_path):
    outputs = {}
    try:
        for most in (99, 2):
            install(Small(most))
            plan = prepare(pipeline_file, ["inference.batch=8", "tiling.block=2"], tmp_path / str(most))
            manifest = run(plan).record.model_dump(mode="json")
            outputs[most] = manifest["outputs"]["classes.tif"]["sha256"]
    finally:
        uninstall()
    assert predict.load_segmenter.__module__ == "geoseg.models.backends.load"
    assert outputs[2] == outputs[99]
    cut = manifest["trouble"]["smaller_batches"]
    assert cut
    assert set(cut.values()) == {2}
    assert any(
        "batches of 8 tiles were cut to 2" in w and "inference.batch=2" in w for w in manifest["warnings"]
    )
