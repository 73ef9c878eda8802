"""A running scheduler and workers that join it, as somebody else would start them."""

import contextlib
import shutil
import sys

import psutil
import pytest

from geoseg.core.errors import ClusterError, ConfigError
from geoseg.inference.clusters import worker
from geoseg.inference.clusters.check import TOPIC
from tests.conftest import ROOT
from tests.inference.clusters.conftest import connected, free_port, started, write_cluster


def scheduler(folder, protocol="tcp", *more):
    port = str(free_port())
    command = [
        sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port,
        "--protocol", protocol, "--dashboard-address", "127.0.0.1:0", *more,
    ]  # fmt: skip
    return f"{protocol}://127.0.0.1:{port}", started(command, "Scheduler at", folder / "scheduler.log")


def dask_worker(address, log, *more, **environment):
    """Start what `geoseg worker` turns into."""
    command = worker.command(sys.executable, address, ("--host", "127.0.0.1"), more)
    return started(command, "Registered to", log, **environment)


def end(process):
    """Kill a program and what it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    process.kill()
    process.wait(30)


@pytest.fixture
def running(tmp_path):
    """Start schedulers and workers; end them after the test."""
    processes = []

    def start(process):
        processes.append(process)
        return process

    yield start
    for process in processes:
        end(process)


def test_a_run_at_an_address_with_tls_is_the_local_run_and_leaves_the_scheduler_as_it_was(
    toy, running, tmp_path, tls, geoseg
):
    files = [part for k in ("ca", "cert", "key") for part in (f"--tls-{k.replace('ca', 'ca-file')}", tls[k])]
    address, process = scheduler(tmp_path, "tls", *files)
    running(process)
    path = write_cluster(tmp_path / "tls.yaml", kind="address", address=address, security=tls)
    running(
        started([sys.executable, "-m", "geoseg", "worker", path], "Registered to", tmp_path / "worker.log")
    )
    said = geoseg("run", toy.path, "--cluster", path, "--output", toy.folder / "tls")
    assert said.returncode == 0, said.stderr
    assert toy.sums("tls") == toy.local
    with connected(path) as client:
        assert not client.run_on_scheduler(lambda dask_scheduler: TOPIC in dask_scheduler.worker_plugins)
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 1
    # Without certificates nobody comes in.
    with pytest.raises(ConfigError, match="asks for certificates"), connected(address):
        pass
    plain = write_cluster(
        tmp_path / "plain.yaml", kind="address", address=address.replace("tls", "tcp"), wait=1
    )
    with (
        pytest.raises(ClusterError, match=r"no scheduler answers within 1 s.*tcp:// or tls://"),
        connected(plain),
    ):
        pass


def test_a_worker_with_another_geoseg_is_named(toy, running, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(ROOT / "geoseg", other / "geoseg", ignore=shutil.ignore_patterns("__pycache__"))
    (other / "geoseg/py.typed").with_name("more.py").write_text('"""One module more."""\n')
    address, process = scheduler(tmp_path)
    running(process)
    first = running(dask_worker(address, tmp_path / "worker.log", PYTHONPATH=str(other)))
    with pytest.raises(
        ClusterError, match=r"^worker tcp://127\.0\.0\.1:\d+ \(.+\): geoseg is .+, but .+ where"
    ):
        toy.run("other", address)
    end(first)
    # A good worker and, once the run has begun, the bad one again: it is turned away.
    running(dask_worker(address, tmp_path / "good.log"))
    told, late = [], []

    def tell(line):
        told.append(line)
        if line == "predict" and not late:
            late.append(running(dask_worker(address, tmp_path / "late.log", PYTHONPATH=str(other))))
            assert late[0].wait(60) == 0

    assert toy.run("late", address, tell) == toy.local
    assert any("turned away" in line and "geoseg is" in line for line in told)


def test_workers_without_the_resource_are_told_of(running, tmp_path):
    address, process = scheduler(tmp_path)
    running(process)
    running(dask_worker(address, tmp_path / "worker.log", "--resources", "CPU=2"))
    with (
        pytest.raises(ClusterError, match="no worker of the cluster offers the resource GPU; start workers"),
        connected(address),
    ):
        pass


def test_where_nobody_is(tmp_path):
    path = write_cluster(
        tmp_path / "c.yaml", kind="address", address=f"tcp://127.0.0.1:{free_port()}", wait=1
    )
    with pytest.raises(ClusterError, match="no scheduler answers within 1 s"), connected(path):
        pass
