"""Runs that are disturbed: what drives them, counts what was done twice, fills disks and pulls cables."""

import hashlib
import os
import shutil
import subprocess
from collections import Counter
from contextlib import closing, contextmanager

from geoseg.config.cluster import Local
from geoseg.inference.clusters import connect
from geoseg.inference.driver import BlockDone, SceneWork, WorkFailed, predict_scenes
from geoseg.inference.predict import Job
from geoseg.inference.retry import ONCE
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.runs.outputs import staging_of
from geoseg.runs.prepare import prepare
from geoseg.storage.store import FolderStore
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster
from tests.inference.free import install, uninstall
from tests.runs.worker import Slow

PIPELINE = ("tiling: {block: 2}", "checks: {statistics: off}")
"""Lines of the pipeline: small blocks, and no look at the pixels before the run."""


class NotPermittedError(Exception):
    """This machine does not let itself be disturbed in that way; says why."""


def prepare_square(folder, bundle, side):
    """Write a square scene and its pipeline; return its plan."""
    scene = write_raster(folder / "scene.tif", reflectance(side, side), names=BAND_NAMES, scale=0.0001)
    return prepare(write_pipeline(folder, scene, bundle.folder, *PIPELINE))


def job_of(plan, folder, retry=ONCE):
    """Return the job of a plan that is staged in a folder, with a network of torch."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = SegmenterSpec(plan.bundle.folder, plan.bundle.sha256, "cpu", "torch", "fp32", "none", passes=1)
    return Job(
        plan.scene,
        spec,
        plan.bundle.card.legend,
        plan.grid,
        plan.batch,
        False,
        staging=staging_of(plan, FolderStore(folder)),
        retry=retry,
    )


def sums(folder):
    """Return the checksum of each staged block."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("block_*.tif")}


def drive(client, plan, folder, at=0, act=None, interruption=None, retry=ONCE, facts=None):
    """Run a plan; call `act` once when `at` blocks are staged. Return what happened, added to `facts`."""
    job = job_of(plan, folder, retry)
    facts = [] if facts is None else facts
    finished = {(b.row, b.col): 1 for b in plan.blocks if job.staging.counts(b) is not None}
    done = set(finished)
    with closing(
        predict_scenes(client, [SceneWork("s", job, plan.blocks, finished)], interruption)
    ) as events:
        for event in events:
            if isinstance(event, dict):
                facts.append(event)
            elif isinstance(event, WorkFailed):
                raise event.error
            elif isinstance(event, BlockDone):
                done.add((event.block.row, event.block.col))
                if event.done >= at and act is not None:
                    facts.append({"event": "disturbed", "behind": behind(plan.blocks, done)})
                    act()
                    act = None
    return facts


def behind(blocks, done):
    """Return the names of the blocks that are done together with all neighbours that their fringe is for."""
    rows, cols = blocks.rows.count, blocks.cols.count

    def dependents(row, col):
        near = ((row, col), (row + 1, col), (row, col + 1), (row + 1, col + 1))
        return {(r, c) for r, c in near if r < rows and c < cols}

    return {blocks.block(*p).name for p in done if dependents(*p) <= done}


def redone(facts):
    """Count how often a block was begun again; none of those that were behind when the fault came."""
    begun = Counter(f["block"] for f in facts if f["event"] == "begun")
    again = {name for name, n in begun.items() if n > 1}
    for fact in facts:
        if fact["event"] == "disturbed":
            assert not again & fact["behind"]
    return sum(n - 1 for n in begun.values())


@contextmanager
def local():
    """A client in this process, with the network that costs nothing."""
    install(Slow())
    try:
        with connect(Local()) as client:
            yield client
    finally:
        uninstall()


@contextmanager
def small_disk(folder, size="256k"):
    """Mount a disk that holds a few blocks; yield what makes it large."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    done = subprocess.run(
        [*mount, f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotPermittedError(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield lambda: subprocess.run([*mount, "remount,size=64m", "tmpfs", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def cable():
    """Make a second host: a network namespace behind a pair of virtual interfaces.

    Yields its name, for `ip netns exec`, the address of this end, and what pulls the cable.
    """
    name, near, far = f"gs{os.getpid()}", f"gn{os.getpid()}", f"gf{os.getpid()}"

    def ip(*arguments):
        return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)

    if shutil.which("ip") is None or ip("netns", "add", name).returncode:
        raise NotPermittedError("network namespaces are not permitted here")
    try:
        steps = (
            f"link add {near} type veth peer name {far} netns {name}",
            f"addr add 10.213.77.1/30 dev {near}",
            f"link set {near} up",
            f"-n {name} addr add 10.213.77.2/30 dev {far}",
            f"-n {name} link set {far} up",
            f"-n {name} link set lo up",
        )
        for step in steps:
            done = ip(*step.split())
            if done.returncode:
                raise NotPermittedError(f"network namespaces are not permitted here: {done.stderr.strip()}")
        yield name, "10.213.77.1", lambda: ip("link", "set", near, "down")
    finally:
        ip("netns", "del", name)
        ip("link", "del", near)
