"""Model bundles: a folder with `geoseg.json`, `config.json` and `model.safetensors` or `model.onnx`.

Only JSON, safetensors and graphs of known operations are read, never a pickle: opening a bundle runs no code
of its author. A network that is code itself (`own_code`) is built only when someone said that it is trusted.
What it says of the network is held to the arguments that are known, and its weights to the network, before
anything is read or allocated.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.config import lookup
from geoseg.config.lookup import Shelf
from geoseg.core.errors import BundleError
from geoseg.core.files import as_object, give_usual_mode, read_object, sha256
from geoseg.core.paths import at_home
from geoseg.models.card import FORMAT, Card, read_card
from geoseg.models.feeding import fits
from geoseg.models.fetching import fetch_bundle
from geoseg.models.graphs import ONNX, check_graph_arguments, is_graph, weights_name
from geoseg.models.networks.arguments import check_arguments
from geoseg.models.networks.own_code import check_answer, is_own_code, not_trusted, own_config
from geoseg.models.readme import readme
from geoseg.storage.store import is_uri

if TYPE_CHECKING:
    import torch
    from torch import nn

CARD, CONFIG, WEIGHTS = "geoseg.json", "config.json", "model.safetensors"


@dataclass(frozen=True, repr=False)
class Bundle:
    """A bundle on disk whose files belong together."""

    folder: Path
    card: Card
    config: dict[str, Any]
    """Architecture and its arguments."""
    sha256: str
    """Hash over the three files."""
    uri: str | None = None
    """URI that it was fetched from; None when it was opened as a folder."""
    trusted: bool = False
    """Whether the network may be code that is not geoseg's."""

    def __repr__(self) -> str:
        card = self.card
        bands, classes = (
            ", ".join(names) for names in ([b.name for b in card.bands], [c.slug for c in card.classes])
        )
        found = f"classes {classes}" if card.target is None else f"values {card.target.label}"
        return f"<Bundle {card.name} {card.version}: {self.architecture}, bands {bands}, {found}>"

    @property
    def place(self) -> str:
        """The place that other processes and machines open: the URI or the absolute path."""
        return self.uri or str(self.folder.resolve())

    @property
    def architecture(self) -> str:
        """Architecture and encoder, for messages."""
        if self.is_graph:
            return f"{self.config['_model_class']} graph"
        if self.code is not None:
            return f"{self.code} (Python code: runs with --trust)"
        return f"{self.config.get('_model_class')} / {self.config.get('encoder_name', 'own encoder')}"

    @property
    def is_graph(self) -> bool:
        """Whether the network is a graph of operations, such as ONNX, and none of the registry."""
        return is_graph(self.config)

    @property
    def code(self) -> str | None:
        """The class of the network where it is code of a user's own, `package.module:Class`."""
        name = self.config.get("_model_class")
        return str(name) if is_own_code(name) else None

    def check_trust(self) -> None:
        """Check that the network may be built here.

        Raises
        ------
        BundleError
            When it is code that nobody trusted.
        """
        if self.code is not None and not self.trusted:
            raise BundleError(f"{self.folder}: {not_trusted(self.code)}")

    @property
    def is_onnx(self) -> bool:
        """Whether the network is an ONNX graph."""
        return self.config.get("_model_class") == ONNX

    @property
    def weights_path(self) -> Path:
        """The file with the weights, or with the whole graph."""
        return self.folder / weights_name(self.config)

    @property
    def weights_bytes(self) -> int:
        """Size of the weights on disk."""
        return self.weights_path.stat().st_size

    def network(self) -> "nn.Module":
        """Build the network with its weights, in evaluation mode.

        Raises
        ------
        BundleError
            When the network cannot be built, the weights do not fit it, or it does not take tiles of the
            sizes in the card.
        """
        self.check_trust()
        weights = self.weights()
        # Importing torch takes seconds, and a run checks its inputs before.
        from geoseg.models.networks.architectures import build, divisor, divisor_of  # noqa: PLC0415

        network = build(self.config, trust=self.trusted)
        # The configuration says nothing of code.
        step = divisor_of(self.config) if self.code is None else divisor(network)
        if self.card.tile.divisor % step:
            raise BundleError(
                f"{self.folder / CARD}: tile.divisor is {self.card.tile.divisor}, but the network takes "
                f"tiles whose sides are multiples of {step}"
            )
        network.load_state_dict(weights, strict=True)
        if self.code is not None:
            check_answer(network, len(self.card.bands), self.card.answered, self.card.tile.min)
        return network.eval()

    def weights(self) -> "dict[str, torch.Tensor]":
        """Read the weights, once their names, shapes and types were compared with the architecture's.

        Raises
        ------
        BundleError
            When the network cannot be built, or they do not fit it.
        """
        if self.is_graph:
            raise BundleError(
                f"{self.folder}: is an {self.architecture}, which torch can neither run nor train; run it by "
                "--set inference.device=cpu --set inference.backend=auto"
            )
        from geoseg.models.weights import read_weights  # noqa: PLC0415

        return read_weights(self.folder / WEIGHTS, self.config, self.folder / CONFIG, trust=self.trusted)


def _weights_of(config: bytes) -> str:
    """Return the name of the weights in a bundle with that `config.json`."""
    return weights_name(as_object(config, CONFIG, BundleError, "with the network's arguments"))


def _is_bundle(folder: Path) -> bool:
    return (folder / CARD).is_file()


def find_bundle(place: Path | str) -> Path:
    """Return the folder of a bundle that a folder or a name means.

    Raises
    ------
    BundleError
        When there is no such folder.
    """
    place = at_home(place)
    found = Path(place) if Path(place).is_dir() else lookup.find(Shelf.MODELS, place, _is_bundle)
    if found is None and "/" in str(place):
        raise BundleError.absent(f"{place}: no such bundle folder; see: geoseg models list")
    if found is None:
        raise BundleError.absent(lookup.not_found(Shelf.MODELS, place))
    return found


def open_bundle(place: Path | str, *, trust: bool = False) -> Bundle:
    """Open a bundle and verify that its files belong together.

    Parameters
    ----------
    place
        Its folder, a name (see `geoseg.config.lookup`), or the URI of a folder in an object store, which is
        fetched into this machine's cache first.
    trust
        Whether its network may be Python code that is not geoseg's; opening alone never runs any.

    Raises
    ------
    BundleError
        When a file is missing, damaged, or contradicts another.
    """
    if is_uri(place):
        uri = str(place).rstrip("/")
        return replace(open_bundle(fetch_bundle(uri, (CARD, CONFIG), _weights_of), trust=trust), uri=uri)
    folder = find_bundle(place)
    card = read_card(folder / CARD)
    config = read_object(folder / CONFIG, BundleError, "with the network's arguments")
    try:
        (check_graph_arguments if is_graph(config) else check_arguments)(config)
    except BundleError as error:
        raise BundleError(f"{folder / CONFIG}: {error}") from None
    name = str(config.get("_model_class"))
    if card.code != (name if is_own_code(name) else None):
        raise BundleError(f"{folder}: {CARD} says code {card.code}, and {CONFIG} the network {name[:80]}")
    weights = folder / weights_name(config)
    try:
        digest = sha256(weights)
    except OSError as error:
        raise BundleError(f"{weights}: cannot be read: {error.strerror or error}") from error
    if digest != card.weights_sha256:
        raise BundleError(
            f"{weights}: is truncated or altered (sha256 {digest[:12]}..., the card says "
            f"{card.weights_sha256[:12]}...); get the bundle again"
        )
    for key, expected, what, agree in (
        ("classes", card.outputs, "classes in the legend", partial(fits, card)),
        ("in_channels", len(card.bands), "bands", len(card.bands).__eq__),
    ):
        if key in config and not agree(config[key]):
            raise BundleError(
                f"{folder}: the network has {config[key]} {key.replace('_', ' ')}, but {CARD} lists "
                f"{expected} {what}; they must agree"
            )
    files = hashlib.sha256()
    for name in (CARD, CONFIG):
        files.update((folder / name).read_bytes())
    files.update(digest.encode())
    return Bundle(folder, card, config, files.hexdigest(), trusted=trust)


def save_bundle(network: "nn.Module", card: Card, folder: Path) -> Bundle:
    """Write a bundle.

    Parameters
    ----------
    network
        A network of segmentation_models_pytorch, `FCN` or `SegNet`, whose `save_pretrained` writes its
        configuration and weights, or one of own code.
    card
        Its card; `weights_sha256`, and `memory_bytes_per_pixel` when it is missing, are filled in.
    folder
        The folder to create.
    """
    if (own := own_config(network)) is not None:
        _save_own(network, own, folder)
    else:
        network.save_pretrained(str(folder))  # type: ignore[operator]
    # safetensors makes files that only their owner can read; a bundle is to be shared.
    give_usual_mode(folder / WEIGHTS)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    # With a name here, other programs would download the weights of the encoder before they load these.
    if own is None:
        config = {**config, "encoder_weights": None}
    (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    code = None if own is None else own["_model_class"]
    update: dict[str, Any] = {"format": FORMAT, "weights_sha256": sha256(folder / WEIGHTS), "code": code}
    if card.memory_bytes_per_pixel is None:
        from geoseg.models.backends.forward_memory import forward_bytes_per_pixel  # noqa: PLC0415

        measured = forward_bytes_per_pixel(network.eval(), len(card.bands), card.tile.min)
        update["memory_bytes_per_pixel"] = round(measured, 1)
    write_card(card.model_copy(update=update), folder)
    return open_bundle(folder, trust=own is not None)


def _save_own(network: "nn.Module", config: dict[str, Any], folder: Path) -> None:
    """Write configuration and weights of a network of own code, as `save_pretrained` does for others."""
    from safetensors.torch import save_file  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    # A copy of each: the format takes no tensors that share memory.
    tensors = {name: t.detach().clone().contiguous() for name, t in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")


def write_card(card: Card, folder: Path) -> None:
    """Write a card and its README into a bundle."""
    config = read_object(folder / CONFIG, BundleError, "with the network's arguments")
    (folder / "README.md").write_text(readme(card, graph=is_graph(config)), encoding="utf-8")
    (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def list_bundles(folder: Path | None = None) -> list[Path]:
    """Return the bundle folders directly under a folder, or all that a name finds, sorted by name."""
    if folder is not None:
        return sorted(p.parent for p in folder.glob(f"*/{CARD}"))
    found = (lookup.find(Shelf.MODELS, name, _is_bundle) for name in lookup.names(Shelf.MODELS))
    return [path for path in found if path is not None]
