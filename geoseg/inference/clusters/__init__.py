"""Dask clusters on which the tasks run, one kind for each in `configs/clusters/*.yaml`."""

from geoseg.inference.clusters.connect import connect, workers_of
from geoseg.inference.clusters.resolve import resolve_cluster

__all__ = ["connect", "resolve_cluster", "workers_of"]
