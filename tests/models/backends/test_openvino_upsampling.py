import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.models.backends.openvino_model import FP32, import_openvino, load_model
from geoseg.models.backends.openvino_upsampling import fuse_upsampling
from tests.conftest import make_bundle

import_openvino()
ov = pytest.importorskip("openvino")
from openvino import opset13 as op  # noqa: E402 (without its usage statistics)

SMALL, LARGE = "upsampled", "as it is"


def upsampled(x, factors=(2, 2), mode="nearest", coordinates="asymmetric", nearest_mode="floor"):
    size = [f * n for f, n in zip(factors, x.get_output_shape(0)[2:], strict=True)]
    return op.interpolate(
        x, op.constant(np.array(size)), mode, "sizes", axes=op.constant(np.array([2, 3])),
        coordinate_transformation_mode=coordinates, nearest_mode=nearest_mode,
    )  # fmt: skip


def convolved(x, weights, strides=(1, 1), pads=((1, 1), (1, 1)), dilations=(1, 1)):
    return op.convolution(x, weights, list(strides), *map(list, pads), list(dilations))


def numbers(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def result(model, inputs):
    return ov.Core().compile_model(model, "CPU", FP32)(dict(enumerate(inputs)))[0]


def kinds(model):
    return [node.get_type_name() for node in model.get_ordered_ops()]


@settings(max_examples=30, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from((SMALL, LARGE)), st.integers(1, 5)), min_size=1, max_size=4),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    channels=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_the_result_is_the_same(parts, size, channels, seed):
    rng = np.random.default_rng(seed)
    sizes = {SMALL: size, LARGE: tuple(2 * n for n in size)}
    inputs = [numbers(rng, 2, n, *sizes[kind]) for kind, n in parts]
    parameters = [op.parameter(x.shape, ov.Type.f32) for x in inputs]
    images = [upsampled(p) if kind == SMALL else p for p, (kind, _) in zip(parameters, parts, strict=True)]
    weights = numbers(rng, channels, sum(n for _, n in parts), 3, 3)
    image = op.concat(images, 1) if len(images) > 1 else images[0]
    bias = numbers(rng, 1, channels, 1, 1)
    model = ov.Model([op.relu(op.add(convolved(image, op.constant(weights)), op.constant(bias)))], parameters)
    expected = result(model, inputs)
    joined = any(kind == SMALL for kind, _ in parts)
    assert fuse_upsampling(model) == joined
    assert "Interpolate" not in kinds(model)
    assert ("ConvolutionBackpropData" in kinds(model)) == joined
    np.testing.assert_allclose(result(model, inputs), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("how", "conv"),
    [
        ({"factors": (3, 3)}, {}),
        ({"factors": (2, 4)}, {}),
        ({"mode": "linear", "coordinates": "half_pixel"}, {}),
        ({"nearest_mode": "ceil"}, {}),
        ({}, {"strides": (2, 2)}),
        ({}, {"pads": ((0, 0), (0, 0))}),
        ({}, {"pads": ((2, 2), (2, 2)), "dilations": (2, 2)}),
    ],
    ids=lambda x: "-".join(f"{k}={v}" for k, v in x.items()) or "as usual",
)
def test_another_upsampling_or_convolution_stays(how, conv):
    entry = op.parameter([1, 3, 6, 8], ov.Type.f32)
    weights = op.constant(numbers(np.random.default_rng(0), 4, 3, 3, 3))
    model = ov.Model([convolved(upsampled(entry, **how), weights, **conv)], [entry])
    before = kinds(model)
    assert fuse_upsampling(model) == 0
    assert kinds(model) == before


def test_weights_that_are_computed_stay():
    entry, weights = op.parameter([1, 3, 6, 8], ov.Type.f32), op.parameter([4, 3, 3, 3], ov.Type.f32)
    assert fuse_upsampling(ov.Model([convolved(upsampled(entry), weights)], [entry, weights])) == 0


@pytest.mark.parametrize(
    ("architecture", "upsamplings"), [("Unet", 3), ("UnetPlusPlus", 4), ("MAnet", 1), ("FPN", 0)]
)
def test_networks_give_the_same_classes(architecture, upsamplings, tmp_path):
    model = load_model(make_bundle(tmp_path / "bundle", architecture=architecture))
    model.reshape([1, 4, 128, 192])
    x = [numbers(np.random.default_rng(0), 1, 4, 128, 192)]
    expected = result(model, x)
    assert fuse_upsampling(model) == upsamplings
    found = result(model, x)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert (found.argmax(1) == expected.argmax(1)).all()
