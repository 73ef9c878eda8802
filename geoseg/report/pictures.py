"""Pictures of chips as data URIs: image, label, prediction, and where the last two disagree."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from geoseg.core.legend import IGNORE, Legend

AGREES = (217, 222, 224, 255)
"""Colour of pixels on which label and prediction agree."""


@dataclass(frozen=True)
class Panel:
    """One of the four pictures of a chip."""

    caption: str
    """Title under the picture."""
    alt: str
    """Text alternative of the picture."""
    uri: str
    """The PNG as a data URI."""


def panels(
    rgb: NDArray[np.uint8], label: NDArray[np.uint8], prediction: NDArray[np.uint8], legend: Legend
) -> tuple[Panel, ...]:
    """Paint the four pictures of a chip.

    Parameters
    ----------
    rgb
        Shape (rows, cols, 3).
    label, prediction
        Channel numbers, shape (rows, cols), 255 where there is no class.
    legend
        Classes in channel order.
    """
    wrong = disagreement(label, prediction)
    labelled = int((label != IGNORE).sum())
    share = (
        f"{100 * wrong.sum() / labelled:.1f} % of the labelled pixels" if labelled else "nothing is labelled"
    )
    difference = paint(np.where(wrong, label, np.uint8(IGNORE)), legend)
    difference[(label != IGNORE) & ~wrong] = AGREES
    pictures = (
        ("Image", f"{rgb.shape[0]} by {rgb.shape[1]} pixels", rgb),
        ("Label", composition(label, legend), paint(label, legend)),
        ("Prediction", composition(prediction, legend), paint(prediction, legend)),
        ("Disagreement", share, difference),
    )
    return tuple(Panel(name, f"{name}: {shown}", data_uri(pixels)) for name, shown, pixels in pictures)


def outlined_panels(
    rgb: NDArray[np.uint8], label: NDArray[np.uint8], prediction: NDArray[np.uint8], legend: Legend
) -> tuple[Panel, ...]:
    """Paint a chip alone, with the outlines of its labelled objects, and with those that were found.

    Parameters
    ----------
    rgb
        Shape (rows, cols, 3).
    label, prediction
        Channel numbers on the outlines, 255 elsewhere, shape (rows, cols).
    legend
        Classes in channel order.
    """
    found = [Panel("Image", f"Image: {rgb.shape[0]} by {rgb.shape[1]} pixels", data_uri(rgb))]
    for name, drawn in (("Label", label), ("Detections", prediction)):
        picture = np.where((drawn == IGNORE)[:, :, None], rgb, paint(drawn, legend)[:, :, :3])
        found.append(Panel(name, f"{name}: outlines of objects", data_uri(picture)))
    return tuple(found)


def disagreement(label: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which labelled pixels were predicted as another class, shape (rows, cols)."""
    wrong: NDArray[np.bool_] = (label != IGNORE) & (label != prediction)
    return wrong


def paint(channels: NDArray[np.uint8], legend: Legend) -> NDArray[np.uint8]:
    """Return channel numbers in the legend's colours, shape (rows, cols, 4), transparent without a class."""
    table = np.zeros((256, 4), dtype=np.uint8)
    for channel, c in enumerate(legend.classes):
        table[channel] = (*c.rgb, 255)
    painted: NDArray[np.uint8] = table[channels]
    return painted


def composition(channels: NDArray[np.uint8], legend: Legend, most: int = 3) -> str:
    """Return the largest classes of a chip and their shares as text."""
    counts = np.bincount(channels[channels < len(legend)], minlength=len(legend))
    if counts.sum() == 0:
        return "no class"
    largest = [int(i) for i in np.argsort(-counts, kind="stable")[:most] if counts[i] > 0]
    return ", ".join(f"{legend.classes[i].title} {100 * counts[i] / counts.sum():.0f} %" for i in largest)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return a PNG of pixels of shape (rows, cols, 3 or 4) as a data URI."""
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", metadata={"Software": "geoseg"})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
