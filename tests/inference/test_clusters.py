import os

import pytest

from geoseg.config.cluster import Local
from geoseg.core.errors import ConfigError
from geoseg.inference.clusters import connect, resolve_cluster
from tests.conftest import ROOT


def test_local_is_one_worker_in_this_process_that_listens_nowhere():
    with connect(resolve_cluster("local")) as client:
        assert client.scheduler.address.startswith("inproc://")
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 1


def test_more_workers_listen_on_the_loopback_interface_only_and_leave_the_environment_alone():
    before = dict(os.environ)
    with connect(Local(workers=2)) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        assert len(workers) == 2
        assert client.scheduler.address.startswith("tcp://127.0.0.1:")
        assert all(address.startswith("tcp://127.0.0.1:") for address in workers)
    assert dict(os.environ) == before


def test_names_files_and_mappings(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert resolve_cluster("workstation").workers == 2
    path = tmp_path / "mine.yaml"
    path.write_text("workers: 3\n")
    assert resolve_cluster(str(path)).workers == 3
    with pytest.raises(ConfigError, match="'workstatoin' is neither a file nor one of configs/clusters; did"):
        resolve_cluster("workstatoin")
