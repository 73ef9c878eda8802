"""Which files of a folder are images, which are their labels, and how the two are named."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from geoseg.core.errors import SceneError, listed
from geoseg.scenes.burning import VECTOR_SUFFIXES
from geoseg.scenes.layouts import PARTS

RASTERS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".webp", ".bmp", ".gif", ".vrt", ".img")
"""Ends of the names of rasters, in lower case."""

_LABELS = {
    "label", "labels", "labelled", "labeled", "lbl", "lbls", "mask", "masks", "msk", "msks", "annotation",
    "annotations", "annot", "annots", "ann", "anns", "gt", "gts", "groundtruth", "truth", "reference", "ref",
    "seg", "segm", "segs", "segmentation", "segmentations", "segmentationclass", "target", "targets", "class",
    "classes", "code", "codes", "labelids", "labeltrainids", "noboundary", "polygons",
}  # fmt: skip
"""Words in the names of labels and their folders."""
_IMAGES = {
    "image", "images", "img", "imgs", "jpegimages", "picture", "pictures", "photo", "photos", "scene",
    "scenes", "tile", "tiles", "chip", "chips", "input", "inputs", "rgb", "rgbir", "irrg", "sat",
    "satellite", "ms", "ortho", "raw", "data", "leftimg8bit",
}  # fmt: skip
"""Words in the names of images and their folders."""
_NEITHER = {"png", "jpg", "jpeg", "tif", "tiff", "geotiff", "id", "ids"}
_MOST_FILES = 1_000_000
_FEW = 3
"""Pairs from which on a pattern stands for them."""


@dataclass(frozen=True)
class Named:
    """A file, and what its name says."""

    path: str
    """Relative to the folder, with slashes."""
    label: bool
    """Whether a word in it speaks of labels."""
    image: bool
    """Whether a word in it speaks of images."""
    key: tuple[str, ...]
    """Folders and stem without these words: an image and its label have the same."""

    @cached_property
    def stem(self) -> str:
        """Name without words and suffix."""
        return self.key[-1]


@dataclass(frozen=True)
class Pairing:
    """The images of a folder and their labels."""

    pairs: tuple[tuple[str, str], ...]
    """Image and label, relative to the folder."""
    images: str = ""
    """Pattern of the images, as `ChipsEntry` has it; empty where none fits."""
    labels: str = ""
    """Pattern of the labels."""
    parts: frozenset[str] = frozenset()
    """Parts of the data that the pattern tells."""
    group: str = ""
    """Pattern of groups: folders that the images lie in."""
    left: int = 0
    """Rasters without a partner, or that the pattern leaves out."""

    @property
    def vector(self) -> bool:
        """Whether labels are polygons."""
        return PurePosixPath(self.pairs[0][1]).suffix.lower() in VECTOR_SUFFIXES


def files_of(folder: Path) -> list[str]:
    """Return the rasters and vector files of a folder, relative to it and sorted.

    Raises
    ------
    SceneError
        When there is no such folder, or none is in it.
    """
    if not folder.is_dir():
        raise SceneError(f"{folder}: no such folder; give the folder that holds images and labels")
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        inside = Path(root).relative_to(folder)
        found += [(inside / n).as_posix() for n in sorted(names) if not n.startswith(".") and _is_data(n)]
        if len(found) > _MOST_FILES:
            raise SceneError(f"{folder}: holds over a million files; give the folder of one data set")
    if not any(_is_raster(f) for f in found):
        raise SceneError(
            f"{folder}: holds no image; images are rasters ({', '.join(RASTERS[:6])}, ...), and each needs a "
            "label raster or polygons"
        )
    return sorted(found)


def _is_raster(name: str) -> bool:
    return name.lower().endswith(RASTERS)


def _is_data(name: str) -> bool:
    return _is_raster(name) or PurePosixPath(name).suffix.lower() in VECTOR_SUFFIXES - {".json"}


def named(path: str) -> Named:
    """Return what the name of a file says.

    Examples
    --------
    >>> named("train/masks_png/img_07_mask.png").key
    ('train', '07')
    """
    *folders, name = PurePosixPath(path).parts
    seen: set[str] = set()
    stem, _ = _bare(PurePosixPath(name).stem, seen, keep=True)
    inside = [bare for f in folders if (bare := _bare(f, seen, keep=False)[0])]
    vector = PurePosixPath(path).suffix.lower() in VECTOR_SUFFIXES
    return Named(path, vector or bool(seen & _LABELS), bool(seen & _IMAGES), (*inside, stem.lower()))


def _bare(name: str, seen: set[str], *, keep: bool) -> tuple[str, tuple[int, int]]:
    """Return a name without the words at its ends, and where the rest stands; its words go to `seen`."""
    words = [(m.start(), m.group()) for m in re.finditer(r"[A-Za-z0-9]+", name)]
    first, last = 0, len(words)
    while first < last and _told(words[first][1], seen):
        first += 1
    while last > first and _told(words[last - 1][1], seen):
        last -= 1
    if first == last:
        # `trainannot`, `imagesTr`: two words in one.
        return ("", (0, 0)) if not keep else (name, (0, len(name)))
    start, (at, word) = words[first][0], words[last - 1]
    rest = name[start : at + len(word)]
    part = re.match(r"(?i)(training|train|validation|valid|val|testing|test)_?([a-z]+)$", rest)
    if part is not None and not keep and _told(part[2], seen):
        return part[1].lower(), (start, start + len(part[1]))
    return (rest if keep else rest.lower()), (start, start + len(rest))


def _told(word: str, seen: set[str]) -> bool:
    lower = word.lower()
    if lower in _LABELS | _IMAGES | _NEITHER:
        seen.add(lower)
        return True
    return False


def find_pairs(files: Sequence[str], looks_like_labels: Mapping[str, bool]) -> Pairing:
    """Return the images and labels among files.

    Parameters
    ----------
    files
        Paths relative to a folder, as `files_of` returns them.
    looks_like_labels
        For some files whether their pixels look like codes of classes, where names tell nothing.

    Raises
    ------
    SceneError
        When no image has a label.
    """
    known = [named(f) for f in files]
    known = [_judged(n, looks_like_labels) for n in known]
    labels = [n for n in known if n.label]
    images = [n for n in known if not n.label]
    if not labels:
        raise SceneError(
            f"{len(images)} rasters, but none of them is a label: put labels into a folder called labels or "
            "masks, with the names of their images"
        )
    if not images:
        raise SceneError(
            f"{len(labels)} files, but all look like labels ({listed([n.path for n in labels], 2)}): put the "
            "images into a folder called images"
        )
    for key in (lambda n: n.key, lambda n: n.key[-1:]):
        if pairs := list(_matched(images, labels, key)):
            return _patterned(pairs, len(images))
    vectors = [n for n in labels if PurePosixPath(n.path).suffix.lower() in VECTOR_SUFFIXES]
    if len(labels) == 1 and (vectors or len(images) == 1):
        return Pairing(tuple((i.path, labels[0].path) for i in images))
    raise SceneError(
        f"no image and label have one name, such as {images[0].path} and {labels[0].path}: give a label the "
        "name of its image, in another folder or with _label at its end"
    )


def _judged(file: Named, looks: Mapping[str, bool]) -> Named:
    if file.label != file.image or file.path not in looks:
        # A label in a folder of images, such as images/a_mask.png, is a label all the same.
        return file
    return Named(file.path, looks[file.path], not looks[file.path], file.key)


def _matched(images: Sequence[Named], labels: Sequence[Named], key: object) -> Iterator[tuple[Named, Named]]:
    """Yield images and the label that has the same key; of several, the one in the fullest folder."""
    fullest = Counter(_place(n) for n in labels)
    of_key: dict[object, Named] = {}
    for label in sorted(labels, key=lambda n: (fullest[_place(n)], n.path)):
        of_key[key(label)] = label  # type: ignore[operator]
    taken = Counter(key(i) for i in images)  # type: ignore[operator]
    for image in images:
        k = key(image)  # type: ignore[operator]
        # Stems that return in other folders tell nothing without these.
        if k in of_key and taken[k] == 1:
            yield image, of_key[k]


def _place(file: Named) -> tuple[str, str]:
    path = PurePosixPath(file.path)
    return path.parent.as_posix(), path.suffix.lower()


@dataclass(frozen=True)
class _Form:
    """The name of a file with its stem left out."""

    folders: tuple[str, ...]
    before: str
    after: str
    suffix: str

    @classmethod
    def of(cls, file: Named, stem: str) -> "_Form | None":
        path = PurePosixPath(file.path)
        at = path.stem.lower().find(stem)
        if at < 0:
            return None
        return cls(path.parts[:-1], path.stem[:at], path.stem[at + len(stem) :], path.suffix)


def _patterned(pairs: Sequence[tuple[Named, Named]], images: int) -> Pairing:
    """Return pairs with the patterns that most of them fit, if one does."""
    every = tuple((i.path, label.path) for i, label in pairs)
    plain = Pairing(every, left=images - len(pairs))
    if len(pairs) < _FEW or plain.vector:
        return plain
    forms: dict[object, list[tuple[_Form, _Form, tuple[str, str]]]] = {}
    for image, label in pairs:
        one, other = (_Form.of(n, image.stem) for n in (image, label))
        if one is None or other is None:
            continue
        shape = (len(one.folders), one.before, one.after, len(other.folders), other.before, other.after)
        forms.setdefault(shape, []).append((one, other, (image.path, label.path)))
    if not forms:
        return plain
    most = max(forms.values(), key=len)
    found = _pattern([(one, other) for one, other, _ in most])
    if found is None or len(most) < 0.9 * len(pairs):
        return plain
    image_pattern, label_pattern, parts, fields = found
    group = "/".join(f"{{{f}}}" for f in fields) if fields else ""
    return Pairing(tuple(p for *_, p in most), image_pattern, label_pattern, parts, group, images - len(most))


def _pattern(
    forms: Sequence[tuple[_Form, _Form]],
) -> tuple[str, str, frozenset[str], list[str]] | None:
    """Return patterns of images and labels, the parts that they tell, and names of folders that vary."""
    first, other = forms[0]
    columns = [tuple(f.folders[i] for f, _ in forms) for i in range(len(first.folders))]
    fields: dict[int, str] = {}
    parts: frozenset[str] = frozenset()
    for i, column in enumerate(columns):
        words = [_part_in(c) for c in column]
        told = frozenset(PARTS[w] for w in words if w is not None)
        if None not in words and {"train", "val"} <= told and len({_rest(c) for c in column}) == 1:
            fields[i], parts = "part", told
        elif len(set(column)) > 1:
            fields[i] = "folder" if "folder" not in fields.values() else f"folder{i}"
    image = [_filled(c[0], fields.get(i)) for i, c in enumerate(columns)]
    label = []
    for i in range(len(other.folders)):
        column = tuple(f.folders[i] for _, f in forms)
        if len(set(column)) == 1:
            label.append(_escaped(column[0]))
            continue
        source = next((j for j in fields if _follows(column, columns[j], fields[j])), None)
        if source is None:
            return None
        label.append(_filled(column[0], fields[source]))
    suffixes = [{f.suffix for f, _ in forms}, {f.suffix for _, f in forms}]
    names = [
        f"{_escaped(f.before)}{{stem}}{_escaped(f.after)}{s.pop() if len(s) == 1 else '.*'}"
        for f, s in zip((first, other), suffixes, strict=True)
    ]
    groups = [name for name in fields.values() if name != "part"]
    return "/".join([*image, names[0]]), "/".join([*label, names[1]]), parts, groups


def _part_in(folder: str) -> str | None:
    """Return the word of a part at the beginning of a folder's name."""
    found = re.match(r"(?i)(training|train|validation|valid|val|testing|test)", folder)
    return None if found is None else found[1].lower()


def _rest(folder: str) -> str:
    word = _part_in(folder)
    return folder if word is None else folder[len(word) :]


def _follows(column: Sequence[str], source: Sequence[str], name: str) -> bool:
    """Return whether folders of labels vary as those of images do."""
    if name == "part":
        agree = all(_part_in(a) == _part_in(b) is not None for a, b in zip(column, source, strict=True))
        return agree and len({_rest(c) for c in column}) == 1
    return tuple(column) == tuple(source)


def _filled(folder: str, name: str | None) -> str:
    if name is None:
        return _escaped(folder)
    return f"{{part}}{_escaped(_rest(folder))}" if name == "part" else f"{{{name}}}"


def _escaped(text: str) -> str:
    """Return a text as a glob takes it for itself."""
    return re.sub(r"([*?[])", r"[\1]", text)


def lists_of_parts(folder: Path, stems: Iterable[str]) -> str:
    """Return the pattern of text files that list the images of each part, empty without."""
    known = set(stems)
    for train in sorted(folder.rglob("train.txt")):
        if not (train.parent / "val.txt").is_file():
            continue
        lines = train.read_text(errors="replace").split("\n")
        names = [re.sub(r"\.\w+$", "", w[0].rsplit("/", 1)[-1]) for line in lines if (w := line.split())]
        if names and sum(n in known for n in names) > 0.5 * len(names):
            return (train.parent.relative_to(folder) / "{part}.txt").as_posix()
    return ""
