"""Real batch systems and servers, on the loopback interface of this machine, each with its own folder."""

import datetime as dt
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from geoseg.inference.clusters import connect, resolve_cluster
from geoseg.runs.prepare import prepare
from geoseg.runs.run import Options, run
from tests.conftest import BAND_NAMES, ROOT, read_manifest, reflectance, write_pipeline, write_raster

HERE = Path(__file__).parent
OUTPUTS = ("classes.tif", "confidence.tif", "classes.qml", "classes.tif.aux.xml")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="session", autouse=True)
def same_geoseg() -> Iterator[None]:
    """Workers import the geoseg that is tested."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


class Toy:
    """A small scene of 9 blocks and what a local run makes of it."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.folder = folder
        scene = write_raster(folder / "scene.tif", reflectance(380, 380), names=BAND_NAMES, scale=0.0001)
        more = ("tiling: {block: 2}", "vectorize: {minimum_area: 9 px}")
        self.path = write_pipeline(folder, scene, bundle, *more)
        self.local = self.run("local", "local")

    def run(self, name: str, cluster: str, tell=lambda _: None) -> dict[str, str]:
        """Run on a cluster; return the sha256 of each output."""
        plan = prepare(self.path, [f"cluster={cluster}"], self.folder / name)
        run(plan, Options(on_progress=lambda event: tell(event.stage)))
        return self.sums(name)

    def sums(self, name: str) -> dict[str, str]:
        outputs = read_manifest(self.folder / name)["outputs"]
        return {output: outputs[output]["sha256"] for output in OUTPUTS}


@pytest.fixture(scope="session")
def toy(tmp_path_factory, bundle) -> Toy:
    return Toy(tmp_path_factory.mktemp("clusters"), bundle.folder)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[Path]:
    """A SLURM of this session."""
    missing = [p for p in ("slurmctld", "slurmd", "sbatch", "munged", "runuser") if shutil.which(p) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"no SLURM here: {', '.join(missing) or 'only root can start one'}; tests/install.sh")
    # munged, who is another user, must get there; pytest's folders are for this user only.
    folder = Path("/tmp") / f"geoseg-slurm-{os.getpid()}"  # noqa: S108
    subprocess.run([HERE / "slurm.sh", "start", folder], check=True)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield folder
    subprocess.run([HERE / "slurm.sh", "stop", folder], check=True)
    shutil.rmtree(folder, ignore_errors=True)
    del os.environ["SLURM_CONF"]


@pytest.fixture(scope="session")
def sshd(tmp_path_factory) -> Iterator[dict[str, str]]:
    """An SSH server of this session: what a cluster file says to reach it."""
    missing = [p for p in ("/usr/sbin/sshd", "ssh-keygen") if shutil.which(p) is None]
    if missing:
        pytest.skip(f"no SSH server here: {', '.join(missing)}; tests/install.sh")
    folder, port = tmp_path_factory.mktemp("sshd"), free_port()
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    subprocess.run([HERE / "sshd.sh", "start", folder, str(port)], check=True, env=environment)
    yield {"port": port, "private_key": f"{folder}/key", "known_hosts": f"{folder}/known_hosts"}
    subprocess.run([HERE / "sshd.sh", "stop", folder], check=True)


@pytest.fixture(scope="session")
def tls(tmp_path_factory) -> dict[str, str]:
    """A certificate that is its own authority: what `security:` says."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "geoseg test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return {"ca": f"{folder}/cert.pem", "cert": f"{folder}/cert.pem", "key": f"{folder}/key.pem"}


def started(command: list[str], marker: str, log: Path, **environment: str) -> subprocess.Popen:
    """Start a program and wait until it says the marker."""
    with log.open("w") as out:
        process = subprocess.Popen(
            # Not in the repository, whose geoseg would come first.
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={**os.environ, **environment},
        )
    limit = time.monotonic() + 60
    while marker not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < limit, log.read_text()
        time.sleep(0.05)
    return process


def listeners(client) -> set[str]:
    """Return the addresses on which this process and all workers and nannies listen."""
    pids = {os.getpid()}
    for worker in client.run(os.getpid).values():
        process = psutil.Process(worker)
        pids |= {worker, process.ppid()}
    return {
        c.laddr.ip
        for pid in pids
        for c in psutil.Process(pid).net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    }


def assert_encrypted(client) -> None:
    """All addresses are of TLS, keys lie in files of this user alone, and no command line shows one."""
    addresses = [client.scheduler.address, *client.scheduler_info(n_workers=-1)["workers"]]
    assert {a.partition("://")[0] for a in addresses} == {"tls"}
    for pid in client.run(os.getpid).values():
        parent = psutil.Process(pid).parent()
        line = parent.cmdline()
        assert "PRIVATE KEY" not in " ".join(line)
        given = [Path(line[i + 1]) for i, word in enumerate(line) if word in ("--tls-key", "--tls-cert")]
        # Those of ssh came through standard input, and lie in a folder of the worker.
        given = given or list(Path("/tmp").glob("geoseg-*/*.pem"))  # noqa: S108
        assert given
        assert {p.stat().st_mode & 0o077 for p in given} == {0}


def write_cluster(path: Path, **fields) -> str:
    """Write a cluster file; return its path."""
    import yaml

    path.write_text(yaml.safe_dump(fields))
    return str(path)


def connected(path: str, tell=lambda _: None):
    return connect(resolve_cluster(path), tell)
