import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geoseg.core.errors import BundleError
from geoseg.models import weights
from geoseg.models.weights import read_weights
from tests.models.test_bundle import edit, stamped


class Allocated(TorchDispatchMode):
    """Counts the bytes of new tensors that are not on the meta device."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.total += sum(t.nbytes for t in tree_leaves(out) if isinstance(t, torch.Tensor) and not t.is_meta)
        return out


@pytest.mark.parametrize(
    "large",
    [
        {"decoder_channels": [8192, 8192, 8192]},
        {"encoder_name": "mit_b5", "encoder_depth": 5, "decoder_channels": [512] * 5},
        {"encoder_name": "tu-convnext_xxlarge"},
    ],
)
def test_a_small_file_with_a_large_network_costs_nothing(bundle, large, monkeypatch):
    monkeypatch.setattr(weights, "load_file", lambda *_: pytest.fail("weights are read"))
    with Allocated() as allocated, pytest.raises(BundleError, match=r"does not fit config\.json: ") as caught:
        read_weights(
            bundle.folder / "model.safetensors", {**bundle.config, **large}, bundle.folder / "config.json"
        )
    assert allocated.total < 5e6
    assert len(str(caught.value).removeprefix(str(bundle.folder))) <= 300
    with Allocated() as control:
        torch.zeros(10)
    assert control.total == 40


def test_tables_that_a_network_computes_are_limited(bundle):
    config = {**bundle.config, "encoder_name": "tu-swin_tiny_patch4_window7_224", "img_size": 2048}
    with pytest.raises(BundleError, match="does not fit"):
        read_weights(bundle.folder / "model.safetensors", config, bundle.folder / "config.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "_MOST_COMPUTED", 10**6)
        with pytest.raises(BundleError, match=r"tables of .* GB; take a smaller img_size"):
            read_weights(bundle.folder / "model.safetensors", config, bundle.folder / "config.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.update(w=t.pop("encoder.model.conv_stem.weight")),
            "lacks encoder.model.conv_stem.weight",
        ),
        (lambda t: t.update({"a\x1b[2J" + "b" * 999: torch.zeros(1)}), "the network has no 'a.x1b"),
        (lambda t: t.update({k: v.int() for k, v in t.items() if v.ndim == 4}), "holds integer numbers"),
        (lambda t: t.update({k: v[:1].clone() for k, v in t.items() if v.ndim == 4}), "in the file and"),
    ],
)
def test_other_names_shapes_and_types_are_told(bundle, tmp_path, change, message):
    tensors = load_file(bundle.folder / "model.safetensors")
    change(tensors)
    shutil.copytree(bundle.folder, tmp_path / "b")
    save_file(tensors, tmp_path / "b" / "model.safetensors")
    with pytest.raises(BundleError, match=message) as caught:
        read_weights(tmp_path / "b" / "model.safetensors", bundle.config, tmp_path / "b" / "config.json")
    assert str(caught.value).isprintable()


def test_half_the_precision_is_loaded(bundle, tmp_path):
    from geoseg.models.bundle import open_bundle

    tensors = load_file(bundle.folder / "model.safetensors")
    shutil.copytree(bundle.folder, tmp_path / "b")
    half = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    save_file(half, tmp_path / "b" / "model.safetensors")
    stamped(tmp_path / "b")
    found = open_bundle(tmp_path / "b").network().state_dict()
    assert all(torch.equal(found[k], v.to(found[k].dtype)) for k, v in half.items())


def test_a_bundle_whose_network_cannot_be_built_names_its_configuration(bundle, tmp_path):
    from geoseg.models.bundle import open_bundle

    shutil.copytree(bundle.folder, tmp_path / "b")
    edit(tmp_path / "b" / "config.json", encoder_name="tu-no_such_net")
    with pytest.raises(BundleError, match=r"b/config\.json: encoder_name: 'tu-no_such_net' is no encoder"):
        open_bundle(tmp_path / "b").network()
