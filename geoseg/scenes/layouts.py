"""How a folder of pictures is laid out: patterns with named parts, such as `{part}/{stem}.png`."""

import glob
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from geoseg.config.dataset import CLASS, FIELD, ChipsEntry
from geoseg.core.errors import SceneError, listed
from geoseg.core.parsing import read_bytes
from geoseg.scenes.listing import SIDECARS

PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What folders and lists of a part are called."""


@dataclass(frozen=True)
class Pattern:
    """A glob pattern in which `{name}` stands for any text without a slash.

    Examples
    --------
    >>> Pattern("{part}/{stem}.png").values("train/0001.png")
    {'part': 'train', 'stem': '0001'}
    """

    text: str

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        seen: set[str] = set()
        return re.compile("".join(_expression(t, seen) for t in _TOKENS.findall(self.text)))

    def values(self, path: str) -> dict[str, str] | None:
        """Return what the names stand for in a path; None when the path does not fit."""
        found = self._regex.fullmatch(path)
        return None if found is None else found.groupdict()

    def filled(self, values: Mapping[str, str], *, escaped: bool = False) -> str:
        """Return the pattern with values in place of names, for globs with their special letters escaped."""
        return FIELD.sub(lambda m: glob.escape(values[m[1]]) if escaped else values[m[1]], self.text)

    def find(self, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the files of a folder that fit, relative to it and sorted, with the values of the names."""
        for path in sorted(glob.glob(FIELD.sub("*", self.text), root_dir=folder, recursive=True)):  # noqa: PTH207
            place = path.replace("\\", "/")
            values = self.values(place)
            if values is not None and not place.endswith(SIDECARS) and (folder / place).is_file():
                yield place, values


_TOKENS = re.compile(r"\{\w+\}|\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", re.DOTALL)
_PLAIN = {"**/": r"(?:[^/]+/)*", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}


def _expression(token: str, seen: set[str]) -> str:
    """Return a token of a pattern as a regular expression; a name that returns means the same text."""
    if (field := FIELD.fullmatch(token)) is not None:
        name = field[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>[^/]+)"
    if token.startswith("[") and len(token) > 2:
        return token.replace("[!", "[^", 1)
    return _PLAIN.get(token, re.escape(token))


@dataclass(frozen=True)
class Pair:
    """An image and its label."""

    image: str
    """Path, relative to the folder."""
    label: str
    stem: str
    group: str | None
    """None: the entry names no group."""
    part: str | None
    """`train`, `val` or `test`; None: the layout has no parts."""
    classes: str | None = None
    """Path of the raster of classes, where the labels are numbers of objects."""


def find_pairs(entry: ChipsEntry, folder: Path) -> list[Pair]:
    """Return the images of a folder and their labels.

    Raises
    ------
    SceneError
        When no image fits the pattern, or none is in a known part, or one has no label or several.
    """
    found = list(Pattern(entry.images).find(folder))
    if not found:
        raise SceneError(f"{folder / entry.images}: no image matches this pattern")
    part_of = None if entry.parts is None else _listed_parts(entry.parts, folder)
    pairs: list[Pair] = []
    missing: list[tuple[str, str]] = []
    strange: set[str] = set()
    for image, values in found:
        stem = values.setdefault("stem", Path(image).stem)
        part = PARTS.get(values["part"].lower()) if "part" in values else None
        if part_of is not None:
            part = part_of.get(stem)
        if part is None and ("part" in values or part_of is not None):
            strange.add(values.get("part", "none"))
            continue
        label = _label(entry, folder, values)
        if label is None:
            missing.append((image, Pattern(entry.labels).filled(values)))
            continue
        group = None if entry.group is None else Pattern(entry.group).filled(values)
        classes = None if entry.classes is None else Pattern(entry.classes).filled(values)
        pairs.append(Pair(image, label, stem, group, part, classes))
    if missing and (entry.unlabelled == "error" or not pairs):
        image, label = missing[0]
        raise SceneError(
            f"{folder / label}: no such file, the label of {image}; {len(missing)} of "
            f"{len(missing) + len(pairs)} images have none: mend labels:, or write unlabelled: skip"
        )
    if not pairs:
        where = entry.parts or entry.images
        raise SceneError(
            f"{folder / where}: no image is of a part train, val or test; parts found are "
            f"{listed(sorted(strange), 6)}"
        )
    return pairs


def _label(entry: ChipsEntry, folder: Path, values: Mapping[str, str]) -> str | None:
    """Return the label of an image, relative to the folder; None when there is none.

    A label in several files keeps {class}; that each of them is there is seen when it is opened.
    """
    pattern = Pattern(entry.labels)
    if f"{{{CLASS}}}" in entry.labels:
        some = pattern.filled({**{k: glob.escape(v) for k, v in values.items()}, CLASS: "*"})
        path = pattern.filled({**values, CLASS: f"{{{CLASS}}}"})
        return path if glob.glob(some, root_dir=folder) else None  # noqa: PTH207
    plain = pattern.filled(values)
    if not glob.has_magic(FIELD.sub("", entry.labels)):
        return plain if (folder / plain).is_file() else None
    found = sorted(
        p
        for p in glob.glob(pattern.filled(values, escaped=True), root_dir=folder)  # noqa: PTH207
        if not p.endswith(SIDECARS)
    )
    if len(found) > 1:
        raise SceneError(f"{folder / plain}: {len(found)} labels fit one image, {listed(found, 2)}")
    return found[0] if found else None


def _listed_parts(pattern: str, folder: Path) -> dict[str, str]:
    """Return the part of each stem that the lists of train, val and test name.

    Raises
    ------
    SceneError
        When there is no list, one cannot be read, or two name the same image.
    """
    part_of: dict[str, str] = {}
    lists = [(p, part) for p, v in Pattern(pattern).find(folder) if (part := PARTS.get(v["part"].lower()))]
    if not lists:
        raise SceneError(f"{folder / pattern}: there is no such list of a part train, val or test")
    for path, part in lists:
        for stem in _stems(folder / path):
            if part_of.setdefault(stem, part) != part:
                raise SceneError(f"{folder / path}: names {stem}, which is in {part_of[stem]}, too")
    return part_of


def _stems(path: Path) -> Iterable[str]:
    """Yield the first word of each line, without folders and suffix: lists name images in many ways."""
    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise SceneError(f"{path}: cannot be read as a list of images: {error}") from error
    for line in lines:
        if words := line.split():
            name = words[0].rsplit("/", 1)[-1]
            yield re.sub(r"\.(png|jpe?g|tiff?|webp|bmp|gif)$", "", name, flags=re.IGNORECASE)
