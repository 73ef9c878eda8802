"""One of several trainings as a task: train it, measure it place by place, keep both.

A network that was measured in another way, by an older geoseg or with another `measure.calibrate`, is
measured again from its bundle; it is not trained again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from geoseg.core.errors import GeosegError, OutputError
from geoseg.core.files import discard
from geoseg.models.bundle import open_bundle
from geoseg.training.build import evaluation_part
from geoseg.training.callbacks import Event
from geoseg.training.census import CensusCell
from geoseg.training.fit import resolve_accelerator
from geoseg.training.folder import BUNDLE, CHECKPOINTS
from geoseg.training.measure import logit_rows
from geoseg.training.pictures import Layout
from geoseg.training.prepare import PreparedTraining, readers_of
from geoseg.training.record import RECORD
from geoseg.training.repeats.again import calibrate_again, is_calibrated_as_asked
from geoseg.training.repeats.counted import Counted, read_counted, write_counted
from geoseg.training.repeats.members import SUMS, Member
from geoseg.training.repeats.tally import Sums, Tally


@dataclass(frozen=True)
class Job:
    """What a worker needs for a member."""

    member: Member
    tally: Tally
    """Counts the chips of its test part."""
    threads: int | None = None
    """Threads that torch computes with; None: as this process does."""

    def packed(self) -> "Job":
        """Return the job without pixels: the worker reads them from the scenes."""
        bare = replace(self.member.prepared, scenes=())
        return replace(self, member=replace(self.member, prepared=bare))


def run_job(job: Job, on_event: Callable[[Event], None] = lambda _: None) -> None:
    """Train and measure a member; what is finished is not done again.

    Raises
    ------
    GeosegError
        When it failed; the message begins with the name of the member.
    """
    member = job.member
    if is_finished(member, job.tally):
        return
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    prepared = member.prepared
    if not prepared.scenes:
        prepared = replace(prepared, scenes=readers_of(prepared.labelled, prepared.document))
    try:
        if not (member.folder / RECORD).exists():
            from geoseg.training.train import train  # noqa: PLC0415 (it trains several by this module)

            train(prepared, checked=True, on_event=on_event)
        elif not is_calibrated_as_asked(prepared):
            calibrate_again(prepared)
        found = _measure(prepared, job.tally) if member.measures else Counted({}, None)
    except GeosegError as error:
        raise type(error)(f"{member.label}: {error}") from error
    write_counted(member.folder / SUMS, found)
    # The bundle has the weights; checkpoints also have the state of the optimiser, three times as much.
    discard(member.folder / CHECKPOINTS)


def is_trained(member: Member) -> bool:
    """Return whether a member was trained, measured or not."""
    return (member.folder / RECORD).exists()


def is_finished(member: Member, tally: Tally) -> bool:
    """Return whether a member was trained, and measured as it is now."""
    try:
        found = read_counted(member.folder / SUMS)
    except OutputError:
        return False
    if member.measures and (
        any(len(sums) != tally.length for sums in found.places.values())
        or (tally.rows > 0 and found.rows is None)
    ):
        return False
    return is_trained(member) and is_calibrated_as_asked(member.prepared)


def _measure(prepared: PreparedTraining, tally: Tally) -> Counted:
    """Return what is counted of the test part."""
    bundle = open_bundle(prepared.folder / BUNDLE, trust=prepared.trust)
    fit = prepared.document.fit
    network = bundle.network().to(resolve_accelerator(fit.device))
    card = bundle.card
    part = evaluation_part(prepared, "test", Layout(card.tile, card.resize))
    where = [place_of(prepared, c) for c in part.chips.cells]
    where += [place_of(prepared, p.cells[0], whole=True) for p in part.pictures]
    places: dict[str, Sums] = {}
    for place, sums in zip(where, tally.chips(network, part, card, fit.batch), strict=True):
        places[place] = places[place] + sums if place in places else sums
    if not tally.rows:
        return Counted(places, None)
    # With the names of the sums, so that each row has its place.
    return Counted(places, logit_rows(network, replace(part, units=tuple(where)), fit.batch, tally.rows))


def place_of(prepared: PreparedTraining, cell: CensusCell, *, whole: bool = False) -> str:
    """Return the name of the place of a cell: what the split keeps together, or its scene.

    Parameters
    ----------
    prepared
        The data.
    cell
        The cell.
    whole
        Whether its scene is measured as a whole, and so is the place where blocks are kept together.
    """
    scene, unit = prepared.labelled[cell.region.scene].name, cell.region.unit
    block = scene if whole else f"{scene}, block {unit.partition(':')[2]}"
    return {"given": scene, "block": block}.get(prepared.document.split.by, unit)
