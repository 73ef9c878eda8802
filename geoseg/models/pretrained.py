"""Find and read pretrained weights, from a file or by name, without running pickled code."""

import pickle
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import timm
import torch
from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.constants import is_offline_mode
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load_file
from segmentation_models_pytorch.encoders import encoders as smp_encoders

from geoseg.core.bands import common_name
from geoseg.core.errors import BundleError, ConfigError, did_you_mean, one_line
from geoseg.core.files import sha256
from geoseg.core.notices import ignore_warnings

RGB = ("red", "green", "blue")
"""Input bands of networks trained on ImageNet, in order."""

_FILES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_SAFE = "model.safetensors"
"""Name of a file of weights on the hub."""
_LETTERS = {"R": "red", "G": "green", "B": "blue"}
_SENSORS = {
    "SENTINEL2": "sentinel-2",
    "OLI": "landsat-8",
    "LANDSAT_TM": "landsat-5",
    "LANDSAT_ETM": "landsat-7",
}
"""Sensors by the part of torchgeo's names that tells them."""


@dataclass(frozen=True)
class Pretrained:
    """Tensors of pretrained weights."""

    tensors: Mapping[str, torch.Tensor]
    """Tensors by their names in the file."""
    bands: tuple[str, ...]
    """Common names of the inputs, in order; empty where they are not known."""
    sha256: str
    """Hash of the file; empty where it is not known."""


class _Weights(Protocol):
    """The attributes of torchvision's `WeightsEnum` that are used here."""

    url: str
    meta: dict[str, Any]

    def get_state_dict(self, **options: Any) -> dict[str, Any]: ...


def find(source: str, encoder: str) -> Pretrained:
    """Find and read weights.

    Parameters
    ----------
    source
        A local file (.safetensors, or .pth, .pt, .bin, .ckpt with nothing but tensors), `torchgeo:NAME` as in
        `torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO`, or the name of weights that smp or timm know for the
        encoder (`imagenet`, or a tag such as `augreg_in21k`), which are downloaded.
    encoder
        Name of the encoder as smp writes it; timm's begin with `tu-`.

    Raises
    ------
    ConfigError
        When the source is missing or not known, or cannot be downloaded.
    BundleError
        When the file is damaged, or contains more than tensors.
    """
    if source.startswith("torchgeo:"):
        return _torchgeo(source)
    if source.endswith(_FILES) or Path(source).is_file():
        return _file(Path(source), known=())
    with _downloading(source):
        path = _timm(source, encoder) if encoder.startswith("tu-") else _smp(source, encoder)
    return _file(path, known=RGB)


def to_be_had(source: str, encoder: str, wait: float = 3.0) -> bool:
    """Return whether weights of smp were downloaded before, or their server answers within `wait` seconds.

    Parameters
    ----------
    source
        Name of weights that smp knows for the encoder, such as `imagenet`.
    encoder
        Name of an encoder of smp.
    wait
        Seconds to wait for the server.
    """
    place = smp_encoders.get(encoder, {"pretrained_settings": {}})["pretrained_settings"].get(source)
    if place is None:
        return False
    where = {"repo_id": place["repo_id"], "filename": _SAFE, "revision": place["revision"]}
    if isinstance(try_to_load_from_cache(**where), str):
        return True
    if is_offline_mode():
        return False
    request = Request(hf_hub_url(**where), method="HEAD")  # noqa: S310 (https, from the hub's own client)
    try:
        with urlopen(request, timeout=wait):  # noqa: S310
            return True
    except (OSError, HTTPException, ValueError):
        return False


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a file; those in a nested `state_dict` or the like are returned.

    Raises
    ------
    ConfigError
        When there is no such file.
    BundleError
        When the file is damaged, or pickled code would have to run.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        # Of old pickles, and of refused ones, whose error is raised below.
        with ignore_warnings():
            return _unwrap(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        raise BundleError(
            f"{path}: holds more than tensors, and geoseg runs no pickled code; save its state dict "
            "as .safetensors"
        ) from error
    # A damaged pickle can raise any of these.
    except (
        SafetensorError, RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError,
        struct.error,
    ) as error:  # fmt: skip
        raise BundleError(f"{path}: cannot be read: {one_line(error)[:200]}; get the file again") from error


def strip_prefixes(name: str) -> str:
    """Return the name of a tensor without the prefixes of wrappers.

    Checkpoints of Lightning, of DataParallel and of whole segmentation networks add prefixes, and timm writes
    `stages_0` for `stages.0` in networks that return features.
    """
    core = re.sub(r"^((_orig_mod|module|model|network|backbone|encoder|state_dict)\.)+", "", name)
    return re.sub(r"^([a-z_]*[a-z])_(\d+)\.", r"\1.\2.", core)


def _unwrap(data: Any) -> dict[str, torch.Tensor]:
    while isinstance(data, Mapping):
        inner = next(
            (data[k] for k in ("state_dict", "model_state_dict", "model", "network") if k in data), None
        )
        if not isinstance(inner, Mapping):
            break
        data = inner
    if not isinstance(data, Mapping):
        raise ValueError("a mapping of names to tensors is expected")  # noqa: TRY004 (becomes a BundleError)
    return {str(k): v for k, v in data.items() if isinstance(v, torch.Tensor)}


def _file(path: Path, known: tuple[str, ...]) -> Pretrained:
    return Pretrained(read(path), known, sha256(path))


def _smp(source: str, encoder: str) -> Path:
    known = smp_encoders.get(encoder, {"pretrained_settings": {}})["pretrained_settings"]
    if source not in known:
        raise ConfigError(
            f"weights {source!r} are not known for {encoder}{did_you_mean(source, known)}; known: "
            f"{', '.join(known) or 'none'}; or give a local file ({', '.join(_FILES)})"
        )
    place = known[source]
    return Path(hf_hub_download(place["repo_id"], _SAFE, revision=place["revision"]))


def _timm(source: str, encoder: str) -> Path:
    architecture, _, tag = encoder.removeprefix("tu-").partition(".")
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
    chosen = tag if source == "imagenet" else source
    if not tags or chosen not in ("", *tags):
        raise ConfigError(
            f"weights {source!r} are not known for {encoder}{did_you_mean(source, tags)}; known: "
            f"{', '.join(['imagenet', *tags]) if tags else 'none'}; or give a local file "
            f"({', '.join(_FILES)})"
        )
    place = timm.get_pretrained_cfg(f"{architecture}.{chosen}" if chosen else architecture)
    return Path(hf_hub_download(place.hf_hub_id, place.hf_hub_filename or "model.safetensors"))


def _torchgeo(source: str) -> Pretrained:
    try:
        from torchgeo.models import get_weight  # noqa: PLC0415 (an optional extra)
    except ImportError as error:
        raise ConfigError(
            f"{source}: torchgeo is not installed; python -m pip install 'geoseg[torchgeo]', or give a "
            "local file"
        ) from error
    name = source.removeprefix("torchgeo:")
    try:
        weights: _Weights = get_weight(name)
    except (KeyError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{source}: torchgeo does not know these weights: {one_line(error)}; write them as "
            "torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO"
        ) from error
    # Torch announces a download on stdout, which belongs to results.
    with _downloading(source), redirect_stdout(sys.stderr):
        state = weights.get_state_dict(progress=False, map_location="cpu", weights_only=True)
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(weights.url).path).name
    return Pretrained(_unwrap(state), _bands(name, weights.meta), sha256(file) if file.is_file() else "")


def _bands(name: str, meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the common names of the bands that torchgeo lists, whose `B1` differs from sensor to sensor."""
    labels = [str(b).upper() for b in meta.get("bands") or ()]
    sensor = next((s for key, s in _SENSORS.items() if key in name), None)
    return tuple(_LETTERS.get(b) or common_name(b, sensor) for b in labels)


@contextmanager
def _downloading(source: str) -> Iterator[None]:
    try:
        yield
    except pickle.UnpicklingError as error:
        raise BundleError(f"{source}: holds more than tensors, and geoseg runs no pickled code") from error
    except (OSError, HfHubHTTPError, HTTPException, RuntimeError) as error:
        raise ConfigError(
            f"encoder_weights {source}: cannot be downloaded: {one_line(error)[:160]}; where there is no "
            "network, copy the file here and give its path instead (.safetensors, or .pth with nothing but "
            "tensors)"
        ) from error
