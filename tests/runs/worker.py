"""A Dask worker whose network costs nothing but time: `python -m tests.runs.worker ADDRESS`."""

import os
import sys
import time

from distributed.cli import dask_worker

from tests.inference.free import Untracked, install


class Slow(Untracked):
    """Takes a moment for each batch, so that there is a middle to disturb."""

    SECONDS = float(os.environ.get("GEOSEG_SLOW", "0.02"))

    def predict(self, values, valid, gain, bias):
        time.sleep(self.SECONDS)
        return super().predict(values, valid, gain, bias)


def fetched(dask_worker):
    """Return how many bytes a worker has fetched from others, and how often."""
    log = dask_worker.transfer_incoming_log
    return sum(entry["total"] for entry in log), len(log)


if __name__ == "__main__":
    install(Slow())
    sys.argv[0] = "dask worker"
    sys.exit(dask_worker.main())
