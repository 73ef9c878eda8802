"""What is done to a class map: a pipeline's `postprocess` in class ids and pixels."""

import math
from dataclasses import dataclass

from geoseg.config.lengths import in_pixels
from geoseg.config.pipeline import PostProcess
from geoseg.core.legend import Legend


@dataclass(frozen=True)
class Steps:
    """The steps in the order in which they are done."""

    majority: int = 0
    """Side of the window of the majority filter in pixels; 0: none."""
    closing: tuple[tuple[int, int], ...] = ()
    """Class ids and radii in pixels; the class that is named first has priority."""
    sieve: int = 0
    """Regions of fewer pixels take the class of a neighbour; 0: none."""

    def __bool__(self) -> bool:
        return bool(self.majority or self.closing or self.sieve)

    @property
    def margin(self) -> int:
        """Pixels around a block that majority filter and closing look at."""
        return self.majority // 2 + 2 * max((radius for _, radius in self.closing), default=0)

    def in_words(self, legend: Legend) -> str:
        """Return the steps for people."""
        names = {i: c.slug for i, c in legend.by_id().items()}
        closed = ", ".join(f"{names[i]} {radius} px" for i, radius in self.closing)
        parts = (
            f"majority of {self.majority} x {self.majority} px" if self.majority else "",
            f"closing of {closed}" if closed else "",
            f"sieve of {self.sieve} px" if self.sieve else "",
        )
        return "; ".join(part for part in parts if part)


NO_STEPS = Steps()


def resolve_steps(settings: PostProcess, legend: Legend, pixel_m2: float | None) -> Steps:
    """Turn names into class ids and square metres into pixels.

    Parameters
    ----------
    settings
        `postprocess` of the pipeline.
    legend
        The classes of the map.
    pixel_m2
        Area of a pixel in square metres, None when the map has no CRS.

    Raises
    ------
    ConfigError
        When the legend lacks a class, or the map has no CRS and an area is in square metres.
    """
    ids = legend.ids_of(settings.closing, "postprocess.closing")
    limit = math.ceil(in_pixels("postprocess.sieve", settings.sieve, pixel_m2))
    return Steps(
        majority=settings.majority or 0,
        closing=tuple(zip(ids, settings.closing.values(), strict=True)),
        sieve=limit if limit > 1 else 0,
    )
