"""Soups: the mean of weights, and batch norms that know it."""

import torch

from geoseg.training.repeats.soup import mean_weights, stir
from tests.training.repeats.worlds import Tiny


def networks(count):
    for seed in range(count):
        torch.manual_seed(seed)
        yield Tiny(2, 3)


class Chips(torch.utils.data.Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        return {"image": torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(i)) + i}


def test_a_soup_is_the_mean_of_the_weights():
    states = [n.state_dict() for n in networks(3)]
    mean = mean_weights(states)
    for name in ("first.weight", "norm.bias", "last.weight"):
        expected = (states[0][name] + states[1][name] + states[2][name]) / 3
        torch.testing.assert_close(mean[name], expected)
    assert mean["norm.num_batches_tracked"].dtype == torch.long


def test_statistics_of_batch_norms_are_measured_again_with_the_mean_weights():
    states = [n.state_dict() for n in networks(2)]
    soup = Tiny(2, 3)
    stir(soup, states, Chips(), 2)
    # The last chip of five stands alone and is left out.
    batches = [torch.stack([Chips()[i]["image"] for i in pair]) for pair in ((0, 1), (2, 3))]
    with torch.no_grad():
        inputs = [soup.first(b) for b in batches]
    expected = torch.stack([x.mean((0, 2, 3)) for x in inputs]).mean(0)
    torch.testing.assert_close(soup.norm.running_mean, expected)
    assert not torch.allclose(soup.norm.running_mean, mean_weights(states)["norm.running_mean"])
    assert not soup.training
    torch.testing.assert_close(soup.first.weight, mean_weights(states)["first.weight"])
