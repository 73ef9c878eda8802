"""Find the mixed precision of a bundle: the cheapest that keeps its classes."""

import hashlib
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.cache import cache_folder
from geoseg.core.files import as_output_error, read_json, write_atomic
from geoseg.models.backends.graph import import_openvino
from geoseg.models.backends.openvino_mixed import resolutions
from geoseg.models.backends.openvino_model import load_model, with_shape
from geoseg.models.backends.openvino_segmenter import OpenVinoSegmenter
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.bundle import Bundle
from geoseg.models.calibration import Chip, read_calibration
from geoseg.models.card import Card
from geoseg.models.feeding import line

MOST_CHANGED = 1e-3
"""Largest share of pixels whose class may be another than in float32."""


MOST_MOVED = 0.01
"""Standard deviations of the target by which a number may move and still count as the same."""


@dataclass(frozen=True)
class Mixed:
    """The mixed precision that keeps the classes of a network on some pixels."""

    level: int | None
    """Halvings of the resolution after which bfloat16 begins; None: no mixture keeps the classes."""
    changed: float
    """Share of the pixels whose class changes with it; without it, the least that was found."""
    pixels: int
    """Pixels that were compared."""

    @property
    def precision(self) -> str:
        """The precision of a segmenter: `mixed:N` or `fp32`."""
        return "fp32" if self.level is None else f"mixed:{self.level}"


def mixed_of_bundle(bundle: Bundle) -> Mixed | None:
    """Return the mixed precision found on the chips that a bundle keeps; None where it keeps none.

    It is found once on each kind of processor; the cache folder keeps it.

    Raises
    ------
    BundleError
        When OpenVINO cannot run the network, or the chips are damaged.
    """
    chips = read_calibration(bundle.folder)
    if not chips:
        return None
    kept = _place_of(bundle, chips)
    if (found := read_json(kept)) and set(found) == set(Mixed.__annotations__):
        return Mixed(**found)
    ones = np.ones(len(bundle.card.bands), dtype=np.float32)
    mixed = find_mixed(bundle, chips, ones, 0 * ones)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with as_output_error(kept):
            write_atomic(kept, json.dumps(asdict(mixed)).encode())
    except OSError:
        pass  # the next run measures again
    return mixed


def _place_of(bundle: Bundle, chips: Sequence[Chip]) -> Path:
    """Return the file that keeps what was found: another processor or version may round in another way."""
    digest = hashlib.sha256(bundle.sha256.encode())
    for chip in chips:
        digest.update(chip.values.tobytes())
    core = import_openvino().Core()
    for fact in (version("openvino"), platform.machine(), core.get_property("CPU", "FULL_DEVICE_NAME")):
        digest.update(str(fact).encode())
    return cache_folder() / "mixed" / f"{digest.hexdigest()[:32]}.json"


def find_mixed(
    bundle: Bundle, chips: Sequence[Chip], gain: NDArray[np.float32], bias: NDArray[np.float32]
) -> Mixed:
    """Compare the classes of each mixture with those of float32, the cheapest mixture first.

    Parameters
    ----------
    bundle
        A bundle that OpenVINO runs.
    chips
        Pixels of one shape, in raw numbers.
    gain, bias
        Physical value = number * gain + bias, shape (B,).

    Raises
    ------
    BundleError
        When OpenVINO cannot run the network.
    """
    spec = SegmenterSpec(bundle.place, bundle.sha256, "cpu", "openvino", "fp32", "none", 1)
    padded = [_padded(c, bundle.card) for c in chips]
    pixels = sum(int(c.valid.sum()) for c in chips)

    def answers(precision: str) -> Iterator[NDArray[Any]]:
        segmenter = OpenVinoSegmenter(bundle, replace(spec, precision=precision))
        for chip, (values, valid) in zip(chips, padded, strict=True):
            rows, cols = chip.valid.shape
            probabilities = segmenter.predict(values[None], valid[None], gain, bias)
            yield _told(bundle.card, probabilities[0, :, :rows, :cols][:, chip.valid])

    expected = list(answers("fp32"))
    shape = (1, *padded[0][0].shape)
    least = 1.0
    for level in range(resolutions(with_shape(load_model(bundle), shape))):
        found = answers(f"mixed:{level}")
        differ = (_differ(bundle.card, f, e) for f, e in zip(found, expected, strict=True))
        changed = sum(int(d.sum()) for d in differ) / max(pixels, 1)
        least = min(least, changed)
        if changed <= MOST_CHANGED:
            return Mixed(level, changed, pixels)
    return Mixed(None, least, pixels)


def _told(card: Card, probabilities: NDArray[np.float32]) -> NDArray[Any]:
    """Return what a map says of probabilities (C, pixels): class, labels, or the place of a value."""
    if card.task == "multilabel":
        return probabilities >= np.array(card.limits, np.float32)[:, None]
    return probabilities if card.target is not None else probabilities.argmax(axis=0)


def _differ(card: Card, found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pixels a map says something else of, shape (pixels,)."""
    if card.target is not None:
        factor, _ = line(card.target)
        changed: NDArray[np.bool_] = np.abs(found - expected)[0] > MOST_MOVED * factor
        return changed
    differ = np.atleast_2d(found != expected)
    return np.asarray(differ.any(axis=0))


def _padded(chip: Chip, card: Card) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return values and validity in the next size that the network takes, mirrored beyond its edges."""
    least, step = card.tile.min, card.tile.divisor
    rows, cols = (max(least, -(-n // step) * step) for n in chip.valid.shape)
    more = (0, rows - chip.valid.shape[0]), (0, cols - chip.valid.shape[1])
    return np.pad(chip.values, ((0, 0), *more), mode="reflect"), np.pad(chip.valid, more, mode="reflect")
