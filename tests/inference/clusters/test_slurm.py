"""Jobs of a real SLURM on this machine."""

import os
import subprocess
import time

import pytest

from geoseg.core.errors import ClusterError
from geoseg.inference.clusters import watchdog
from tests.inference.clusters.conftest import assert_encrypted, connected, listeners, write_cluster

JOB = {"kind": "slurm", "cores": 1, "memory": "2GB", "walltime": "00:10:00", "interface": "lo"}


@pytest.fixture
def cluster(slurm, tmp_path):
    """Write a cluster file; what the jobs say goes beside it."""

    def write(**fields):
        return write_cluster(tmp_path / "slurm.yaml", **JOB, log_directory=str(tmp_path / "jobs"), **fields)

    return write


def jobs():
    return set(subprocess.check_output(["squeue", "--noheader", "--format=%A"], text=True).split())


def none_left():
    """Cancelled jobs end within seconds."""
    end = time.monotonic() + 20
    while jobs() and time.monotonic() < end:
        time.sleep(0.1)
    return not jobs()


def test_a_run_on_two_jobs_is_the_local_run(toy, cluster):
    assert toy.run("slurm", cluster(jobs=2)) == toy.local
    assert none_left()


def test_a_killed_job_is_replaced_and_its_workers_have_a_gpu_each(cluster):
    told = []
    with connected(cluster(jobs=1, gpus=2), told.append) as client:
        client.wait_for_workers(2, timeout=60)
        (first,) = jobs()
        gpus = client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
        assert sorted(gpus.values()) == ["0", "1"]
        assert listeners(client) == {"127.0.0.1"}
        assert_encrypted(client)
        subprocess.run(["scancel", first], check=True)
        end = time.monotonic() + 60
        while len(set(client.scheduler_info(n_workers=-1)["workers"]) - set(gpus)) < 2:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert len(jobs() - {first}) == 1
    assert any("1 of 1 workers were lost and are replaced" in line for line in told)


def test_what_sbatch_refuses_is_told(cluster):
    with (
        pytest.raises(ClusterError, match=r"^sbatch: .*invalid partition specified: night"),
        connected(cluster(queue="night")),
    ):
        pass


def test_jobs_that_end_at_once_end_the_run_with_what_they_said(cluster, monkeypatch):
    monkeypatch.setattr(watchdog, "PERIOD", 0.3)
    path = cluster(jobs=3, prologue=["echo module cuda is unknown >&2; exit 1"])
    with (
        pytest.raises(ClusterError, match=r"jobs ended before their worker came; .*module cuda is unknown$"),
        connected(path),
    ):
        pass
    assert none_left()
