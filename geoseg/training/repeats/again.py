"""Calibrate and measure a trained network again, from its bundle, as the training file now asks for it."""

from geoseg.core.secrets import redacted
from geoseg.models.bundle import open_bundle, write_card
from geoseg.models.card import Card
from geoseg.training.build import evaluation_part
from geoseg.training.fit import resolve_accelerator
from geoseg.training.folder import BUNDLE
from geoseg.training.pictures import Layout
from geoseg.training.prepare import PreparedTraining
from geoseg.training.record import RECORD, BundleEntry, read_record, write_record
from geoseg.training.sheet import links_of
from geoseg.training.split import PARTS

_NAMES = {True: "temperature", False: "none"}


def is_calibrated_as_asked(prepared: PreparedTraining) -> bool:
    """Return whether a trained network was calibrated in the way that its training file asks for.

    Raises
    ------
    OutputError
        When its record cannot be read.
    """
    was = read_record(prepared.folder / RECORD).document.get("measure", {}).get("calibrate", True)
    return (_NAMES[was] if isinstance(was, bool) else was) == prepared.document.measure.calibration


def calibrate_again(prepared: PreparedTraining) -> None:
    """Write card, page and record of a trained network with another calibration; the weights stay.

    Parameters
    ----------
    prepared
        The training alone, with its folder.
    """
    folder, aim, document = prepared.folder, prepared.aim, prepared.document
    record = read_record(folder / RECORD)
    bundle = open_bundle(folder / BUNDLE, trust=prepared.trust)
    card = bundle.card
    network = bundle.network().to(resolve_accelerator(document.fit.device))
    layout = Layout(card.tile, card.resize)
    parts = {p: evaluation_part(prepared, p, layout) for p in PARTS if prepared.parts[p]}
    measured = aim.measure(network, parts, max(1, record.batch // record.accumulate))
    told = getattr(measured, "told", "")
    training = {k: v for k, v in record.training.items() if k != "calibration"}
    training |= {"calibration": told} if told else {}
    update = {
        "training": training,
        "metrics": measured.scores().model_dump(mode="json"),
        "temperature": measured.temperature,
        **aim.card(measured),
    }
    write_card(Card.model_validate({**card.model_dump(), **update}), bundle.folder)
    bundle = open_bundle(folder / BUNDLE, trust=prepared.trust)
    record = record.model_copy(
        update={
            "document": redacted(document.model_dump(mode="json")),
            "measured_on": measured.measured_on,
            "training": bundle.card.training,
            "metrics": measured.scores(),
            "temperature": bundle.card.temperature,
            "calibration": bundle.card.calibration,
            "bundle": BundleEntry(folder=bundle.folder.name, sha256=bundle.sha256),
        }
    )
    aim.write_page(
        folder / "training.html", record, measured, bundle.card, links_of(prepared.labelled, folder)
    )
    write_record(folder / RECORD, record)
