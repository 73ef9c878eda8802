"""Build what a training document asks for: network, task, augmentation, chips."""

import math
from dataclasses import replace
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
from geoseg.training.census import CensusCell
from geoseg.training.chips import ChipSource, EvaluationChips, TrainingChips
from geoseg.training.instances.aim import ObjectAim
from geoseg.training.instances.build import check_objects_network, evaluation_objects, training_objects
from geoseg.training.measure import EvaluationPart
from geoseg.training.pictures import MOST_SUMS, Layout, Picture
from geoseg.training.prepare import PreparedTraining
from geoseg.training.sizes import check_divisor
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
        check_answer(network, len(prepared.band_names), prepared.aim.channels, max(prepared.chip))
    if prepared.objects:
        check_objects_network(network, document.chips.size)
    check_divisor(document.chips, prepared.chip, divisor(network), document.network_in_words)
    _augmentation(prepared, torch.zeros(len(prepared.band_names)))
    contrast_of(document, network)
    try:
        make_card(prepared, network, {})
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
    torch.manual_seed(prepared.document.seed if prepared.start_seed is None else prepared.start_seed)
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
    return TrainingChips(source, document.chips, augmentation, margin, document.seed, prepared.chip)


def evaluation_chips(prepared: PreparedTraining, part: str) -> EvaluationChips:
    """Return the chips of a part as they are, each once."""
    if prepared.objects:
        return evaluation_objects(prepared, part)
    return EvaluationChips(_source(prepared, part), prepared.chip)


def evaluation_part(prepared: PreparedTraining, part: str, layout: Layout) -> EvaluationPart:
    """Return what a network is measured on: photographs whole, as a run maps them, and chips of all else.

    Only of classes: networks of other tasks are measured on chips.

    Parameters
    ----------
    prepared
        The data.
    part
        `train`, `val` or `test`.
    layout
        How a run of the network lays out tiles.
    """
    if prepared.document.task != "classes":
        return EvaluationPart(evaluation_chips(prepared, part), (), layout)
    source, classes = _source(prepared, part), len(prepared.legend.classes)
    resized = prepared.document.chips.resize is not None
    cells: dict[int, list[CensusCell]] = {}
    for cell in source.cells:
        place = prepared.labelled[cell.region.scene]
        whole = place.scene.geobox.crs is None or layout.resize is not None
        if whole and math.prod(place.shape) * classes <= MOST_SUMS:
            cells.setdefault(cell.region.scene, []).append(cell)
    pictures = tuple(
        Picture(prepared.labelled[i] if resized else prepared.scenes[i], tuple(found), resized)
        for i, found in cells.items()
        if any(c.classes.any() for c in found)
    )
    others = replace(source, cells=tuple(c for c in source.cells if c.region.scene not in cells))
    chips = EvaluationChips(others, prepared.chip)
    units = [_unit(prepared, c) for c in (*chips.cells, *(p.cells[0] for p in pictures))]
    return EvaluationPart(chips, pictures, layout, tuple(units))


def _unit(prepared: PreparedTraining, cell: CensusCell) -> str:
    """Return what a cell is kept together with: its unit, or its group where the split ignores groups."""
    if prepared.document.split.by in {"given", "file"}:
        return prepared.labelled[cell.region.scene].group
    return cell.region.unit


def _source(prepared: PreparedTraining, part: str) -> ChipSource:
    return ChipSource(prepared.scenes, prepared.parts[part], prepared.statistics, prepared.sets)


def _augmentation(prepared: PreparedTraining, means: torch.Tensor) -> v2.Transform:
    document, legend = prepared.document, prepared.legend.legend
    slugs = [c.slug for c in legend.classes]
    water = slugs.index("water") if "water" in slugs else None

    def ignoring(*kinds: str) -> v2.Transform:
        asked = [k for k in kinds if k in document.chips.ignore]
        return IgnoreContradicted(asked, prepared.band_names, water) if asked else v2.Identity()

    wavelengths = [b.wavelength_um for b in prepared.labelled[0].scene.bands]
    augmentation = make_augmentation(
        document.augmentation, prepared.chip, legend, means, wavelengths, ignoring("flooded"),
        pictures=prepared.pictures,
    )  # fmt: skip
    return v2.Compose([ignoring("snow", "dry"), augmentation])
