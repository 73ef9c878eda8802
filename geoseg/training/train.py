"""The composition root of training: from a training document to a bundle that `geoseg run` uses."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.config.training import Training
from geoseg.core.errors import ConfigError, OutputError, difference
from geoseg.core.files import as_output_error, read_json, write_atomic
from geoseg.core.locks import lock_folder
from geoseg.core.notices import collect_warnings
from geoseg.training.census import Statistics, class_counts
from geoseg.training.prepare import Prepared, prepare
from geoseg.training.split import PARTS

if TYPE_CHECKING:
    from torch import nn

    from geoseg.models.bundle import Bundle
    from geoseg.training.callbacks import Event
    from geoseg.training.chips import GridChips, Source
    from geoseg.training.fit import Fitted
    from geoseg.training.task import SegmentationTask

RECORD = "training.json"
_BEGUN, _CHECKPOINTS, _BUNDLE = "begun.json", "checkpoints", "bundle"
_CARD_ONLY = {
    "name", "version", "title", "description", "license", "limitations", "gsd", "tile", "measure", "output",
    "data",
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    folder: Path
    bundle: Path
    record: dict[str, Any]


def train(
    prepared: Prepared,
    *,
    overwrite: bool = False,
    on_event: Callable[["Event"], None] = lambda _: None,
) -> Trained | None:
    """Train, calibrate, measure, and write the bundle.

    An interrupted training goes on from its last epoch and ends as if it had never stopped.

    Returns
    -------
    Trained or None
        None in the processes that only help to train on more devices.

    Raises
    ------
    GeosegError
        When the training failed; its checkpoints are kept.
    """
    from lightning.fabric.utilities.rank_zero import rank_zero_only  # noqa: PLC0415

    if rank_zero_only.rank:
        # A helper that the first process started; that one holds the lock.
        _fit(prepared, on_event)
        return None
    check_network(prepared)
    folder = prepared.folder
    with as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder):
        _open_folder(prepared, overwrite=overwrite)
        started = perf_counter()
        with collect_warnings() as notices:
            task, fitted, start = _fit(prepared, on_event)
        noticed = (*prepared.warnings, *dict.fromkeys(notices))
        if not fitted.main:
            return None
        return _finish(prepared, task.network, fitted, start, noticed, started)


def check_network(prepared: Prepared) -> None:
    """Build the network and its card before anything is trained: no mistake is found hours later.

    Raises
    ------
    ConfigError
        When there is no such network, it takes no such chips, or the card would be wrong.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    from geoseg.models.networks.architectures import divisor  # noqa: PLC0415
    from geoseg.training.card import make_card  # noqa: PLC0415

    document = prepared.document
    network, _ = make_network(prepared)
    if document.chips.size % (step := divisor(network)):
        raise ConfigError(
            f"chips.size: {document.chips.size} is no multiple of {step}, which {document.network_in_words} "
            "needs"
        )
    try:
        make_card(document, network, prepared.labelled, prepared.legend.legend, prepared.statistics, {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(k) for k in first["loc"])
        raise ConfigError(f"the bundle's card would be wrong at {where}: {first['msg']}") from None


def _open_folder(prepared: Prepared, *, overwrite: bool) -> None:
    """Decide whether the training is new, resumed or refused."""
    folder, identity = prepared.folder, _identity(prepared)
    begun, finished = read_json(folder / _BEGUN), read_json(folder / RECORD)
    if overwrite:
        for name in (_CHECKPOINTS, _BUNDLE, "tensorboard"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / RECORD).unlink(missing_ok=True)
    elif finished is not None:
        raise OutputError(
            f"{folder}: holds a finished training ({finished.get('name')}, {finished.get('finished')}); "
            "choose another folder with --output, or replace it with --overwrite"
        )
    elif begun is not None and begun != identity and (folder / _CHECKPOINTS).exists():
        raise OutputError(
            f"{folder}: holds an unfinished training of other settings or data "
            f"({difference(begun, identity)}); finish that one, choose another folder with --output, or "
            "discard it with --overwrite"
        )
    elif begun is None and any(not p.name.startswith(".") for p in folder.iterdir()):
        raise OutputError(
            f"{folder}: is not empty and holds no training; choose another folder with --output"
        )
    write_atomic(folder / _BEGUN, json.dumps(identity).encode())


def _identity(prepared: Prepared) -> dict[str, Any]:
    """Return what decides the weights; what only the card says may change."""
    document = prepared.document.model_dump(mode="json", exclude=_CARD_ONLY)
    data = [
        [p.scene.identity() | {"name": p.name}, p.labels.identity(), p.group, p.part, p.valid_range]
        for p in prepared.labelled
    ]
    digest = hashlib.sha256(json.dumps(data, default=str, sort_keys=True).encode()).hexdigest()
    legend = prepared.legend.model_dump(mode="json")
    return json.loads(json.dumps({"training": document, "legend": legend, "data": digest}))  # type: ignore[no-any-return]


def source(prepared: Prepared, part: str) -> "Source":
    """Return where the chips of a part come from."""
    from geoseg.training.chips import Source  # noqa: PLC0415

    return Source(prepared.places, prepared.parts[part], prepared.statistics)


def grid_chips(prepared: Prepared, part: str) -> "GridChips":
    """Return the chips of a part for measuring."""
    from geoseg.training.chips import GridChips  # noqa: PLC0415

    return GridChips(source(prepared, part), prepared.document.chips.size)


def _fit(prepared: Prepared, on_event: Callable[["Event"], None]) -> tuple["SegmentationTask", "Fitted", str]:
    """Train; return the task with its best weights, how it went, and where the weights started."""
    import torch  # noqa: PLC0415
    from torchvision.transforms import v2  # noqa: PLC0415

    from geoseg.training.augment import IgnoreContradicted, make_augmentation  # noqa: PLC0415
    from geoseg.training.chips import RandomChips  # noqa: PLC0415
    from geoseg.training.fit import fit  # noqa: PLC0415
    from geoseg.training.losses import Loss  # noqa: PLC0415
    from geoseg.training.task import SegmentationTask  # noqa: PLC0415

    document, legend = prepared.document, prepared.legend.legend
    start = ""

    def make_task() -> SegmentationTask:
        nonlocal start
        torch.manual_seed(document.seed)
        network, start = make_network(prepared)
        counts = class_counts(prepared.parts["train"], len(legend))
        return SegmentationTask(
            network, Loss(document.loss, counts), len(legend), document.optimizer, document.transfer,
            document.seed,
        )  # fmt: skip

    train_source = source(prepared, "train")
    bands = prepared.labelled[0].scene.bands

    def ignoring(*kinds: str) -> v2.Transform:
        asked = [k for k in kinds if k in document.chips.ignore]
        slugs = [c.slug for c in legend.classes]
        water = slugs.index("water") if "water" in slugs else None
        return IgnoreContradicted(asked, prepared.band_names, water) if asked else v2.Identity()

    augmentation = make_augmentation(
        document.augmentation, document.chips.size, legend, train_source.mean,
        [b.wavelength_um for b in bands], ignoring("flooded"),
    )  # fmt: skip
    augmentation = v2.Compose([ignoring("snow", "dry"), augmentation])
    margin = 1 / document.augmentation.scale[0]
    chips = RandomChips(train_source, document.chips, augmentation, margin, document.seed)
    checked_part = "val" if prepared.parts["val"] else "train"
    task, fitted = fit(
        make_task, chips, grid_chips(prepared, checked_part), document.fit, prepared.folder / _CHECKPOINTS,
        clip=document.optimizer.clip, on_event=on_event,
    )  # fmt: skip
    return task, fitted, start


def make_network(prepared: Prepared) -> tuple["nn.Module", str]:
    """Build the network with its starting weights; return it, and in words where they came from."""
    from geoseg.models.bundle import open_bundle  # noqa: PLC0415
    from geoseg.models.networks.architectures import build  # noqa: PLC0415
    from geoseg.models.transfer import load_encoder_weights, start_from_bundle  # noqa: PLC0415

    document, transfer = prepared.document, prepared.document.transfer
    bands = prepared.band_names
    start = open_bundle(transfer.bundle) if transfer.bundle else None
    network = build(network_config(document, start, len(bands), len(prepared.legend.classes)))
    if start is not None:
        slugs = [c.slug for c in prepared.legend.classes]
        return network, str(start_from_bundle(network, start, slugs, bands))
    if transfer.encoder_weights is not None:
        loaded = load_encoder_weights(network, transfer.encoder_weights, bands, stem=transfer.stem)
        return network, str(loaded)
    return network, "random weights"


def network_config(document: Training, start: "Bundle | None", bands: int, classes: int) -> dict[str, Any]:
    """Return what `build` needs: the document's network, or that of the bundle it starts from."""
    if start is None or not document.keeps_network:
        chosen = {"_model_class": document.network.architecture, **document.network.arguments}
    else:
        chosen = dict(start.config)
    return {**chosen, "in_channels": bands, "classes": classes}


def _finish(
    prepared: Prepared,
    network: "nn.Module",
    fitted: "Fitted",
    start: str,
    noticed: tuple[str, ...],
    started: float,
) -> Trained:
    """Calibrate, measure and write everything; the record comes last."""
    from geoseg.models.bundle import save_bundle  # noqa: PLC0415
    from geoseg.training import record  # noqa: PLC0415
    from geoseg.training.card import make_card  # noqa: PLC0415
    from geoseg.training.fit import resolve_accelerator  # noqa: PLC0415

    document, legend, folder = prepared.document, prepared.legend.legend, prepared.folder
    parts = {p: grid_chips(prepared, p) for p in PARTS if prepared.parts[p]}
    # Lightning hands the network back on the CPU.
    network.to(resolve_accelerator(document.fit.device))
    found = record.look(network, parts, legend, document.measure, fitted.chips)
    facts = {
        "training": {**record.recipe(document, fitted, start), "data": prepared.summary()["parts"]},
        "metrics": found.metrics(),
        "temperature": found.temperature,
    }
    card = make_card(document, network, prepared.labelled, legend, prepared.statistics, facts)
    bundle = save_bundle(network.to("cpu"), card, folder / _BUNDLE)
    record.write_history(folder / "metrics.csv", fitted.history, legend)
    content = {
        **record.record(document, fitted, found, noticed, perf_counter() - started),
        **facts,
        "bundle": {"folder": _BUNDLE, "sha256": bundle.sha256},
    }
    record.write_page(folder / "training.html", content, fitted, found, legend, card)
    write_atomic(folder / RECORD, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    return Trained(folder, bundle.folder, content)


def evaluate(
    path: Path | str,
    overrides: Sequence[str],
    folder: Path | str,
    part: str,
    catalog: Path | str | None = None,
) -> dict[str, Any]:
    """Measure a bundle on a part of the data of a training.

    Raises
    ------
    ConfigError
        When the part is empty, or bands or classes of the bundle are not those of the training.
    """
    from geoseg.models.bundle import open_bundle  # noqa: PLC0415
    from geoseg.training.appraisal import appraise  # noqa: PLC0415
    from geoseg.training.fit import resolve_accelerator  # noqa: PLC0415

    bundle = open_bundle(folder)
    card = bundle.card
    # Normalised as the bundle was trained, whatever the data measure now.
    known = Statistics(np.array([b.mean for b in card.bands]), np.array([b.std for b in card.bands]))
    prepared = prepare(path, overrides, None, catalog, known)
    if not prepared.parts.get(part):
        filled = ", ".join(p for p in PARTS if prepared.parts[p])
        raise ConfigError(f"--split {part}: the data of {path} have no such part; they have {filled}")
    for what, ours, theirs in (
        ("classes", [c.slug for c in prepared.legend.classes], [c.slug for c in card.classes]),
        ("bands", prepared.band_names, [b.common_name for b in card.bands]),
    ):
        if ours != theirs:
            raise ConfigError(
                f"{folder}: its {what} are {', '.join(theirs)}, those of {path} are {', '.join(ours)}; "
                "they must agree"
            )
    fit = prepared.document.fit
    found = appraise(
        bundle.network().to(resolve_accelerator(fit.device)), grid_chips(prepared, part),
        prepared.legend.legend, temperature=card.temperature, batch=fit.batch,
    )  # fmt: skip
    return {
        "model": f"{card.name} {card.version}",
        "part": part,
        "chips": found.chips,
        **found.figures,
        "calibration": found.calibration.to_dict(),
        "warnings": list(prepared.warnings),
    }
