"""Prove that a bundle answers as the network did where it comes from."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import BundleError, ConfigError, one_line
from geoseg.core.geometry import Window
from geoseg.models.backends.auto import resolve_backend
from geoseg.models.backends.load import network_segmenter
from geoseg.models.backends.spec import Segmenter, SegmenterSpec
from geoseg.models.bundle import Bundle
from geoseg.models.card import Card
from geoseg.models.importing.reference import reference
from geoseg.models.importing.source import Floats, Original
from geoseg.scenes.scene import Scene

TOLERANCE = 1e-3
"""Largest difference of a probability from the original's."""

BATCHES = 8
_SUM_TOLERANCE = 1e-2


def segmenter_of(bundle: Bundle) -> Segmenter:
    """Return the segmenter that a run on a CPU has, without any resizing before the network."""
    backend = resolve_backend("auto", bundle, "cpu", "fp32")
    return network_segmenter(
        bundle, SegmenterSpec(bundle.folder, bundle.sha256, "cpu", backend, "fp32", "none", 1)
    )


def seeded(card: Card) -> Iterator[Floats]:
    """Yield batches of numbers as the card's pixels have them: patches with noise."""
    rng, tile, bands = np.random.default_rng(0), card.tile, len(card.bands)
    mean, std = (
        np.array(v)[None, :, None, None] for v in ([b.mean for b in card.bands], [b.std for b in card.bands])
    )
    sides = [tile.min, min(tile.min + tile.divisor, tile.max)]
    for k in range(BATCHES):
        rows, cols = sides[k % 2], sides[k // 2 % 2]
        coarse = rng.normal(size=(2, bands, -(-rows // 16), -(-cols // 16)))
        field = coarse.repeat(16, axis=2).repeat(16, axis=3)[:, :, :rows, :cols]
        yield (mean + std * (field + 0.3 * rng.normal(size=field.shape))).astype(np.float32)


def scene_batches(scene: Scene, card: Card) -> Iterator[Floats]:
    """Yield tiles of a scene in the units of the card, without nodata: four corners of its middle.

    Raises
    ------
    ConfigError
        When it is smaller than a tile.
    """
    side = card.tile.min
    height, width = scene.shape
    if min(height, width) < side:
        raise ConfigError(f"{scene.name}: is smaller than a tile of {side} px; give a larger --scene")
    for row in {0, (height - side) // 2, height - side}:
        for col in {0, (width - side) // 2, width - side}:
            pixels = scene.read(Window.of(row, col, side, side))
            numbers = pixels.values.astype(np.float32)
            if card.numbers == "physical":
                numbers = numbers * scene.gain[:, None, None] + scene.bias[:, None, None]
            mean = np.array([b.mean for b in card.bands], np.float32)[:, None, None]
            yield np.where(pixels.valid, numbers, mean)[None].astype(np.float32)


def largest_difference(
    bundle: Bundle, original: Original, card: Card, batches: Iterator[Floats] | Sequence[Floats]
) -> tuple[float, int]:
    """Return the largest difference of a probability between a bundle and its original, and the batches.

    Parameters
    ----------
    bundle
        The bundle.
    original
        The network where it comes from.
    card
        How it was fed there: the bundle's card, but for what its source says otherwise.
    batches
        Numbers in the units of the bundle's card, its bands in order.

    Raises
    ------
    BundleError
        When the network gives no probabilities, though the card says so.
    """
    segmenter, given = segmenter_of(bundle), [b.common_name for b in bundle.card.bands]
    worst, count = 0.0, 0
    for values in batches:
        expected = reference(original, card, given, values)
        _check_probabilities(expected, bundle)
        worst = max(worst, _difference(predict(segmenter, values), expected))
        count += 1
    return worst, count


def predict(segmenter: Segmenter, values: Floats) -> Floats:
    """Return the probabilities of a segmenter for numbers in the units of its card, all of them valid."""
    ones = np.ones(values.shape[1], np.float32)
    valid = np.ones((values.shape[0], *values.shape[2:]), np.bool_)
    segmenter.prepare(values.shape, values.dtype)
    return np.array(segmenter.predict(values, valid, ones, 0 * ones))


def _difference(found: Floats, expected: NDArray[Any]) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return 1.0
    return min(1.0, float(np.abs(found - expected).max()))


def _check_probabilities(p: NDArray[np.float64], bundle: Bundle) -> None:
    if not (p.min() >= -TOLERANCE and np.abs(p.sum(axis=1) - 1).max() <= _SUM_TOLERANCE):
        raise BundleError(
            f"the network gives {p.min():.3g} to {p.max():.3g}, which are no probabilities; output is "
            f"{bundle.card.output}: logits or sigmoid may be right"
        )


def read_answers(path: Path, card: Card, scale: float) -> list[tuple[Floats, NDArray[Any]]]:
    """Read answers of the original from an npz file: pairs of numbers and probabilities.

    Parameters
    ----------
    path
        Arrays `numbers` of shape (B, rows, cols) or (N, B, rows, cols), `probabilities` with C instead of B.
    card
        The card, whose bands and classes they have.
    scale
        Factor from the numbers to the units of the card.

    Raises
    ------
    ConfigError
        When it has no such arrays, or their shapes do not fit the card.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            numbers, known = (np.asarray(arrays[k]) for k in ("numbers", "probabilities"))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{path}: needs arrays numbers and probabilities: {one_line(error)[:120]}"
        ) from error
    numbers, known = (a[None] if a.ndim == 3 else a for a in (numbers, known))
    sides, tile = numbers.shape[2:], card.tile
    wanted = (len(numbers), len(card.bands), *sides), (len(numbers), len(card.classes), *sides)
    if (numbers.shape, known.shape) != wanted or any(
        n % tile.divisor or not tile.min <= n <= tile.max for n in sides
    ):
        raise ConfigError(
            f"{path}: numbers {numbers.shape} and probabilities {known.shape} do not fit "
            f"{len(card.bands)} bands, {len(card.classes)} classes and tiles of {tile.min} to {tile.max} px"
        )
    return [
        ((numbers[k : k + 1] * scale).astype(np.float32), known[k : k + 1].astype(np.float64))
        for k in range(len(numbers))
    ]


def difference_to_answers(bundle: Bundle, pairs: Sequence[tuple[Floats, NDArray[Any]]]) -> tuple[float, int]:
    """Return the largest difference of a probability from stored answers, and their number."""
    segmenter = segmenter_of(bundle)
    return max(_difference(predict(segmenter, x), p) for x, p in pairs), len(pairs)
