"""Build what a training of objects asks for: its chips, and the check of its network."""

from typing import TYPE_CHECKING

from torch import nn

from geoseg.core.errors import ConfigError
from geoseg.models.networks.architectures import divisor
from geoseg.models.networks.mask_rcnn import MaskRCNN
from geoseg.training.instances.chips import EvaluationObjects, ObjectSource, TrainingObjects

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from geoseg.training.prepare import PreparedTraining


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


def object_source(prepared: "PreparedTraining", part: str) -> ObjectSource:
    """Return what chips of a part are cut from."""
    return ObjectSource(
        prepared.scenes, prepared.parts[part], prepared.statistics, prepared.sets, prepared.labelled
    )


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
