"""geoseg and its peers on the same scene with the same network: `python -m tests.benchmarks peers`."""

from tests.benchmarks.peers.compare import main

__all__ = ["main"]
