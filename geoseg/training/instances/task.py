"""The Lightning module of a training that finds objects."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from geoseg.config.training import Optimizer, Transfer
from geoseg.core.detections import Detections
from geoseg.core.errors import TrainingError
from geoseg.evaluation.objects.precision import AveragePrecision, Precision
from geoseg.models.backends.torch_detector import detections
from geoseg.models.card import CardDetection
from geoseg.models.networks.mask_rcnn import LOSSES, MaskRCNN
from geoseg.training.instances.chips import Target, truth
from geoseg.training.task import Monitor, Task

Compared = tuple[Detections, Detections, tuple[int, int]]
"""Predicted and true objects of a chip, and its rows and columns."""


class InstanceTask(Task):
    """A network that learns to find objects.

    Parameters
    ----------
    network
        The network; its five losses are summed.
    detection
        Thresholds of the detections on val.
    classes
        Number of classes.
    optimizer, transfer, seed
        As of `Task`.
    """

    monitor = Monitor("ap")
    network: MaskRCNN

    def __init__(
        self,
        network: MaskRCNN,
        detection: CardDetection,
        classes: int,
        optimizer: Optimizer,
        transfer: Transfer,
        seed: int,
    ) -> None:
        super().__init__(network, optimizer, transfer, seed)
        self.detection, self.classes = detection, classes
        self.losses: Any = nn.ModuleDict(
            {f"{part}_{name}": MeanMetric() for part in ("train", "val") for name in LOSSES}
        )
        self.compared: list[Compared] = []
        """Chips of val of this epoch."""

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        """Return the sum of the losses of a batch."""
        losses = self.network(_contiguous(batch["image"]), batch["targets"])
        total: Tensor = sum(losses.values(), batch["image"].new_zeros(()))
        if not torch.isfinite(total):
            raise TrainingError(
                f"the loss is NaN or infinite in epoch {self.current_epoch + 1} at "
                f"{'; '.join(batch['where'])}; look at the values and labels there, or lower optimizer.rate; "
                "the checkpoints of the epochs before are kept"
            )
        self._count("train", losses, len(batch["image"]))
        return total

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        """Count the losses of a batch, and compare its objects with the labels."""
        x, targets = _contiguous(batch["image"]), batch["targets"]
        features = self.network.features(x)
        with losing(self.network):
            losses = self.network.lose(x, features, targets)
        self._count("val", losses, len(x))
        shape = int(x.shape[-2]), int(x.shape[-1])
        for one, found in zip(targets, self.network.find(x, features), strict=True):
            objects = detections(found, self.detection, range(self.classes), shape)
            self.compared.append((objects, on_cpu(one), shape))

    def _count(self, part: str, losses: dict[str, Tensor], chips: int) -> None:
        for name, loss in losses.items():
            self.losses[f"{part}_{name}"].update(loss.detach(), weight=chips)

    def results(self, part: str) -> dict[str, Any]:
        """Return and reset the losses over all devices: `loss`, their sum, and `parts`."""
        name = part.rstrip("_")
        values = {loss: self._mean(f"{name}_{loss}") for loss in LOSSES}
        return {"loss": sum(values.values()), "parts": values}

    def _mean(self, name: str) -> float:
        metric = self.losses[name]
        value = float(metric.compute()) if metric.update_called else math.nan
        metric.reset()
        return value

    def on_validation_epoch_start(self) -> None:
        """Begin the comparison of this epoch."""
        self.compared = []

    def on_validation_epoch_end(self) -> None:
        """Keep the figures of val, and log the average precision of masks for Lightning's callbacks."""
        precision = Precision()
        for one in _of_all_devices(self.compared):
            precision.add(*one)
        self.val = {**self.results("val_"), "ap": named(precision.compute())}
        if not math.isfinite(self.val["loss"]):
            raise TrainingError(
                f"the loss on val is NaN or infinite after epoch {self.current_epoch + 1}; lower "
                "optimizer.rate; the checkpoints of the epochs before are kept"
            )
        found = self.val["ap"]["mask_ap"]
        # Val without an object has none: the last epoch is the best then.
        self.log_figures(found if math.isfinite(found) else 0.0)


def _of_all_devices(compared: list[Compared]) -> list[Compared]:
    if not torch.distributed.is_initialized():
        return compared
    every: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(every, compared)
    return [one for part in every for one in part]


def named(found: dict[str, AveragePrecision]) -> dict[str, float]:
    """Return the average precisions of boxes and masks by name, such as `mask_ap50`."""
    kinds = {"mask": found["masks"], "box": found["boxes"]}
    return {f"{k}_{n}": getattr(v, n) for k, v in kinds.items() for n in ("ap", "ap50", "ap75")}


def on_cpu(one: Target) -> Detections:
    """Return a target, on whatever device, as objects to compare detections with."""
    return truth({k: v.cpu() for k, v in one.items()})


@contextmanager
def losing(network: MaskRCNN) -> Iterator[None]:
    """Let a network in evaluation mode give losses; its norms keep their statistics."""
    parts: Sequence[nn.Module] = (network.rpn, network.roi_heads)
    for part in parts:
        part.training = True
    try:
        yield
    finally:
        for part in parts:
            part.training = False


def _contiguous(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)
