"""The README.md of a bundle, made from its card."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from geoseg.models.card import Card

_COUNTED = ("f1", "precision", "recall")

_LOADED = ", and `from_pretrained` of segmentation_models_pytorch loads the network"


def readme(card: Card, *, graph: bool = False) -> str:
    """Return the README of a bundle as Markdown: its use, classes, figures, limits and licence.

    Sections without an entry in the card are left out. A `graph` is no network that a library builds.
    """
    loaded = _LOADED * (not graph and card.task == "classes")
    use = (
        f"Bands, in this order: {', '.join(b.common_name or b.name for b in card.bands)}{_size(card)}. "
        f"`geoseg run` uses this folder as `model:`{loaded}; "
        "`geoseg.json` holds scaling, classes and tile sizes."
    )
    sections = [
        f"# {card.name} {card.version}",
        card.title,
        card.description,
        use,
        *_figures(card),
        *_section("Training", _facts(card.training)),
        *_section("Limits", card.limitations),
        *([f"## Licence\n\n{card.license}"] if card.license else []),
    ]
    return "\n\n".join(s for s in sections if s) + "\n"


def _size(card: Card) -> str:
    """Return the ground sample distance in words, or the size to which pictures are brought."""
    gsd, resize = card.gsd_m, card.resize
    size = "" if resize is None else f"; pictures are resized to {resize[0]} x {resize[1]} px"
    if gsd is None:
        return size
    span = f"{gsd.min:g} m" if gsd.min == gsd.max else f"{gsd.min:g} to {gsd.max:g} m"
    return f"; ground sample distance {span}{size}"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    text = "\n".join(f"- {line}" for line in lines)
    return [f"## {title}\n\n{text}"] if text else []


def _figures(card: Card) -> list[str]:
    """Return the section of the classes, with their scores where the card has some."""
    if (target := card.target) is not None:
        lines = [f"{target.label}, from {target.min:g} to {target.max:g}"]
        shown = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "bias": "bias"}
        found = [f"{t} {_score(card.metrics, k)}" for k, t in shown.items() if k in card.metrics]
        if found:
            lines.append(f"{card.metrics.get('reference', '')}: {', '.join(found)}".strip(": "))
        return _section("Values", lines)
    scores = {row["slug"]: row for row in card.metrics.get("classes", ())}
    objects = card.task == "instances"
    if not scores:
        names = (f"{c.id}: {c.title} (`{c.slug}`)" for c in card.classes)
        return _section("Classes", names)
    rows = [
        [
            str(c.id),
            c.title,
            *(_score(scores.get(c.slug, {}), k) for k in ("mask_ap" if objects else "iou", *_COUNTED)),
        ]
        for c in card.classes
    ]
    if objects:
        return [_figures_of_objects(card, rows)]
    if card.task == "multilabel":
        pairs = zip(card.classes, card.limits, strict=True)
        rows = [[*row, f"{limit:g}"] for row, (_, limit) in zip(rows, pairs, strict=True)]
        whole = (
            f"{card.metrics['reference'].capitalize()}: mean IoU {_score(card.metrics, 'miou')}, macro F1 "
            f"{_score(card.metrics, 'macro_f1')}, micro F1 {_score(card.metrics, 'micro_f1')}."
        )
        head = ["id", "label", "IoU", "F1", "precision", "recall", "threshold"]
        return [f"## Labels and figures\n\n{whole}\n\n{_table(head, rows)}"]
    whole = (
        f"{card.metrics['reference'].capitalize()}: mean IoU {_score(card.metrics, 'miou')}, overall "
        f"accuracy {_score(card.metrics, 'overall_accuracy')}, Cohen's kappa {_score(card.metrics, 'kappa')}."
    )
    table = _table(["id", "class", "IoU", "F1", "precision", "recall"], rows)
    return [f"## Classes and figures\n\n{whole}\n\n{table}"]


def _figures_of_objects(card: Card, rows: Sequence[Sequence[str]]) -> str:
    metrics = card.metrics
    masks, boxes = metrics["masks"], metrics["boxes"]
    whole = (
        f"{metrics['reference'].capitalize()}: average precision of masks {_score(masks, 'ap')} (at IoU 0.5: "
        f"{_score(masks, 'ap50')}), of boxes {_score(boxes, 'ap')} (at IoU 0.5: {_score(boxes, 'ap50')}); at "
        f"the score threshold {metrics['score_threshold']:.3f} F1 {_score(metrics, 'f1')}."
    )
    table = _table(["id", "class", "mask AP", "F1", "precision", "recall"], rows)
    return f"## Classes and figures\n\n{whole}\n\n{table}"


def _score(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "–" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _facts(training: Mapping[str, Any]) -> list[str]:
    """Return the facts of a training that are words or numbers, and the chips of its parts."""
    lines = [f"{key}: {value}" for key, value in training.items() if isinstance(value, str | int | float)]
    parts = training.get("data")
    if isinstance(parts, Mapping):
        lines.append("chips: " + ", ".join(f"{part['chips']} {name}" for name, part in parts.items()))
    return lines
