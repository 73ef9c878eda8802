"""The cluster that a pipeline names."""

from pydantic import ValidationError

from geoseg.config import lookup
from geoseg.config.cluster import Address, Cluster, ClusterFile
from geoseg.config.loader import load
from geoseg.config.lookup import Shelf
from geoseg.core.errors import ConfigError


def resolve_cluster(cluster: str | Cluster) -> Cluster:
    """Return the cluster that a pipeline asks for.

    Parameters
    ----------
    cluster
        A name in configs/clusters, a file, the address of a scheduler (`tcp://...`, `tls://...`), or the
        content of such a file.

    Raises
    ------
    ConfigError
        When there is no such cluster.
    """
    if not isinstance(cluster, str):
        return cluster
    if "://" in cluster:
        return _at(cluster)
    return load(lookup.locate(Shelf.CLUSTERS, cluster), ClusterFile).root


def _at(address: str) -> Address:
    try:
        return Address(address=address)
    except ValidationError:
        raise ConfigError(
            f"cluster: {address!r} is no address of a scheduler; write it like tcp://node1:8786, without a "
            "login, with tls:// where it asks for certificates"
        ) from None
