import pytest
import torch
from torchvision.models import resnet50
from torchvision.models.segmentation import fcn_resnet50

from geoseg.models.networks.fcn import FCN


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return FCN(in_channels=3, classes=5).eval()


def test_it_computes_what_torchvisions_does(network):
    original = fcn_resnet50(weights=None, weights_backbone=None, aux_loss=False, num_classes=5).eval()
    original.backbone.load_state_dict(network.encoder.state_dict())
    layers = torch.nn.Sequential(*network.decoder, *network.segmentation_head)
    original.classifier.load_state_dict(layers.state_dict())
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(network(x), original(x)["out"])


def test_its_encoder_has_the_names_of_a_resnet(network):
    wanted = {k: v.shape for k, v in resnet50().state_dict().items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in network.encoder.state_dict().items()} == wanted


@pytest.mark.parametrize("bands", [1, 13])
def test_it_takes_any_number_of_bands_and_any_size(bands):
    network = FCN(in_channels=bands, classes=2).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, bands, 33, 50)).shape == (1, 2, 33, 50)


def test_the_deep_encoder_is_deeper():
    with torch.device("meta"):
        shallow, deep = FCN("resnet50"), FCN("resnet101")
    assert len(shallow.encoder.layer3) == 6
    assert len(deep.encoder.layer3) == 23
