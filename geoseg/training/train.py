"""From a prepared training to a bundle that `geoseg run` uses: fit, measure, record."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from lightning.fabric.utilities.rank_zero import rank_zero_only

from geoseg.core.files import as_output_error
from geoseg.core.locks import lock_folder
from geoseg.core.notices import collect_warnings
from geoseg.models.bundle import save_bundle
from geoseg.models.calibration import write_calibration
from geoseg.models.card import CardTile
from geoseg.training.build import (
    build_task,
    check_network,
    evaluation_chips,
    evaluation_part,
    training_chips,
)
from geoseg.training.callbacks import Event, Notice
from geoseg.training.card import card_facts, make_card, tile_sizes
from geoseg.training.chips import calibration_chips
from geoseg.training.fit import Fitted, fit, resolve_accelerator
from geoseg.training.folder import BUNDLE, CHECKPOINTS, open_folder
from geoseg.training.history import write_history
from geoseg.training.pictures import Layout
from geoseg.training.prepare import PreparedTraining
from geoseg.training.record import RECORD, TrainingRecord, make_record, write_record
from geoseg.training.sheet import links_of
from geoseg.training.split import PARTS
from geoseg.training.task import Task


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    folder: Path
    bundle: Path
    """Folder of the bundle."""
    record: TrainingRecord


def train(
    prepared: PreparedTraining,
    *,
    overwrite: bool = False,
    checked: bool = False,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Trained | None:
    """Train a network, calibrate and measure it, and write its bundle, record and page.

    With folds or seeds, all of their networks, and a bundle of them.

    An interrupted training is resumed after its last epoch and ends with the same weights as an undisturbed
    one.

    Parameters
    ----------
    prepared
        Document and data of the training.
    overwrite
        Whether to replace a training that was begun or finished in the folder.
    checked
        Whether the network was checked before: it takes seconds, and is that of all folds and seeds.
    on_event
        Called with the events of the training loop.

    Returns
    -------
    Trained or None
        None in the helper processes of a training on several devices.

    Raises
    ------
    GeosegError
        When the training failed; its checkpoints are kept.
    """
    if rank_zero_only.rank:
        # A helper process: the process that started it holds the lock of the folder.
        _fit(prepared, on_event)
        return None
    if not checked:
        check_network(prepared)
    with as_output_error(prepared.folder):
        prepared.folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(prepared.folder):
        open_folder(prepared, overwrite=overwrite)
        if prepared.folds:
            from geoseg.training.repeats.train import train_repeats  # noqa: PLC0415 (it imports this module)

            return train_repeats(prepared, on_event)
        began = perf_counter()
        with collect_warnings() as notices:
            task, fitted, start = _fit(prepared, on_event)
        if not fitted.main:
            return None
        warnings = (*prepared.warnings, *dict.fromkeys(notices))
        on_event(Notice(f"measures the weights of epoch {fitted.best_epoch}"))
        return _finish(prepared, task, fitted, start, warnings, began)


def _fit(prepared: PreparedTraining, on_event: Callable[[Event], None]) -> tuple[Task, Fitted, str]:
    """Return the task with its best weights, the fit, and where the weights started."""
    start, document = "", prepared.document

    def make_task() -> Task:
        nonlocal start
        task, start = build_task(prepared)
        if not rank_zero_only.rank:
            on_event(Notice(f"starts from {start}; loss {document.loss_in_words}"))
        return task

    checked = evaluation_chips(prepared, "val" if prepared.parts["val"] else "train")
    task, fitted = fit(
        make_task, training_chips(prepared), checked, document.fit, prepared.folder / CHECKPOINTS,
        clip=document.optimizer.clip, on_event=on_event,
    )  # fmt: skip
    return task, fitted, start


def _finish(
    prepared: PreparedTraining,
    task: Task,
    fitted: Fitted,
    start: str,
    warnings: tuple[str, ...],
    began: float,
) -> Trained:
    """Measure the network and write everything; the record, which marks a finished training, comes last."""
    document, aim, folder = prepared.document, prepared.aim, prepared.folder
    # Lightning hands the network back on the CPU.
    network = task.network.to(resolve_accelerator(document.fit.device))
    tile = CardTile.model_validate(tile_sizes(document, network, prepared.chip))
    layout = Layout(tile, document.chips.resize)
    parts = {p: evaluation_part(prepared, p, layout) for p in PARTS if prepared.parts[p]}
    with collect_warnings() as notices:
        measured = aim.measure(network, parts, fitted.chips)
    warnings = (*warnings, *notices)
    told = prepared.summary()
    facts = {
        **card_facts(document, fitted, start, told["parts"], measured, told.get("datasets")),
        **aim.card(measured),
    }
    card = make_card(prepared, network, facts)
    bundle = save_bundle(network.to("cpu"), card, folder / BUNDLE)
    kept = evaluation_chips(prepared, "val" if "val" in parts else "train")
    write_calibration(bundle.folder, calibration_chips(kept))
    record = make_record(document, fitted, measured, bundle, warnings, perf_counter() - began)
    write_history(folder / "metrics.csv", fitted.history, prepared.legend.legend)
    aim.write_page(
        folder / "training.html", record, measured, bundle.card, links_of(prepared.labelled, folder)
    )
    write_record(folder / RECORD, record)
    return Trained(folder, bundle.folder, record)
