"""Check every worker before it takes a task: the same code, the same files, enough memory."""

import asyncio
import contextlib
import hashlib
import os
import platform
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from distributed import Client, Worker, WorkerPlugin

import geoseg
from geoseg.core.errors import ClusterError, GeosegError, one_line
from geoseg.core.extras import installed_version
from geoseg.core.process import configure_process
from geoseg.inference.clusters.capacity import free_memory
from geoseg.inference.plan import Plan
from geoseg.models.backends.openvino_model import has_bfloat16
from geoseg.models.backends.spec import LIBRARIES, needs_bfloat16
from geoseg.models.bundle import open_bundle
from geoseg.scenes.sources import inspect
from geoseg.storage.store import Store

PACKAGES = ("numpy", "rasterio", "distributed")
"""Packages that, with the backend, must have one version everywhere: they decide the bytes of the map, or
whether the processes understand one another."""

TIMEOUT = 120.0
"""Seconds that a worker has for its report; a shared folder may have to be mounted first."""

TOPIC = "geoseg-turned-away"


@dataclass(frozen=True)
class Needs:
    """What a worker must have and see."""

    code: dict[str, str]
    """Versions of packages, and the hash of geoseg's source, in the process of the run."""
    backend: str
    bundle: str
    """Path or URI of the bundle."""
    bundle_sha256: str
    files: tuple[tuple[str, int], ...]
    """Path or URL of each raster of the scene, and its size in bytes, 0 when it is not a local file."""
    staging: Store
    token: str
    """Name of a file in staging; a worker that finds it sees the same folder."""
    device: str
    precision: str
    others: "tuple[Needs, ...]" = ()
    """What it must have for other networks: the rest of an ensemble, and those that mask the scene."""


def needs_of(plan: Plan, staging: Store) -> Needs:
    """Return what the workers of a plan need."""
    scene = plan.scene.with_absolute_paths()
    passes = {(m.plan.bundle.sha256, m.mask.member): m.plan for m in plan.masks}
    own = Needs(
        code=code_here(plan.backend),
        backend=plan.backend,
        bundle=str(plan.segmenter.folder),
        bundle_sha256=plan.segmenter.sha256,
        files=tuple((s.path, s.version.size) for s in scene.sources),
        staging=staging.resolved(),
        token=f".workers-{uuid.uuid4().hex}",
        device=plan.device,
        precision=plan.precision,
    )
    rest = [
        replace(
            own,
            code=code_here(n.backend),
            backend=n.backend,
            bundle=n.member.bundle.place,
            bundle_sha256=n.member.bundle.sha256,
            device=n.device,
            precision=n.precision,
        )
        for n in plan.others
    ]
    return replace(own, others=(*rest, *(needs_of(one, staging) for one in passes.values())))


@contextlib.contextmanager
def check_workers(
    client: Client, needs: Needs, memory: int | None, tell: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Check the workers of a cluster now, and until the block ends each worker that joins.

    Parameters
    ----------
    client
        Connected to the cluster. A cluster within this process is not checked.
    needs
        What each worker must have and see.
    memory
        Bytes that each worker needs; None: memory is not checked here.
    tell
        Called with a line for each late worker that is turned away.

    Raises
    ------
    ClusterError
        When a worker is not fit; the message names it, says what differs and what to do.
    """
    if client.scheduler.address.startswith("inproc://"):
        yield
        return
    needs.staging.write(needs.token, b"")
    try:
        reports = _ask(client, needs)
        for address, report in reports.items():
            if report.problem is not None:
                raise ClusterError(f"worker {address} ({report.host}): {report.problem}")
        if memory is not None:
            _check_memory(list(reports.values()), memory)
        with _check_late_workers(client, needs, tell):
            yield
    finally:
        needs.staging.delete([needs.token])


@dataclass(frozen=True)
class WorkerReport:
    """What a worker reports of itself."""

    problem: str | None
    """Why it cannot work on the run; None when it can."""
    host: str
    memory: int
    """Free bytes on its machine."""


async def report_of_worker(needs: Needs) -> WorkerReport:
    """Configure this process, which is a worker, and check it."""
    configure_process()
    problem = await asyncio.to_thread(problem_of, needs)
    return WorkerReport(problem, platform.node(), free_memory())


def _ask(client: Client, needs: Needs) -> dict[str, WorkerReport]:
    addresses = list(client.scheduler_info(n_workers=-1)["workers"])
    pool = ThreadPoolExecutor(min(64, len(addresses) or 1), thread_name_prefix="check")

    def ask(address: str) -> Any:
        return client.run(report_of_worker, needs, workers=[address], on_error="return")[address]

    waiting: dict[str, Future[Any]] = {a: pool.submit(ask, a) for a in addresses}
    reports = {}
    for address, future in waiting.items():
        try:
            answer = future.result(TIMEOUT)
        except TooLate:
            answer = ClusterError(f"no answer within {TIMEOUT:.0f} s; does a shared folder hang there?")
        except (OSError, KeyError) as error:
            answer = ClusterError(f"went away while it was checked: {one_line(error)}")
        failed = not isinstance(answer, WorkerReport)
        reports[address] = WorkerReport(_why_silent(answer), "unknown host", 0) if failed else answer
    pool.shutdown(wait=False, cancel_futures=True)
    return reports


def _why_silent(error: BaseException) -> str:
    """Return why a worker sent no report."""
    if isinstance(error, ImportError | AttributeError):
        return f"has no geoseg {geoseg.__version__} ({one_line(error)}); install the same version there"
    return one_line(error)


def _check_memory(reports: list[WorkerReport], memory: int) -> None:
    """Check that the workers of each machine fit into its free memory."""
    for host in {r.host for r in reports}:
        there = [r for r in reports if r.host == host]
        free = max(r.memory for r in there)
        if len(there) * memory > free:
            raise ClusterError(
                f"{host}: {len(there)} workers need {len(there) * memory / 1e9:.2f} GB of memory, but "
                f"{free / 1e9:.2f} GB are free there; start fewer workers or use a smaller tile "
                "(--set tiling.tile=256)"
            )


class CheckPlugin(WorkerPlugin):  # type: ignore[misc]
    """Checks a worker when it joins, and closes one that is not fit before it takes a task."""

    def __init__(self, needs: Needs) -> None:
        self.needs = needs

    async def setup(self, worker: Worker) -> None:
        """Configure and check the worker that this plugin is in."""
        configure_process()
        problem = await asyncio.to_thread(problem_of, self.needs)
        if problem is not None:
            worker.log_event(TOPIC, f"worker {worker.address} ({platform.node()}): {problem}")
            worker.loop.add_callback(worker.close, reason=problem)


@contextlib.contextmanager
def _check_late_workers(client: Client, needs: Needs, tell: Callable[[str], None]) -> Iterator[None]:
    client.subscribe_topic(TOPIC, lambda event: tell(f"cluster: {event[1]}; turned away"))
    client.register_plugin(CheckPlugin(needs), name=TOPIC)
    try:
        yield
    finally:
        # The scheduler may outlive this run: workers that join later need not fit it.
        with contextlib.suppress(Exception):
            client.unregister_worker_plugin(TOPIC)


def problem_of(needs: Needs) -> str | None:
    """Return why this process cannot work on a run: what differs and what to do; None when it can."""
    return _problem_of_network(needs) or _problem_of_staging(needs)


def _problem_of_network(needs: Needs) -> str | None:
    for name, value in needs.code.items():
        if (mine := code_here(needs.backend).get(name)) != value:
            return f"{name} is {mine}, but {value} where the run was started; install the same there"
    try:
        found = open_bundle(needs.bundle).sha256
        sizes = {path: inspect(path).version.size for path, _ in needs.files}
    except GeosegError as error:
        return f"{one_line(error)}; put it where all workers see it under this path"
    if found != needs.bundle_sha256:
        return (
            f"{needs.bundle}: holds another bundle there; copy the same to all machines, or share the folder"
        )
    for path, size in needs.files:
        if sizes[path] != size:
            return f"{path}: has {sizes[path]} bytes there, not {size}; copy the same file to all machines"
    problems = (_problem_of_network(one) for one in needs.others)
    return (
        _problem_of_device(needs.device)
        or _problem_of_precision(needs)
        or next((p for p in problems if p is not None), None)
    )


def _problem_of_staging(needs: Needs) -> str | None:
    place = needs.staging.at()
    try:
        if needs.staging.read(needs.token) is None:
            return f"{place}: is not the same folder there; choose a shared one with --output"
        probe = f"{needs.token}-{platform.node()}-{os.getpid()}"
        needs.staging.write(probe, b"")
        needs.staging.delete([probe])
    except (OSError, GeosegError) as error:
        return f"{place}: cannot be read and written there: {one_line(error)}"
    return None


def _problem_of_device(device: str) -> str | None:
    if device == "cpu":
        return None
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        return None
    return "torch sees no GPU there; ask for one (gpus: 1), or use --set inference.device=cpu"


def _problem_of_precision(needs: Needs) -> str | None:
    if needs.backend != "openvino" or not needs_bfloat16(needs.precision) or has_bfloat16():
        return None
    return "the processor there has no bfloat16; use workers that have it, or --set inference.precision=fp32"


@cache
def code_here(backend: str) -> dict[str, str]:
    """Return the versions of packages, and the hash of geoseg's source, in this process."""
    python = ".".join(platform.python_version_tuple()[:2])
    versions = {name: _version(name) for name in (LIBRARIES[backend], *PACKAGES)}
    return {"Python": python, "geoseg": f"{geoseg.__version__} ({source_hash()[:12]})", **versions}


def _version(package: str) -> str:
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return "missing"


def source_hash() -> str:
    """Return the sha256 over geoseg's source files."""
    root = Path(geoseg.__file__).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()
