import warnings

import numpy as np
import pytest

from geoseg.core.errors import ConfigError, GeosegWarning
from geoseg.inference import precision
from geoseg.inference.precision import LEAST_PIXELS, choose_precision
from geoseg.models.backends import mixed, openvino_model
from geoseg.models.backends.mixed import Mixed

FOUND = Mixed(2, 0.0005, 100)
CHIPS = ["chip"], np.ones(4), np.zeros(4)


@pytest.fixture(autouse=True)
def _processor(monkeypatch):
    monkeypatch.setattr(openvino_model, "has_bfloat16", lambda: True)
    monkeypatch.setattr(mixed, "mixed_of_bundle", lambda _: FOUND)
    monkeypatch.setattr(mixed, "find_mixed", lambda *_: Mixed(1, 0.0001, 100))


def chosen(bundle, asked="auto", resolved="fp32", backend="openvino", pixels=LEAST_PIXELS, **others):
    return choose_precision(asked, resolved, backend, bundle, pixels, **{"here": True, **others})


def test_auto_takes_the_mixture_of_a_bundle_for_large_scenes_of_this_machine(bundle, monkeypatch):
    assert chosen(bundle) == "mixed:2"
    assert chosen(bundle, pixels=LEAST_PIXELS - 1) == "fp32"
    assert chosen(bundle, here=False) == "fp32"
    assert chosen(bundle, backend="torch") == "fp32"
    assert chosen(bundle, asked="fp32") == "fp32"
    assert chosen(bundle, asked="bf16", resolved="bf16") == "bf16"
    monkeypatch.setattr(mixed, "mixed_of_bundle", lambda _: None)
    assert chosen(bundle, sample=lambda: CHIPS) == "fp32"


def test_mixed_is_found_on_the_scene_where_the_bundle_keeps_no_chips(bundle, monkeypatch):
    assert chosen(bundle, "mixed", pixels=1) == "mixed:2"
    monkeypatch.setattr(mixed, "mixed_of_bundle", lambda _: None)
    assert chosen(bundle, "mixed", sample=lambda: CHIPS) == "mixed:1"
    with pytest.raises(ConfigError, match="toy keeps no chips on which a mixed precision could be found"):
        chosen(bundle, "mixed")


def test_where_nothing_holds_it_is_said_to_whoever_asked(bundle, monkeypatch):
    monkeypatch.setattr(mixed, "mixed_of_bundle", lambda _: Mixed(None, 0.0123, 100))
    with pytest.warns(
        GeosegWarning, match=r"no mixed precision keeps its classes \(1\.2 % change at least\)"
    ):
        assert chosen(bundle, "mixed") == "fp32"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen(bundle) == "fp32"


def test_mixed_needs_openvino_and_bfloat16(bundle, monkeypatch):
    with pytest.raises(ConfigError, match="mixed runs with OpenVINO on processors that have bfloat16"):
        chosen(bundle, "mixed", backend="torch")
    monkeypatch.setattr(openvino_model, "has_bfloat16", lambda: False)
    with pytest.raises(ConfigError, match="mixed runs with OpenVINO on processors that have bfloat16"):
        chosen(bundle, "mixed")
    assert chosen(bundle) == "fp32"


def test_the_sample_is_windows_of_one_shape(tmp_path):
    from geoseg.config.scene import SceneEntry
    from geoseg.inference.retry import ONCE
    from geoseg.scenes.opening import open_scene
    from tests.conftest import BAND_NAMES, reflectance, write_raster

    path = write_raster(tmp_path / "s.tif", reflectance(300, 520), names=BAND_NAMES, scale=0.0001)
    scene = open_scene(SceneEntry(uri=str(path)), "s", tmp_path)
    chips, gain, _ = precision.sample_of(scene, ONCE)
    assert {c.values.shape for c in chips} == {(4, 256, 256)}
    assert gain == pytest.approx(np.full(4, 1e-4))
