"""What an import knows of a network that was trained elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.models.card import Card
from geoseg.models.importing.draft import Facts
from geoseg.models.importing.sizes import Sizes

Floats = NDArray[np.float32]

Original = Callable[[Floats], Floats]
"""The network where it comes from: (N, B, rows, cols), as it is fed, to (N, channels, rows, cols)."""


@dataclass(frozen=True)
class Source:
    """A network that was read, and what its file says of it."""

    path: Path
    """The file or folder."""
    kind: str
    """What it is, in words."""
    facts: Facts
    """What it says, as keys of a draft."""
    sizes: Sizes
    """The tiles that it takes."""
    bands: int
    """Bands that it takes."""
    channels: int
    """Channels of its answer."""
    write: Callable[[Card, Path], None]
    """Writes a bundle with a card into a folder."""
    original: Original | None = None
    """The original; None where only the program that it was made with can run it."""
    finder: Callable[[Floats, int], list[dict[str, Any]]] | None = None
    """The original of a network that finds objects, see `geoseg.models.importing.detectors`."""
    runner: str = ""
    """What runs the original, with its version."""
    sha256: str = ""
    """Hash of its weights; empty for a folder of several files."""
    notes: tuple[str, ...] = field(default=())
    """What the user should know: what was left out."""


@dataclass(frozen=True)
class Ask:
    """What the user says of a source beside its card."""

    network: Facts = field(default_factory=dict)
    """`_model_class`, `encoder_name` and other arguments, where the source does not say them."""
    torchvision: str | None = None
    """Name of a network of torchvision that the weights are of."""
    trust: bool = False
    """Whether code in the source may run: pickles, TorchScript, exported programs."""
