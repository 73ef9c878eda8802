import pytest
import torch

from geoseg.models.networks.stem import adapt_stem

RGB = ("red", "green", "blue")


@pytest.fixture
def kernels():
    """Kernels whose values tell their output, input and place: 100 o + 10 i + place."""
    o, i, k = torch.arange(2.0), torch.arange(3.0), torch.arange(4.0).view(2, 2)
    return 100 * o[:, None, None, None] + 10 * i[:, None, None] + k


def test_every_band_gets_the_mean_kernel(kernels):
    found = adapt_stem(kernels, RGB, ["a", "b", "c", "d", "e", "f"], "repeat")
    assert found.shape == (2, 6, 2, 2)
    assert torch.equal(found, (kernels[:, 1:2] * 0.5).expand(2, 6, 2, 2))


def test_a_band_gets_the_kernel_of_its_name(kernels):
    found = adapt_stem(kernels, RGB, ["blue", "green", "red", "nir"], "bands")
    expected = torch.stack([kernels[:, 2], kernels[:, 1], kernels[:, 0], kernels.mean(1)], dim=1)
    assert torch.equal(found, expected * 0.75)


def test_the_same_bands_in_another_order_only_change_places(kernels):
    assert torch.equal(adapt_stem(kernels, RGB, ["blue", "red", "green"], "bands"), kernels[:, [2, 0, 1]])


@pytest.mark.parametrize("mode", ["repeat", "bands"])
@pytest.mark.parametrize("bands", [1, 2, 3, 7])
def test_activations_keep_their_size(mode, bands):
    kernels = torch.rand(4, 3, 3, 3)
    x = torch.full((1, 1, 8, 8), 2.0)
    before = torch.conv2d(x.expand(1, 3, 8, 8), kernels)
    names = [f"b{i}" for i in range(bands)]
    after = torch.conv2d(x.expand(1, bands, 8, 8), adapt_stem(kernels, RGB, names, mode))
    assert torch.allclose(after, before, rtol=1e-5)
