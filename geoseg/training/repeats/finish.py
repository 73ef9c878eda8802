"""From trained members to a bundle: choose or average, pool what was measured, write everything."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import nn

from geoseg.core import provenance
from geoseg.core.files import write_atomic
from geoseg.core.secrets import redacted
from geoseg.evaluation.calibration import add_reliability
from geoseg.models.bundle import Bundle, open_bundle, save_bundle
from geoseg.models.calibration import write_calibration
from geoseg.models.card import Card
from geoseg.models.scaling import Scaling
from geoseg.training.build import evaluation_chips, evaluation_part, training_chips
from geoseg.training.calibrate import Calibrated, Kind, calibrated, joined
from geoseg.training.chips import calibration_chips
from geoseg.training.fit import resolve_accelerator
from geoseg.training.folder import BUNDLE
from geoseg.training.history import write_history
from geoseg.training.pictures import Layout
from geoseg.training.prepare import PreparedTraining
from geoseg.training.record import RECORD, BundleEntry, Seconds, TrainingRecord, read_record, write_record
from geoseg.training.repeats.counted import Counted, read_counted
from geoseg.training.repeats.members import SUMS, Member, in_words
from geoseg.training.repeats.page import write_repeats_page
from geoseg.training.repeats.soup import stir
from geoseg.training.repeats.spread import RESAMPLES, MemberSums, spread_of, total
from geoseg.training.repeats.tally import ClassTally, Tally
from geoseg.training.scores import Repeats, TrainingScores

if TYPE_CHECKING:
    from geoseg.training.aim import PixelAim
    from geoseg.training.train import Trained

PLACES = "places.csv"


@dataclass(frozen=True)
class _Chosen:
    """The network of the bundle."""

    member: Member
    """The member whose card and history it has."""
    network: nn.Module
    told: str
    """What its weights are, in words."""
    measured: Any = None
    """Of a soup: what was measured of it, since no member did."""


def finish(
    prepared: PreparedTraining,
    members: Sequence[Member],
    tally: Tally,
    began: float,
    notices: Sequence[str],
) -> "Trained":
    """Make bundle, tables, page and record; the record, which marks the end, comes last."""
    from geoseg.training.train import Trained  # noqa: PLC0415 (it trains several by this package)

    records = {m.label: read_record(m.folder / RECORD) for m in members}
    counted = [(m, read_counted(m.folder / SUMS)) for m in members if m.measures]
    found = [MemberSums(m.fold or 1, m.seed, c.places) for m, c in counted]
    chosen = _choose(prepared, members, records)
    repeats = spread_of(tally, found, _words(prepared, found, chosen))
    record = records[chosen.member.label]
    card = _card(prepared, chosen, record, repeats, tally, counted)
    bundle = save_bundle(chosen.network.to("cpu"), card, prepared.folder / BUNDLE)
    source = chosen.member.prepared
    part = evaluation_chips(source, "val" if source.parts["val"] else "train")
    write_calibration(bundle.folder, calibration_chips(part))
    seconds = Seconds(
        epochs=round(sum(r.seconds.epochs for r in records.values()), 1),
        total=round(perf_counter() - began, 1),
    )
    warnings = tuple(dict.fromkeys([*prepared.warnings, *notices]))
    whole = _record(prepared, record, bundle, warnings, seconds)
    write_history(prepared.folder / "metrics.csv", record.history, prepared.legend.legend)
    write_places(prepared.folder / PLACES, repeats)
    pages = {m.label: m.folder.relative_to(prepared.folder.absolute()).as_posix() for m in members}
    confusion = tally.confusion(total(found)) if hasattr(tally, "confusion") and found else None
    legend = prepared.legend.legend
    write_repeats_page(prepared.folder / "training.html", whole, bundle.card, legend, pages, confusion)
    write_record(prepared.folder / RECORD, whole)
    return Trained(prepared.folder, bundle.folder, whole)


def _choose(
    prepared: PreparedTraining, members: Sequence[Member], records: Mapping[str, TrainingRecord]
) -> _Chosen:
    """Return the network of the bundle, as the training file asks for it."""
    kind, monitor = prepared.document.final_kind, cast("PixelAim", prepared.aim).monitor
    if kind == "all":
        last = members[-1]
        parts = [p for p in ("train", "val") if last.prepared.parts[p]]
        data = "on all data" if len(parts) == 1 else "on all data but those of val, which chose its epoch"
        return _Chosen(last, _network(last), f"one more training, {data}")
    own = [m for m in members if not m.measures]
    # Without folds, or where nothing more is trained, those that were measured.
    candidates = own if kind == "soup" and own else members
    sign = 1 if monitor.mode == "max" else -1
    figures = {m.label: _figure(records[m.label].metrics, monitor.name) for m in candidates}
    best = max(candidates, key=lambda m: sign * figures[m.label])
    reached = f"val {monitor.name} {figures[best.label]:.4g}"
    if kind == "best":
        return _Chosen(
            best, _network(best), f"those of {best.label}, the best of {len(candidates)} ({reached})"
        )
    network = _network(best).to(resolve_accelerator(prepared.document.fit.device))
    source = best.prepared
    states = [open_bundle(m.folder / BUNDLE, trust=source.trust).weights() for m in candidates]
    batch = source.document.fit.batch
    stir(network, states, training_chips(source), batch)
    card = open_bundle(best.folder / BUNDLE, trust=source.trust).card
    layout = Layout(card.tile, card.resize)
    parts_of = {p: evaluation_part(source, p, layout) for p in ("val", "test") if source.parts[p]}
    measured = source.aim.measure(network, parts_of, batch)
    figure = _figure(measured.scores(), monitor.name)
    names = f"the weights of {len(candidates)} networks that started from the same ones"
    if sign * figure < sign * figures[best.label]:
        told = (
            f"those of {best.label}, the best of {len(candidates)} ({reached}); the mean of {names} was "
            f"worse on val ({figure:.4g}) and is not kept"
        )
        return _Chosen(best, _network(best), told)
    told = (
        f"the mean of {names}, with statistics of batch norms measured again on train (val {monitor.name} "
        f"{figure:.4g}, the best of them {figures[best.label]:.4g})"
    )
    return _Chosen(best, network, told, measured)


def _network(member: Member) -> nn.Module:
    return open_bundle(member.folder / BUNDLE, trust=member.prepared.trust).network()


def _figure(metrics: Any, name: str) -> float:
    """Return a figure on val; on what there is without val."""
    value = getattr(metrics.other_parts.get("val", metrics), name)
    return float("-inf") if value is None else float(value)


def _words(prepared: PreparedTraining, found: Sequence[MemberSums], chosen: _Chosen) -> dict[str, str]:
    """Return what is said of the figures."""
    document = prepared.document
    unit = {"given": "scenes", "file": "scenes"}.get(document.split.by, f"{document.split.by}s")
    one, places = unit.removesuffix("s"), len({p for m in found for p in m.places})
    networks = f"{len(found)} network{'s' * (len(found) > 1)}"
    tested = (
        f"each pixel predicted once with each of {document.seeds} seed(s) by a network that saw nothing of "
        f"its {one}"
        if document.split.folds
        else f"test, predicted by {document.seeds} networks that saw nothing of it"
    )
    return {
        "about": f"agreement with the labels of {places} {unit}, {tested}; figures of {networks} trained in "
        "the same way, not of the weights of this bundle",
        "bundle": chosen.told,
        "interval": f"95 %, bootstrap over {places} {unit} ({RESAMPLES} draws)",
        "unit": unit,
    }


def _card(
    prepared: PreparedTraining,
    chosen: _Chosen,
    record: TrainingRecord,
    repeats: Repeats,
    tally: Tally,
    counted: Sequence[tuple[Member, Counted]],
) -> Card:
    """Return the card of the chosen member, with the figures of all."""
    document, source = prepared.document, chosen.member.prepared
    base = open_bundle(chosen.member.folder / BUNDLE, trust=source.trust).card
    found = [MemberSums(m.fold or 1, m.seed, c.places) for m, c in counted]
    own = _own_scores(record if chosen.measured is None else chosen.measured)
    fields = tally.scores(total(found))
    if isinstance(tally, ClassTally):
        add_reliability(fields, tally.calibration(total(found)))
    metrics = type(record.metrics).model_validate(
        {
            **fields,
            "reference": repeats.about,
            "other_parts": own,
            "repeats": repeats,
        }
    )
    scaled, how = base if chosen.measured is None else chosen.measured, "fitted on its val"
    scaling = Scaling(scaled.temperature, getattr(scaled, "calibration", None))
    line = (
        record.training.get("calibration", "")
        if chosen.measured is None
        else getattr(chosen.measured, "told", "")
    )
    if document.final_kind == "all":
        # The figures have the calibrations of the members, each fitted on its own val.
        pooled = _pooled(document.measure.calibration, tally, counted)
        if pooled is not None:
            how = "fitted on what networks predicted for test, which saw nothing of it"
            scaling, line = pooled.scaling, pooled.told
    told = {
        "final": document.final_kind,
        "weights": chosen.told,
        "temperature_from": how,
        **({"calibration": line} if line else {}),
        "trainings": in_words(document),
    }
    if scaling.calibration is not None:
        told["calibration_from"] = told.pop("temperature_from")
    kept = {k: v for k, v in record.training.items() if k != "calibration"}
    measured = (
        {} if chosen.measured is None else {"thresholds": source.aim.card(chosen.measured).get("thresholds")}
    )
    return Card.model_validate(
        {
            **base.model_dump(mode="json"),
            **{k: v for k, v in measured.items() if v is not None},
            "name": document.name,
            "title": document.title or document.name,
            "training": {**kept, "seed": document.seed, "seeds": document.seeds, **told},
            "metrics": metrics.model_dump(mode="json"),
            "temperature": scaling.temperature,
            "calibration": scaling.calibration,
        }
    )


def _pooled(kind: Kind, tally: Tally, counted: Sequence[tuple[Member, Counted]]) -> Calibrated | None:
    """Return what calibrates pixels whose networks saw nothing of them; None: the card's own is kept."""
    if kind == "none":
        return None
    rows = [(m.fold or 1, c) for m, c in counted if c.rows is not None and len(c.rows)]
    if kind != "temperature" and rows:
        # A place is tested in one fold, with each seed.
        names = {name: i for i, name in enumerate(sorted({n for _, c in rows for n in c.places}))}
        parts, folds = [], []
        for fold, c in rows:
            assert c.rows is not None  # noqa: S101 (see above)
            number = np.array([names[n] for n in c.places], np.int64)
            parts.append(replace(c.rows, units=number[c.rows.units]))
            folds.append(np.full(len(c.rows), fold, np.int64))
        several = len({fold for fold, _ in rows}) > 1
        together = np.concatenate(folds) if several else None
        return calibrated(kind, joined(parts), "what the networks predicted for test", together)
    temperature = tally.temperature(total([MemberSums(m.fold or 1, m.seed, c.places) for m, c in counted]))
    return None if temperature is None else Calibrated(Scaling(temperature))


def _own_scores(measured: Any) -> dict[str, Any]:
    """Return what was measured of the weights of the bundle, by part; a record or what an aim measured."""
    scores = measured.metrics if isinstance(measured, TrainingRecord) else measured.scores()
    scores = scores.without_reliability() if isinstance(scores, TrainingScores) else scores
    plain = scores.model_dump(exclude={"reference", "other_parts", "repeats", "datasets"})
    whole = {measured.measured_on: plain, **scores.other_parts}
    return {part if part == "val" else f"{part}, this network": found for part, found in whole.items()}


def _record(
    prepared: PreparedTraining,
    record: TrainingRecord,
    bundle: Bundle,
    warnings: Sequence[str],
    seconds: Seconds,
) -> TrainingRecord:
    """Return the record of all trainings, with the history of the chosen one."""
    card = bundle.card
    return record.model_copy(
        update={
            "name": prepared.document.name,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": provenance.command(),
            "document": redacted(prepared.document.model_dump(mode="json")),
            "measured_on": "folds" if prepared.document.split.folds else "test",
            "seconds": seconds,
            "warnings": tuple(redacted(list(warnings))),
            "training": card.training,
            "metrics": type(record.metrics).model_validate(card.metrics),
            "temperature": card.temperature,
            "calibration": card.calibration,
            "bundle": BundleEntry(folder=bundle.folder.name, sha256=bundle.sha256),
        }
    )


def write_places(path: Path, repeats: Repeats) -> None:
    """Write `places.csv`: the figures of each place."""
    text = io.StringIO()
    names = list(repeats.figures)
    writer = csv.writer(text)
    writer.writerow(["place", "fold", "pixels", *names])
    for row in repeats.by_place:
        values = ["" if (v := row.figures[n]) is None else v for n in names]
        writer.writerow([row.place, row.fold, row.pixels, *values])
    write_atomic(path, text.getvalue().encode())
