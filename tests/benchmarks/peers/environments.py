"""A virtual environment for each peer, made when it is first needed.

It sees this interpreter's packages through a `.pth` file, so that torch and GDAL are the same for all and are
stored once; pip installs what is missing or asked for in another version, into the peer's environment only.
"""

import hashlib
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

ADAPTERS = Path(__file__).parent / "adapters"


@dataclass(frozen=True)
class Peer:
    """A tool to compare with."""

    script: str
    requirements: tuple[str, ...] = ()
    """What pip installs; none: this interpreter runs it."""


PEERS = {
    "monai": Peer("run_monai.py", ("monai==1.6.1",)),
    # 1.2.12 and later need torchgeo 0.9, which needs Python 3.12.
    "terratorch": Peer("run_terratorch.py", ("terratorch==1.2.11", "torchgeo==0.8.1")),
    # It imports omegaconf without asking for it.
    "geo-inference": Peer("run_geo_inference.py", ("geo-inference==3.2.4", "torchgeo==0.8.1", "omegaconf")),
    "torchgeo": Peer("run_torchgeo.py", ("torchgeo==0.8.1",)),
    "geoai": Peer("run_geoai.py", ("geoai-py==0.40.1", "torchgeo==0.8.1")),
    "plain": Peer("run_plain.py"),
}


class NotInstalledError(Exception):
    """A peer cannot be installed here."""


def python_of(name: str, folder: Path) -> Path:
    """Return the interpreter of a peer's environment, made below `folder` when it is missing.

    Raises
    ------
    NotInstalledError
        With pip's reason.
    """
    peer = PEERS[name]
    if not peer.requirements:
        return Path(sys.executable)
    here = sysconfig.get_path("purelib")
    key = hashlib.sha256("\n".join((here, *peer.requirements)).encode()).hexdigest()[:8]
    environment = folder / f"{name}-{key}"
    python = environment / "bin/python"
    ready = environment / ".ready"
    if not ready.exists():
        print(f"installing {' '.join(peer.requirements)} ...", flush=True)
        venv.create(environment, clear=True, symlinks=True)
        packages = sysconfig.get_path("purelib", vars={"base": str(environment)})
        (Path(packages) / "shared.pth").write_text(here)
        install = [str(python), "-m", "pip", "install", "--quiet", *peer.requirements]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        (environment / "pip.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise NotInstalledError((errors or ["pip failed"])[-1][:300])
        ready.touch()
    return python
