import asyncio
import contextlib
import datetime as dt
import logging
import os
import sys
from dataclasses import replace

import psutil
import pytest
import rasterio
from distributed import Security
from distributed.comm import connect as connect_comm
from rasterio._env import get_gdal_config
from tornado import gen
from tornado.ioloop import IOLoop
from tornado.locks import Event

from geoseg.config.cluster import KINDS, ClusterFile, Local
from geoseg.config.loader import load
from geoseg.core import extras
from geoseg.core.errors import ConfigError
from geoseg.core.process import VARIABLES
from geoseg.inference.clusters import capacity, check, connect, preload_gpu, resolve_cluster, worker
from geoseg.inference.clusters.capacity import capacity_of
from geoseg.inference.clusters.jobs import job_options, listing, seconds
from geoseg.inference.clusters.local import one_gpu_each, visible_gpus
from geoseg.inference.clusters.network import tls_settings
from geoseg.inference.memory import Memory
from geoseg.runs.prepare import prepare
from geoseg.storage.store import FolderStore
from tests.conftest import ROOT

BASE = {"interface": "lo", "cores": 4, "memory": "16GB", "walltime": "12:00:00"}


def of(kind, **fields):
    defaults = {
        "local": {}, "address": {"address": "tcp://10.0.0.1:8786"},
        "ssh": {"hosts": ["a", "b"], "interface": "lo"},
        "kubernetes": {"image": "geoseg:1", "cores": 4, "memory": "16GB"},
    }  # fmt: skip
    return ClusterFile.model_validate({"kind": kind, **defaults.get(kind, BASE), **fields}).root


def test_local_is_one_worker_in_this_process_that_listens_nowhere():
    with connect(resolve_cluster("local")) as client:
        assert client.scheduler.address.startswith("inproc://")
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 1


def test_more_workers_listen_on_the_loopback_interface_only_and_leave_the_environment_alone(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    before = dict(os.environ)
    with connect(Local(workers=2)) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        assert len(workers) == 2
        assert client.scheduler.address.startswith("tls://127.0.0.1:")
        assert all(address.startswith("tls://127.0.0.1:") for address in workers)
        variables = client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
        assert sorted(variables.values()) == ["3", "5"]
        # Scheduler and workers run what they are sent: who has no certificate of this run is refused.
        with silent("distributed"):
            for address in (client.scheduler.address, *workers):
                for stranger in (None, Security.temporary()):
                    plain = address if stranger else address.replace("tls://", "tcp://")
                    with pytest.raises(OSError, match=r"TLS|in attempt|[Tt]imed out|closed|^$"):
                        client.sync(greet, plain, stranger)
        shown = [
            " ".join(p.cmdline()) for p in psutil.Process().children(recursive=True) if p.status() != "zombie"
        ]
        assert len(shown) >= 2
        assert not [line for line in shown if "PRIVATE KEY" in line or "BEGIN CERTIFICATE" in line]
    assert dict(os.environ) == before


async def greet(address, security):
    """Ask a process of Dask for its identity."""
    arguments = {} if security is None else security.get_connection_args("client")
    comm = await connect_comm(address, timeout=1, **arguments)
    try:
        await comm.write({"op": "identity", "reply": True})
        return await asyncio.wait_for(comm.read(), 1)
    finally:
        comm.abort()


@contextlib.contextmanager
def silent(name):
    """Drop what a logger says: it tells of the refused connections."""
    logger = logging.getLogger(name)
    logger.disabled, before = True, logger.disabled
    try:
        yield
    finally:
        logger.disabled = before


def test_the_loop_of_a_cluster_goes_on_until_its_last_messages_are_sent():
    """Queues of messages wait a moment with a time-out; a loop that ends meanwhile makes asyncio complain."""
    ended = []

    @gen.coroutine
    def queue():
        with contextlib.suppress(gen.TimeoutError):
            yield Event().wait(dt.timedelta(milliseconds=15))
        ended.append(True)

    with connect(Local()) as client:
        cluster = client.cluster
        closing = cluster._close

        async def close():
            await closing()
            IOLoop.current().add_callback(queue)

        cluster._close = close
    assert ended == [True]


@pytest.fixture
def unset(monkeypatch):
    """The environment of a process that is not geoseg's own."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_workers_have_the_variables_of_a_process_of_geoseg(unset, monkeypatch, pipeline_file, tmp_path):
    monkeypatch.setenv("GDAL_CACHEMAX", "50")
    needs = check.needs_of(prepare(pipeline_file, output=tmp_path / "run"), FolderStore(tmp_path))
    with connect(Local(workers=2)) as client, check.check_workers(client, needs, None):
        names = list(VARIABLES)
        (address, found), (_, other) = client.run(lambda: {n: os.environ.get(n) for n in names}).items()
        assert found == other == {**VARIABLES, "GDAL_CACHEMAX": "50"}
        # A worker that joins later, as the one that replaces a lost one.
        client.restart_workers([address])
        later = client.run(lambda: {n: os.environ.get(n) for n in names})
        assert list(later.values()) == [found, found]
    assert "OMP_WAIT_POLICY" not in os.environ


def test_gdal_in_the_process_of_a_notebook_keeps_to_the_plan_while_a_run_lasts(unset):
    before, pool = get_gdal_config("GDAL_CACHEMAX"), get_gdal_config("GDAL_MAX_DATASET_POOL_SIZE")

    def settings():
        return get_gdal_config("GDAL_CACHEMAX"), get_gdal_config("GDAL_MAX_DATASET_POOL_SIZE")

    environment = dict(os.environ)
    with connect(Local()) as client:
        assert client.submit(settings, pure=False).result() == (96_000_000, 32)
        assert dict(os.environ) == environment
    assert settings() == (before, pool)


def test_gdal_keeps_what_the_user_has_set(unset, monkeypatch):
    with rasterio.Env(GDAL_CACHEMAX=50_000_000), connect(Local()):
        assert get_gdal_config("GDAL_CACHEMAX") == 50_000_000
    before = get_gdal_config("GDAL_CACHEMAX")
    monkeypatch.setenv("GDAL_CACHEMAX", "70")
    with connect(Local()):
        assert get_gdal_config("GDAL_CACHEMAX") == before


def test_gpus_are_shared_out(monkeypatch):
    assert one_gpu_each(3, ["0", "1"]) == [{"CUDA_VISIBLE_DEVICES": n} for n in ("0", "1", "0")]
    assert one_gpu_each(2, []) == [{}, {}]
    monkeypatch.setattr("geoseg.inference.clusters.local.count_gpus", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert visible_gpus() == ["4", "6"]
    preload_gpu.dask_setup(type("Worker", (), {"name": "SLURMCluster-7-1"}))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"


def test_names_files_addresses_and_mappings(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert resolve_cluster("workstation").workers == 2
    path = tmp_path / "mine.yaml"
    path.write_text("workers: 3\n")
    assert resolve_cluster(str(path)).workers == 3
    assert resolve_cluster("tcp://node1:8786").address == "tcp://node1:8786"
    with pytest.raises(
        ConfigError,
        match=r"cluster workstatoin: no such file, nor a name in configs/clusters .*; did you mean",
    ):
        resolve_cluster("workstatoin")
    with pytest.raises(
        ConfigError, match=r"'udp://x' is no address of a scheduler; write it like tcp://node1"
    ):
        resolve_cluster("udp://x")


@pytest.mark.parametrize("path", sorted((ROOT / "configs/clusters").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_shipped_files_are_valid(path):
    assert load(path, ClusterFile).root.kind in KINDS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: slrum", "kind must be one of local, address, ssh, slurm, pbs, lsf, kubernetes"),
        ("kind: slurm\nquue: gpu", r"c\.yaml:2:1: quue: unknown key; did you mean 'queue'\?"),
        ("kind: ssh\nquue: gpu", r"c\.yaml:2:1: quue: unknown key$"),
        ("kind: ssh\nhosts: [a]", r"interface: this key is required"),
        ("kind: slurm\nmemory: 16 xB", "memory: could not interpret byte unit: xB"),
        ("kind: address\naddress: node1", "address: a text like tcp://node1:8786, not 'node1'"),
        (
            "kind: address\naddress: tcp://n:1\nsecurity: {ca: a, cert: b, key: c}",
            "security needs an address that begins with tls://",
        ),
        (
            "kind: address\naddress: tls://n:1\nsecurity: {ca: a, cert: b}",
            "security.key: this key is required",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"(?m){message}"):
        load(path, ClusterFile)


def test_wall_times_as_yaml_and_batch_systems_read_them(tmp_path):
    path = tmp_path / "c.yaml"
    for text, kind, expected in (
        ("12:00:00", "slurm", 43200),  # a number to the base of 60, says YAML 1.1
        ("'00:30:00'", "pbs", 1800),
        ("2-01:00:00", "slurm", 176400),
        ("10:30", "slurm", 630),
        ("10:30", "lsf", 37800),
    ):
        path.write_text(f"kind: {kind}\ninterface: lo\ncores: 1\nmemory: 1GB\nwalltime: {text}\n")
        assert seconds(load(path, ClusterFile).root) == expected


def test_the_script_of_a_slurm_job(tmp_path):
    script = job_script(
        "slurm", tmp_path, queue="gpu", account="lab", gpus=2, job_extra=["--constraint=a100"],
        env={"NAME": "it's"}, prologue=["module load cuda"],
    )  # fmt: skip
    for line in (
        "#SBATCH -p gpu", "#SBATCH -A lab", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=15G",
        "#SBATCH -t 12:00:00", "#SBATCH --gres=gpu:2", "#SBATCH --constraint=a100", "module load cuda",
        "export NAME='it'\"'\"'s'",
    ):  # fmt: skip
        assert line in script.splitlines()
    arguments = script.splitlines()[-1]
    assert "--nworkers 2" in arguments
    assert "--interface lo" in arguments
    # 300 s before the wall time, one job up to 100 s before another.
    assert "--lifetime 42900s --lifetime-stagger 100s" in arguments
    # The last of each counts.
    assert arguments.rindex("--nthreads 3") > arguments.rindex("--nthreads 2")
    assert arguments.rindex("--memory-limit 0") > arguments.index("--memory-limit 7")


def test_the_scripts_of_pbs_and_lsf_jobs(tmp_path):
    pbs = job_script("pbs", tmp_path, gpus=1, account="lab").splitlines()
    assert "#PBS -l select=1:ncpus=4:mem=15259MB:ngpus=1" in pbs
    assert "#PBS -l walltime=12:00:00" in pbs
    assert "#PBS -A lab" in pbs
    lsf = job_script("lsf", tmp_path, gpus=1, account="lab", walltime="4:00").splitlines()
    for line in ('#BSUB -P "lab"', "#BSUB -n 4", '#BSUB -gpu "num=1"', "#BSUB -W 4:00"):
        assert line in lsf


def job_script(kind, folder, **fields):
    module = pytest.importorskip(f"dask_jobqueue.{kind}")
    job = getattr(module, f"{kind.upper()}Job")
    options = job_options(of(kind, log_directory=str(folder), **fields))
    if kind == "lsf":
        options["lsf_units"] = "mb"  # else it asks a command that is not here
    return job(scheduler="tcp://10.0.0.1:1", name="job-1", **options).job_script().strip()


def test_each_batch_system_is_asked_for_its_jobs():
    assert [listing(of(kind))[0] for kind in ("slurm", "pbs", "lsf")] == ["squeue", "qselect", "bjobs"]


def test_pods_have_what_a_worker_needs_and_no_dashboard():
    pytest.importorskip("dask_kubernetes")
    from geoseg.inference.clusters.kubernetes import cluster_spec

    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "scenes"}}
    mount = {"name": "data", "mountPath": "/data"}
    spec = cluster_spec(of("kubernetes", workers=7, gpus=1, volumes=[volume], mounts=[mount], env={"A": "b"}))
    group = spec["spec"]["worker"]
    (container,) = group["spec"]["containers"]
    share = {"cpu": "4", "memory": "16000000000", "nvidia.com/gpu": "1"}
    assert spec["kind"] == "DaskCluster"
    assert group["replicas"] == 7
    assert group["spec"]["volumes"] == [volume]
    assert container["volumeMounts"] == [mount]
    assert container["resources"] == {"requests": share, "limits": share}
    assert {"name": "A", "value": "b"} in container["env"]
    assert {"name": "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL", "value": "1s"} in container["env"]
    assert {"name": "MALLOC_ARENA_MAX", "value": "2"} in container["env"]
    assert container["args"][:4] == ["dask", "worker", "--name", "$(DASK_WORKER_NAME)"]
    assert "--resources GPU=2" in " ".join(container["args"])
    assert "--no-dashboard" in container["args"]
    with pytest.raises(ConfigError, match="the Dask operator sets up no TLS"):
        cluster_spec(of("kubernetes", security={"ca": "a", "cert": "b", "key": "c"}))


@pytest.mark.parametrize("kind", ["ssh", "slurm", "kubernetes"])
def test_what_is_not_installed_is_named(monkeypatch, tmp_path, kind):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with (
        pytest.raises(
            ConfigError, match=r"is not installed; it comes with: .* 'geoseg\[(cluster|kubernetes)\]'"
        ),
        connect(of(kind)),
    ):
        pass
    assert not list(tmp_path.iterdir())  # the folder for what jobs say


def test_an_interface_that_is_not_here_is_named():
    why = r"no network interface 'ib7', only .*lo.*; say scheduler_interface"
    with pytest.raises(ConfigError, match=why), connect(of("ssh", interface="ib7")):
        pass


@pytest.mark.parametrize(
    ("cluster", "device", "expected"),
    [
        (of("slurm", jobs=3), "auto", (3, "cpu", 4, 48_000_000_000)),
        (of("slurm", jobs=3, gpus=2), "auto", (6, "cuda", 1, 48_000_000_000)),
        (of("slurm", jobs=3, gpus=2), "cpu", (6, "cpu", 4, 48_000_000_000)),
        (of("ssh", gpus=2), "cuda", (4, "cuda", 1, None)),
        (of("ssh", cores=3, memory="2GB"), "auto", (2, "cpu", 3, 4_000_000_000)),
        (of("address", workers=5, memory="1GiB"), "auto", (5, "cpu", 1, 5 * 2**30)),
        (of("kubernetes", workers=2, gpus=1), "auto", (2, "cuda", 1, 32_000_000_000)),
    ],
)  # fmt: skip
def test_the_plan_knows_the_workers_of_other_machines(cluster, device, expected):
    s = capacity_of(cluster, device)
    assert (s.workers, s.device, s.passes, s.memory) == expected


def test_a_device_that_the_cluster_does_not_have_is_refused(monkeypatch):
    with pytest.raises(
        ConfigError, match="the workers of the cluster have no GPU; if they have, say gpus: 1"
    ):
        capacity_of(of("slurm"), "cuda")
    for module in ("geoseg.inference.clusters.capacity", "geoseg.models.backends.auto"):
        monkeypatch.setattr(f"{module}.count_gpus", lambda: 4)
    monkeypatch.setattr(capacity, "free_memory", lambda: 10)
    s = capacity_of(Local(workers="auto"), "auto")
    assert (s.cluster, s.workers, s.device, s.passes, s.memory) == (Local(workers=4), 4, "cuda", 1, 10)
    assert capacity_of(Local(workers="auto"), "cpu").workers == 1
    with pytest.raises(ConfigError, match="cuda:1 is one GPU, but the cluster has 2 workers"):
        capacity_of(Local(workers=2), "cuda:1")


def test_the_machine_that_leads_needs_memory_for_polygons(monkeypatch):
    memory = Memory(
        base=10**9, network=9 * 10**9, blocks=0, fringes=0, cache=10**8, polygons=10**9, picture=10**9
    )
    monkeypatch.setattr(capacity, "free_memory", lambda: 3 * 10**9)
    assert "takes 3.10 GB of memory on this machine, but 3.00" in capacity_of(
        of("slurm"), "cpu"
    ).problem_here(memory)
    assert capacity_of(Local(), "cpu").problem_here(memory) is None
    monkeypatch.setattr(capacity, "free_memory", lambda: 4 * 10**9)
    assert capacity_of(of("slurm"), "cpu").problem_here(memory) is None


def test_a_certificate_that_is_missing_is_named(tmp_path):
    here = {"ca": "/nowhere/ca.pem", "cert": "c", "key": "k"}
    with pytest.raises(ConfigError, match=r"^cluster\.security\.ca: /nowhere/ca\.pem: no such file"):
        tls_settings(of("ssh", security=here).security)


def test_a_worker_says_where_it_listens_and_whom_it_joins(monkeypatch):
    ran = []
    monkeypatch.setattr(os, "execve", lambda program, command, env: ran.append((program, command, env)))
    with pytest.raises(ConfigError, match="--interface: say on which network the worker shall listen"):
        worker.become_worker(of("address"), None)
    with pytest.raises(ConfigError, match="a worker joins a cluster of kind address, not local"):
        worker.become_worker(of("local"), None)
    worker.become_worker(of("address"), "eth0")
    worker.become_worker(of("address", address="tcp://127.0.0.1:8786"), None)
    assert [r[0] for r in ran] == [sys.executable] * 2
    assert ran[0][1][-2:] == ["--interface", "eth0"]
    assert ran[1][1][-2:] == ["--host", "127.0.0.1"]


def test_workers_do_not_watch_themselves(monkeypatch, tmp_path):
    off = "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"
    ran = []
    monkeypatch.setattr(os, "execve", lambda program, command, env: ran.append(env[off]))
    worker.become_worker(of("address"), "eth0")
    # Who sets it, gets it.
    monkeypatch.setenv(off, "True")
    worker.become_worker(of("address"), "eth0")
    assert ran == ["False", "True"]
    assert f"export {off}=False" in job_script("slurm", tmp_path).splitlines()
    with connect(Local()) as client:
        assert client.run(lambda dask_worker: "profile" in dask_worker.periodic_callbacks) == dict.fromkeys(
            client.scheduler_info()["workers"], False
        )


def test_memory_is_added_up_for_each_machine():
    there = [check.WorkerReport(None, "a", 10**9)] * 2 + [check.WorkerReport(None, "b", 10**9)]
    check._check_memory(there, 5 * 10**8)
    with pytest.raises(
        check.ClusterError, match=r"^a: 2 workers need 1\.20 GB of memory, but 1\.00 GB are free"
    ):
        check._check_memory(there, 6 * 10**8)


def test_the_hash_of_the_source_is_that_of_every_module(tmp_path, monkeypatch):
    package = tmp_path / "geoseg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(check.geoseg, "__file__", str(package / "__init__.py"))
    empty = check.source_hash()
    (package / "more.py").write_text("x = 1\n")
    one = check.source_hash()
    (package / "more.py").rename(package / "other.py")
    assert len({empty, one, check.source_hash()}) == 3


def test_a_worker_whose_processor_has_no_bfloat16_is_named(pipeline_file, tmp_path, monkeypatch):
    plan = prepare(pipeline_file, output=tmp_path / "run")
    needs = check.needs_of(replace(plan, backend="openvino", precision="bf16"), FolderStore(tmp_path))
    needs.staging.write(needs.token, b"")
    monkeypatch.setattr(check, "has_bfloat16", lambda: True)
    assert check.problem_of(needs) is None
    monkeypatch.setattr(check, "has_bfloat16", lambda: False)
    assert "no bfloat16" in check.problem_of(needs)
    assert check.problem_of(replace(needs, precision="fp32")) is None
