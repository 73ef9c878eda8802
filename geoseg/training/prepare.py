"""Prepare a training: read its document and labelled data, check and split them."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.config import lookup
from geoseg.config.legend import NO_CLASSES, LegendDocument, resolve_legend
from geoseg.config.loader import load
from geoseg.config.lookup import Shelf
from geoseg.config.training import Training
from geoseg.core.errors import ConfigError, GeosegWarning, SceneError, did_you_mean
from geoseg.core.extras import require
from geoseg.core.files import read_json
from geoseg.core.notices import collect_warnings
from geoseg.core.paths import at_home
from geoseg.scenes.labelled import InMemory, Labelled, Resized
from geoseg.training.census import (
    CensusCell,
    LabelledReader,
    Statistics,
    class_counts,
    statistics,
    strangeness,
    take_census,
)
from geoseg.training.instances.census import ObjectCensus, check_objects, take_object_census
from geoseg.training.loggers import check_loggers
from geoseg.training.places import Pair, find_pairs
from geoseg.training.repeats.division import divide, units_of, without_test
from geoseg.training.sets import DataSets, facts, open_data
from geoseg.training.sizes import chip_shape
from geoseg.training.split import PARTS, assign, regions_of, warn_of_leaks
from geoseg.training.truth import counted

if TYPE_CHECKING:
    from geoseg.training.aim import Aim

_CACHED_BYTES = 1_000_000_000


@dataclass(frozen=True)
class PreparedTraining:
    """A training whose data were read, checked and split."""

    document: Training
    legend: LegendDocument
    labelled: tuple[Labelled, ...]
    scenes: tuple[LabelledReader, ...]
    """The same scenes for reading chips; kept in memory when they are small."""
    parts: dict[str, tuple[CensusCell, ...]]
    statistics: Statistics
    folder: Path
    warnings: tuple[str, ...]
    chip: tuple[int, int]
    """Rows and columns of a chip."""
    trust: bool = False
    """Whether the network may be code that is not geoseg's."""
    objects: dict[str, ObjectCensus] = field(default_factory=dict)
    """Of `task: instances`, the objects of each part."""
    folds: tuple[dict[str, tuple[CensusCell, ...]], ...] = ()
    """Where several networks are trained: the parts of each fold, or the only ones of repeated seeds."""
    start_seed: int | None = None
    """Seed of the weights that the network starts from; None: that of the document."""
    sets: DataSets | None = None
    """The data sets, where there are several."""

    @property
    def pictures(self) -> bool:
        """Whether the data are photographs."""
        return self.document.gsd in {None, "none"} and all(p.scene.is_photograph for p in self.labelled)

    @cached_property
    def aim(self) -> "Aim":
        """What the training aims at."""
        from geoseg.training.aim import aim_of  # noqa: PLC0415 (torch is slow to import)

        return aim_of(self.document, self.legend, self.parts, self.objects)

    @property
    def band_names(self) -> list[str]:
        """Common names of the input bands, in the network's order."""
        return [b.common_name for b in self.labelled[0].scene.bands]

    @property
    def names(self) -> list[str]:
        """What the network predicts: slugs of classes, or the name of the target."""
        target = self.document.target
        return [c.slug for c in self.legend.classes] if target is None else [target.name]

    def summary(self) -> dict[str, Any]:
        """Return network, data and length of the training, as plain values."""
        titles = counted(self.document, self.legend)
        objects = {
            part: {"objects": dict(zip(titles, census.classes.tolist(), strict=False))}
            for part, census in self.objects.items()
        }
        return {
            "name": self.document.name,
            "network": self.document.network_in_words,
            "bands": self.band_names,
            "scenes": len(self.labelled),
            "parts": {
                part: {
                    "scenes": len({c.region.scene for c in cells}),
                    "chips": sum(bool(c.labelled) for c in cells),
                    **objects.get(part, {}),
                    "labelled_pixels": dict(
                        zip(titles, class_counts(cells, len(titles)).tolist(), strict=True)
                    ),
                }
                for part, cells in self.parts.items()
            },
            "loss": self.document.loss_in_words,
            **({} if self.sets is None else {"datasets": self.of_sets()}),
            **self._repeats(),
            "epochs": self.document.fit.epochs,
            "stops": self.document.fit.stop_in_words,
            "batch": self.document.fit.batch,
            "output": str(self.folder),
        }

    def of_sets(self) -> dict[str, Any]:
        """Return what each of several data sets has, as plain values."""
        assert self.sets is not None  # noqa: S101 (asked where there are several)
        titles, sampler = counted(self.document, self.legend), self.document.chips.sampler
        return facts(self.sets, self.labelled, self.parts, titles, sampler)

    def _repeats(self) -> dict[str, Any]:
        """Return the number of trainings, and what each fold holds; empty for a single training."""
        if not self.folds:
            return {}
        from geoseg.training.repeats.members import in_words, trainings_of  # noqa: PLC0415 (it imports this)

        folds = [
            {
                part: f"{len(units_of(cells))} {self.document.split.by}(s), "
                f"{sum(bool(c.labelled) for c in cells)} chips"
                for part, cells in parts.items()
            }
            for parts in self.folds
        ]
        shown = {"folds": folds} if self.document.split.folds else {}
        return {**shown, "trainings": len(trainings_of(self)), "which": in_words(self.document)}

    def with_parts(self, parts: dict[str, tuple[CensusCell, ...]], **changes: Any) -> "PreparedTraining":
        """Return the training of other parts of the same data, with the statistics of its own train."""
        known = _statistics(self.document, self.labelled, parts["train"])
        return replace(self, parts=parts, statistics=known, folds=(), warnings=(), **changes)


def prepare(
    path: Path | str,
    changes: Sequence[str] | Mapping[str, Any] = (),
    output: Path | None = None,
    catalog: Path | str | None = None,
    known: Statistics | None = None,
    *,
    trust: bool = False,
) -> PreparedTraining:
    """Read a training document and its data, check and split them; nothing is written.

    Parameters
    ----------
    path
        The training document: a file, or a name (see `geoseg.config.lookup`).
    changes
        Values to replace: `key=value` texts, or a mapping of (dotted) keys to values.
    output
        Folder of the training, instead of the document's.
    catalog
        The catalog file; None looks in all folders where names are looked up.
    known
        Band statistics of a bundle that is evaluated; default: measured on train, or those of the bundle
        that the training starts from.
    trust
        Whether the network may be code that is not geoseg's.

    Raises
    ------
    GeosegError
        When the training cannot work; see the subclasses.
    """
    require("lightning", "train", "training")
    document = load(lookup.locate(Shelf.TRAININGS, path), Training, changes)
    check_loggers(document.fit.loggers)
    legend = NO_CLASSES if document.legend is None else resolve_legend(document.legend)
    with collect_warnings() as notices:
        labelled, sets = open_data(document, legend, catalog)
        labelled, sets = _with_parts(labelled, sets, document)
        _check_bands(labelled)
        document = _by_parts(document, labelled)
        chip = chip_shape(document.chips, labelled)
        if document.chips.resize is None and not document.chips.whole:
            _warn_of_small_scenes(labelled, document.chips.size)
        scenes = readers_of(labelled, document)
        shapes = [s.shape for s in scenes]
        pairs = () if document.split.by == "block" else find_pairs(labelled, document.split.overlap)
        regions = regions_of(labelled, document.split, max(chip), pairs, shapes)
        cells = take_census(scenes, regions, chip, len(counted(document, legend)))
        if not any(c.labelled for c in cells):
            raise SceneError(
                f"{labelled[0].labels.path}: no labelled pixel with values in any scene; check labels, "
                "nodata and the legend's codes"
            )
        folds: tuple[dict[str, tuple[CensusCell, ...]], ...] = ()
        if document.split.folds is None:
            parts = assign(cells, document.split, trains=known is None)
            warn_of_leaks(labelled, parts, pairs, shapes)
            folds = (parts,) if document.repeats and known is None else ()
        else:
            parts = assign(cells, without_test(document.split), trains=known is None)
            folds = divide(cells, document.split) if known is None else ()
            _check_folds(document, labelled, legend, folds, pairs, shapes)
        objects = _objects(document, labelled, parts, legend, trains=known is None)
        if known is None:
            if document.task in {"classes", "multilabel"}:
                _check_classes(parts, legend, least=2 if document.task == "classes" else 1)
            known = _statistics(document, labelled, parts["train"])
    return PreparedTraining(
        document,
        legend,
        labelled,
        scenes,
        parts,
        known,
        at_home(output or Path(document.output)),
        tuple(dict.fromkeys(notices)),
        chip,
        trust,
        objects,
        folds,
        sets=sets,
    )


def _check_folds(
    document: Training,
    labelled: Sequence[Labelled],
    legend: LegendDocument,
    folds: Sequence[dict[str, tuple[CensusCell, ...]]],
    pairs: Sequence[Pair],
    shapes: Sequence[tuple[int, int]],
) -> None:
    """Refuse folds that cannot be trained, and warn of each as of a single training."""
    leaks = False
    for number, parts in enumerate(folds, 1):
        fold = f"fold {number} of {len(folds)}"
        with collect_warnings() as notices:
            # What leaks leaks in most folds: it is told of the first one.
            if not leaks:
                warn_of_leaks(labelled, parts, pairs, shapes)
                leaks = bool(notices)
            if document.task != "regression":
                try:
                    _check_classes(parts, legend, least=2 if document.task == "classes" else 1)
                except ConfigError as error:
                    raise ConfigError(f"{fold}: {error}; or use fewer folds") from error
        for notice in notices:
            warnings.warn(f"{fold}: {notice}", GeosegWarning, stacklevel=2)


def _objects(
    document: Training,
    labelled: Sequence[Labelled],
    parts: Mapping[str, Sequence[CensusCell]],
    legend: LegendDocument,
    *,
    trains: bool,
) -> dict[str, ObjectCensus]:
    """Return the objects of each part, once they were checked; empty where none are looked for."""
    if document.task != "instances":
        return {}
    require("faster_coco_eval", "instances", "training of instances")
    least = document.detection.min_pixels
    found = {p: take_object_census(labelled, cells, len(legend.classes), least) for p, cells in parts.items()}
    if trains:
        check_objects(found, parts["train"], legend, least)
    return found


def _statistics(document: Training, labelled: Sequence[Labelled], train: Sequence[CensusCell]) -> Statistics:
    """Return the statistics of train, or those of the bundle to start from, which its weights expect."""
    measured = statistics(train)
    if document.transfer.bundle is None:
        return measured
    from geoseg.models.bundle import open_bundle  # noqa: PLC0415

    bands = {b.common_name: b for b in open_bundle(document.transfer.bundle).card.bands}
    mean, std = measured.mean.copy(), measured.std.copy()
    for i, band in enumerate(labelled[0].scene.bands):
        if band.common_name in bands:
            mean[i], std[i] = bands[band.common_name].mean, bands[band.common_name].std
    covariance = measured.covariance
    far = None if covariance is None else strangeness(train, mean, covariance)
    return Statistics(mean, std, covariance, far)


def _by_parts(document: Training, labelled: Sequence[Labelled]) -> Training:
    """Return the document with the split that all of the data state, unless it says how to split."""
    if document.split.model_fields_set or any(p.part is None for p in labelled):
        return document
    return document.model_copy(update={"split": document.split.model_copy(update={"by": "given"})})


def _with_parts(
    labelled: tuple[Labelled, ...], sets: DataSets | None, document: Training
) -> tuple[tuple[Labelled, ...], DataSets | None]:
    """Return the scenes that the file of parts lists, with their part; all scenes without such a file."""
    if document.split.parts is None:
        return labelled, sets
    path = lookup.find(Shelf.TRAININGS, document.split.parts) or Path(document.split.parts)
    content = read_json(path)
    if content is None or not set(content) <= set(PARTS):
        raise ConfigError(
            f"{path}: a JSON object with lists of scene names under train, val and test is expected"
        )
    part_of: dict[str, str] = {}
    for part, names in content.items():
        for name in names:
            if name in part_of:
                raise ConfigError(f"{path}: names {name!r} twice, under {part_of[name]} and {part}")
            part_of[name] = part
    if not part_of:
        raise ConfigError(f"{path}: names no scene; list scene names under train, val and test")
    known = sorted(p.name for p in labelled)
    if missing := sorted(set(part_of) - set(known)):
        raise ConfigError(
            f"{path}: names {missing[0]!r} and {len(missing) - 1} more, which the data do not have"
            f"{did_you_mean(missing[0], known)}; they have {', '.join(known[:5])}{', ...' * (len(known) > 5)}"
        )
    kept = [i for i, p in enumerate(labelled) if p.name in part_of]
    if sets is not None:
        sets = replace(sets, of_scene=tuple(sets.of_scene[i] for i in kept))
    return tuple(replace(labelled[i], part=part_of[labelled[i].name]) for i in kept), sets


def _check_bands(labelled: Sequence[Labelled]) -> None:
    expected = [b.common_name for b in labelled[0].scene.bands]
    for other in labelled:
        found = [b.common_name for b in other.scene.bands]
        if found != expected:
            raise SceneError(
                f"{other.name}: has the bands {', '.join(found)}, but {labelled[0].name} has "
                f"{', '.join(expected)}; say which to use with bands:"
            )


def _warn_of_small_scenes(labelled: Sequence[Labelled], size: int) -> None:
    """Warn when scenes are smaller than a chip, which then shows their mirror image beyond the edge."""
    small = [p for p in labelled if min(p.shape) < size]
    if not small:
        return
    least = min(small, key=lambda p: min(p.shape))
    fits = max(min(least.shape) // 32 * 32, 16)
    warnings.warn(
        f"chips.size: {size} px is more than {len(small)} of {len(labelled)} scenes have, such as "
        f"{least.name} with {least.shape[0]} x {least.shape[1]} px; chips show their mirror images beyond "
        f"the edge, which are not labelled: write chips: {{size: {fits}}}",
        GeosegWarning,
        stacklevel=3,
    )


def readers_of(labelled: Sequence[Labelled], document: Training) -> tuple[LabelledReader, ...]:
    """Return the scenes for reading chips, in memory where they are small."""
    cache, shape = document.chips.cache, document.chips.resize
    if cache == "auto":
        pixels = [
            p.nbytes if shape is None else p.nbytes * math.prod(shape) // math.prod(p.shape) for p in labelled
        ]
        cache = sum(pixels) < _CACHED_BYTES
    read = labelled if shape is None else [Resized(p, shape) for p in labelled]
    return tuple(InMemory(p) for p in read) if cache else tuple(read)


def _check_classes(parts: dict[str, tuple[CensusCell, ...]], legend: LegendDocument, least: int) -> None:
    """Refuse to train on a single class, or without any label; warn of classes without pixels in a part."""
    counts = {part: class_counts(cells, len(legend.classes)) for part, cells in parts.items()}
    slugs = np.array([c.slug for c in legend.classes])
    present = slugs[counts["train"] > 0]
    if not len(present):
        raise ConfigError("train holds no pixel with a label; label more, or check the labels")
    if len(present) < least:
        raise ConfigError(
            f"train holds a single class ({', '.join(present)}); a network needs at least two: label more, "
            "or check the codes in the legend"
        )
    unseen = (counts["train"] == 0) & ((counts["val"] > 0) | (counts["test"] > 0))
    if unseen.any():
        parts_with = [p for p in ("val", "test") if counts[p][unseen].any()]
        where = "val and test have" if len(parts_with) > 1 else f"{parts_with[0]} has"
        warnings.warn(
            f"train has no pixel of {', '.join(slugs[unseen])}, but {where}: what train lacks cannot be "
            "learned, and the loss leaves it out; part the data in another way, or list its codes under "
            "ignore:",
            GeosegWarning,
            stacklevel=2,
        )
    for part in PARTS:
        missing = slugs[(counts[part] == 0) & ~((part == "train") & unseen)]
        if len(missing) and counts[part].any():
            warnings.warn(f"{part} has no pixel of {', '.join(missing)}", GeosegWarning, stacklevel=2)
