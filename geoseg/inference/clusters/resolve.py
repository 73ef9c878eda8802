"""The cluster that a pipeline names."""

from pathlib import Path

from pydantic import ValidationError

from geoseg.config.cluster import Address, Cluster, ClusterFile, Local
from geoseg.config.loader import load
from geoseg.core.errors import ConfigError, did_you_mean

CLUSTERS = Path("configs/clusters")


def resolve_cluster(cluster: str | Cluster) -> Cluster:
    """Return the cluster that a pipeline asks for.

    Parameters
    ----------
    cluster
        A name in configs/clusters, a file, the address of a scheduler (`tcp://...`, `tls://...`), or what a
        file holds.

    Raises
    ------
    ConfigError
        When there is no such cluster.
    """
    if not isinstance(cluster, str):
        return cluster
    if "://" in cluster:
        return _at(cluster)
    path = Path(cluster) if cluster.endswith((".yaml", ".yml")) else CLUSTERS / f"{cluster}.yaml"
    if path.exists():
        return load(path, ClusterFile).root
    if cluster == "local":
        return Local()
    known = ["local", *(p.stem for p in CLUSTERS.glob("*.yaml"))]
    raise ConfigError(
        f"cluster: {cluster!r} is neither a file nor one of {CLUSTERS}{did_you_mean(cluster, known)}"
    )


def _at(address: str) -> Address:
    try:
        return Address(address=address)
    except ValidationError:
        raise ConfigError(
            f"cluster: {address!r} is no address of a scheduler; write it like tcp://node1:8786, with tls:// "
            "where it asks for certificates"
        ) from None
