import contextlib
import json
import pickle
import shutil
import socket
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from geoseg.core.errors import BundleError
from geoseg.models.bundle import list_bundles, open_bundle, save_bundle
from geoseg.models.networks.architectures import SMP, build
from tests.conftest import ROOT, make_bundle


@pytest.fixture(scope="module", params=["Unet", "PSPNet"])
def original(request, tmp_path_factory):
    """A bundle of each kind."""
    return make_bundle(tmp_path_factory.mktemp("original") / "b", architecture=request.param)


@pytest.fixture
def folder(bundle, tmp_path):
    """A copy of a bundle, to be damaged."""
    shutil.copytree(bundle.folder, tmp_path / "copy")
    return tmp_path / "copy"


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_network_survives_saving_and_opening(original, tmp_path):
    network = original.network()
    again = save_bundle(network, original.card, tmp_path / "again")
    x = torch.randn(1, 4, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = network(x), open_bundle(again.folder).network()(x)
    assert expected.shape == (1, 3, 64, 96)
    assert torch.equal(found, expected)
    assert expected.std() > 0.1
    assert not again.network().training
    assert again.card == original.card
    assert again.sha256 == original.sha256


def test_a_bundle_holds_no_pickle_and_nothing_to_download(original):
    assert sorted(p.name for p in original.folder.iterdir()) == [
        "README.md",
        "config.json",
        "geoseg.json",
        "model.safetensors",
    ]
    assert json.loads((original.folder / "config.json").read_text())["encoder_weights"] is None
    assert original.architecture.split(" / ")[0] == original.config["_model_class"]
    assert original.weights_bytes == (original.folder / "model.safetensors").stat().st_size


def test_two_networks_have_two_hashes(bundle, tmp_path):
    other = make_bundle(tmp_path / "other", seed=1)
    shutil.copytree(bundle.folder, tmp_path / "titled")
    edit(tmp_path / "titled" / "geoseg.json", title="Other")
    titled = open_bundle(tmp_path / "titled")
    assert len({bundle.sha256, other.sha256, titled.sha256}) == 3


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_damaged_weights_are_refused(folder, damage):
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes({"truncated": data[:-8], "altered": data, "empty": b""}[damage])
    with pytest.raises(
        BundleError, match=r"model\.safetensors: is truncated or altered .*get the bundle again"
    ):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["geoseg.json", "config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"copy/{name}: .*[Nn]o such file") as caught:
        open_bundle(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(BundleError, match=r"gone: no such bundle folder; see: geoseg models list"):
        open_bundle(tmp_path / "gone")


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_configuration_that_is_no_object_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(BundleError, match=r"config\.json: "):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("classes", "the network has 7 classes, but geoseg.json lists 3 classes in the legend"),
        ("in_channels", "the network has 7 in channels, but geoseg.json lists 4 bands"),
    ],
)
def test_a_card_and_a_network_that_disagree_are_refused(folder, key, message):
    edit(folder / "config.json", **{key: 7})
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


def test_an_unknown_architecture_is_told_with_a_suggestion(folder):
    edit(folder / "config.json", _model_class="UNet")
    with pytest.raises(
        BundleError, match=r"architecture 'UNet' is not known; did you mean 'Unet'\?; known: Unet, "
    ):
        open_bundle(folder).network()


@pytest.mark.parametrize("config", [{}, {"_model_class": None}, {"_model_class": "SegmentationModel"}])
def test_a_configuration_without_a_known_architecture_is_refused(config):
    with pytest.raises(BundleError, match="is not known"):
        build(config)


@pytest.mark.parametrize(
    "arguments", [{"encoder_name": "no-such-net"}, {"decoder_channels": (1,)}, {"encoder_depth": 99}]
)
def test_arguments_that_do_not_build_a_network_are_refused(arguments):
    with pytest.raises(BundleError, match=r"architecture Unet cannot be built: |is no encoder"):
        build({"_model_class": "Unet", "encoder_name": "resnet18", **arguments})


def test_every_known_architecture_exists():
    import segmentation_models_pytorch as smp

    assert all(issubclass(getattr(smp, name), torch.nn.Module) for name in SMP)


def test_building_ignores_the_name_of_pretrained_weights(monkeypatch):
    def download(*_, **__):
        raise AssertionError("downloads")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    config = {"_model_class": "Unet", "encoder_name": "resnet18", "encoder_weights": "imagenet"}
    assert isinstance(build(config), torch.nn.Module)


@pytest.mark.parametrize("change", ["other shape", "fewer", "more"])
def test_weights_that_do_not_fit_the_configuration_are_refused(bundle, tmp_path, change):
    weights = load_file(bundle.folder / "model.safetensors")
    name = next(n for n in weights if n.endswith("weight"))
    if change == "other shape":
        weights[name] = torch.zeros(1, 2, 3)
    elif change == "fewer":
        del weights[name]
    else:
        weights["extra.weight"] = torch.zeros(1)
    shutil.copytree(bundle.folder, tmp_path / "b")
    save_file(weights, tmp_path / "b" / "model.safetensors")
    stamped(tmp_path / "b")
    with pytest.raises(BundleError, match=r"model\.safetensors: does not fit config\.json: ") as caught:
        open_bundle(tmp_path / "b").network()
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_safetensors_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"\x80\x04pickle")
    stamped(folder)
    with pytest.raises(BundleError, match=r"model\.safetensors: does not fit config\.json"):
        open_bundle(folder).network()


def stamped(folder):
    """Write the true hash of the weights into the card."""
    import hashlib

    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    edit(folder / "geoseg.json", weights_sha256=digest)


def test_bundles_of_a_folder_are_listed_by_name(bundle, tmp_path):
    for name in ("b", "a"):
        shutil.copytree(bundle.folder, tmp_path / name)
    (tmp_path / "c").mkdir()
    assert [p.name for p in list_bundles(tmp_path)] == ["a", "b"]
    assert list_bundles(tmp_path / "gone") == []


class Watch:
    """Notes what is done beyond reading the bundle and installed packages, while it is on."""

    def __init__(self):
        self.on, self.seen = False, []
        self.places = (sys.prefix, sys.base_prefix, str(ROOT), "/proc/", "/sys/")
        sys.addaudithook(self.note)

    def note(self, event, values):
        if not self.on or self.seen:
            return
        if event == "open" and isinstance(values[0], str):
            inside = Path(values[0]).name in ("geoseg.json", "config.json", "model.safetensors")
            if not inside and not values[0].startswith(self.places):
                self.seen.append((event, values[0]))
        elif event.startswith(("socket.", "pickle.", "os.system", "subprocess.", "os.exec", "urllib.")):
            self.seen.append((event, str(values)[:200]))

    def __enter__(self):
        self.on, self.seen = True, []

    def __exit__(self, *_):
        self.on = False


@pytest.fixture(scope="module")
def watch():
    """One for all tests: a hook cannot be taken away again."""
    return Watch()


@pytest.mark.parametrize("architecture", ["Unet", "DPT"])
def test_opening_a_bundle_fetches_and_unpickles_nothing(architecture, tmp_path, watch, monkeypatch):
    folder = make_bundle(tmp_path / "b", architecture=architecture).folder
    for module, name in (
        (torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"),
        (torch.hub, "download_url_to_file"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("a pickle or a download"))
    with watch:
        open_bundle(folder).network()
    assert watch.seen == []


@pytest.mark.parametrize(
    "hostile",
    [
        {"checkpoint_path": "{folder}/evil.pth"}, {"pretrained_cfg": {"file": "{folder}/evil.pth"}},
        {"pretrained": True}, {"encoder_name": "tu-hf-hub:evil/model"},
        {"encoder_name": "tu-local-dir:{folder}"}, {"encoder_weights": "imagenet"},
    ],
)  # fmt: skip
def test_a_hostile_bundle_fetches_and_unpickles_nothing(hostile, folder, watch):
    (folder / "evil.pth").write_bytes(pickle.dumps(Path("evil")))
    edit(folder / "config.json", **json.loads(json.dumps(hostile).replace("{folder}", str(folder))))
    with watch, contextlib.suppress(BundleError):
        open_bundle(folder).network()
    assert watch.seen == []


def test_the_watch_sees_sockets_pickles_and_other_files(watch, tmp_path):
    for act in (
        lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
        lambda: pickle.loads(pickle.dumps(Path("x"))),  # noqa: S301 (its own)
        lambda: Path("/etc/hostname").read_text(encoding="utf-8"),
    ):
        with watch, contextlib.suppress(OSError):
            act()
        assert len(watch.seen) == 1


def test_a_divisor_that_the_network_does_not_take_is_refused(tmp_path):
    tile = {"size": 127, "min": 65, "max": 511, "overlap": 32, "divisor": 1}
    with pytest.raises(BundleError, match=r"tile\.divisor is 1, but .* whose sides are multiples of 8$"):
        make_bundle(tmp_path / "b", tile=tile).network()


def test_what_tiles_a_network_takes_is_found_once(bundle, monkeypatch):
    from geoseg.models.networks import architectures

    asked, real = [], architectures.divisor
    monkeypatch.setattr(architectures, "divisor", lambda network: asked.append(network) or real(network))
    architectures._divisor_of.cache_clear()
    for _ in range(2):
        bundle.network()
    assert asked == [bundle.config]
