"""What faults cost: each on a scene of small blocks and a slow network, against an undisturbed run.

`python -m tests.benchmarks faults [--side 2200] [--only NAME...]`. The faults, and how blocks done again are
counted, are those of `tests/runs/test_faults.py`; the staged bytes are compared as well. Two workers are
processes of their own; what needs no second worker runs in this process. The scheduler gives a silent worker
up after 5 s here, after 60 s in a real run (`worker-ttl`).
"""

import argparse
import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client

from geoseg.core.errors import ClusterError, OutputError
from geoseg.core.run_files import RunFile
from geoseg.inference.retry import RetryPolicy
from geoseg.runs.log import read_events
from geoseg.runs.prepare import prepare
from tests.conftest import ROOT, make_bundle, read_manifest, write_pipeline
from tests.inference.flaky import serve
from tests.inference.remote import Cluster, cluster
from tests.runs import disturb

TWO = ("one", "two")


@dataclass
class Outcome:
    """What a run took, those that went on where it stopped included."""

    begun: int
    """How often a block was taken up."""
    seconds: float
    sums: dict[str, str]
    """Checksums of what it made."""


class Bench:
    """A scene and the runs over it."""

    def __init__(self, folder: Path, side: int) -> None:
        self.folder = folder
        self.bundle = make_bundle(folder / "bundle")
        self.plan = disturb.prepare_square(folder, self.bundle, side)
        (folder / "small").mkdir()
        self.small = disturb.prepare_square(folder / "small", self.bundle, 600)
        self.count = self.plan.blocks.count
        self.half = self.count // 2

    def new(self) -> Path:
        """Make a folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    @contextlib.contextmanager
    def two(self, *names: str, **more: Any) -> Iterator[tuple[Cluster, Client]]:
        """Start worker processes."""
        with (
            cluster(self.new(), *(names or TWO), **more) as started,
            Client(started.address, timeout="20s") as client,
        ):
            # The first blocks of a worker wait for imports and kernels.
            disturb.drive(client, self.small, self.new())
            yield started, client

    def drive(self, client: Client, act: Callable[[], Any] | None = None, **more: Any) -> Outcome:
        """Run the plan; the fault comes at half of the blocks. A run that is given up goes on elsewhere."""
        run, facts = self.new(), []
        plan, start = more.pop("plan", self.plan), time.perf_counter()
        try:
            disturb.drive(client, plan, run, self.half, act, facts=facts, **more)
        except ClusterError:
            with self.two() as (_, other):
                disturb.drive(other, plan, run, facts=facts)
        return Outcome(_begun(facts), time.perf_counter() - start, disturb.sums(run))

    @functools.cached_property
    def undisturbed(self) -> Outcome:
        """The run of two workers."""
        with self.two() as (_, client):
            return self.drive(client)

    @functools.cached_property
    def alone(self) -> Outcome:
        """The run in this process."""
        with disturb.local() as client:
            disturb.drive(client, self.small, self.new())
            return self.drive(client)


def _begun(facts: list[dict[str, Any]]) -> int:
    return sum(f["event"] == "begun" for f in facts)


Pair = tuple[Outcome, Outcome]
"""The undisturbed run and the disturbed one."""


def worker(bench: Bench) -> Pair:
    """`kill -9` of one of two workers"""
    with bench.two() as (started, client):
        return bench.undisturbed, bench.drive(client, lambda: started.kill("two"))


def frozen(bench: Bench) -> Pair:
    """one of two workers frozen (SIGSTOP)"""
    with bench.two() as (started, client):
        return bench.undisturbed, bench.drive(client, lambda: started.signal("two", signal.SIGSTOP))


def cable(bench: Bench) -> Pair:
    """cable to one of two hosts pulled"""

    def run(act: Callable[[], Any] | None) -> Outcome:
        with bench.two(host=host, prefixes={"two": ("ip", "netns", "exec", name)}) as (_, client):
            return bench.drive(client, act)

    with disturb.cable() as (name, host, pull):
        return run(None), run(pull)


def late(bench: Bench) -> Pair:
    """a second worker joins in the middle; compared with one alone"""
    with bench.two("one") as (_, client):
        alone = bench.drive(client)
    with bench.two("one") as (started, client):
        # It starts beside the work, which goes on.
        return alone, bench.drive(client, lambda: started.begin("two"))


def scheduler(bench: Bench) -> Pair:
    """`kill -9` of the scheduler; another is started with two workers, and the run goes on"""
    with bench.two() as (started, client):
        return bench.undisturbed, bench.drive(client, lambda: started.kill("scheduler"))


def client(bench: Bench) -> Pair:
    """`kill -9` of the client; the same command goes on"""

    def run(out: Path, *, kill: bool) -> Outcome:
        command = [sys.executable, "-m", "tests.inference.remote", "run", str(path), "--quiet",
                   "--output", str(out), "--set", "outputs.polygons=[]"]  # fmt: skip
        start = time.perf_counter()
        env, quiet = {**os.environ, "GEOSEG_SCHEDULER": address}, subprocess.DEVNULL
        with subprocess.Popen(command, cwd=ROOT, env=env, stdout=quiet) as process:
            while kill and process.poll() is None:
                if len(list((out / "staging").glob("block_*.done"))) >= bench.half:
                    process.kill()
                time.sleep(0.01)
        if kill:
            run(out, kill=False)
        made = {n: o["sha256"] for n, o in read_manifest(out)["outputs"].items() if n.endswith(".tif")}
        return Outcome(_begun(read_events(out / RunFile.EVENTS)), time.perf_counter() - start, made)

    path = write_pipeline(bench.new(), bench.folder / "scene.tif", bench.bundle.folder, *disturb.PIPELINE)
    with bench.two() as (started, _):
        address = started.address
        return run(bench.new() / "whole", kill=False), run(bench.new() / "killed", kill=True)


def block(bench: Bench) -> Pair:
    """a staged block damaged; the run is begun again when all is staged"""
    run, facts, whole = bench.new(), [], bench.alone
    with disturb.local() as client:
        disturb.drive(client, bench.plan, run, facts=facts)
        path = run / "block_00002_00003.tif"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        start = time.perf_counter()
        disturb.drive(client, bench.plan, run, facts=facts)
    lost = time.perf_counter() - start
    return whole, Outcome(_begun(facts), whole.seconds + lost, disturb.sums(run))


def reads(bench: Bench) -> Pair:
    """a web server answers 503 for 2 s"""

    def run(act: Callable[[], Any] | None) -> Outcome:
        with disturb.local() as client:
            return bench.drive(client, act, plan=plan, retry=RetryPolicy(tries=4, wait=0.5))

    def fail() -> None:
        (bench.folder / "failures").write_text("1000000")
        threading.Timer(2, (bench.folder / "failures").write_text, ["0"]).start()

    with serve(bench.folder) as address:
        path = write_pipeline(bench.new(), f"{address}/scene.tif", bench.bundle.folder, *disturb.PIPELINE)
        plan = prepare(path)
        return run(None), run(fail)


def disk(bench: Bench) -> Pair:
    """disk full; room is made at once and the run goes on"""
    folder, facts, whole = bench.new() / "disk", [], bench.alone
    with disturb.small_disk(folder, "1536k") as enlarge, disturb.local() as client:
        start = time.perf_counter()
        try:
            disturb.drive(client, bench.plan, folder / "run", facts=facts)
        except OutputError:
            enlarge()
            disturb.drive(client, bench.plan, folder / "run", facts=facts)
        return whole, Outcome(_begun(facts), time.perf_counter() - start, disturb.sums(folder / "run"))


FAULTS = {f.__name__: f for f in (worker, frozen, cable, late, scheduler, client, block, reads, disk)}


def main() -> None:
    parser = argparse.ArgumentParser(description="What faults cost")
    parser.add_argument("--side", type=int, default=2200)
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=list(FAULTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options.side)
        print(f"{bench.count} blocks; the fault comes when {bench.half} are staged\n")
        print(
            "| fault | bytes | blocks done again | seconds, undisturbed | seconds lost |\n"
            + "| --- " * 5
            + "|"
        )
        for fault in options.only:
            print(row(bench, FAULTS[fault]), flush=True)


def row(bench: Bench, fault: Callable[[Bench], Pair]) -> str:
    """Run with and without a fault and tell the difference."""
    try:
        whole, disturbed = fault(bench)
    except disturb.NotPermittedError as error:
        return f"| {fault.__doc__} | {error} | | | |"
    same = "equal" if whole.sums == disturbed.sums else "DIFFERENT"
    lost = disturbed.seconds - whole.seconds
    return (
        f"| {fault.__doc__} | {same} | {disturbed.begun - bench.count} of {bench.count} "
        f"| {whole.seconds:.1f} | {lost:.1f} ({lost / whole.seconds:+.0%}) |"
    )


if __name__ == "__main__":
    main()
