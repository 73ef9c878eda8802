"""The symmetries of a tile for test-time augmentation, of numpy arrays and tensors alike."""

from typing import Any

import numpy as np

SYMMETRIES = {
    "none": [(0, False)],
    "horizontal": [(0, False), (0, True)],
    "flips": [(0, False), (0, True), (2, False), (2, True)],
    "d4": [(k, f) for k in range(4) for f in (False, True)],
}
"""(quarter turns, flip along columns) of each kind; the four flips keep the shape of any tile, and
`horizontal` keeps up and down."""


def turn(x: Any, quarter_turns: int, flip: bool) -> Any:  # noqa: FBT001
    """Rotate a batch of tiles (numpy or torch, rows and columns last), then mirror its columns."""
    turned = _rotate(x, quarter_turns)
    return _mirror(turned) if flip else turned


def turn_back(x: Any, quarter_turns: int, flip: bool) -> Any:  # noqa: FBT001
    """Undo `turn`."""
    straight = _mirror(x) if flip else x
    return _rotate(straight, -quarter_turns)


def _rotate(x: Any, quarter_turns: int) -> Any:
    if not quarter_turns:
        return x
    return (
        np.rot90(x, quarter_turns, (-2, -1))
        if isinstance(x, np.ndarray)
        else x.rot90(quarter_turns, (-2, -1))
    )


def _mirror(x: Any) -> Any:
    return x[..., ::-1] if isinstance(x, np.ndarray) else x.flip(-1)
