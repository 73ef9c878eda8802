"""A small network, and the forms in which others would publish it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from geoseg.core.notices import ignore_warnings
from geoseg.models.importing import proof
from geoseg.models.importing.draft import read_settings
from geoseg.models.importing.importer import Checks, import_model
from geoseg.models.importing.source import Ask
from tests.conftest import BAND_NAMES, make_bundle

SAID = read_settings([
    f"bands={','.join(BAND_NAMES)}", "mean=0.2,0.25,0.15,0.3", "std=0.1,0.05,0.08,0.2", "numbers=physical",
    "classes=water,trees,bare soil", "gsd=10-30", "output=logits", "tile=64",
])  # fmt: skip
"""What the user says of the small network."""

UNET = {"_model_class": "Unet", "encoder_name": "tu-tf_efficientnet_lite0"}


@pytest.fixture(autouse=True)
def _networks_in_torch(request, monkeypatch):
    """Prove networks of the registry in torch: converting each of them takes a second."""
    if "as_run" not in request.fixturenames:
        monkeypatch.setattr(proof, "resolve_backend", lambda _, b, *__: "openvino" if b.is_graph else "torch")
        monkeypatch.setattr(proof, "BATCHES", 2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Foreign:
    """A network and its published forms."""

    folder: Path
    network: torch.nn.Module
    config: dict

    @property
    def ask(self) -> Ask:
        return Ask({k: self.config[k] for k in (*UNET, "encoder_depth", "decoder_channels")})

    def answers(self, path: Path, count: int = 2) -> Path:
        """Write what the network gave where it was trained: its own normalisation, its own softmax."""
        rng = np.random.default_rng(5)
        mean, std = (np.array(SAID[k])[:, None, None] for k in ("mean", "std"))
        numbers = (mean + std * rng.normal(size=(count, 4, 64, 64))).astype(np.float32)
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(((numbers - mean) / std).astype(np.float32)))
        np.savez(path, numbers=numbers, probabilities=torch.softmax(logits, 1).numpy())
        return path


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    made = make_bundle(folder / "made")
    network, config = made.network(), made.config
    smp = folder / "smp"
    smp.mkdir()
    shutil.copy(made.folder / "model.safetensors", smp)
    (smp / "config.json").write_text(json.dumps(config))
    state = network.state_dict()
    save_file(state, folder / "bare.safetensors")
    torch.save(state, folder / "bare.pth")
    torch.save(
        {"model_state_dict": {f"module._orig_mod.{k}": v for k, v in state.items()}}, folder / "nested.pt"
    )
    hyper = {
        "model": "unet",
        "backbone": config["encoder_name"],
        "in_channels": 4,
        "num_classes": 3,
        "loss": "ce",
    }
    lightning = {f"model.{k}": v for k, v in state.items()} | {"criterion.weight": torch.ones(3)}
    torch.save({"state_dict": lightning, "hyper_parameters": hyper, "epoch": 3}, folder / "last.ckpt")
    example = torch.zeros(1, 4, 128, 128)
    with ignore_warnings(), torch.inference_mode():
        torch.jit.trace(network, example).save(folder / "program.pt")
    return Foreign(folder, network, config)


@pytest.fixture(scope="session")
def onnx_file(foreign):
    """The network as ONNX: tiles of any multiple of 8, no metadata."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = foreign.folder / "plain.onnx"
    axes = {"input": {0: "n", 2: "rows", 3: "cols"}, "logits": {0: "n", 2: "rows", 3: "cols"}}
    with ignore_warnings():
        torch.onnx.export(
            foreign.network, (torch.zeros(1, 4, 128, 128),), path, dynamo=False, input_names=["input"],
            output_names=["logits"], dynamic_axes=axes,
        )  # fmt: skip
    return path


def take_in(path, output, said=SAID, ask=None, **checks):
    return import_model(path, output, dict(said), ask or Ask(), Checks(**checks))


@pytest.fixture
def as_run():
    """Prove with the backend that a run takes."""
