import pytest
import torch
from torch.nn.functional import max_pool2d, max_unpool2d
from torchvision.models import vgg16_bn

from geoseg.models.networks.segnet import STAGES, SegNet, unpool


def conv_count(module):
    return sum(isinstance(m, torch.nn.Conv2d) for m in module.modules())


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("encoder", list(STAGES))
def test_a_tile_comes_back_in_its_size_at_any_depth(encoder, depth):
    with torch.device("meta"):
        network = SegNet(encoder, encoder_depth=depth, in_channels=7, classes=4)
        rows, cols = 3 * 2**depth, 5 * 2**depth
        assert network(torch.empty(2, 7, rows, cols)).shape == (2, 4, rows, cols)
    assert network.encoder.output_stride == 2**depth


def test_a_side_that_cannot_be_halved_often_enough_is_refused():
    with pytest.raises(RuntimeError, match="divisible by 8"):
        SegNet("vgg11", encoder_depth=3)(torch.randn(1, 3, 32, 36))


def test_the_network_of_the_paper_has_thirteen_convolutions_on_either_side():
    with torch.device("meta"):
        network = SegNet("vgg16", classes=11)
    assert conv_count(network.encoder) == 13
    assert conv_count(network.decoder) + conv_count(network.segmentation_head) == 13
    widths = [m.out_channels for m in network.decoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert widths == [512] * 5 + [256] * 3 + [128] * 2 + [64] * 2
    # The paper's table 1 counts 29.45 million, with 11 classes.
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(29.45e6, rel=1e-3)


def test_the_encoder_has_the_names_of_vgg_with_batch_norm():
    with torch.device("meta"):
        wanted = {k: v.shape for k, v in vgg16_bn().state_dict().items() if k.startswith("features.")}
        found = {k: v.shape for k, v in SegNet("vgg16").encoder.state_dict().items()}
    assert found == wanted


def test_a_single_maximum_comes_back_at_its_place():
    x = torch.zeros(1, 1, 4, 6)
    x[0, 0, 3, 2] = 7
    pooled, indices = max_pool2d(x, 2, return_indices=True)
    assert torch.equal(unpool(pooled, indices, (4, 6)), x)


def test_unpooling_equals_torchs():
    x = torch.randn(2, 3, 8, 12).to(memory_format=torch.channels_last)
    pooled, indices = max_pool2d(x, 2, return_indices=True)
    back = unpool(pooled, indices, (8, 12))
    assert torch.equal(back, max_unpool2d(pooled, indices, 2))
    assert torch.equal(back[back != 0].sort().values, pooled.flatten().sort().values)


def test_the_output_hangs_on_the_stored_positions():
    torch.manual_seed(0)
    network = SegNet("vgg11", encoder_depth=2).eval()
    with torch.inference_mode():
        features, pooled = network.encoder(torch.randn(1, 3, 32, 32))
        right = network.decoder((features, pooled))
        (indices, shape), deep = pooled
        moved = (indices // 2 * 2, shape)  # always the left pixel of the two in a row
        assert not torch.equal(network.decoder((features, [moved, deep])), right)
        assert torch.equal(network.decoder((features, [(indices, shape), deep])), right)


def test_it_learns_to_find_bright_squares():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    network = SegNet("vgg11", encoder_depth=2, in_channels=1, classes=2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        labels = (torch.rand(4, 1, 8, 8, generator=generator) < 0.3).float()
        labels = torch.nn.functional.interpolate(labels, scale_factor=4)
        image = labels + 0.3 * torch.randn(4, 1, 32, 32, generator=generator)
        loss = torch.nn.functional.cross_entropy(network(image), labels[:, 0].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert sum(losses[-3:]) / 3 < 0.2
