"""Workers that are started through a real SSH server on this machine."""

import os
import sys
import time

import psutil
import pytest

from geoseg.core.errors import ClusterError
from tests.conftest import ROOT
from tests.inference.clusters.conftest import assert_encrypted, connected, free_port, listeners, write_cluster


@pytest.fixture
def cluster(sshd, tmp_path):
    """Write a cluster file for workers on this machine."""

    def write(**fields):
        asked = {
            "kind": "ssh", "hosts": ["127.0.0.1", "127.0.0.1"], "interface": "lo", "python": sys.executable,
            "env": {"PYTHONPATH": str(ROOT), "QUOTED": "it's $HOME"}, **sshd,
        }  # fmt: skip
        return write_cluster(tmp_path / "ssh.yaml", **asked | fields)

    return write


def test_a_run_on_two_hosts_with_tls_is_the_local_run(toy, cluster, tls):
    assert toy.run("ssh", cluster(security=tls)) == toy.local


def test_a_lost_worker_is_replaced(cluster):
    told = []
    with connected(cluster(), told.append) as client:
        client.wait_for_workers(2, timeout=60)
        assert listeners(client) == {"127.0.0.1"}
        assert_encrypted(client)
        assert set(client.run(lambda: os.environ["QUOTED"]).values()) == {"it's $HOME"}
        pids = client.run(os.getpid)
        lost = psutil.Process(next(iter(pids.values())))
        for process in (lost.parent(), lost):  # the nanny first: it would start another by itself
            process.kill()
        end = time.monotonic() + 60
        while len(set(client.scheduler_info(n_workers=-1)["workers"]) - set(pids)) < 1:
            assert time.monotonic() < end
            time.sleep(0.1)
    assert any("1 of 2 workers were lost and are replaced" in line for line in told)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"port": None},
            r"^127\.0\.0\.1: no worker can be started with ssh: .*; try: ssh 127\.0\.0\.1 true$",
        ),
        ({"known_hosts": os.devnull}, "no worker can be started with ssh: Host key is not trusted"),
        ({"private_key": "other"}, "no worker can be started with ssh: Permission denied"),
        ({"python": "/nowhere/python"}, "the worker ended at once: .*/nowhere/python.*No such file"),
    ],
)
def test_why_a_worker_cannot_be_started(cluster, tmp_path, fields, why):
    if fields.get("private_key"):
        import asyncssh

        asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "other")
        fields = {"private_key": str(tmp_path / "other")}
    if "port" in fields:
        fields = {"port": free_port()}
    with pytest.raises(ClusterError, match=why), connected(cluster(**fields)):
        pass
