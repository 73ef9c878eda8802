"""A network that costs nothing, for tests of the engine around it.

Run as a program it is `geoseg` with that network: `python -m tests.inference.free run PIPELINE ...`.
"""

import threading
from collections import Counter

import numpy as np

from geoseg.inference import predict
from geoseg.models.backends.load import load_segmenter
from geoseg.tiling.arrays import HOST


class FreeSegmenter:
    """Class shares proportional to the first bands; counts how often it sees each tile."""

    arrays = HOST

    def __init__(self, classes: int = 3) -> None:
        self.classes = classes
        self.seen: Counter[bytes] = Counter()
        self.shapes: set[tuple[int, ...]] = set()

    def prepare(self, shape, dtype):
        """Nothing to do."""

    def predict(self, values, valid, gain, bias):
        self.shapes.add(values.shape)
        for tile, mask in zip(values, valid, strict=True):
            if mask.any():
                self.seen[tile.tobytes()] += 1
        shares = values[:, : self.classes].astype(np.float32) + 1
        return shares / shares.sum(axis=1, keepdims=True)


class Untracked(FreeSegmenter):
    """The first bands as they are, up to 16384, for large scenes; like a backend it uses its memory again."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__(classes)
        self.kept = threading.local()

    def predict(self, values, valid, gain, bias):
        bands = values[:, : self.classes]
        if getattr(self.kept, "shares", bands[:0]).shape != bands.shape:
            self.kept.shares = np.empty(bands.shape, np.float32)
        return np.multiply(bands, np.float32(2**-14), out=self.kept.shares)


def install(segmenter: FreeSegmenter) -> FreeSegmenter:
    """Put the segmenter in the place of every bundle's network in this process."""
    predict.load_segmenter = lambda spec: segmenter
    return segmenter


def uninstall() -> None:
    """Give the real networks back."""
    predict.load_segmenter = load_segmenter


if __name__ == "__main__":
    from geoseg.cli.app import main

    install(Untracked())
    main()
