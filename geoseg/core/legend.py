"""The legend: which class has which id, name and colour."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ConfigError, did_you_mean
from geoseg.core.text import check_line

NODATA = 255
"""Value of pixels without a class in every class and confidence raster."""

NO_OBJECT = 0
"""Value of pixels that belong to no object, the nodata of rasters of objects."""

_SEPARATOR = re.compile(r"[/\\]")


def _key(slug: str) -> str:
    """Return what two slugs that a file system or a database may take for one have in common."""
    return unicodedata.normalize("NFKC", slug).casefold()


@dataclass(frozen=True, slots=True)
class LegendClass:
    """One class."""

    id: int
    """Pixel value, 0 to 254."""
    slug: str
    """Name for machines (`grass-shrub`)."""
    title: str
    """Name for people (`Grass and shrub`)."""
    color: str
    """`#rrggbb`."""

    def __post_init__(self) -> None:
        if not 0 <= self.id < NODATA:
            raise ValueError(f"class id {self.id} of {self.slug!r} is not between 0 and 254")
        for what, text, longest in (("slug", self.slug, 100), ("title", self.title, 200)):
            if not text.strip():
                raise ValueError(f"the {what} of class {self.id} is empty; give every class a name")
            try:
                check_line(text)
            except ValueError as error:
                raise ValueError(f"{what} {text[:longest]!r} of class {self.id} {error}") from None
            if len(text) > longest:
                raise ValueError(
                    f"{what} {text[:20]!r}... of class {self.id} is longer than {longest} letters"
                )
        if self.slug != self.slug.strip() or _SEPARATOR.search(self.slug) or not self.slug.strip("."):
            raise ValueError(
                f"slug {self.slug!r} of class {self.id} has spaces around it, '/' or '\\', or is only dots; "
                "write it like grass-shrub"
            )
        if _key(self.slug) == "nodata":
            raise ValueError("a class cannot be called 'nodata'")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.color):
            raise ValueError(f"colour {self.color!r} of {self.slug!r} is not written #rrggbb")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


class ClassFields(Protocol):
    """An entry of a document or a record that describes a class."""

    @property
    def id(self) -> int:
        """Pixel value."""

    @property
    def slug(self) -> str:
        """Name for machines."""

    @property
    def title(self) -> str:
        """Name for people."""

    @property
    def color(self) -> str:
        """`#rrggbb`."""


@dataclass(frozen=True)
class Legend:
    """The classes of a map, in the channel order of the network."""

    classes: tuple[LegendClass, ...]
    """None of a map of numbers."""

    def __post_init__(self) -> None:
        seen: dict[Any, str] = {}
        for c in self.classes:
            for what, value, key in (("id", c.id, c.id), ("slug", c.slug, _key(c.slug))):
                if key in seen:
                    like = (
                        "" if seen[key] == str(value) else f" (as {seen[key]!r}, which differs by case only)"
                    )
                    raise ValueError(f"class {what} {value!r} is used twice{like}")
                seen[key] = str(value)

    @classmethod
    def of(cls, entries: Iterable[ClassFields]) -> "Legend":
        """Return the legend that entries of a document or a record describe, in their order.

        Raises
        ------
        ValueError
            When a value is not valid, or an id or slug is used twice.
        """
        return cls(tuple(LegendClass(e.id, e.slug, e.title, e.color) for e in entries))

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def ids(self) -> NDArray[np.uint8]:
        """Class id of each network channel, shape (C,)."""
        return np.array([c.id for c in self.classes], dtype=np.uint8)

    def by_id(self) -> dict[int, LegendClass]:
        """Classes by id, in ascending order of id."""
        return {c.id: c for c in sorted(self.classes, key=lambda c: c.id)}

    def ids_of(self, slugs: Iterable[str], key: str) -> list[int]:
        """Return the ids of classes by their slugs, in the order of these.

        Parameters
        ----------
        slugs
            The slugs.
        key
            Key of the document that has them, for the message.

        Raises
        ------
        ConfigError
            When the model has no such class.
        """
        known = {c.slug: c.id for c in self.classes}
        for slug in slugs:
            if slug not in known:
                raise ConfigError(
                    f"{key}: the model has no class {slug!r}{did_you_mean(slug, known)} "
                    f"(it has {', '.join(known)})"
                )
        return [known[slug] for slug in slugs]


def cf_flags(classes: Iterable[ClassFields]) -> dict[str, Any]:
    """Return the attributes that name the classes of a map by the CF conventions, and their colours.

    `flag_titles` and `flag_colors` are ours: names for people, and colours as `#rrggbb`, in the order of
    `flag_values`.
    """
    listed = list(classes)
    return {
        "long_name": "class",
        "flag_values": np.array([c.id for c in listed], np.uint8),
        "flag_meanings": " ".join(re.sub(r"\s+", "_", c.slug) for c in listed),
        "flag_titles": "; ".join(c.title for c in listed),
        "flag_colors": " ".join(c.color for c in listed),
    }


UNLABELLED = -1
"""Label code of pixels without a label."""

IGNORE = 255
"""Channel number of pixels that neither train nor count in figures."""


@dataclass(frozen=True)
class Remap:
    """Maps the codes of a label source to channel numbers; several codes may mean one class."""

    codes: tuple[tuple[int, ...], ...]
    """Codes of each channel."""
    ignored: tuple[int, ...] = ()
    """Codes that are known and mean no class of the legend."""

    def __post_init__(self) -> None:
        every = [c for group in (*self.codes, self.ignored) for c in group]
        double = {c for c in every if every.count(c) > 1}
        if double:
            raise ValueError(f"code {double.pop()} is given to two classes")

    @cached_property
    def _table(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        pairs = {c: channel for channel, group in enumerate(self.codes) for c in group}
        pairs |= dict.fromkeys((*self.ignored, UNLABELLED), IGNORE)
        known = sorted(pairs)
        return np.array(known, dtype=np.int64), np.array([pairs[c] for c in known], dtype=np.uint8)

    def channels(self, labels: NDArray[Any]) -> NDArray[np.uint8]:
        """Return channel numbers of the same shape, 255 where the code is ignored, unlabelled or unknown."""
        known, channel = self._table
        place = np.searchsorted(known, labels).clip(max=len(known) - 1)
        return np.where(known[place] == labels, channel[place], np.uint8(IGNORE))

    def unknown(self, labels: NDArray[Any]) -> Mapping[int, int]:
        """Return the codes that neither a class nor `ignored` names, with their number of pixels."""
        values, counts = np.unique(labels, return_counts=True)
        strange = ~np.isin(values, self._table[0])
        return {int(v): int(n) for v, n in zip(values[strange], counts[strange], strict=True)}
