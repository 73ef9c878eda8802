"""`configs/clusters/*.yaml`: where the blocks of a run are computed."""

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

from geoseg.config.loader import Document

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[int, Field(ge=0)]


def _some(size: ByteSize) -> ByteSize:
    if size <= 0:
        raise ValueError("write a size like 16GB or 16GiB")
    return size


Memory = Annotated[ByteSize, AfterValidator(_some)]


def _sexagesimal(value: object) -> object:
    """Give back what YAML 1.1 takes for a number to the base of 60: `12:00:00`."""
    if not isinstance(value, int) or value < 60:
        return value
    parts = []
    while value:
        value, part = divmod(value, 60)
        parts.append(part)
    return ":".join([str(parts[-1]), *(f"{p:02}" for p in reversed(parts[:-1]))])


Walltime = Annotated[str, BeforeValidator(_sexagesimal), Field(pattern=r"^(\d+-)?(\d+:)?\d+:\d\d$")]
"""As batch systems write it: [days-][hours:]minutes:seconds; LSF reads hours:minutes."""


class Security(Document):
    """TLS: who has a certificate of the authority may join; all others are turned away."""

    ca: str
    """Certificate of the authority (PEM file)."""
    cert: str
    """Certificate of this user, for scheduler, workers and client alike."""
    key: str
    """Its private key."""


class Local(Document):
    """The machine of the run."""

    kind: Literal["local"] = "local"
    workers: Literal["auto"] | Count = 1
    """One worker lives in this process; more are processes of their own. auto: one for each GPU."""


class _Remote(Document):
    """What all clusters of other machines have in common."""

    cores: Count = 1
    """Cores of a worker: on CPUs so many tiles run at once."""
    memory: Memory | None = None
    """Memory of a worker, which the plan must keep to; none: asked for on its machine before the run."""
    security: Security | None = None


class Address(_Remote):
    """A Dask scheduler that somebody else has started."""

    kind: Literal["address"] = "address"
    address: Annotated[str, Field(pattern=r"^(tcp|tls)://[^\s/]+:\d+$")]
    workers: Count = 1
    """The run begins when so many are there; more may join."""
    gpus: Annotated[int, Field(ge=0, le=1)] = 0
    """GPUs that each worker sees."""
    wait: Seconds = 60
    """Seconds to wait for the scheduler and its workers."""

    @model_validator(mode="after")
    def _fits(self) -> "Address":
        if self.security is not None and not self.address.startswith("tls://"):
            raise ValueError("security needs an address that begins with tls://")
        return self


class _Launched(_Remote):
    """Workers that geoseg starts elsewhere; the scheduler lives in the process of the run."""

    interface: str
    """Network interface of scheduler and workers, like ib0: nothing listens anywhere else."""
    scheduler_interface: str | None = None
    """The scheduler's, where this machine names its interface in another way."""
    python: str | None = None
    """Python of the workers; none: the path of the one that runs here."""
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str] = Field(default_factory=dict)
    """Environment variables of the workers."""
    local_directory: str | None = None
    """Folder for scratch files of Dask on the worker's machine, like /tmp."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs of each host or job; each gets a worker of its own."""


class Ssh(_Launched):
    """Machines that this user reaches with ssh and a key."""

    kind: Literal["ssh"] = "ssh"
    hosts: Annotated[tuple[str, ...], Field(min_length=1)]
    """One worker for each, or one for each of its GPUs; a host may be named more than once."""
    username: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    private_key: str | None = None
    """File; none: the agent's keys and those in ~/.ssh, as ssh does it."""
    known_hosts: str | None = None
    """File; none: ~/.ssh/known_hosts. A host that does not stand there is refused."""
    wait: Seconds = 60
    """Seconds to wait for the workers."""


class _Jobs(_Launched):
    """Jobs of a batch system; each is a worker, or one for each of its GPUs."""

    jobs: Count = 1
    cores: Count
    """Cores of each job."""
    memory: Memory
    """Memory of each job."""
    walltime: Walltime
    queue: str | None = None
    """Queue or partition."""
    account: str | None = None
    """Account or project that pays."""
    job_extra: tuple[str, ...] = ()
    """Further directives, like `--constraint=a100`."""
    prologue: tuple[str, ...] = ()
    """Lines of shell before the worker starts, like `module load cuda`."""
    log_directory: str = "jobs"
    """What the jobs say goes here; a folder that the nodes share."""
    margin: Seconds = 300
    """Workers hand over what they hold so many seconds before the wall time, at most a quarter of it."""


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
    """Container image with the same geoseg as here."""
    workers: Count = 1
    cores: Count
    memory: Memory
    gpus: Annotated[int, Field(ge=0, le=1)] = 0
    """GPUs of each pod (nvidia.com/gpu)."""
    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)] = "geoseg"
    namespace: str = "default"
    env: dict[str, str] = Field(default_factory=dict)
    volumes: tuple[dict[str, Any], ...] = ()
    """`volumes` of the pods, as Kubernetes writes them: where scene, bundle and run folder lie."""
    mounts: tuple[dict[str, Any], ...] = ()
    """`volumeMounts` of the workers."""
    wait: Seconds = 600
    """Seconds to wait for the first pod."""


KINDS = ("local", "address", "ssh", "slurm", "pbs", "lsf", "kubernetes")


def _kind(value: object) -> str | None:
    kind = value.get("kind", "local") if isinstance(value, dict) else getattr(value, "kind", None)
    # Not the bare name: `address` is a key as well, and messages are led by the keys in a location.
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
