import pytest
import torch

from geoseg.core.errors import BundleError
from geoseg.models.bundle import save_bundle
from geoseg.models.networks.architectures import (
    REGISTRY,
    build,
    divisor,
    divisor_of,
    input_bands,
    is_global,
    without_content,
)
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from tests.benchmarks.architectures import NETWORKS, config_of
from tests.conftest import BAND_NAMES, ROOT, make_bundle, reflectance, write_pipeline, write_raster

TILE = {"size": 128, "min": 128, "max": 128, "overlap": 32, "divisor": 32}

# With plain encoders; all others pool, attend or normalise over the whole tile.
LOCAL = ("Unet", "UnetPlusPlus", "Linknet", "FCN", "SegNet")

# Parts that smp and timm make and never use: stages below encoder_depth, and a transformer's last norm.
SHALLOW = tuple(f"encoder.model.blocks.{i}." for i in range(3, 7))
UNUSED = {
    **dict.fromkeys(("Unet", "UnetPlusPlus", "MAnet", "Linknet"), SHALLOW),
    "PSPNet": ("encoder.layer3.", "encoder.layer4."),
    "DPT": ("encoder.model.norm.",),
}  # fmt: skip

LITE, VIT = {"encoder_name": "tu-tf_efficientnet_lite0"}, {"encoder_name": "tu-vit_tiny_patch16_224"}


@pytest.fixture(autouse=True, scope="module")
def _threads():
    """Run in one thread, and leave the number of threads of this process as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=list(REGISTRY))
def toy(request, tmp_path_factory):
    """A bundle of each architecture."""
    return make_bundle(tmp_path_factory.mktemp("toys") / request.param, architecture=request.param, tile=TILE)


@pytest.fixture(scope="module")
def network(toy):
    """The network of the bundle."""
    return toy.network()


def test_a_step_of_training_reaches_every_weight(toy, network):
    network.train()
    logits = network(torch.randn(2, 4, 128, 128))
    assert logits.shape == (2, 3, 128, 128)
    if toy.config["_model_class"] == "FCN":
        # Its residual blocks begin as the identity: what lies inside is reached from the second step on.
        for module in network.modules():
            if hasattr(module, "bn3"):
                torch.nn.init.constant_(module.bn3.weight, 0.1)
        logits = network(torch.randn(2, 4, 128, 128))
    torch.nn.functional.cross_entropy(logits, torch.randint(3, (2, 128, 128))).backward()
    unused = UNUSED.get(toy.config["_model_class"], ())
    missed = {n for n, p in network.named_parameters() if p.grad is None}
    assert missed == {n for n, _ in network.named_parameters() if n.startswith(unused or "nothing")}
    reached = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in reached)
    assert sum(bool(g.any()) for g in reached) > 0.9 * len(reached)
    network.zero_grad()


def test_a_network_has_the_parts_that_training_treats_apart(network):
    names = ("encoder", "decoder", "segmentation_head")
    parts = [p for name in names for p in getattr(network, name).parameters()]
    assert {id(p) for p in parts} == {id(p) for p in network.parameters()}
    assert input_bands(network) == 4


def test_a_bundle_gives_the_same_output_again(toy, network, tmp_path):
    again = save_bundle(network.eval(), toy.card, tmp_path / "again")
    assert again.config == toy.config
    x = torch.randn(1, 4, 128, 128)
    with torch.inference_mode():
        assert torch.equal(again.network()(x), network(x))


@pytest.mark.usefixtures("without_pictures")
def test_a_scene_is_mapped(toy, tmp_path):
    scene = write_raster(tmp_path / "scene.tif", reflectance(150, 140), names=BAND_NAMES, scale=0.0001)
    pipeline = write_pipeline(tmp_path, scene, toy.folder, "checks: {memory: warn}")
    manifest = run(prepare(pipeline, ["outputs.polygons=[]"])).record.model_dump(mode="json")
    assert manifest["tiles_predicted"] == 4
    assert sum(manifest["pixels"].values()) == 150 * 140
    assert manifest["pixels"]["nodata"] == 0


def test_what_a_network_demands_of_tiles_is_found(toy, network):
    before = {k: v.clone() for k, v in network.train().state_dict().items()}
    empty = without_content(network)
    step, name = divisor(empty), toy.config["_model_class"]
    assert 32 % step == 0
    assert divisor_of(toy.config) == step
    with torch.no_grad():
        assert empty(torch.empty(1, 4, 128, 128 + step, device="meta")).shape == (1, 3, 128, 128 + step)
        if name not in ("Unet", "FCN"):  # these take any size
            with pytest.raises((RuntimeError, AssertionError)):
                empty(torch.empty(1, 4, 128, 128 + step // 2, device="meta"))
    assert is_global(empty) == (name not in LOCAL)
    assert network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("architecture", "arguments", "step", "whole"),
    [
        ("Unet", {"encoder_name": "mit_b0"}, 32, True),
        ("Unet", {"encoder_name": "tu-efficientnet_b0"}, 32, True),
        ("Unet", {"encoder_name": "resnet18", "decoder_attention_type": "scse"}, 32, True),
        ("DeepLabV3", {**LITE, "encoder_output_stride": 16}, 16, True),
        ("DPT", {**VIT, "img_size": 96}, 96, True),
        ("SegNet", {"encoder_name": "vgg11", "encoder_depth": 4}, 16, False),
    ],
)
def test_the_encoder_and_its_arguments_decide_what_tiles_are_taken(architecture, arguments, step, whole):
    config = {"_model_class": architecture, "in_channels": 6, "classes": 2, **arguments}
    assert divisor(config) == step
    assert is_global(config) == whole


def test_seeing_the_whole_tile_is_what_the_numbers_say():
    # A pixel's logits hang on another one 900 px away, or they do not.
    def reacts(config):
        torch.manual_seed(0)
        network = build({"in_channels": 1, "classes": 2, **config}).eval()
        x = torch.randn(1, 1, 64, 1024)
        y = x.clone()
        y[..., -64:] += 3
        with torch.inference_mode():
            return not torch.equal(network(x)[..., :64], network(y)[..., :64])

    shallow = {"encoder_name": "resnet18", "encoder_depth": 3}
    unet = {"_model_class": "Unet", **shallow, "decoder_channels": (16, 16, 16)}
    for config in (unet, {**unet, "decoder_attention_type": "scse"}, {"_model_class": "PSPNet", **shallow}):
        assert reacts(config) == is_global(config)


def test_a_network_that_takes_no_tile_is_refused():
    class Shrinking(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Conv2d(3, 2, 3)
            self.encoder.output_stride = 4

        def forward(self, x):
            return self.encoder(x)

    with pytest.raises(BundleError, match=r"Shrinking with this encoder returns no tile in the size"):
        divisor(Shrinking())


@pytest.mark.parametrize("name", ["FCN", "SegNet"])
@pytest.mark.parametrize("wrong", [{"encoder_name": "resnet18"}, {"encoder_depth": 9}])
def test_arguments_that_do_not_fit_are_told(name, wrong):
    with pytest.raises(BundleError, match=rf"architecture {name} cannot be built: "):
        build({"_model_class": name, **wrong})


@pytest.fixture(scope="module")
def table():
    """Rows of the table in docs/architectures.md, by architecture."""
    lines = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    header, *rest = [row for row in rows if len(row) == 7]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rest if row[0] in REGISTRY}


def test_every_architecture_is_documented(table):
    assert list(table) == list(REGISTRY) == list(NETWORKS)


@pytest.mark.parametrize("name", list(REGISTRY))
def test_the_documented_facts_are_true(table, name):
    network, row = without_content(config_of(name)), table[name]
    assert row["encoder"] == NETWORKS[name][0]
    assert row["parameters [M]"] == f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}"
    assert row["divisor [px]"] == str(divisor(network))
    assert row["tile size"] == ("any" if name in LOCAL else "fixed")
