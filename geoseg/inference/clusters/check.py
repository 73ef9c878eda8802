"""Whether every worker computes with the same code on the same files, asked before the work starts."""

import asyncio
import contextlib
import hashlib
import os
import platform
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distributed import Client, Worker, WorkerPlugin

import geoseg
from geoseg.core.errors import ClusterError, GeosegError, one_line
from geoseg.core.process import configure_process
from geoseg.inference.clusters.shape import free_memory
from geoseg.inference.plan import Plan
from geoseg.models.backends.openvino_model import has_bfloat16
from geoseg.models.backends.spec import LIBRARIES
from geoseg.models.bundle import open_bundle
from geoseg.scenes.sources import inspect
from geoseg.storage.store import Store

PACKAGES = ("numpy", "rasterio", "distributed")
"""With the backend: their versions decide the bytes, or whether the processes understand one another."""

TIMEOUT = 120.0
"""Seconds that a worker has to answer; a shared folder may have to be mounted first."""

TOPIC = "geoseg-turned-away"


@dataclass(frozen=True)
class Needs:
    """What a worker must have and see."""

    code: dict[str, str]
    """Versions and the hash of geoseg's source here."""
    backend: str
    bundle: str
    """Where the bundle lies: a path or a URI."""
    bundle_sha256: str
    files: tuple[tuple[str, int], ...]
    """Path or URL of each raster of the scene, and its size in bytes, 0 when it is not a local file."""
    staging: Store
    token: str
    """Name of a file in staging, which shows that the worker sees the same folder."""
    device: str
    precision: str


def needs_of(plan: Plan, staging: Store) -> Needs:
    """Return what the workers of a plan need."""
    scene = plan.scene.with_absolute_paths()
    sources = [b.source for b in scene.bands] + ([scene.mask.source] if scene.mask else [])
    return Needs(
        code=code_here(plan.backend),
        backend=plan.backend,
        bundle=plan.bundle.place,
        bundle_sha256=plan.bundle.sha256,
        files=tuple(dict.fromkeys((s.path, s.size) for s in sources)),
        staging=staging.resolved(),
        token=f".workers-{uuid.uuid4().hex}",
        device=plan.device,
        precision=plan.precision,
    )


@contextlib.contextmanager
def check_workers(
    client: Client, needs: Needs, memory: int | None, tell: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Check the workers that are there, and while the block runs those that join.

    Parameters
    ----------
    client
        Connected to the cluster. In one process there is nothing to check.
    needs
        What each worker must have and see.
    memory
        Bytes that each worker takes; None: checked before, or not to be checked.
    tell
        Called with a line for each late worker that is turned away.

    Raises
    ------
    ClusterError
        When a worker is not fit: says which, what differs and what to do.
    """
    if client.scheduler.address.startswith("inproc://"):
        yield
        return
    needs.staging.write(needs.token, b"")
    try:
        answers = _ask(client, needs)
        for address, answer in answers.items():
            if answer.problem is not None:
                raise ClusterError(f"worker {address} ({answer.host}): {answer.problem}")
        if memory is not None:
            _check_memory(list(answers.values()), memory)
        with _gate(client, needs, tell):
            yield
    finally:
        needs.staging.delete([needs.token])


@dataclass(frozen=True)
class Answer:
    """What a worker says of itself."""

    problem: str | None
    host: str
    memory: int
    """Free bytes on its machine."""


async def answer(needs: Needs) -> Answer:
    """Configure and check the worker that this runs in."""
    configure_process()
    problem = await asyncio.to_thread(problem_of, needs)
    return Answer(problem, platform.node(), free_memory())


def _ask(client: Client, needs: Needs) -> dict[str, Answer]:
    addresses = list(client.scheduler_info(n_workers=-1)["workers"])
    pool = ThreadPoolExecutor(min(64, len(addresses) or 1), thread_name_prefix="check")

    def ask(address: str) -> Any:
        return client.run(answer, needs, workers=[address], on_error="return")[address]

    waiting: dict[str, Future[Any]] = {a: pool.submit(ask, a) for a in addresses}
    answers = {}
    for address, future in waiting.items():
        try:
            said = future.result(TIMEOUT)
        except TooLate:
            said = ClusterError(f"no answer within {TIMEOUT:.0f} s; does a shared folder hang there?")
        except (OSError, KeyError) as error:
            said = ClusterError(f"went away while it was checked: {one_line(error)}")
        answers[address] = said if isinstance(said, Answer) else Answer(_unusable(said), "unknown host", 0)
    pool.shutdown(wait=False, cancel_futures=True)
    return answers


def _unusable(error: BaseException) -> str:
    """Say why a worker could not even answer."""
    if isinstance(error, ImportError | AttributeError):
        return f"has no geoseg {geoseg.__version__} ({one_line(error)}); install the same version there"
    return one_line(error)


def _check_memory(answers: list[Answer], memory: int) -> None:
    """Check that the workers of each machine fit into its free memory."""
    for host in {a.host for a in answers}:
        there = [a for a in answers if a.host == host]
        free = max(a.memory for a in there)
        if len(there) * memory > free:
            raise ClusterError(
                f"{host}: {len(there)} workers need {len(there) * memory / 1e9:.2f} GB of memory, but "
                f"{free / 1e9:.2f} GB are free there; start fewer workers or use a smaller tile "
                "(--set tiling.tile=256)"
            )


class Gate(WorkerPlugin):  # type: ignore[misc]
    """Checks a worker that joins, and sends it away before it takes a task."""

    def __init__(self, needs: Needs) -> None:
        self.needs = needs

    async def setup(self, worker: Worker) -> None:
        """Configure and check the worker that this is in."""
        configure_process()
        problem = await asyncio.to_thread(problem_of, self.needs)
        if problem is not None:
            worker.log_event(TOPIC, f"worker {worker.address} ({platform.node()}): {problem}")
            worker.loop.add_callback(worker.close, reason=problem)


@contextlib.contextmanager
def _gate(client: Client, needs: Needs, tell: Callable[[str], None]) -> Iterator[None]:
    client.subscribe_topic(TOPIC, lambda event: tell(f"cluster: {event[1]}; turned away"))
    client.register_plugin(Gate(needs), name=TOPIC)
    try:
        yield
    finally:
        # A scheduler that outlives this run must not hold later workers to it.
        with contextlib.suppress(Exception):
            client.unregister_worker_plugin(TOPIC)


def problem_of(needs: Needs) -> str | None:
    """Return why this process cannot work on a run: what differs and what to do."""
    for name, value in needs.code.items():
        if (mine := code_here(needs.backend).get(name)) != value:
            return f"{name} is {mine}, but {value} where the run was started; install the same there"
    try:
        found = open_bundle(needs.bundle).sha256
        sizes = {path: inspect(path).size for path, _ in needs.files}
    except GeosegError as error:
        return f"{one_line(error)}; put it where all workers see it under this path"
    if found != needs.bundle_sha256:
        return (
            f"{needs.bundle}: holds another bundle there; copy the same to all machines, or share the folder"
        )
    for path, size in needs.files:
        if sizes[path] != size:
            return f"{path}: has {sizes[path]} bytes there, not {size}; copy the same file to all machines"
    return _problem_of_staging(needs) or _problem_of_device(needs.device) or _problem_of_precision(needs)


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
    if (needs.backend, needs.precision) != ("openvino", "bf16") or has_bfloat16():
        return None
    return "the processor there has no bfloat16; use workers that have it, or --set inference.precision=fp32"


@cache
def code_here(backend: str) -> dict[str, str]:
    """Return versions, and the hash of geoseg's source, of this process."""
    python = ".".join(platform.python_version_tuple()[:2])
    versions = {name: _version(name) for name in (LIBRARIES[backend], *PACKAGES)}
    return {"Python": python, "geoseg": f"{geoseg.__version__} ({source_hash()[:12]})", **versions}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def source_hash() -> str:
    """Return the sha256 over geoseg's source files."""
    root = Path(geoseg.__file__).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()
