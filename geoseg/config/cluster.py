"""`configs/clusters/*.yaml`: the cluster that computes the blocks of a run."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Discriminator,
    Field,
    RootModel,
    Tag,
    model_validator,
)

from geoseg.config.fields import GATE, Auto, Count, Gpus, Port, Seconds
from geoseg.config.loader import Document

_MOST_BYTES = 1 << 50


def _positive(size: ByteSize) -> ByteSize:
    if not 0 < size <= _MOST_BYTES:
        raise ValueError("write a size like 16GB or 16GiB")
    return size


ByteCount = Annotated[ByteSize, AfterValidator(_positive), GATE]


def _sexagesimal(value: object) -> object:
    """Return as text what YAML 1.1 reads as a number to the base of 60: `12:00:00`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 60 <= value < 1 << 40:
        return value
    parts = []
    while value:
        value, part = divmod(value, 60)
        parts.append(part)
    return ":".join([str(parts[-1]), *(f"{p:02}" for p in reversed(parts[:-1]))])


Walltime = Annotated[
    str,
    BeforeValidator(_sexagesimal, json_schema_input_type=str | int),
    Field(pattern=r"^(\d+-)?(\d+:)?\d+:\d\d$", examples=["02:00:00"]),
]
"""[days-][hours:]minutes:seconds, as batch systems write it; LSF reads hours:minutes."""


class Security(Document):
    """TLS: only processes with a certificate of the authority may join."""

    ca: str
    """Certificate of the authority (PEM file)."""
    cert: str
    """Certificate of this user, for scheduler, workers and client alike."""
    key: str
    """Its private key."""


class Local(Document):
    """Workers on the machine of the run."""

    kind: Literal["local"] = "local"
    workers: Auto | Count = 1
    """One worker runs in this process; several are processes of their own. auto: one for each GPU."""


class _Remote(Document):
    """The keys of all clusters on other machines."""

    cores: Count = 1
    """Cores of a worker: on a CPU, as many tiles run at once."""
    memory: ByteCount | None = None
    """Memory of a worker, which the plan must fit; none: the worker is asked for it before the run."""
    security: Security | None = None


class Address(_Remote):
    """A Dask scheduler that is already running."""

    kind: Literal["address"] = "address"
    address: Annotated[str, Field(pattern=r"^(tcp|tls)://[^\s/@]+:\d+$", examples=["tcp://node1:8786"])]
    workers: Count = 1
    """The run begins with this many workers; more may join."""
    gpus: Annotated[int, Field(ge=0, le=1), GATE] = 0
    """GPUs of each worker."""
    wait: Seconds = 60
    """Seconds to wait for the scheduler and its workers."""

    @model_validator(mode="after")
    def _fits(self) -> "Address":
        if self.security is not None and not self.address.startswith("tls://"):
            raise ValueError("security needs an address that begins with tls://")
        return self


class _Launched(_Remote):
    """Workers that geoseg starts on other machines; the scheduler runs in the process of the run."""

    elsewhere = frozenset({"python", "local_directory", "env"})

    interface: str
    """Network interface of scheduler and workers, like ib0; they listen on no other."""
    scheduler_interface: str | None = None
    """Interface of the scheduler, where this machine has another name for it."""
    python: str | None = None
    """Python interpreter of the workers; none: the path of the one that runs here."""
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str] = Field(default_factory=dict)
    """Environment variables of the workers."""
    local_directory: str | None = None
    """Folder for scratch files of Dask on the worker's machine, like /tmp."""
    gpus: Gpus = 0
    """GPUs of each host or job; there is a worker for each."""


class Ssh(_Launched):
    """Machines that the user reaches with ssh and a key."""

    kind: Literal["ssh"] = "ssh"
    hosts: Annotated[tuple[str, ...], Field(min_length=1)]
    """One worker for each, or one for each of its GPUs; a host may be named more than once."""
    username: str | None = None
    port: Port | None = None
    private_key: str | None = None
    """File; none: the agent's keys and those in ~/.ssh, as ssh does it."""
    known_hosts: str | None = None
    """File; none: ~/.ssh/known_hosts. A host that is not listed there is refused."""
    wait: Seconds = 60
    """Seconds to wait for the workers."""


class _Jobs(_Launched):
    """Jobs of a batch system; each is a worker, or one for each of its GPUs."""

    jobs: Count = 1
    cores: Count
    """Cores of each job."""
    memory: ByteCount
    """Memory of each job."""
    walltime: Walltime
    queue: str | None = None
    """Queue or partition."""
    account: str | None = None
    """Account or project to charge."""
    job_extra: tuple[str, ...] = ()
    """Further directives, like `--constraint=a100`."""
    prologue: tuple[str, ...] = ()
    """Lines of shell before the worker starts, like `module load cuda`."""
    log_directory: str = "jobs"
    """Folder for the output of the jobs, which the nodes share."""
    margin: Seconds = 300
    """Seconds before the wall time at which workers hand over their results; at most a quarter of it."""


class Slurm(_Jobs):
    """SLURM."""

    kind: Literal["slurm"] = "slurm"


class Pbs(_Jobs):
    """PBS Pro, OpenPBS."""

    kind: Literal["pbs"] = "pbs"


class Lsf(_Jobs):
    """IBM Spectrum LSF."""

    kind: Literal["lsf"] = "lsf"


class Kubernetes(_Remote):
    """Pods that the Dask operator starts."""

    kind: Literal["kubernetes"] = "kubernetes"
    image: str
    """Container image with the same version of geoseg as here."""
    workers: Count = 1
    cores: Count
    memory: ByteCount
    gpus: Annotated[int, Field(ge=0, le=1), GATE] = 0
    """GPUs of each pod (nvidia.com/gpu)."""
    name: Annotated[
        str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40, examples=["geoseg"])
    ] = "geoseg"
    namespace: str = "default"
    env: dict[str, str] = Field(default_factory=dict)
    volumes: tuple[dict[str, Any], ...] = ()
    """`volumes` of the pods, as Kubernetes writes them, with the scene, the bundle and the run folder."""
    mounts: tuple[dict[str, Any], ...] = ()
    """`volumeMounts` of the workers."""
    wait: Seconds = 600
    """Seconds to wait for the first pod."""


KINDS = ("local", "address", "ssh", "slurm", "pbs", "lsf", "kubernetes")


def _kind(value: object) -> str | None:
    kind = value.get("kind", "local") if isinstance(value, dict) else getattr(value, "kind", None)
    # Not the name alone: `address` is also a key, and the loader looks for the keys in a location.
    return f"kind={kind}" if kind in KINDS else None


Jobs = Slurm | Pbs | Lsf
Cluster = Annotated[
    Annotated[Local, Tag("kind=local")]
    | Annotated[Address, Tag("kind=address")]
    | Annotated[Ssh, Tag("kind=ssh")]
    | Annotated[Slurm, Tag("kind=slurm")]
    | Annotated[Pbs, Tag("kind=pbs")]
    | Annotated[Lsf, Tag("kind=lsf")]
    | Annotated[Kubernetes, Tag("kind=kubernetes")],
    Discriminator(
        _kind,
        custom_error_type="kind",
        custom_error_message=f"kind must be one of {', '.join(KINDS)}",
    ),
]
"""A cluster of any kind; a mapping without `kind` is local."""


class ClusterFile(RootModel[Cluster]):
    """A file in configs/clusters."""
