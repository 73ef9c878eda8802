"""The thresholds of a run: those of the pipeline, or else of the network's card."""

from geoseg.config.pipeline import Inference
from geoseg.core.errors import ConfigError, did_you_mean
from geoseg.inference.heads import DOES
from geoseg.models.card import Card
from geoseg.tiling.thresholds import LIKELIEST, NOTHING, Thresholds


def resolve_thresholds(inference: Inference, card: Card) -> Thresholds | None:
    """Return the rule by which pixels get classes; None: the most probable one.

    Of a network that does not give one class to each pixel there is none; its labels have their own.

    Raises
    ------
    ConfigError
        When the network does not classify pixels or has no such class, or there is nothing that `otherwise`
        could be after.
    """
    if card.task != "classes":
        asked = {
            "thresholds": inference.thresholds != "auto",
            "otherwise": inference.otherwise != "likeliest",
        }
        if key := next((k for k, yes in asked.items() if yes), None):
            raise ConfigError(f"inference.{key}: {card.name} {DOES[card.task]}; leave it out")
        return None
    shares = card.thresholds if inference.thresholds == "auto" else inference.thresholds
    slugs = [c.slug for c in card.classes]
    if shares == "none" or not shares:
        if inference.otherwise != "likeliest":
            raise ConfigError("inference.otherwise: says what is below thresholds, but there are none")
        return None
    names = (*shares, *({inference.otherwise} - {"likeliest", "nodata"}))
    for name in names:
        if name not in slugs:
            key = "thresholds" if name in shares else "otherwise"
            raise ConfigError(
                f"inference.{key}: the model has no class {name!r}{did_you_mean(name, slugs)} "
                f"(it has {', '.join(slugs)})"
            )
    special = {"likeliest": LIKELIEST, "nodata": NOTHING}
    otherwise = (
        special[inference.otherwise] if inference.otherwise in special else slugs.index(inference.otherwise)
    )
    return Thresholds.of(slugs, shares, otherwise)
