"""What the labels of a data set mean in a training whose classes are others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from geoseg.config.legend import LegendDocument
from geoseg.core.errors import ConfigError, did_you_mean
from geoseg.core.legend import Remap
from geoseg.scenes.open_objects import class_names

IGNORED = "ignore"
"""Stands for no class: labels that neither train nor count in figures."""


@dataclass(frozen=True)
class LabelMapping:
    """The labels of a data set, and the channels of the training that they mean."""

    legend: LegendDocument
    """Slugs, titles, colours and codes as they stand in the labels."""
    remap: Remap
    """Channels of the training by these codes."""
    names: Mapping[str, int]
    """Codes of the texts in a column of polygons."""


def map_labels(
    legend: LegendDocument, own: LegendDocument | None, classes: Mapping[str, str], where: str
) -> LabelMapping:
    """Return what labels mean.

    Parameters
    ----------
    legend
        The classes of the training.
    own
        The classes of the data set, which are those of the training where slugs are equal; None: there are
        none but those in `classes`.
    classes
        Slug of the training, or `IGNORED`, by code, by slug of the own legend, or by text in polygons.
    where
        What has the mapping, for messages.

    Raises
    ------
    ConfigError
        When it names no class of the training, leaves out a class of the own legend, or maps nothing.

    Examples
    --------
    >>> entry = {"id": 1, "slug": "tree", "title": "Tree", "color": "#1b7837"}
    >>> legend = LegendDocument.model_validate({"classes": [entry]})
    >>> map_labels(legend, None, {"10": "tree", "20": "ignore", "80": "tree"}, "worldcover").remap
    Remap(codes=((10, 80),), ignored=(20,))
    """
    slugs = [c.slug for c in legend.classes]
    for key, slug in classes.items():
        _check(slug, slugs, f"{where}: classes: {key}")
    by_code, names = _of_texts(classes) if own is None else _of_legend(own, slugs, classes, where)
    codes = [tuple(c for c, to in by_code.items() if to == slug) for slug in slugs]
    if not any(codes):
        raise ConfigError(f"{where}: classes: no label of it means a class; map one at least")
    # A training may well have a class that is called so.
    ignored = () if IGNORED in slugs else tuple(c for c, to in by_code.items() if to == IGNORED)
    remap = Remap(tuple(codes), ignored)
    if own is not None:
        return LabelMapping(own, remap, class_names(own) | names)
    entries = [c.model_copy(update={"codes": mine}) for c, mine in zip(legend.classes, codes, strict=True)]
    seen = LegendDocument(classes=tuple(entries), ignore=ignored)
    return LabelMapping(seen, remap, class_names(seen) | names)


def _check(slug: str, slugs: list[str], where: str) -> None:
    if slug not in slugs and slug != IGNORED:
        raise ConfigError(
            f"{where}: the training has no class {slug!r}{did_you_mean(slug, slugs)}; it has "
            f"{', '.join(slugs)}, and {IGNORED} for none of them"
        )


def _of_texts(classes: Mapping[str, str]) -> tuple[dict[int, str], dict[str, int]]:
    """Return slugs by code, and codes of texts, which have none of their own."""
    by_code = {int(key): slug for key, slug in classes.items() if _is_code(key)}
    texts = [key for key in classes if not _is_code(key)]
    names = {text: code for code, text in enumerate(texts, max([0, *by_code]) + 1)}
    return by_code | {code: classes[text] for text, code in names.items()}, names


def _of_legend(
    own: LegendDocument, slugs: list[str], classes: Mapping[str, str], where: str
) -> tuple[dict[int, str], dict[str, int]]:
    """Return slugs of the training by code of the own legend, and by texts that it lacks nothing."""
    known = [c.slug for c in own.classes]
    if strange := [k for k in classes if not _is_code(k) and k not in known]:
        raise ConfigError(
            f"{where}: classes: its legend has no class {strange[0]!r}{did_you_mean(strange[0], known)}; it "
            f"has {', '.join(known)}"
        )
    by_code = dict.fromkeys(own.ignore, IGNORED)
    for c, codes in zip(own.classes, own.remap.codes, strict=True):
        means = classes.get(c.slug, c.slug)
        if means not in slugs and means != IGNORED:
            raise ConfigError(
                f"{where}: the training has no class {c.slug!r}; say which of {', '.join(slugs)} it is: "
                f"classes: {{{c.slug}: SLUG}}, or {IGNORED}"
            )
        by_code |= dict.fromkeys(codes, means)
    return by_code | {int(key): slug for key, slug in classes.items() if _is_code(key)}, {}


def _is_code(key: str) -> bool:
    return re.fullmatch(r"-?\d{1,9}", key) is not None
