"""Read weights of torch: folders of `save_pretrained`, state dicts, and checkpoints of Lightning."""

import pickle
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from geoseg.core.errors import BundleError, ConfigError, one_line
from geoseg.core.files import read_object, sha256
from geoseg.core.notices import ignore_warnings
from geoseg.models.bundle import CONFIG, save_bundle
from geoseg.models.card import Card
from geoseg.models.detector_names import renamed
from geoseg.models.importing import detectors
from geoseg.models.importing.draft import Facts
from geoseg.models.importing.sizes import Sizes
from geoseg.models.importing.source import Ask, Floats, Source
from geoseg.models.networks.architectures import build, divisor, is_global, without_content
from geoseg.models.networks.torchvision_networks import NAMES as TORCHVISION
from geoseg.models.pretrained import read as read_tensors

_ACTIVATIONS = (None, "identity", "sigmoid", "softmax", "softmax2d", "logsoftmax")
"""Activations after which the probabilities are those of the logits before them."""

_TORCHGEO = {
    "unet": "Unet", "deeplabv3+": "DeepLabV3Plus", "upernet": "UPerNet", "segformer": "Segformer",
    "dpt": "DPT",
}  # fmt: skip
"""Architectures of torchgeo's task by the name in its checkpoint."""

_WEIGHTS = ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin")


def read_folder(folder: Path, ask: Ask) -> Source:
    """Read a folder that `save_pretrained` of segmentation_models_pytorch wrote.

    Raises
    ------
    BundleError
        When it is of another library, or its weights do not fit its configuration.
    """
    config = read_object(folder / CONFIG, BundleError, "with the network's arguments")
    if "_model_class" not in config:
        kind = str(config.get("model_type") or (config.get("architectures") or ["unknown"])[0])[:40]
        raise BundleError(
            f"{folder}: is a folder of transformers ({kind}), which geoseg does not load; with transformers: "
            "torch.onnx.export(model, ...) with its output enlarged to the input, then import the .onnx"
        )
    file = next((folder / n for n in _WEIGHTS if (folder / n).is_file()), None)
    if file is None:
        raise BundleError(f"{folder}: holds {CONFIG} but no weights ({', '.join(_WEIGHTS)})")
    tensors, _ = read_checkpoint(file, trust=ask.trust)
    return _source(folder, f"folder of save_pretrained ({config['_model_class']})", config, tensors, file)


def read_file(path: Path, ask: Ask) -> Source:
    """Read a file of weights: a state dict, bare or in a checkpoint.

    Raises
    ------
    BundleError
        When it is damaged, would have to be unpickled, or does not fit the architecture.
    ConfigError
        When nobody says the architecture.
    """
    tensors, hyper = read_checkpoint(path, trust=ask.trust)
    if {"model_factory", "model_args"} & hyper.keys():
        raise BundleError(
            f"{path}: is a checkpoint of terratorch, which builds its network; export it there: "
            "torch.onnx.export(task.model, ...), then import the .onnx"
        )
    config, kind = _of_hyper_parameters(hyper, path)
    config |= ask.network
    if ask.torchvision in detectors.NAMES:
        return _detector(path, ask.torchvision, tensors, ask.network)
    if ask.torchvision is not None:
        config = _torchvision(ask.torchvision, tensors) | config
    lacking = [name for key, name in _ASKED if not config.get(key)]
    if lacking:
        raise ConfigError(
            f"{path}: does not say its architecture; say it: {' '.join(lacking)}, or --as torchvision:NAME"
        )
    config = {**_counts(config, tensors), **config}
    return _source(path, kind, config, tensors, path)


_ASKED = (("_model_class", "--architecture Unet"), ("encoder_name", "--encoder resnet34"))


def read_checkpoint(path: Path, *, trust: bool) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors of a file, by the names in it, and its hyper-parameters.

    Raises
    ------
    BundleError
        When it is damaged, or holds Python objects that nobody trusts.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path), {}
    try:
        with ignore_warnings():
            data = torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        raise BundleError(
            f"{path}: holds Python objects, which only run code; in its own environment: "
            "torch.save(ckpt['state_dict'], 'weights.pth'), or trust it with --trust"
        ) from error
    except ModuleNotFoundError as error:
        raise BundleError(
            f"{path}: holds objects of {error.name}, which is not installed; in its own environment: "
            "torch.save(ckpt['state_dict'], 'weights.pth')"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: cannot be read: {one_line(error)[:160]}; get the file again") from error
    if isinstance(data, nn.Module):
        return dict(data.state_dict()), {}
    hyper = data.get("hyper_parameters") if isinstance(data, Mapping) else None
    return _tensors(data, path), dict(hyper) if isinstance(hyper, Mapping) else {}


def _tensors(data: Any, path: Path) -> dict[str, torch.Tensor]:
    while isinstance(data, Mapping):
        inner = next((data[k] for k in _NESTS if isinstance(data.get(k), Mapping)), None)
        if inner is None:
            break
        data = inner
    found = (
        {str(k): v for k, v in data.items() if isinstance(v, torch.Tensor)}
        if isinstance(data, Mapping)
        else {}
    )
    if not found:
        raise BundleError(f"{path}: holds no tensors by name; a state dict is expected")
    return found


_NESTS = ("state_dict", "model_state_dict", "model", "network", "net", "weights")


def _of_hyper_parameters(hyper: Mapping[str, Any], path: Path) -> tuple[Facts, str]:
    """Return the architecture that hyper-parameters of torchgeo's task tell."""
    name, backbone = hyper.get("model"), hyper.get("backbone")
    if not isinstance(name, str) or not isinstance(backbone, str):
        return {}, "state dict" if not hyper else "checkpoint of Lightning"
    if name not in _TORCHGEO:
        raise BundleError(
            f"{path}: is a checkpoint of torchgeo with model {name[:40]!r}, which geoseg does not build; "
            f"it builds {', '.join(_TORCHGEO)}; export it to ONNX"
        )
    config: Facts = {"_model_class": _TORCHGEO[name], "encoder_name": backbone}
    for key, argument in (("in_channels", "in_channels"), ("num_classes", "classes")):
        if isinstance(hyper.get(key), int):
            config[argument] = hyper[key]
    if hyper.get("task") == "binary":
        config["classes"] = 1
    return config, "checkpoint of torchgeo"


def _torchvision(name: str, tensors: Mapping[str, torch.Tensor]) -> Facts:
    if name not in TORCHVISION:
        known = ", ".join((*TORCHVISION, *detectors.NAMES))
        raise ConfigError(f"--as torchvision:{name[:40]}: is none of {known}")
    last = next(
        (tensors[k] for k in ("classifier.4.weight", "classifier.low_classifier.weight") if k in tensors),
        None,
    )
    classes = {} if last is None else {"classes": last.shape[0]}
    return {"_model_class": "Torchvision", "encoder_name": name, "in_channels": 3, **classes}


def _counts(config: Facts, tensors: Mapping[str, torch.Tensor]) -> Facts:
    """Return bands and channels as the first and the last convolution of the network tell them."""
    layers = [n for n, m in without_content(config).named_modules() if isinstance(m, nn.Conv2d)]
    heads = [n for n in layers if n.startswith("segmentation_head.")]
    counts: Facts = {}
    for key, names, axis in (("in_channels", layers[:1], 1), ("classes", heads[-1:], 0)):
        for name in names:
            full = f"{name}.weight"
            found = next((t for k, t in tensors.items() if k == full or k.endswith(f".{full}")), None)
            if found is not None and found.ndim == 4:
                counts[key] = int(found.shape[axis])
    return counts


def _source(path: Path, kind: str, config: Facts, tensors: dict[str, torch.Tensor], file: Path) -> Source:
    activation = config.get("activation")
    if activation not in _ACTIVATIONS:
        raise BundleError(f"{path}: its activation {str(activation)[:40]!r} is not known; export it to ONNX")
    config = {**config, "activation": None} if "activation" in config else dict(config)
    network = build(config)
    notes = _load(network, tensors, path)
    network.eval()
    arguments: Any = network.config
    bands, channels = int(arguments["in_channels"]), int(arguments["classes"])

    def original(x: Floats) -> Floats:
        with torch.inference_mode():
            answer: Floats = network(torch.from_numpy(x)).numpy()
        return answer

    def write(card: Card, folder: Path) -> None:
        save_bundle(network, card, folder)

    facts = {"output": "sigmoid" if channels == 1 else "logits"}
    sizes = Sizes(divisor(network), is_global=is_global(network))
    return Source(
        path=path, kind=kind, facts=facts, sizes=sizes, bands=bands, channels=channels, write=write,
        original=original, runner=f"torch {version('torch')}", sha256=sha256(file), notes=notes,
    )  # fmt: skip


def _detector(path: Path, name: str, tensors: dict[str, torch.Tensor], said: Facts) -> Source:
    """Return the source of a network of torchvision that finds objects."""
    config = detectors.config_of(name, tensors) | said
    network = build(config)
    notes = _load(network, renamed(tensors), path)
    arguments: Any = network.config

    def write(card: Card, folder: Path) -> None:
        save_bundle(network.eval(), card, folder)

    facts = {
        "task": "instances", "output": "logits",
        "detection": {"score_threshold": 0.5, "per_tile": int(arguments["detections"])},
    }  # fmt: skip
    return Source(
        path=path, kind=f"{name} of torchvision", facts=facts, sizes=Sizes(divisor(network), is_global=False),
        bands=int(arguments["in_channels"]), channels=int(arguments["classes"]), write=write,
        finder=detectors.original_of(name, tensors, arguments),
        runner=f"torchvision {version('torchvision')}", sha256=sha256(path), notes=notes,
    )  # fmt: skip


def _load(network: nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> tuple[str, ...]:
    """Load all weights of a network; return what was left out of the file.

    Checkpoints put a prefix before every name (`model.`, `module.`): the one is taken under which every
    weight of the network is found.
    """
    target = network.state_dict()
    wanted = {k for k in target if not k.endswith("num_batches_tracked")}
    first = next(k for k in target if k in wanted)
    prefixes = {k.removesuffix(first) for k in tensors if k == first or k.endswith(f".{first}")} | {""}
    prefix = min(prefixes, key=lambda p: sum(f"{p}{k}" not in tensors for k in wanted))
    lacking = [k for k in target if k in wanted and f"{prefix}{k}" not in tensors]
    name = type(network).__name__
    if lacking:
        there = next((k for k in tensors if k.removeprefix(prefix) not in target), next(iter(tensors)))
        raise BundleError(
            f"{path}: does not fit {name}: it lacks {len(lacking)} of {len(wanted)} weights, such as "
            f"{lacking[0]}; it has {ascii(there)[1:-1][:60]}; see --architecture, --encoder, network.*"
        )
    for key in wanted:
        if tensors[f"{prefix}{key}"].shape != target[key].shape:
            raise BundleError(
                f"{path}: does not fit {name}: {key} is {tuple(tensors[f'{prefix}{key}'].shape)} in the file "
                f"and {tuple(target[key].shape)} in the network"
            )
    unused = [k for k in tensors if k.removeprefix(prefix) not in target or not k.startswith(prefix)]
    inside = [k for k in unused if k.startswith(prefix) and not k.startswith(_TRAINING_ONLY)] if prefix else [
        k for k in unused if not k.startswith(_TRAINING_ONLY)
    ]  # fmt: skip
    if inside:
        raise BundleError(
            f"{path}: does not fit {name}, which has no {ascii(inside[0])[1:-1][:60]} (and {len(inside) - 1} "
            "more); see --architecture, --encoder and network.* of the card"
        )
    network.load_state_dict({k: tensors.get(f"{prefix}{k}", target[k]) for k in target}, strict=True)
    return (f"{len(unused)} tensors that only a training needs are left out ({unused[0]})",) if unused else ()


_TRAINING_ONLY = ("aux_classifier.", "criterion.", "loss.", "train_metrics.", "val_metrics.", "test_metrics.")
"""Beginnings of names of tensors beside a network."""
