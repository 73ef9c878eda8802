"""How large the chips of a training are: squares, whole pictures, or pictures of one size."""

from collections.abc import Sequence

from geoseg.config.training import Chips
from geoseg.core.errors import ConfigError
from geoseg.scenes.labelled import Labelled

STEP = 32
"""Whole pictures are filled up to multiples of this: most networks halve their sides five times."""

_MOST_SIDE = 8192
"""Longest side of a whole picture: a single one already takes gigabytes to train on."""


def chip_shape(chips: Chips, labelled: Sequence[Labelled]) -> tuple[int, int]:
    """Return rows and columns of a chip.

    Raises
    ------
    ConfigError
        When whole scenes are too large to be chips.
    """
    if chips.resize is not None:
        return chips.resize
    if not chips.whole:
        return chips.size, chips.size
    longest = max(labelled, key=lambda p: max(p.shape))
    if max(longest.shape) > _MOST_SIDE:
        height, width = longest.shape
        raise ConfigError(
            f"chips: {longest.name} has {height} x {width} px, too many for a chip; write chips: {{resize: "
            "[rows, columns]}, or leave whole out"
        )
    rows, cols = (-(-max(p.shape[axis] for p in labelled) // STEP) * STEP for axis in (0, 1))
    return rows, cols


def check_divisor(chips: Chips, shape: tuple[int, int], step: int, network: str) -> None:
    """Check that a network takes chips of this shape.

    Raises
    ------
    ConfigError
        When a side is no multiple of what the network takes.
    """
    if not any(n % step for n in shape):
        return
    if chips.resize is not None:
        near = [max(1, round(n / step)) * step for n in shape]
        raise ConfigError(
            f"chips.resize: {list(shape)} are no multiples of {step}, which {network} needs; write {near}"
        )
    key = "chips" if chips.whole else "chips.size"
    shown = f"{shape[0]} x {shape[1]}" if chips.whole else shape[0]
    raise ConfigError(f"{key}: {shown} is no multiple of {step}, which {network} needs")
