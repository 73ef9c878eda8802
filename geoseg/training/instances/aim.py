"""The aim of a training of objects: single objects, each of a class."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from geoseg.config.training import Training
from geoseg.core.errors import GeosegWarning
from geoseg.core.legend import Legend
from geoseg.models.card import Card, CardDetection
from geoseg.models.networks.mask_rcnn import MaskRCNN
from geoseg.training.aim import card_classes
from geoseg.training.instances.build import check_objects_network
from geoseg.training.instances.census import ObjectCensus
from geoseg.training.instances.measure import MeasuredInstances, measure_instances
from geoseg.training.instances.sizing import (
    detections_per_tile,
    larger_than_overlap,
    network_arguments,
    object_sides,
    tile_sizes,
)
from geoseg.training.instances.task import InstanceTask
from geoseg.training.task import Task

if TYPE_CHECKING:
    from geoseg.training.aim import MeasuredParts

_STRIDE = 32
"""Sides of tiles are multiples of it: the deepest stage of a residual network."""


@dataclass(frozen=True)
class ObjectAim:
    """Single objects, each of a class."""

    document: Training
    legend: Legend
    census: ObjectCensus
    """The objects of train."""

    @property
    def channels(self) -> int:
        """Classes of objects."""
        return len(self.legend)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the network that the training objects decide."""
        return network_arguments(self.document, self.census, _STRIDE)

    def detection(self) -> CardDetection:
        """Return what the card says of detections; the score threshold is fitted after the training."""
        entry = self.document.detection
        return CardDetection.model_validate(
            {
                "score_threshold": 0.05 if entry.score_threshold == "auto" else entry.score_threshold,
                "per_tile": detections_per_tile(self.document, self.census, self._tile()["size"]),
                "mask_nms": entry.mask_nms,
                "object_px": object_sides(self.census),
            }
        )

    def _tile(self) -> dict[str, int]:
        return tile_sizes(self.document, self.census, _STRIDE)

    def task(self, network: nn.Module) -> Task:
        """See `geoseg.training.aim.Aim`."""
        document, detection = self.document, self.detection()
        check_objects_network(network, document.chips.size)
        assert isinstance(network, MaskRCNN)  # noqa: S101 (checked above)
        network.roi_heads.detections_per_img = detection.per_tile
        return InstanceTask(
            network, detection.model_copy(update={"score_threshold": 0.0}), self.channels,
            document.optimizer, document.transfer, document.seed,
        )  # fmt: skip

    def measure(self, network: nn.Module, parts: "MeasuredParts", batch: int) -> MeasuredInstances:
        """See `geoseg.training.aim.Aim`; warn of chips that may lack objects."""
        assert isinstance(network, MaskRCNN)  # noqa: S101 (it was trained as one)
        document = self.document
        chips: dict[str, Any] = {k: p.chips for k, p in parts.items()}
        measured = measure_instances(network, chips, self.legend, self.detection(), document.detection, batch)
        if full := measured.main.full:
            warnings.warn(
                f"{full} of {measured.main.chips} chips of {measured.measured_on} reach the limit of "
                f"{measured.detection.per_tile} detections, so objects may be missing; raise "
                "detection.per_tile",
                GeosegWarning,
                stacklevel=2,
            )
        return measured

    def card(self, measured: MeasuredInstances | None) -> dict[str, Any]:
        """See `geoseg.training.aim.Aim`."""
        detection = self.detection() if measured is None else measured.detection
        tile, limits = self._tile(), list(self.document.limitations)
        if parted := larger_than_overlap(self.census, tile["overlap"]):
            limits.append(
                f"{parted} of {len(self.census.boxes)} training objects are larger than the overlap of "
                f"{tile['overlap']} px: tiles see them in parts, which are joined"
            )
        return {
            "task": "instances",
            "classes": card_classes(self.legend),
            "tile": tile,
            "detection": detection.model_dump(mode="json"),
            "limitations": limits,
        }

    def write_page(
        self, path: Path, record: Any, measured: MeasuredInstances, card: Card, links: Mapping[str, str]
    ) -> None:
        """See `geoseg.training.aim.Aim`."""
        from geoseg.training.instances.page import write_instances_page  # noqa: PLC0415 (slow to import)

        write_instances_page(path, record, measured, self.legend, card, links)
