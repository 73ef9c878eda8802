import copy

import pytest
import torch
from torch import nn

from geoseg.models.backends.folding import fold_batch_norms
from tests.conftest import make_bundle


def lived(network):
    """Give the norms the statistics of a network that was trained."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()


def norms(network):
    return sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())


@pytest.mark.parametrize("architecture", ["Unet", "FPN", "DeepLabV3Plus", "SegNet"])
def test_a_folded_network_gives_the_same_probabilities(tmp_path, architecture):
    network = lived(make_bundle(tmp_path / "b", architecture=architecture).network())
    found = fold_batch_norms(network, 4, 64)
    assert norms(found) < norms(network) / 4  # a stage that an encoder does not use keeps its own
    x = torch.randn(2, 4, 96, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected, other = (torch.softmax(n(x), dim=1) for n in (network, found))
    assert (expected - other).abs().max() < 1e-3
    assert expected.std() > 0.05


def test_the_network_itself_stays_as_it_was(bundle):
    network = lived(bundle.network())
    before = copy.deepcopy(network.state_dict())
    fold_batch_norms(network, 4, 64)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


class Shared(nn.Module):
    """One convolution feeds a norm and something else, and its norm is called twice."""

    def __init__(self, twice):
        super().__init__()
        self.conv, self.norm, self.twice = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), twice

    def forward(self, x):
        y = self.conv(x)
        return self.norm(self.norm(y)) if self.twice else self.norm(y) + 5 * y


@pytest.mark.parametrize("twice", [True, False])
def test_what_cannot_be_folded_is_left(twice):
    torch.manual_seed(0)
    network = lived(Shared(twice))
    found = fold_batch_norms(network, 2, 32)
    assert norms(found) == 1
    x = torch.randn(1, 2, 32, 32)
    with torch.inference_mode():
        assert torch.equal(found(x), network(x))
