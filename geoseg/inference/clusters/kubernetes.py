"""Workers as pods that the Dask operator of Kubernetes starts and replaces."""

from typing import Any

from geoseg.config.cluster import Kubernetes
from geoseg.core.errors import ConfigError
from geoseg.core.extras import require
from geoseg.inference.clusters.worker import ARGUMENTS, ENVIRONMENT


def start_kubernetes(cluster: Kubernetes) -> Any:
    """Ask the Dask operator to start the cluster.

    Raises
    ------
    ConfigError
        When dask-kubernetes is not installed.
    """
    require("dask_kubernetes", "kubernetes", "cluster")
    from dask_kubernetes.operator import KubeCluster  # noqa: PLC0415

    return KubeCluster(namespace=cluster.namespace, custom_cluster_spec=cluster_spec(cluster), quiet=True)


def cluster_spec(cluster: Kubernetes) -> dict[str, Any]:
    """Return the operator's `DaskCluster` resource.

    Raises
    ------
    ConfigError
        When the cluster file asks for TLS, which the operator does not set up.
    """
    if cluster.security is not None:
        raise ConfigError(
            "cluster.security: the Dask operator sets up no TLS; use a network policy or a mesh"
        )
    from dask_kubernetes.operator import make_cluster_spec  # noqa: PLC0415

    share = {"cpu": str(cluster.cores), "memory": str(int(cluster.memory))}
    if cluster.gpus:
        share["nvidia.com/gpu"] = str(cluster.gpus)
    spec: dict[str, Any] = make_cluster_spec(
        name=cluster.name,
        image=cluster.image,
        n_workers=cluster.workers,
        env={**ENVIRONMENT, **cluster.env},
        worker_command=["dask", "worker", *ARGUMENTS],
    )
    worker, scheduler = spec["spec"]["worker"]["spec"], spec["spec"]["scheduler"]["spec"]
    container = worker["containers"][0]
    # The operator's own arguments open a dashboard in every pod.
    container["args"] = ["dask", "worker", "--name", "$(DASK_WORKER_NAME)", *ARGUMENTS]
    container["ports"] = []
    container["resources"] = {"requests": share, "limits": share}
    container["volumeMounts"] = list(cluster.mounts)
    worker["volumes"] = list(cluster.volumes)
    scheduler["containers"][0]["resources"] = {"requests": {"cpu": "1", "memory": "2Gi"}}
    return spec
