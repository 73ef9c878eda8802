"""What an exported graph says of itself beyond the keys of others, so that an import finds all it needs."""

from typing import Any

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
