"""A network that errs nowhere: it reads objects from pixels in which they are numbered.

Run as a program it is `geoseg` with that network: `python -m tests.inference.exact run PIPELINE ...`.
"""

import hashlib
import threading
from collections import Counter

import numpy as np
from scipy import ndimage

from geoseg.core.detections import Detections
from geoseg.tiling.arrays import HOST

GROUND = 1
"""Number of pixels without an object; 0 is nodata."""

NUMBERS = 65_000
"""Numbers of a scene; of more objects that many from each other share one."""


def coded(scene):
    """Return numbers of a scene of `tests.objects` in which the network reads its objects.

    The first band has the number of the object, from 2, the second of the one that lies on it, the last two
    their classes, from 1. Objects beyond `NUMBERS` begin again, and must lie tiles from those before.
    """
    values = np.full((4, *scene.shape), GROUND, np.uint16)
    for number, one in enumerate(scene.objects):
        upper = int(one.kind == 2)
        values[upper][one.here][one.mask] = number % NUMBERS + GROUND + 1
        values[2 + upper][one.here][one.mask] = one.kind + 1
    return values


class ExactDetector:
    """Finds the objects of `coded` numbers; counts how often it sees each tile."""

    arrays = HOST

    def __init__(self) -> None:
        self.seen: Counter[bytes] = Counter()
        self.lock = threading.Lock()

    def prepare(self, shape, dtype):
        """Nothing to do."""

    def detect(self, values, valid, gain, bias):
        return tuple(self._of(tile, mask) for tile, mask in zip(values, valid, strict=True))

    def _of(self, tile, valid):
        if valid.any():
            with self.lock:
                # Not the tile itself: those of a large scene would be all that memory holds.
                self.seen[hashlib.blake2b(tile.tobytes()).digest()] += 1
        found = []
        for layer in (0, 1):
            numbers = np.where(valid, tile[layer], 0).astype(np.int32)
            for number, here in enumerate(ndimage.find_objects(numbers), start=1):
                if number > GROUND and here is not None:
                    mask = numbers[here] == number
                    kind = int(tile[2 + layer][here][mask][0]) - 1
                    found.append((here[0].start, here[1].start, mask, kind, 9_000 - number % 7 * 100))
        return Detections.of(found)


if __name__ == "__main__":
    from geoseg.cli.app import main
    from geoseg.inference import detect

    exact = ExactDetector()
    detect.load_detector = lambda _: exact
    main()
