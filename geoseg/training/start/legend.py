"""The classes of a new training: names, colours and codes from what labels hold and lists say."""

import colorsys
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from geoseg.core.errors import ConfigError
from geoseg.core.legend import NODATA
from geoseg.training.start.codes import Held
from geoseg.training.start.names import ClassName, NameList

UNLABELLED = -1
"""Code that means no label in every label raster."""


@dataclass(frozen=True)
class DraftClass:
    """A class of the training file."""

    id: int
    slug: str
    title: str
    color: str
    code: int | None
    """Its code in labels; None where these are pictures."""
    pixels: int
    """Pixels in all labels; 0 where it is not known yet."""


@dataclass(frozen=True)
class DraftLegend:
    """The classes of the training file, and what is left out."""

    classes: tuple[DraftClass, ...]
    ignore: Mapping[int, str]
    """Codes that are not trained on, and why."""
    unknown_colors: bool
    """Whether colours of labels are left out."""
    source: str
    """File that names came from, empty without."""
    notes: tuple[str, ...]


def draft_legend(held: Held, lists: Sequence[NameList]) -> DraftLegend:
    """Return the classes of labels.

    Parameters
    ----------
    held
        What the labels hold.
    lists
        What files say of classes, the surest first.

    Raises
    ------
    ConfigError
        When there are fewer than two classes.
    """
    drafted = (
        _of_colors(held, lists) if held.colors else _of_texts(held) if held.texts else _of_codes(held, lists)
    )
    if len(drafted.classes) < 2:
        only = ", ".join(c.title for c in drafted.classes) or "none"
        left = ", ".join(map(str, drafted.ignore))
        raise ConfigError(
            f"labels hold fewer than two classes: {only}{f', besides {left}' if left else ''}; a network "
            "needs two, such as an object and the background around it: label more"
        )
    return drafted


def _of_texts(held: Held) -> DraftLegend:
    found = [ClassName(i, text) for i, text in enumerate(held.texts, start=1)]
    return DraftLegend(_classes(found, {}, coded=True), {}, unknown_colors=False, source="", notes=())


def _of_codes(held: Held, lists: Sequence[NameList]) -> DraftLegend:
    codes = [c for c in held.codes if c != UNLABELLED]
    known, source = _known(codes, lists)
    ignore: dict[int, str] = {c: known[c].title for c in codes if known[c].void}
    plain = [c for c in codes if c not in ignore]
    if NODATA in plain and not known[NODATA].title and len(plain) > 2:
        ignore[NODATA] = "mostly pixels that nobody labelled"
    kept = [c for c in codes if c not in ignore]
    notes = []
    if 0 in kept and not known[0].title:
        known[0] = replace(known[0], title="Background")
        if len(kept) > 2:
            notes.append("code 0 has no name: where it means that nothing was labelled, move it to ignore")
    classes = _classes([known[c] for c in kept], held.codes, coded=True)
    return DraftLegend(classes, ignore, unknown_colors=False, source=source, notes=tuple(notes))


def _known(codes: Sequence[int], lists: Sequence[NameList]) -> tuple[dict[int, ClassName], str]:
    """Return what is known of each code, and the file that tells names."""
    known, source = {c: ClassName(c) for c in codes}, ""
    for one in lists:
        of_codes = one.of_codes()
        named = {c: k for c, k in of_codes.items() if k.title}
        hit = [c for c in codes if c in named]
        if named and not source:
            if 2 * len(hit) > len(codes):
                source = one.source
            elif sorted(named) == list(range(len(codes))):
                # A list of names in order, without codes.
                named = {c: replace(named[i], code=c) for i, c in enumerate(sorted(codes))}
                source = one.source
            else:
                continue
            known |= {
                c: replace(named[c], color=named[c].color or known[c].color) for c in codes if c in named
            }
        for c in codes:
            if not known[c].color and c in of_codes:
                known[c] = replace(known[c], color=of_codes[c].color)
    return known, source


def _of_colors(held: Held, lists: Sequence[NameList]) -> DraftLegend:
    best: dict[str, ClassName] = {}
    source = ""
    for one in lists:
        of_colors = {c: k for c, k in one.of_colors().items() if c in held.colors and k.title}
        if 2 * len(of_colors) >= len(held.colors) and len(of_colors) > len(best):
            best, source = of_colors, one.source
    kept = {c: k for c, k in best.items() if not k.void} if best else dict.fromkeys(held.colors, ClassName())
    left = [c for c in held.colors if c not in kept]
    first = 0 if "#000000" in kept else 1
    found = [ClassName(i, kept[c].title or f"Colour {c}", c) for i, c in enumerate(kept, start=first)]
    pixels = {k.code: held.colors[k.color] for k in found if k.code is not None}
    notes = (
        () if not left else (f"{len(left)} colours of the labels have no name and are left out: {left[0]}",)
    )
    return DraftLegend(_classes(found, pixels, coded=False), {}, bool(left), source, notes)


def _classes(found: Sequence[ClassName], pixels: Mapping[int, int], *, coded: bool) -> tuple[DraftClass, ...]:
    """Return classes with ids, slugs and colours of their own."""
    codes = [c.code for c in found if c.code is not None]
    own = all(0 <= c < NODATA for c in codes)
    slugs: list[str] = []
    colors: list[str] = []
    classes = []
    for number, one in enumerate(found):
        code = one.code if one.code is not None else number
        title = one.title or f"Class {code}"
        slugs.append(_unique(_slug(title) or f"class-{code}", slugs))
        color = one.color.lower()
        if not color or color in colors:
            color = next(c for k in range(1000) if (c := _color(number + k * len(found))) not in colors)
        colors.append(color)
        identity = code if own else number + 1
        classes.append(
            DraftClass(identity, slugs[-1], title, color, code if coded else None, pixels.get(code, 0))
        )
    return tuple(classes)


def _slug(title: str) -> str:
    text = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:60]
    return f"{slug}-class" if slug == "nodata" else slug


def _unique(slug: str, taken: Sequence[str]) -> str:
    return next(s for n in range(1, 1000) if (s := slug if n == 1 else f"{slug}-{n}") not in taken)


def _color(number: int) -> str:
    """Return a colour far from those of the numbers before: hues in steps of the golden section."""
    rgb = colorsys.hls_to_rgb(number * 0.618034 % 1, (0.45, 0.62)[number % 2], 0.55)
    return "#{:02x}{:02x}{:02x}".format(*(round(255 * v) for v in rgb))
