"""Build what a training document asks for: network, task, augmentation, chips."""

from typing import Any

import torch
from pydantic import ValidationError
from torch import nn
from torchvision.transforms import v2

from geoseg.config.training import Training
from geoseg.config.wording import first_of
from geoseg.core.errors import ConfigError
from geoseg.models.bundle import Bundle, open_bundle
from geoseg.models.networks.architectures import build, divisor
from geoseg.models.networks.own_code import check_answer, own_config
from geoseg.models.transfer import load_encoder_weights, start_from_bundle
from geoseg.training.aim import contrast_of
from geoseg.training.augment import IgnoreContradicted, make_augmentation
from geoseg.training.card import make_card
from geoseg.training.chips import ChipSource, EvaluationChips, TrainingChips
from geoseg.training.instances.aim import ObjectAim
from geoseg.training.instances.build import check_objects_network, evaluation_objects, training_objects
from geoseg.training.prepare import PreparedTraining
from geoseg.training.task import Task


def check_network(prepared: PreparedTraining) -> None:
    """Build the network and its card before anything is trained, so that mistakes show at once.

    Raises
    ------
    ConfigError
        When there is no such network, it does not take chips of this size, or the card would be invalid.
    """
    document = prepared.document
    network, _ = build_network(prepared)
    if own_config(network) is not None:
        check_answer(network, len(prepared.band_names), prepared.aim.channels, document.chips.size)
    if prepared.objects:
        check_objects_network(network, document.chips.size)
    if document.chips.size % (step := divisor(network)):
        raise ConfigError(
            f"chips.size: {document.chips.size} is no multiple of {step}, which {document.network_in_words} "
            "needs"
        )
    contrast_of(document, network)
    try:
        make_card(document, network, prepared.labelled, prepared.aim, prepared.statistics, {})
    except ValidationError as error:
        where, text = first_of(error)
        raise ConfigError(f"the bundle's card would be wrong at {where}: {text}") from None


def build_network(prepared: PreparedTraining) -> tuple[nn.Module, str]:
    """Return the network with its starting weights, and where these come from in words."""
    document, transfer = prepared.document, prepared.document.transfer
    bands = prepared.band_names
    start = open_bundle(transfer.bundle, trust=prepared.trust) if transfer.bundle else None
    aim = prepared.aim
    config = _config(document, start, len(bands), aim.channels)
    if isinstance(aim, ObjectAim) and start is None:
        config = {**aim.arguments(), **config}
    network = build(config, trust=prepared.trust)
    if not prepared.objects:
        _check_parts(network, document)
    if start is not None:
        return network, str(start_from_bundle(network, start, prepared.names, bands))
    if transfer.encoder_weights is not None:
        loaded = load_encoder_weights(network, transfer.encoder_weights, bands, stem=transfer.stem)
        return network, str(loaded)
    return network, "random weights"


def _check_parts(network: nn.Module, document: Training) -> None:
    """Check that code of a user's own has the parts that the training file speaks of."""
    transfer = document.transfer
    asked = {
        "encoder": transfer.encoder_weights or transfer.bundle or transfer.freeze_epochs,
        "segmentation_head": transfer.bundle,
    }
    for part, needed in asked.items():
        if needed and not isinstance(getattr(network, part, None), nn.Module):
            raise ConfigError(f"transfer: {type(network).__name__} has no part called {part}; leave it out")


def _config(document: Training, start: Bundle | None, bands: int, classes: int) -> dict[str, Any]:
    """Return the arguments of the network: those of the document, or of the bundle it starts from."""
    if start is None or not document.keeps_network:
        chosen = {"_model_class": document.network.architecture, **document.network.arguments}
    else:
        chosen = dict(start.config)
    return {**chosen, "in_channels": bands, "classes": classes}


def build_task(prepared: PreparedTraining) -> tuple[Task, str]:
    """Return the task with the network's starting weights, and where these come from in words."""
    torch.manual_seed(prepared.document.seed)
    network, start = build_network(prepared)
    return prepared.aim.task(network), start


def training_chips(prepared: PreparedTraining) -> TrainingChips:
    """Return the augmented chips of train."""
    document, source = prepared.document, _source(prepared, "train")
    if prepared.objects:
        return training_objects(prepared, _augmentation(prepared, source.mean))
    # Zooming out needs more pixels than a chip has.
    margin = 1 / document.augmentation.scale[0]
    augmentation = _augmentation(prepared, source.mean)
    return TrainingChips(source, document.chips, augmentation, margin, document.seed)


def evaluation_chips(prepared: PreparedTraining, part: str) -> EvaluationChips:
    """Return the chips of a part as they are, each once."""
    if prepared.objects:
        return evaluation_objects(prepared, part)
    return EvaluationChips(_source(prepared, part), prepared.document.chips.size)


def _source(prepared: PreparedTraining, part: str) -> ChipSource:
    return ChipSource(prepared.scenes, prepared.parts[part], prepared.statistics)


def _augmentation(prepared: PreparedTraining, means: torch.Tensor) -> v2.Transform:
    document, legend = prepared.document, prepared.legend.legend
    slugs = [c.slug for c in legend.classes]
    water = slugs.index("water") if "water" in slugs else None

    def ignoring(*kinds: str) -> v2.Transform:
        asked = [k for k in kinds if k in document.chips.ignore]
        return IgnoreContradicted(asked, prepared.band_names, water) if asked else v2.Identity()

    wavelengths = [b.wavelength_um for b in prepared.labelled[0].scene.bands]
    augmentation = make_augmentation(
        document.augmentation, document.chips.size, legend, means, wavelengths, ignoring("flooded")
    )
    return v2.Compose([ignoring("snow", "dry"), augmentation])
