"""From a folder of images and labels to a training file that can be trained as it is."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geoseg.config.dataset import ChipsEntry
from geoseg.config.loader import load
from geoseg.config.scene import SceneEntry
from geoseg.config.training import Training
from geoseg.core.errors import ConfigError, SceneError
from geoseg.models.pretrained import to_be_had
from geoseg.scenes import sources
from geoseg.scenes.layouts import find_pairs as pairs_of_entry
from geoseg.scenes.opening import open_scene
from geoseg.training.build import check_network
from geoseg.training.census import class_counts
from geoseg.training.estimate import Estimate, estimate
from geoseg.training.prepare import PreparedTraining, prepare
from geoseg.training.start.codes import hold, looks_like_labels
from geoseg.training.start.legend import DraftLegend, draft_legend
from geoseg.training.start.names import lists_beside, lists_in
from geoseg.training.start.pairs import Named, Pairing, files_of, find_pairs, lists_of_parts, named

ENCODER = "resnet34"
"""Encoder of a new training: small, and weights for it are known everywhere."""
WEIGHTS = "imagenet"
_STEP = 32
"""Chips are multiples of it, which the network needs."""
_LARGEST_CHIP = 256
_LEAST_DRAWS = 64
"""Chips of an epoch at least: fewer make figures jump."""
_UNNAMED = "band "


@dataclass(frozen=True)
class Draft:
    """The values of a new training file."""

    name: str
    folder: str
    """Folder of the data, as it was given."""
    pairing: Pairing
    entry: ChipsEntry | None
    """Chips by pattern; None: scenes, one by one."""
    attribute: str
    layer: str
    legend: DraftLegend
    bands: tuple[str, ...]
    """Names of the bands in the files."""
    guessed: bool
    """Whether these names are a guess."""
    gsd: str
    """`none` where pixels have no known size; empty: that of the files."""
    split: Mapping[str, object]
    chip: int
    per_epoch: int | str = "auto"
    balance: float = 0.0
    batch: int = 8
    weighted: bool = False
    dice: bool = False
    weights: str = ""
    """Weights of the encoder; empty: random ones."""


@dataclass(frozen=True)
class Drafted:
    """A training file with what was found of it."""

    draft: Draft
    prepared: PreparedTraining
    estimate: Estimate
    notes: tuple[str, ...]


def draft(
    folder: Path,
    name: str,
    write: Callable[[Draft], str],
    *,
    attribute: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Drafted:
    """Look at a folder, and return a training file for it that was prepared and tried.

    Parameters
    ----------
    folder
        Images and labels.
    name
        Name of the training.
    write
        Returns the text of the file.
    attribute
        Column of polygons that holds the class; default: found.
    say
        Called with what is being done.

    Raises
    ------
    GeosegError
        When the folder holds nothing that can be trained on.
    """
    say(f"looks at the names in {folder}")
    pairing = _pairing(folder)
    entry = _entry(folder, pairing)
    if entry is not None:
        pairing = replace(pairing, pairs=tuple((p.image, p.label) for p in pairs_of_entry(entry, folder)))
    labels = [label for _, label in pairing.pairs]
    say(f"reads the labels of {len(pairing.pairs)} images")
    held = hold(folder, labels, attribute)
    first = folder / labels[0]
    legend = draft_legend(
        held, [*lists_beside(first, held.palette), *lists_in(folder, (first.parent, first.parent.parent))]
    )
    if entry is not None and legend.unknown_colors:
        entry = entry.model_copy(update={"unknown_colors": "ignore"})
    images = [str((folder / image).absolute()) for image, _ in pairing.pairs]
    scene = open_scene(SceneEntry(uri=images[0]), "", Path())
    bands = tuple(b.common_name for b in scene.bands)
    guess = _guess(bands) if entry is not None and scene.dtype == np.uint8 else None
    shapes = [tuple(map(int, sources.inspect(i).geobox.shape)) for i in images]
    made = Draft(
        name, str(folder), pairing, entry, held.attribute, held.layer, legend, guess or bands,
        guessed=guess is not None, split={}, chip=0,
        gsd="none" if scene.geobox.crs is None and not scene.is_photograph else "",
    )  # fmt: skip
    say("splits the data")
    made, prepared = _split(made, shapes, entry, write)
    made = _balanced(made, prepared)
    if to_be_had(WEIGHTS, ENCODER):
        made = replace(made, weights=WEIGHTS)
    say("takes three steps, to estimate time and memory")
    prepared = replace(prepared, document=_load(write(made)))
    check_network(prepared)
    return Drafted(made, prepared, estimate(prepared), legend.notes + _notes(made, prepared))


def _notes(made: Draft, prepared: PreparedTraining) -> tuple[str, ...]:
    notes = list(prepared.warnings)
    if made.pairing.left:
        notes.append(f"{made.pairing.left} rasters have no label, or other names, and are left out")
    if made.guessed:
        notes.append(f"the files do not name their bands; {', '.join(made.bands)} is a guess")
    if not made.legend.source and not made.attribute:
        notes.append("nothing names the classes; write their titles into the legend")
    return tuple(notes)


def _pairing(folder: Path) -> Pairing:
    files = files_of(folder)
    told = [named(f) for f in files]
    unclear = [n for n in told if n.label == n.image]
    # One file of each folder and form tells of the others.
    looks: dict[tuple[str, ...], bool] = {}
    if unclear and not (any(n.label and not n.image for n in told) and _has_partners(told)):
        for n in unclear:
            key = _kin(n)
            if key not in looks:
                looks[key] = looks_like_labels(folder / n.path)
    return find_pairs(files, {n.path: looks[_kin(n)] for n in unclear if _kin(n) in looks})


def _kin(file: Named) -> tuple[str, ...]:
    path = Path(file.path)
    stem = path.stem.lower().replace(file.stem, "")
    return (path.parent.as_posix(), path.suffix.lower(), stem if path.parent != Path() else path.stem)


def _has_partners(told: Sequence[Named]) -> bool:
    labels = {n.key for n in told if n.label}
    return any(n.key in labels for n in told if not n.label) or len(labels) == 1


def _entry(folder: Path, pairing: Pairing) -> ChipsEntry | None:
    if not pairing.images:
        return None
    stems = [Path(image).stem for image, _ in pairing.pairs]
    lists = "" if pairing.parts else lists_of_parts(folder, stems)
    entry = ChipsEntry(
        kind="chips", folder=str(folder), images=pairing.images, labels=pairing.labels, parts=lists or None,
        group=pairing.group or None,
    )  # fmt: skip
    try:
        pairs_of_entry(entry, folder)
    except SceneError:  # the pattern of images fits others, too, such as labels beside them
        return entry.model_copy(update={"unlabelled": "skip"})
    return entry


def _guess(bands: Sequence[str]) -> tuple[str, ...] | None:
    """Return the usual names of three or four bands without names."""
    if not all(b.startswith(_UNNAMED) for b in bands):
        return None
    return {3: ("red", "green", "blue"), 4: ("red", "green", "blue", "nir")}.get(len(bands))


def _load(text: str) -> Training:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, Training)


def _split(
    made: Draft, shapes: Sequence[tuple[int, ...]], entry: ChipsEntry | None, write: Callable[[Draft], str]
) -> tuple[Draft, PreparedTraining]:
    """Return the draft with the first split that the data can be divided by."""
    problem: ConfigError | None = None
    for split, chip in _splits(made, shapes, entry):
        tried = replace(made, split=split, chip=chip)
        try:
            return tried, _prepared(write(tried))
        except ConfigError as error:
            if not str(error).startswith("split"):
                raise
            problem = problem or error
    raise problem or ConfigError(
        f"{made.folder}: {len(shapes)} images of {shapes[0][0]} x {shapes[0][1]} px cannot be divided into "
        "train, val and test; label more"
    )


def _prepared(text: str) -> PreparedTraining:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.yaml"
        path.write_text(text, encoding="utf-8")
        return prepare(path)


def _splits(
    made: Draft, shapes: Sequence[tuple[int, ...]], entry: ChipsEntry | None
) -> list[tuple[dict[str, object], int]]:
    """Return splits to try, the best first, with the side of a chip for each."""
    side = min(min(s) for s in shapes)
    chip = max(_STEP, min(_LARGEST_CHIP, side // _STEP * _STEP))
    found: list[tuple[dict[str, object], int]] = []
    if made.pairing.parts or (entry is not None and entry.parts):
        found.append(({"by": "given"}, chip))
    if len(shapes) >= 3:
        found += [({"by": "place"}, chip), ({"by": "file"}, chip)]
    if max(max(s) for s in shapes) >= 2 * _STEP:
        found += _blocks(shapes)
    return found


def _blocks(shapes: Sequence[tuple[int, ...]]) -> list[tuple[dict[str, object], int]]:
    """Return splits into blocks, of the largest chips that leave a dozen blocks, else six or three."""
    pixels = sum(math.prod(s) for s in shapes)
    found = []
    for wanted in (12, 6, 3):
        for chip in (256, 192, 128, 96, 64, 32):
            buffer = max(8, chip // 4)
            block = max(chip + buffer, min(1024, int(math.sqrt(pixels / (2 * wanted)))))
            if sum((s[0] // block) * (s[1] // block) for s in shapes) >= wanted:
                found.append(({"by": "block", "block": block, "buffer": buffer}, chip))
                break
    return found


def _balanced(made: Draft, prepared: PreparedTraining) -> Draft:
    """Return the draft with pixels of each class, and a loss for what they differ by."""
    classes = made.legend.classes
    cells = [c for part in prepared.parts.values() for c in part]
    everywhere = class_counts(cells, len(classes))
    if not any(c.pixels for c in classes):
        counted = tuple(replace(c, pixels=int(n)) for c, n in zip(classes, everywhere, strict=True))
        made = replace(made, legend=replace(made.legend, classes=counted))
    counts = class_counts(prepared.parts["train"], len(classes))
    shares = counts[counts > 0] / counts.sum()
    ratio = float(shares.max() / shares.min())
    chips = sum(bool(c.labelled) for c in prepared.parts["train"])
    return replace(
        made, weighted=ratio > 10, dice=ratio > 3, balance=0.5 if shares.min() < 0.02 else 0.0,
        per_epoch="auto" if chips >= _LEAST_DRAWS else _LEAST_DRAWS,
    )  # fmt: skip
