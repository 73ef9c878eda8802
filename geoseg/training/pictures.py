"""Photographs of a part of the data, predicted as a run maps them: whole, and by tiles that lie inside.

Chips would be another question to the network than the one that a run asks: it is shown other surroundings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.config.pipeline import Tiling
from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE
from geoseg.core.resize import resized, resized_where
from geoseg.inference.plan import make_grid, whole_grid
from geoseg.models.card import CardTile
from geoseg.tiling.blocks import Block, BlockGrid
from geoseg.tiling.grid import TileGrid
from geoseg.tiling.mosaic import Mosaic
from geoseg.training.census import CensusCell, LabelledReader, Statistics

MOST_SUMS = 1 << 27
"""Pixels times classes of the largest picture that is predicted whole, which takes a gigabyte; chips are cut
of larger ones."""

_ONE = np.float32(1 << 30)
"""Sum of a class that all tiles are certain of, see `geoseg.tiling.mosaic`."""

Network = Callable[[torch.Tensor], torch.Tensor]
"""Normalised tiles (N, B, rows, cols) to probabilities (N, C, rows, cols), on the CPU."""


@dataclass(frozen=True)
class Layout:
    """How a run of the network lays out tiles."""

    tile: CardTile
    resize: tuple[int, int] | None
    """Rows and columns to which pictures are resized."""

    def grid(self, shape: tuple[int, int]) -> TileGrid:
        """Return the tiles of a picture."""
        if self.resize is not None:
            return whole_grid(shape, Tiling())
        return make_grid(shape, Tiling(), self.tile, inside=True)


@dataclass(frozen=True)
class Picture:
    """A labelled photograph, and what of it belongs to the part."""

    source: LabelledReader
    cells: tuple[CensusCell, ...]
    resized: bool
    """Whether the cells are of the resized picture, and so mean all of it."""

    def label(self, channels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the channels of the part's own pixels, 255 elsewhere, shape (rows, cols)."""
        if self.resized:
            return channels
        own = np.full(channels.shape, IGNORE, dtype=np.uint8)
        whole = Window.of(0, 0, *channels.shape)
        for cell in self.cells:
            here = cell.window.relative_to(whole)
            own[here] = channels[here]
        return own


@dataclass(frozen=True)
class PredictedPicture:
    """A photograph and its predicted probabilities."""

    name: str
    image: NDArray[np.float32]
    """Normalised, shape (B, rows, cols)."""
    probabilities: NDArray[np.float32]
    """Shape (C, rows, cols)."""
    label: NDArray[np.uint8]
    """Channels, 255 where nothing is labelled, shape (rows, cols)."""


def predict_pictures(
    network: Network, pictures: Sequence[Picture], layout: Layout, known: Statistics, batch: int
) -> Iterator[PredictedPicture]:
    """Predict each picture once.

    Parameters
    ----------
    network
        The network.
    pictures
        The pictures.
    layout
        Its tiles.
    known
        Mean and standard deviation of its bands.
    batch
        Tiles in a forward pass.
    """
    for picture in pictures:
        read = _read(picture, layout, known)
        block, mosaic = read.block, None
        for tile, answer in _tiles(network, read, layout, batch):
            if mosaic is None:
                mosaic = Mosaic(read.grid, block, np.arange(len(answer), dtype=np.uint8))
            # As a block of several tiles: the sums are wanted, and not only the class.
            mosaic.add_to_sums(tile, answer)
        assert mosaic is not None  # noqa: S101 (a picture has a tile)
        yield PredictedPicture(
            picture.source.name, read.image[:, *read.inside], mosaic.sums / _ONE, read.label
        )


def predict_tiles(
    network: Network, pictures: Sequence[Picture], layout: Layout, known: Statistics, batch: int
) -> Iterator[PredictedPicture]:
    """Predict each tile of each picture by itself: what a network answers may be any numbers, as logits.

    The parameters are those of `predict_pictures`. Pixels of several tiles come once with each.
    """
    for picture in pictures:
        read = _read(picture, layout, known)
        whole = np.full(read.image.shape[1:], IGNORE, dtype=np.uint8)
        whole[read.inside] = read.label
        for tile, answer in _tiles(network, read, layout, batch):
            here = tile.relative_to(read.block.reach)
            yield PredictedPicture(picture.source.name, read.image[:, *here], answer, whole[here])


@dataclass(frozen=True)
class _Read:
    """A picture in memory, with its tiles."""

    grid: TileGrid
    block: Block
    image: NDArray[np.float32]
    """Normalised, of the reach of the block."""
    valid: NDArray[np.bool_]
    inside: tuple[slice, slice]
    """The picture within that reach."""
    label: NDArray[np.uint8]
    """Of the picture."""


def _read(picture: Picture, layout: Layout, known: Statistics) -> _Read:
    mean, std = (v.astype(np.float32)[:, None, None] for v in (known.mean, known.std))
    grid = layout.grid(picture.source.shape)
    block = BlockGrid.of(grid, max(grid.rows.count, grid.cols.count)).block(0, 0)
    pixels = picture.source.read(block.reach)
    valid = ~np.isnan(pixels.values[0])
    image = np.where(valid, (pixels.values - mean) / std, np.float32(0))
    inside = Window.of(0, 0, *picture.source.shape).relative_to(block.reach)
    return _Read(grid, block, image, valid, inside, picture.label(pixels.channels[inside]))


def _tiles(
    network: Network, read: _Read, layout: Layout, batch: int
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """Yield each tile with what the network answers."""
    for first in range(0, len(read.block.tiles), batch):
        tiles = read.block.tiles[first : first + batch]
        places = [t.relative_to(read.block.reach) for t in tiles]
        answers = _answers(network, [(read.image[:, *p], read.valid[p]) for p in places], layout.resize)
        yield from zip(tiles, answers, strict=True)


def _answers(
    network: Network,
    tiles: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]],
    resize: tuple[int, int] | None,
) -> Sequence[NDArray[np.float32]]:
    """Return the probabilities of tiles of one shape."""
    values, valid = (np.stack(arrays) for arrays in zip(*tiles, strict=True))
    shape = values.shape[-2:]
    if resize is not None:
        values, _ = resized_where(values, valid, resize)
    answers = network(torch.from_numpy(np.ascontiguousarray(values))).numpy()
    return list(answers if resize is None else resized(answers, shape))
