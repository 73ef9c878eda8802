"""The trainings of a document with folds or seeds: which they are, and what each one trains on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geoseg.config.cluster import Local
from geoseg.config.training import Training
from geoseg.training.census import CensusCell
from geoseg.training.folder import MEMBERS
from geoseg.training.prepare import PreparedTraining

SUMS = "places.npz"
"""What was measured of a member, by place; it marks a finished one."""


@dataclass(frozen=True)
class Member:
    """One of several trainings."""

    prepared: PreparedTraining
    """The training alone, with a folder of its own."""
    label: str
    """In words: `fold 2 of 5, seed 0`."""
    fold: int | None
    """Whose test part it measures, from 1; None: it serves the bundle alone."""
    seed: int
    measures: bool
    """Whether its figures on test are part of those that are quoted."""

    @property
    def folder(self) -> Path:
        """Folder of the training."""
        return self.prepared.folder


def trainings_of(prepared: PreparedTraining) -> tuple[Member, ...]:
    """Return all trainings: each seed over all folds, and those that the bundle needs besides."""
    document = prepared.document
    folds, kind = document.split.folds, document.final_kind
    seeds = range(document.seed, document.seed + document.seeds)
    # Weights can be averaged when they start from the same ones (Wortsman et al. 2022).
    together = document.seed if kind == "soup" else None
    members = [
        _member(
            prepared, parts, seed, f"fold-{fold}-seed-{seed}" if folds else f"seed-{seed}",
            f"fold {fold} of {folds}, seed {seed}" if folds else f"seed {seed}", fold,
            start_seed=None if folds else together, measures=bool(parts["test"]),
        )
        for seed in seeds
        for fold, parts in enumerate(prepared.folds, 1)
    ]  # fmt: skip
    if kind == "all":
        everything = _everything(prepared)
        members.append(_member(prepared, everything, document.seed, "final", "all data", None))
    elif kind == "soup" and folds:
        members += [
            _member(
                prepared, prepared.parts, seed, f"final-seed-{seed}", f"all data, seed {seed}", None,
                start_seed=together,
            )
            for seed in seeds
        ]  # fmt: skip
    return tuple(members)


def in_words(document: Training) -> str:
    """Return which trainings there are, and what the bundle is made of."""
    folds = f"{document.split.folds} folds x " if document.split.folds else ""
    more = {
        "all": "and one on all data, which is the bundle",
        "best": "of which the best on val is the bundle",
        "soup": f"and {document.seeds} on all data, whose mean is the bundle"
        if folds
        else "whose mean is the bundle",
    }[document.final_kind]
    return f"{folds}{document.seeds} seed(s), {more}"


def _everything(prepared: PreparedTraining) -> Mapping[str, tuple[CensusCell, ...]]:
    """Return the parts of a training on all data but those of val."""
    parts = prepared.parts
    return {"train": (*parts["train"], *parts["test"]), "val": parts["val"], "test": ()}


def _member(
    prepared: PreparedTraining,
    parts: Mapping[str, tuple[CensusCell, ...]],
    seed: int,
    name: str,
    label: str,
    fold: int | None,
    *,
    start_seed: int | None = None,
    measures: bool = False,
) -> Member:
    document = prepared.document
    alone = document.model_copy(
        update={
            "name": f"{document.name}-{name}",
            "title": f"{document.title or document.name}: {label}",
            "seed": seed,
            "seeds": 1,
            "final": None,
            "cluster": Local(),
            "fit": document.fit.model_copy(update={"devices": 1}),
        }
    )
    folder = prepared.folder.absolute() / MEMBERS / name
    part = prepared.with_parts(dict(parts), document=alone, folder=folder, start_seed=start_seed)
    return Member(part, label, fold, seed, measures)
