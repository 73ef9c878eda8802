"""Chips of labelled scenes: random ones for training, each cell once for evaluation.

The chip of a draw depends on (seed, number of the draw) alone. Neither the number of worker processes, nor
the order in which they finish, nor an interruption changes the chips of a training.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler
from torchvision.transforms import v2

from geoseg.config.training import Chips
from geoseg.core.geometry import Size, Span, Window, sides
from geoseg.models.calibration import MOST, Chip
from geoseg.scenes.labelled import empty_label
from geoseg.training.augment import as_input, as_sample, no_label
from geoseg.training.census import CensusCell, LabelledReader, Statistics, class_counts
from geoseg.training.sets import DataSets


@dataclass(frozen=True)
class ChipSource:
    """Scenes, cells and statistics that chips are cut from."""

    scenes: Sequence[LabelledReader]
    cells: tuple[CensusCell, ...]
    """Cells of one part of the data."""
    statistics: Statistics
    sets: DataSets | None = None
    """The data sets, where there are several."""

    @property
    def mean(self) -> torch.Tensor:
        """Mean of each band, shape (B,), float32."""
        return torch.from_numpy(self.statistics.mean).float()

    @property
    def std(self) -> torch.Tensor:
        """Standard deviation of each band, shape (B,), float32."""
        return torch.from_numpy(self.statistics.std).float()

    def where(self, cell: CensusCell, window: Window) -> str:
        """Return scene and window of a chip as text."""
        return f"{self.scenes[cell.region.scene].name}, {window}"

    def sample(self, cell: CensusCell, window: Window) -> dict[str, torch.Tensor]:
        """Read a chip; labels outside the cell's region may belong to another part and are ignored."""
        pixels = self.scenes[cell.region.scene].read(window)
        own = np.full_like(pixels.channels, empty_label(pixels.channels))
        inside = window.intersect(cell.region.window).relative_to(window)
        own[..., *inside] = pixels.channels[..., *inside]
        return as_sample(torch.from_numpy(pixels.values), torch.from_numpy(own), self.mean)


class TrainingChips(Dataset[dict[str, Any]]):
    """Augmented chips for training, at random positions or side by side.

    Parameters
    ----------
    source
        Scenes and cells.
    chips
        Sampler and balance; the size, unless it is given.
    augmentation
        Transform of a sample.
    margin
        Side of the window that is read, as a multiple of the chip: a zoom factor below 1 needs more pixels.
    seed
        Seed of all draws.
    size
        Side of a chip, or its rows and columns.
    """

    def __init__(
        self,
        source: ChipSource,
        chips: Chips,
        augmentation: v2.Transform,
        margin: float,
        seed: int,
        size: Size | None = None,
    ) -> None:
        self.source, self.chips, self.augmentation, self.seed = source, chips, augmentation, seed
        self.shape = sides(size or chips.size)
        self.read = tuple(math.ceil(n * max(1.0, margin)) for n in self.shape)
        self.cells = [c for c in source.cells if c.labelled]
        self.pixels = class_counts(self.cells, len(self.cells[0].classes))
        self.odds = self._odds()
        self.mean, self.std = source.mean, source.std

    def __len__(self) -> int:
        return len(self.cells) if self.chips.per_epoch == "auto" else self.chips.per_epoch

    def __getitem__(self, draw: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, draw))
        cell = self.cells[self._pick(draw, rng)]
        window = self._window(cell, rng)
        sample = self.source.sample(cell, window)
        with seeded(int(rng.integers(2**62))):
            image, label = as_input(self.augmentation(sample), self.mean, self.std)
        return {"image": image, "label": label, "where": self.source.where(cell, window)}

    def _odds(self) -> NDArray[np.float64]:
        odds = cell_odds(self.cells, self.chips.balance, self.balanced())
        return odds if self.source.sets is None else self.source.sets.odds(odds, self.cells)

    def balanced(self) -> slice:
        """Return the channels that `balance` is about."""
        return slice(None)

    def _pick(self, draw: int, rng: np.random.Generator) -> int:
        if self.chips.sampler == "random":
            return int(rng.choice(len(self.cells), p=self.odds))
        turn, place = divmod(draw, len(self.cells))
        return int(np.random.default_rng((self.seed, turn, 1)).permutation(len(self.cells))[place])

    def _window(self, cell: CensusCell, rng: np.random.Generator) -> Window:
        jitter = max(self.shape) // 2 if self.chips.sampler == "random" else 0
        down, right = (int(n) for n in rng.integers(-jitter, jitter + 1, 2))
        return Window(
            centred(cell.window.rows, cell.region.window.rows, self.read[0], down),
            centred(cell.window.cols, cell.region.window.cols, self.read[1], right),
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator, and restore its state afterwards."""
    # torch.manual_seed also seeds GPUs, and records a stack trace on every call until CUDA is initialised.
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)


def centred(cell: Span, region: Span, side: int, shift: int) -> Span:
    """Return a span around the cell's centre, moved by `shift`; inside the region if it fits."""
    start = (cell.start + cell.stop - side) // 2 + shift
    if len(region) >= side:
        start = min(max(start, region.start), region.stop - side)
    else:
        start = region.start - (side - len(region)) // 2
    return Span(start, start + side)


def _inside(start: int, side: int, length: int) -> Span:
    """Return a span from `start`, moved back until it ends in a scene of `length` pixels, at most to 0."""
    first = max(0, min(start, length - side))
    return Span(first, first + side)


def cell_odds(
    cells: Sequence[CensusCell], balance: float, classes: slice = slice(None)
) -> NDArray[np.float64]:
    """Return the probability of drawing each cell, shape (cells,).

    A mixture: with weight 1 - balance the probability is proportional to the labelled pixels of a cell, with
    weight balance all classes that occur, of those that are given, have the same expected share.
    """
    counts = np.stack([c.classes for c in cells]).astype(np.float64)
    labelled = np.array([c.labelled for c in cells], dtype=np.float64)
    by_pixels: NDArray[np.float64] = labelled / labelled.sum()
    balanced = counts[:, classes]
    total = balanced.sum(axis=0)
    if not total.any():
        return by_pixels
    by_class = (balanced[:, total > 0] / total[total > 0]).mean(axis=1)
    odds: NDArray[np.float64] = (1 - balance) * by_pixels + balance * by_class
    return np.asarray(odds / odds.sum())


def _rank() -> int:
    """Return the rank of this process among those that train together."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


class DrawSampler(Sampler[int]):
    """Yields the numbers of the draws of an epoch, in turn by device; all devices get equally many."""

    def __init__(self, length: int, devices: int = 1) -> None:
        self.length, self.devices, self.epoch = length, devices, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return max(1, self.length // self.devices)

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.length + _rank()
        return iter(range(first, first + len(self) * self.devices, self.devices))


class UnrepeatedSampler(Sampler[int]):
    """Yields the chips that this device evaluates: over all devices each chip once, none repeated."""

    def __init__(self, length: int, devices: int = 1) -> None:
        self.length, self.devices = length, devices

    def __len__(self) -> int:
        return len(range(_rank(), self.length, self.devices))

    def __iter__(self) -> Iterator[int]:
        return iter(range(_rank(), self.length, self.devices))


class EvaluationChips(Dataset[dict[str, Any]]):
    """Chips for evaluation: every cell once, not augmented."""

    def __init__(self, source: ChipSource, size: Size) -> None:
        self.source, self.shape = source, sides(size)
        self.cells = [c for c in source.cells if c.labelled]
        self.mean, self.std = source.mean, source.std

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, index: int) -> dict[str, Any]:
        cell = self.cells[index]
        window = self.window(cell)
        sample = self.source.sample(cell, window)
        outside = torch.ones(window.shape, dtype=torch.bool)
        outside[cell.window.relative_to(window)] = False
        sample["label"].masked_fill_(outside, no_label(sample["label"]))
        image, label = as_input(sample, self.mean, self.std)
        return {"image": image, "label": label, "where": self.source.where(cell, window)}

    @property
    def sets(self) -> list[str]:
        """Name of the data set of each chip; empty where there is only one."""
        return [] if self.source.sets is None else [self.source.sets.name_of(c) for c in self.cells]

    def window(self, cell: CensusCell) -> Window:
        """Return the window of a cell's chip."""
        # Cells at the end of a row are smaller than a chip. It is moved into the scene, whose own pixels say
        # more than those mirrored at its rims; pixels outside the cell are not evaluated.
        shape = self.source.scenes[cell.region.scene].shape
        spans = zip((cell.window.rows, cell.window.cols), self.shape, shape, strict=True)
        return Window(*(_inside(span.start, side, length) for span, side, length in spans))


def calibration_chips(chips: EvaluationChips) -> list[Chip]:
    """Return a few chips of a part, evenly spread over it, in physical values."""
    spread = sorted({round(i) for i in np.linspace(0, len(chips) - 1, MOST)})
    mean, std = (v[:, None, None] for v in (chips.mean, chips.std))
    found = [(chips[i]["image"] * std + mean).numpy() for i in spread]
    # Invalid pixels have become the mean of their band, as in a run.
    return [Chip(v, np.ones(v.shape[1:], dtype=bool)) for v in found]
