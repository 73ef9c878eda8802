"""What an exported graph says of itself beyond the keys of others, so that an import finds all it needs."""

from typing import Any

from geoseg.core.errors import BundleError
from geoseg.models.card import Card


def exported_facts(card: Card, raw_scale: float) -> dict[str, Any]:
    """Return the keys of a draft for a graph from numbers to probabilities.

    Parameters
    ----------
    card
        The card of the bundle.
    raw_scale
        What raw numbers are divided by before they enter the graph.
    """
    scale = 1 / raw_scale if card.numbers == "raw" else 1.0
    facts = {
        "bands": [b.common_name for b in card.bands],
        "mean": [b.mean * scale for b in card.bands],
        "std": [b.std * scale for b in card.bands],
        "numbers": card.numbers,
        "input_scale": scale,
        "preprocess": [],
        "output": "probabilities",
        "gsd": "none" if card.gsd_m is None else f"{card.gsd_m.min:g}-{card.gsd_m.max:g}",
        "tile": card.tile.size,
        "overlap": card.tile.overlap,
    }
    more = {"level": card.level, "resize": None if card.resize is None else list(card.resize)}
    return facts | {key: value for key, value in more.items() if value is not None}


def as_stored(card: Card) -> Card:
    """Return the card for numbers as they are stored, of which scale and offset of its bands make its own.

    Raises
    ------
    BundleError
        When its steps need a scale of their own for each band, or an offset.
    """
    if card.numbers == "raw":
        return card
    scales, shifted = {b.scale for b in card.bands}, any(b.offset for b in card.bands)
    if min(scales) <= 0 or (card.preprocess is not None and (shifted or len(scales) > 1)):
        raise BundleError(
            f"{card.name}: its bands have scales or offsets that its preprocess cannot take in; export it "
            "with --to onnx, which takes physical values"
        )
    bands = [
        b.model_copy(update={"mean": (b.mean - b.offset) / b.scale, "std": b.std / b.scale})
        for b in card.bands
    ]
    factor = 1.0 if card.preprocess is None else scales.pop()
    update = {"numbers": "raw", "bands": tuple(bands), "input_scale": card.input_scale * factor}
    return card.model_copy(update={**update, "covariance": None, "strangeness": None})
