"""How a network finds objects: what the plan decides and each task of a run needs."""

from dataclasses import dataclass

from geoseg.vector.objects.reported import Reach


@dataclass(frozen=True)
class Detection:
    """How a network finds objects."""

    reach: Reach
    """Which detections a tile reports."""
    per_tile: int
    """Most detections in a tile; one with as many may lack objects."""
