import numpy as np
import pytest

from geoseg.models.backends.openvino_mixed import part, resolutions
from geoseg.models.backends.openvino_model import FP32, import_openvino, load_model, with_shape
from tests.conftest import make_bundle


def outputs(models, x):
    """Return the outputs of graphs that follow each other, all in float32."""
    tensors = [x]
    for model in models:
        request = import_openvino().Core().compile_model(model, "CPU", FP32).create_infer_request()
        request.infer(dict(enumerate(tensors)))
        tensors = [request.get_output_tensor(i).data.copy() for i in range(len(model.outputs))]
    return tensors


@pytest.fixture(scope="module", params=["Unet", "FPN", "DeepLabV3Plus", "PSPNet"])
def network(request, tmp_path_factory, bundle):
    if request.param == "Unet":
        return load_model(bundle)
    folder = tmp_path_factory.mktemp("networks") / request.param
    return load_model(make_bundle(folder, architecture=request.param))


def test_the_parts_give_what_the_whole_gives(network):
    shape = (1, 4, 128, 96)
    whole = with_shape(network, shape)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (expected,) = outputs([whole], x)
    assert resolutions(whole) >= 3
    for level in range(resolutions(whole)):
        first, rest = part(whole, level)
        (found,) = outputs([first, rest], x)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
        sizes = [o.shape[2] for o in first.outputs if len(o.shape) == 4]
        assert min(sizes) <= 128 / 2**level + 3  # padding before a stride adds some rows


def test_the_first_part_grows_with_the_level(network):
    whole = with_shape(network, (1, 4, 128, 128))
    sizes = [len(part(whole, level)[0].get_ops()) for level in range(resolutions(whole))]
    assert sizes == sorted(set(sizes))
    with pytest.raises(ValueError, match="halves the resolution"):
        part(whole, resolutions(whole))
