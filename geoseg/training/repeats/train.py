"""Train all members of a document with folds or seeds, and make the bundle of them."""

import contextlib
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from geoseg.config.cluster import Cluster, Local
from geoseg.core.errors import ClusterError, one_line
from geoseg.core.notices import collect_warnings
from geoseg.core.process import keep_freed_memory
from geoseg.models.backends.auto import count_gpus
from geoseg.training.callbacks import EpochDone, Event, Notice
from geoseg.training.fit import resolve_accelerator
from geoseg.training.history import EpochRow
from geoseg.training.prepare import PreparedTraining
from geoseg.training.repeats.finish import finish
from geoseg.training.repeats.members import Member, trainings_of
from geoseg.training.repeats.tally import tally_of
from geoseg.training.repeats.work import Job, is_finished, is_trained, run_job

if TYPE_CHECKING:
    from geoseg.training.train import Trained

_EPOCHS = "geoseg-training-epochs"
"""Topic of Dask under which workers tell of epochs."""


def train_repeats(prepared: PreparedTraining, on_event: Callable[[Event], None]) -> "Trained":
    """Train what is not finished, one after another or on a cluster, and make the bundle.

    Parameters
    ----------
    prepared
        Document and data; the folder is locked and belongs to them.
    on_event
        Called with the events of trainings in this process, and a notice for each that has ended.

    Raises
    ------
    GeosegError
        When a training failed; those that are finished are kept.
    """
    began = perf_counter()
    cluster = _cluster_of(prepared)
    members = trainings_of(prepared)
    tally = tally_of(prepared.aim, prepared.legend.legend)
    waiting = [m for m in members if not is_finished(m, tally)]
    with collect_warnings() as notices:
        if len(waiting) < len(members):
            on_event(Notice(f"{len(members) - len(waiting)} of {len(members)} trainings are finished"))
        if _in_this_process(cluster):
            for member in waiting:
                what = "measuring the trained network again," if is_trained(member) else "training"
                on_event(Notice(f"{member.label}: {what} {_count(member, members)}"))
                run_job(Job(member, tally), lambda e, m=member: on_event(_labelled(e, m)))  # type: ignore[misc]
        elif waiting:
            _train_on(cluster, [Job(m, tally, _threads(cluster)) for m in waiting], on_event)
        return finish(prepared, members, tally, began, notices)


def _count(member: Member, members: Sequence[Member]) -> str:
    return f"{members.index(member) + 1} of {len(members)}"


def _labelled(event: Event, member: Member) -> Event:
    """Return a message with the name of its training; lines of epochs follow the notice that names it."""
    return Notice(f"{member.label}: {event.message}") if isinstance(event, Notice) else event


def _cluster_of(prepared: PreparedTraining) -> Cluster:
    """Return the cluster of a training, with a number of workers."""
    from geoseg.inference.clusters import resolve_cluster  # noqa: PLC0415 (Dask is slow to import)

    cluster = resolve_cluster(prepared.document.cluster)
    if isinstance(cluster, Local) and cluster.workers == "auto":
        gpus = count_gpus() if resolve_accelerator(prepared.document.fit.device) == "cuda" else 1
        return Local(workers=max(1, gpus))
    return cluster


def _in_this_process(cluster: Cluster) -> bool:
    return isinstance(cluster, Local) and cluster.workers == 1


def _threads(cluster: Cluster) -> int | None:
    """Return the threads of a worker: those of this process shared among workers of this machine."""
    if isinstance(cluster, Local) and isinstance(cluster.workers, int):
        return max(1, torch.get_num_threads() // cluster.workers)
    return None


def _train_on(cluster: Cluster, jobs: Sequence[Job], on_event: Callable[[Event], None]) -> None:
    """Train on the workers of a cluster, one member at a time on each.

    A member whose worker dies goes on from its last epoch on another one.
    """
    from distributed import KilledWorker, as_completed  # noqa: PLC0415 (as above)
    from distributed.client import FutureCancelledError  # noqa: PLC0415

    from geoseg.inference.clusters import connect  # noqa: PLC0415
    from geoseg.inference.plan import SLOTS  # noqa: PLC0415
    from geoseg.inference.workers import RESOURCE  # noqa: PLC0415

    with connect(cluster, lambda line: on_event(Notice(line))) as client:
        futures = {
            client.submit(
                _task, job.packed(), pure=False, priority=-i, resources={RESOURCE: SLOTS},
                key=f"train-{job.member.folder.name}",
            ): job.member
            for i, job in enumerate(jobs)
        }  # fmt: skip
        on_event(Notice(f"trains {len(jobs)} networks on the cluster ({cluster.kind})"))
        client.subscribe_topic(_EPOCHS, lambda told: on_event(_as_event(told[1])))
        try:
            for done, future in enumerate(as_completed(list(futures)), 1):
                member = futures[future]
                try:
                    told = future.result()
                except KilledWorker as error:
                    raise ClusterError(
                        f"{member.label}: its workers died again and again, most likely out of memory; use "
                        "fewer workers or a smaller fit.batch; what is finished is kept"
                    ) from error
                except FutureCancelledError as error:
                    raise ClusterError(
                        f"{member.label}: the cluster was lost ({one_line(error)[:80]}); the same command "
                        "goes on"
                    ) from error
                on_event(Notice(f"{member.label}: finished, {told} ({done} of {len(jobs)})"))
        except BaseException:
            with contextlib.suppress(Exception):
                client.cancel(list(futures), force=True)
            raise


def _task(job: Job) -> str:
    """Run a job on a worker, and return how it went in words."""
    from distributed import get_worker  # noqa: PLC0415 (as above)

    last: list[EpochDone] = []

    def tell(event: Event) -> None:
        if isinstance(event, EpochDone):
            last[:] = [event]
            row = event.row.model_dump(mode="json")
            told = {"epoch": event.epoch, "epochs": event.epochs, "row": row, "member": job.member.label}
            get_worker().log_event(_EPOCHS, told)

    keep_freed_memory()
    with collect_warnings():
        run_job(job, tell)
    return f"{last[0].epoch} epochs" if last else "measured"


def _as_event(told: dict[str, Any]) -> EpochDone:
    """Return the event that a worker told of; Dask adds the worker's address."""
    row = EpochRow.model_validate(told["row"])
    return EpochDone(told["epoch"], told["epochs"], row, told["member"])
