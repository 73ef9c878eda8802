"""The merged objects of a map: a table in memory, the masks in a file."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.files import as_output_error
from geoseg.core.geometry import Span, Window
from geoseg.vector.objects.reported import packed_bytes, unpacked
from geoseg.vector.objects.rule import MergedObject

_COLUMNS = np.dtype(
    [
        ("key", np.int32, 4), ("box", np.int32, 4), ("class_id", np.uint8), ("score", np.uint16),
        ("joined", np.int32), ("area", np.int64), ("beyond", np.int64),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Collected:
    """The objects of a map."""

    table: NDArray[np.void]
    """A row for each object: key, box, class id, score in 1/10000, parts, pixels of its mask, and
    those outside of the area of interest."""
    bits: NDArray[np.uint8]
    """The packed masks within their boxes, on disk."""
    offsets: NDArray[np.int64]
    """Where the mask of each object begins in `bits`, and where the last one ends, shape (n + 1,)."""

    def __len__(self) -> int:
        return len(self.table)

    def window(self, number: int) -> Window:
        """Return the box of an object."""
        top, left, bottom, right = self.table["box"][number].tolist()
        return Window(Span(top, bottom), Span(left, right))

    def mask(self, number: int) -> NDArray[np.bool_]:
        """Return the mask of an object within its box, shape (rows, cols)."""
        bits = np.asarray(self.bits[self.offsets[number] : self.offsets[number + 1]])
        return unpacked(bits, self.window(number).shape)

    def upwards(self) -> NDArray[np.intp]:
        """Return the order in which objects are painted: the large first, of equals the best last.

        So a small object on a large one is seen. Sizes are those of the whole scene, and so is the order.
        """
        key, size = self.table["key"], self.table["area"] + self.table["beyond"]
        return np.lexsort((*(-key[:, i] for i in (3, 2, 1, 0)), -size))


@contextmanager
def collected(objects: Iterable[MergedObject], path: Path) -> Iterator[Collected]:
    """Collect objects; their masks lie in a file until the end.

    Parameters
    ----------
    objects
        The objects, in any order.
    path
        The temporary file to make.

    Raises
    ------
    OutputError
        When the disk is full.
    """
    rows = list[NDArray[np.void]]()
    batch = list[tuple[Any, ...]]()
    try:
        with as_output_error(path), path.open("wb") as file:
            for one in objects:
                area = int(np.count_nonzero(one.mask))
                batch.append((one.key, one.box, one.class_id, one.score, one.joined, area, one.beyond))
                file.write(np.packbits(one.mask).tobytes())
                if len(batch) == 10_000:
                    rows.append(np.array(batch, _COLUMNS))
                    batch.clear()
        table = np.concatenate([*rows, np.array(batch, _COLUMNS)])
        offsets = np.append(0, np.cumsum(packed_bytes(table["box"])))
        # An empty file cannot be mapped.
        bits = np.memmap(path, np.uint8, "r") if offsets[-1] else np.empty(0, np.uint8)
        yield Collected(table, bits, offsets)
    finally:
        path.unlink(missing_ok=True)
