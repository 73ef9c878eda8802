"""Build what a training of objects asks for: network, task, chips, card."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from geoseg.core.errors import ConfigError
from geoseg.models.card import CardDetection
from geoseg.models.networks.architectures import divisor
from geoseg.models.networks.mask_rcnn import MaskRCNN
from geoseg.training.instances.census import ObjectCensus
from geoseg.training.instances.chips import EvaluationObjects, ObjectSource, TrainingObjects
from geoseg.training.instances.measure import MeasuredInstances, measure_instances
from geoseg.training.instances.sizing import (
    detections_per_tile,
    larger_than_overlap,
    network_arguments,
    object_sides,
    tile_sizes,
)
from geoseg.training.instances.task import InstanceTask

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from geoseg.training.prepare import PreparedTraining

_STRIDE = 32
"""Sides of tiles are multiples of it: the deepest stage of a residual network."""


def data_arguments(prepared: "PreparedTraining") -> dict[str, Any]:
    """Return the arguments of the network that the training objects decide."""
    return network_arguments(prepared.document, census_of(prepared), _STRIDE)


def census_of(prepared: "PreparedTraining") -> ObjectCensus:
    """Return the objects of train, or of the part that is evaluated where nothing is trained."""
    return next(c for c in prepared.objects.values() if len(c.boxes))


def card_detection(prepared: "PreparedTraining") -> CardDetection:
    """Return what the card says of detections; the score threshold is fitted after the training."""
    document, census = prepared.document, census_of(prepared)
    entry = document.detection
    size = tile_sizes(document, census, _STRIDE)["size"]
    return CardDetection.model_validate(
        {
            "score_threshold": 0.05 if entry.score_threshold == "auto" else entry.score_threshold,
            "per_tile": detections_per_tile(document, census, size),
            "mask_nms": entry.mask_nms,
            "object_px": object_sides(census),
        }
    )


def detection_facts(prepared: "PreparedTraining", detection: CardDetection) -> dict[str, Any]:
    """Return the fields of the card that tell how objects are found."""
    document, census = prepared.document, census_of(prepared)
    tile = tile_sizes(document, census, _STRIDE)
    parted = larger_than_overlap(census, tile["overlap"])
    limits = list(document.limitations)
    if parted:
        limits.append(
            f"{parted} of {len(census.boxes)} training objects are larger than the overlap of "
            f"{tile['overlap']} px: tiles see them in parts, which are joined"
        )
    return {
        "task": "instances",
        "tile": tile,
        "detection": detection.model_dump(mode="json"),
        "limitations": limits,
    }


def measure_objects(
    prepared: "PreparedTraining", network: nn.Module, parts: Mapping[str, Any], batch: int
) -> tuple[MeasuredInstances, dict[str, Any], list[str]]:
    """Return the scores of a trained network, what the card says of detections, and warnings."""
    assert isinstance(network, MaskRCNN)  # noqa: S101 (it was trained as one)
    document, legend = prepared.document, prepared.legend.legend
    measured = measure_instances(network, parts, legend, card_detection(prepared), document.detection, batch)
    full, most, notices = measured.main.full, measured.detection.per_tile, []
    if full:
        notices.append(
            f"{full} of {measured.main.chips} chips of {measured.measured_on} reach the limit of {most} "
            "detections, so objects may be missing; raise detection.per_tile"
        )
    return measured, detection_facts(prepared, measured.detection), notices


def check_objects_network(network: nn.Module, size: int) -> None:
    """Refuse a network that finds no objects, as that of a bundle of classes.

    Raises
    ------
    ConfigError
        When it is another network, or chips are no multiple of its stride.
    """
    if not isinstance(network, MaskRCNN):
        raise ConfigError(
            "transfer.bundle: its network gives classes; task: instances needs a bundle of objects, or "
            "network: {architecture: MaskRCNN}"
        )
    if size % (step := divisor(network)):
        raise ConfigError(f"chips.size: {size} is no multiple of {step}, which MaskRCNN needs")


def build_instance_task(prepared: "PreparedTraining", network: nn.Module) -> InstanceTask:
    """Return the task of a network."""
    document = prepared.document
    check_objects_network(network, document.chips.size)
    assert isinstance(network, MaskRCNN)  # noqa: S101 (checked above)
    detection = card_detection(prepared)
    network.roi_heads.detections_per_img = detection.per_tile
    return InstanceTask(
        network, detection.model_copy(update={"score_threshold": 0.0}), len(prepared.legend.classes),
        document.optimizer, document.transfer, document.seed,
    )  # fmt: skip


def object_source(prepared: "PreparedTraining", part: str) -> ObjectSource:
    """Return what chips of a part are cut from."""
    return ObjectSource(prepared.scenes, prepared.parts[part], prepared.statistics, prepared.labelled)


def training_objects(prepared: "PreparedTraining", augmentation: "v2.Transform") -> TrainingObjects:
    """Return the augmented chips of train."""
    document = prepared.document
    chips = TrainingObjects(
        object_source(prepared, "train"), document.chips, augmentation, 1 / document.augmentation.scale[0],
        document.seed,
    )  # fmt: skip
    chips.detection = document.detection
    return chips


def evaluation_objects(prepared: "PreparedTraining", part: str) -> EvaluationObjects:
    """Return the chips of a part as they are, each once."""
    chips = EvaluationObjects(object_source(prepared, part), prepared.document.chips.size)
    chips.detection = prepared.document.detection
    return chips
