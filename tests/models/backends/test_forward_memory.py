import pytest
import torch
from torch import nn

from geoseg.models.backends.forward_memory import forward_bytes_per_pixel


class Kept(nn.Module):
    """Keep two results alive at once, then join them."""

    def forward(self, x):
        one, two = x + 1, x * 2
        return torch.cat([one, two], dim=1)


def test_what_lives_at_once_is_counted():
    # One and two (4 bands of 4 bytes each) and their join (8 bands).
    assert forward_bytes_per_pixel(Kept(), 4, 32) == 16 + 16 + 32


def test_what_is_gone_is_not_counted():
    # Sequential lets go of each result when the next is there: never more than two at once.
    chain = nn.Sequential(*[nn.Conv2d(4, 4, 1) for _ in range(6)]).eval()
    assert forward_bytes_per_pixel(chain, 4, 32) == 16 + 16


def test_views_and_changes_in_place_cost_nothing():
    chain = nn.Sequential(
        nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True), nn.Flatten(2), nn.Unflatten(2, (32, 32))
    ).eval()
    assert forward_bytes_per_pixel(chain, 4, 32) == 16


@pytest.mark.parametrize("tile", [64, 128])
def test_a_wider_network_needs_more_for_each_pixel_of_any_tile(tile):
    def network(width):
        return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 2, 1)).eval()

    assert forward_bytes_per_pixel(network(16), 3, tile) == 2 * 16 * 4
    assert forward_bytes_per_pixel(network(32), 3, tile) == 2 * 32 * 4


def test_a_real_network_needs_more_than_its_input_and_output(bundle):
    needed = forward_bytes_per_pixel(bundle.network(), 4, 128)
    assert needed > 4 * (4 + 3)
    assert needed == pytest.approx(forward_bytes_per_pixel(bundle.network(), 4, 192), rel=0.05)
