"""How the chips of a training's page are shown: one stretch for all of them, and a link to each file."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

import numpy as np
from numpy.typing import NDArray

from geoseg.core.secrets import redact
from geoseg.models.card import Card
from geoseg.scenes.labelled import Labelled

_TRUE_COLOR = ("red", "green", "blue")


class Shown(Protocol):
    """A chip that a page may show."""

    @property
    def image(self) -> NDArray[np.float32]:
        """Normalised input, shape (B, rows, cols)."""
        ...


@dataclass(frozen=True)
class Sheet:
    """What the pictures of all chips of a page have in common."""

    bands: tuple[int, int, int]
    """Indices of the bands that are shown as red, green and blue."""
    low: NDArray[np.float32]
    """Values that are black, shape (3, 1, 1)."""
    high: NDArray[np.float32]
    """Values that are brightest."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Address of the file of each scene, by its name."""

    @classmethod
    def of(cls, chips: Iterable[Shown], card: Card, links: Mapping[str, str]) -> "Sheet":
        """Stretch from the 2nd to the 98th percentile of all chips together, so that they compare."""
        names = [b.common_name for b in card.bands]
        true = set(_TRUE_COLOR) <= set(names)
        first, second, third = [names.index(n) for n in _TRUE_COLOR] if true else [0, len(names) - 1, 0]
        bands = (first, second, third)
        pixels = [c.image[list(bands)].reshape(3, -1) for c in chips] or [np.zeros((3, 1), np.float32)]
        low, high = (np.percentile(np.concatenate(pixels, axis=1), q, axis=1) for q in (2, 98))
        return cls(bands, low[:, None, None], high[:, None, None], links)

    def rgb(self, chip: Shown) -> NDArray[np.uint8]:
        """Return the picture of a chip, shape (rows, cols, 3)."""
        values = chip.image[list(self.bands)]
        scaled = ((values - self.low) / np.maximum(self.high - self.low, 1e-6)).clip(0, 1)
        return np.moveaxis((255 * scaled**0.8).astype(np.uint8), 0, -1)

    def link(self, where: str) -> str:
        """Return the address of the file that a chip was cut from, empty without one.

        Parameters
        ----------
        where
            Scene and window of the chip, as `ChipSource.where` has it.
        """
        return self.links.get(where.rpartition(", rows ")[0] or where, "")


def links_of(labelled: Iterable[Labelled], folder: Path) -> dict[str, str]:
    """Return the address of each scene's first file for a page in a folder.

    Files are named relative to the folder, so that no page holds a path of this machine; those that share
    nothing with it but the root have no address, nor have those in archives and object stores.
    """
    found = {p.name: _link(p.scene.bands[0].source.path, folder) for p in labelled}
    return {name: link for name, link in found.items() if link}


def _link(place: str, folder: Path) -> str:
    if place.startswith(("http://", "https://")):
        # The query of a signed address is a credential, and it expires.
        return redact(urlsplit(place)._replace(query="", fragment="").geturl())
    if "://" in place or place.startswith("/vsi") or not Path(place).is_file():
        return ""
    here, file = folder.absolute(), Path(place).absolute()
    if len(Path(os.path.commonpath([here, file])).parts) < 2:
        return ""
    return quote(Path(os.path.relpath(file, here)).as_posix())
