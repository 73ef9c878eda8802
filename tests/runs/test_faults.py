"""Workers die, freeze and are cut off, disks fill up and rot: the bytes stay the same.

The scheduler and the workers are processes of their own; what is done twice is counted from their events.
"""

import os
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager

import dask
import pytest
from distributed import Client

from geoseg.core.errors import ClusterError, OutputError
from geoseg.core.run_files import RunFile
from geoseg.inference.interruption import Interruption
from geoseg.runs.log import read_events
from tests import processes
from tests.conftest import write_pipeline
from tests.inference.remote import cluster
from tests.runs.disturb import (
    PIPELINE,
    NotPermittedError,
    cable,
    drive,
    local,
    prepare_square,
    redone,
    small_disk,
    sums,
)

MIDDLE = 20
"""Blocks that are staged when a worker is lost."""

FRINGE = 6
"""Blocks whose fringe a worker may hold for a neighbour: those of one line of blocks and the corner."""


@pytest.fixture(scope="module")
def plan(tmp_path_factory, bundle):
    """A scene of 36 blocks."""
    plan = prepare_square(tmp_path_factory.mktemp("faults"), bundle, 1100)
    assert plan.blocks.count == 36
    return plan


@pytest.fixture(scope="module")
def undisturbed(plan, tmp_path_factory):
    """Checksums of all blocks of a run in this process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with local() as client:
        assert redone(drive(client, plan, folder)) == 0
    assert len(sums(folder)) == plan.blocks.count
    return sums(folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A scheduler; its workers die in the tests."""
    with cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def two(shared):
    """The cluster with two workers, those that the last test killed replaced."""
    alive = [n for n in shared.processes if n != "scheduler"]
    shared.started = getattr(shared, "started", 0)
    new = [f"worker-{shared.started + i}" for i in range(2 - len(alive))]
    shared.started += len(new)
    shared.work(*new)
    shared.names = [*alive, *new]
    return shared


@pytest.fixture
def client(two):
    with Client(two.address, timeout="20s") as client:
        yield client


def assert_little_is_redone(facts):
    """Hold a run that lost a worker to it: what was behind it is not done again (`redone` looks)."""
    assert redone(facts) > 0
    assert len(next(f for f in facts if f["event"] == "disturbed")["behind"]) >= 4


def test_kill_9_of_one_of_two_workers(plan, undisturbed, two, client, tmp_path):
    facts = drive(client, plan, tmp_path / "run", MIDDLE, lambda: two.kill(two.names[1]))
    assert sums(tmp_path / "run") == undisturbed
    assert_little_is_redone(facts)


def test_a_frozen_worker_is_given_up(plan, undisturbed, two, client, tmp_path):
    facts = drive(client, plan, tmp_path / "run", MIDDLE, lambda: two.signal(two.names[1], signal.SIGSTOP))
    two.kill(two.names[1])
    assert sums(tmp_path / "run") == undisturbed
    assert_little_is_redone(facts)


def test_a_worker_that_joins_late_gets_work(plan, undisturbed, two, client, tmp_path):
    two.kill(two.names[1])
    late, ready = f"{two.names[1]}-late", threading.Event()

    def join():
        # Nothing goes on until it is there: the window must be full already, and grow.
        two.work(late)
        ready.set()

    facts = drive(client, plan, tmp_path / "run", 1, join)
    assert ready.is_set()
    assert sums(tmp_path / "run") == undisturbed
    assert redone(facts) == 0
    took = Counter(f["worker"] for f in facts if f["event"] == "begun")
    assert len(took) == 2
    assert min(took.values()) >= 2


def test_kill_9_of_the_client_and_run_again(plan, undisturbed, two, client, tmp_path):
    path = write_pipeline(tmp_path, plan.scene.bands[0].source.path, plan.bundle.folder, *PIPELINE)
    env = {**os.environ, "GEOSEG_SCHEDULER": two.address}
    staging = tmp_path / "out/staging"
    with processes.start("tests.inference.remote", "run", path, "--quiet", env=env) as process:
        while len(list(staging.glob("block_*.done"))) < 8:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    staged = len(list(staging.glob("block_*.done")))
    assert staged < plan.blocks.count
    begun = [e for e in read_events(tmp_path / "out" / RunFile.EVENTS) if e["event"] == "begun"]
    assert len(begun) >= 8  # the events survive
    facts = drive(client, plan, staging)
    assert sums(staging) == undisturbed
    again = sum(f["event"] == "begun" for f in facts) - (plan.blocks.count - staged)
    assert 0 < again <= 2 * FRINGE  # finished blocks at the edge, for their fringes


def test_kill_9_of_the_scheduler_is_one_line_and_another_goes_on(plan, undisturbed, tmp_path):
    with (
        cluster(tmp_path / "first", "one") as first,
        Client(first.address, timeout="20s") as client,
        pytest.raises(ClusterError, match=r"the scheduler at tcp://\S+ is gone; finished blocks are kept"),
    ):
        drive(client, plan, tmp_path / "run", 8, lambda: first.kill("scheduler"))
    staged = len(sums(tmp_path / "run"))
    assert 8 <= staged < plan.blocks.count
    with local() as client:
        facts = drive(client, plan, tmp_path / "run")
    assert sums(tmp_path / "run") == undisturbed
    assert sum(f["event"] == "begun" for f in facts) - (plan.blocks.count - staged) <= 2 * FRINGE


def test_a_run_waits_for_workers_and_says_so(plan, undisturbed, two, client, tmp_path):
    def kill_all():
        for name in two.names:
            two.kill(name)

    with (
        dask.config.set({"distributed.scheduler.no-workers-timeout": "3s"}),
        pytest.raises(ClusterError, match=r"no worker of the cluster at \S+ is left, nor did one come"),
    ):
        drive(client, plan, tmp_path / "run", 8, kill_all)
    with local() as other:
        drive(other, plan, tmp_path / "run")
    assert sums(tmp_path / "run") == undisturbed


def test_a_wish_to_end_stages_what_is_in_hand(plan, undisturbed, tmp_path):
    interruption, facts = Interruption(), []
    with local() as client, pytest.raises(KeyboardInterrupt):
        facts = drive(client, plan, tmp_path / "run", 8, interruption.request, interruption)
    staged = sums(tmp_path / "run")
    assert 8 <= len(staged) <= 20  # what was begun, and no more of the window
    assert interruption.accepted
    assert not interruption.request()  # a second one is not waited for
    with local() as client:
        facts = drive(client, plan, tmp_path / "run")
    assert sums(tmp_path / "run") == undisturbed
    begun = sum(f["event"] == "begun" for f in facts)
    assert begun - (plan.blocks.count - len(staged)) <= 2 * FRINGE


def test_a_damaged_block_is_done_again_with_the_neighbours_that_it_needs(plan, undisturbed, tmp_path):
    with local() as client:
        drive(client, plan, tmp_path / "run")
        path = tmp_path / "run/block_00002_00003.tif"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        facts = drive(client, plan, tmp_path / "run")
    assert sums(tmp_path / "run") == undisturbed
    begun = {f["block"] for f in facts if f["event"] == "begun"}
    assert begun == {f"block_{row:05d}_{col:05d}" for row in (1, 2) for col in (2, 3)}


@contextmanager
def where_permitted(disturbance):
    """Skip the test, and say so, where the machine does not permit it."""
    with ExitStack() as stack:
        try:
            made = stack.enter_context(disturbance)
        except NotPermittedError as error:
            pytest.skip(str(error))
        yield made


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(plan, undisturbed, tmp_path):
    folder = tmp_path / "disk"
    with where_permitted(small_disk(folder)) as enlarge, local() as client:
        with pytest.raises(
            OutputError, match=r"block_\S+: cannot be written: No space left on device .*make room"
        ):
            drive(client, plan, folder / "run")
        staged = len(list((folder / "run").glob("block_*.done")))
        assert 0 < staged < plan.blocks.count
        enlarge()
        drive(client, plan, folder / "run")
        assert sums(folder / "run") == undisturbed


def test_a_cable_that_is_pulled(plan, undisturbed, tmp_path):
    with (
        where_permitted(cable()) as (name, host, pull),
        cluster(
            tmp_path / "cluster", "near", "far", host=host, prefixes={"far": ("ip", "netns", "exec", name)}
        ) as started,
        Client(started.address, timeout="20s") as client,
    ):
        facts = drive(client, plan, tmp_path / "run", MIDDLE, pull)
    assert sums(tmp_path / "run") == undisturbed
    assert {f["worker"].split("/")[2].split(":")[0] for f in facts if f["event"] == "begun"} == {
        "10.213.77.1",
        "10.213.77.2",
    }
    assert_little_is_redone(facts)
