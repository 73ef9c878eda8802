"""Objects as COCO results: a JSON list with a box, a score and a run-length encoded mask of each.

The masks are whole: where objects overlap, both have the pixel. `pycocotools` and its kin read them, as
results for an image of the size of the map.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.core.detections import SCORES
from geoseg.core.files import as_output_error
from geoseg.core.geometry import Window
from geoseg.vector.objects.paint import Found

IMAGE = 1
"""`image_id` of the results: a run has one image."""


def write_coco(path: Path, found: Found, shape: tuple[int, int]) -> None:
    """Write the objects that are seen, by number; `category_id` is the class id.

    Parameters
    ----------
    path
        The file to make.
    found
        The objects.
    shape
        Rows and columns of the map.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    numbered, objects = found.numbered, found.objects
    with as_output_error(path), path.open("w", encoding="ascii") as file:
        file.write("[")
        for number in range(1, len(numbered) + 1):
            index = int(numbered.index[number])
            window, mask = objects.window(index), objects.mask(index)
            result = {
                "id": number,
                "image_id": IMAGE,
                "category_id": int(numbered.classes[number]),
                "score": int(numbered.scores[number]) / SCORES,
                "bbox": [window.cols.start, window.rows.start, *reversed(window.shape)],
                "area": int(np.count_nonzero(mask)),
                "segmentation": {"size": list(shape), "counts": encoded(runs(mask, window, shape))},
            }
            file.write(f"{',' if number > 1 else ''}\n{json.dumps(result)}")
        file.write("\n]\n")


def runs(mask: NDArray[np.bool_], window: Window, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the lengths of the runs of pixels outside and inside a mask, down the columns of the image.

    Parameters
    ----------
    mask
        Shape (rows, cols).
    window
        Its place in the image.
    shape
        Rows and columns of the image.
    """
    rows, cols = mask.shape
    columns = np.zeros((cols, rows + 1), np.int8)
    columns[:, :rows] = mask.T
    # Each column begins and ends outside; a run down to the last row of the image goes on in the next column.
    change = np.diff(columns, axis=1, prepend=0)
    col, row = np.nonzero(change)
    at = (window.cols.start + col.astype(np.int64)) * shape[0] + window.rows.start + row
    joined = np.flatnonzero(at[1:] == at[:-1])
    at = np.delete(at, np.concatenate([joined, joined + 1]))
    lengths: NDArray[np.int64] = np.diff(np.concatenate([[0], at, [shape[0] * shape[1]]]))
    # An image that ends inside the mask has no last run outside of it.
    return lengths if lengths[-1] else lengths[:-1]


def encoded(lengths: NDArray[np.int64]) -> str:
    """Return run lengths as COCO writes them: differences to the run before the last, five bits a letter."""
    steps = lengths.copy()
    steps[3:] -= lengths[1:-2]
    text = bytearray()
    for step in steps.tolist():
        rest, more = step, True
        while more:
            bits, rest = rest & 31, rest >> 5
            more = rest != (-1 if bits & 16 else 0)
            text.append((bits | 32 if more else bits) + 48)
    return text.decode("ascii")
