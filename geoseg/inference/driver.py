"""Drive the blocks of a run through Dask: a bounded window of futures that frees fringes early."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from distributed import Client, KilledWorker, as_completed

from geoseg.core.errors import PlanError
from geoseg.inference.plan import SLOTS
from geoseg.inference.predict import Job, Prediction, predict_block, settle_block, stopping
from geoseg.tiling.blocks import Block, BlockGrid

RESOURCE = "GPU"
"""Dask resource that stands for a place in a worker's pipeline, on a GPU or a CPU."""

WINDOW = 8
"""Blocks under way for each slot of each worker."""

Position = tuple[int, int]


@dataclass(frozen=True)
class BlockDone:
    """Event: one block has been settled."""

    block: Block
    counts: dict[str, Any]
    done: int
    """Blocks finished, those of an earlier run included."""
    total: int


def run_blocks(
    client: Client,
    job: Job,
    blocks: BlockGrid,
    finished: Mapping[Position, object],
    on_event: Callable[[BlockDone], None],
) -> None:
    """Predict and settle all blocks that are not finished.

    Parameters
    ----------
    client
        A Dask client with workers that have the resource `GPU`.
    job
        What the tasks must know.
    blocks
        All blocks of the scene.
    finished
        Positions of the blocks that an earlier run of the same plan has staged.
    on_event
        Called for every block that is settled.

    Raises
    ------
    GeosegError
        The first error of a task; the tasks under way are cancelled.
    """
    workers = _count_workers(client)
    submission = _Submission(client, job, blocks, finished)
    running = as_completed()
    stopping.clear()
    done = len(finished)

    def collect() -> None:
        nonlocal done
        future = next(running)
        try:
            counts = future.result()
        except KilledWorker as error:
            raise PlanError(
                f"workers died again and again at {future.key}, most likely out of memory; use fewer workers "
                "or a smaller tile (--set tiling.tile=256); finished blocks are kept"
            ) from error
        done += 1
        on_event(BlockDone(submission.waiting.pop(future.key), counts, done, blocks.count))

    try:
        for block in blocks:
            settled = submission.submit(block)
            if settled is not None:
                running.add(settled)
            while running.count() >= WINDOW * SLOTS * workers:
                collect()
        while running.count():
            collect()
    except KeyboardInterrupt:
        stopping.set()
        raise
    finally:
        client.cancel(list(running.futures), force=True)


class _Submission:
    """Submits the tasks of blocks and keeps the fringes that wait for a neighbour."""

    def __init__(
        self, client: Client, job: Job, blocks: BlockGrid, finished: Mapping[Position, object]
    ) -> None:
        self.client = client
        self.job = job
        self.blocks = blocks
        self.finished = finished
        self.waiting: dict[str, Block] = {}
        """Settling tasks by key."""
        self.fringes: dict[tuple[Position, str], Any] = {}
        """Future of each part of a fringe, by the position of the block that waits for it."""

    def submit(self, block: Block) -> Any:
        """Submit a block; return the future of its settling, or None when it was finished before."""
        row, col = block.row, block.col
        heirs = {"south": (row + 1, col), "east": (row, col + 1), "southeast": (row + 1, col + 1)}
        heirs = {part: p for part, p in heirs.items() if self._needs(p)}
        mine = self._needs((row, col))
        if not mine and not heirs:
            return None
        # A finished block with an unfinished neighbour is predicted again: its fringe went with the old run.
        prediction = self.client.submit(
            predict_block, self.job, block, resources={RESOURCE: 1}, pure=False, key=f"predict-{block.name}"
        )
        for part, heir in heirs.items():
            self.fringes[heir, part] = self.client.submit(
                fringe_part, prediction, part, priority=10, pure=False, key=f"{part}-{block.name}"
            )
        if not mine:
            return None
        parts = [self.fringes.pop(((row, col), part), None) for part in ("south", "east", "southeast")]
        # Settling comes before predicting, so that finished blocks leave memory first.
        settled = self.client.submit(
            settle_block, self.job, block, prediction, *parts,
            priority=10, pure=False, key=f"settle-{block.name}",
        )  # fmt: skip
        self.waiting[settled.key] = block
        return settled

    def _needs(self, position: Position) -> bool:
        inside = position[0] < self.blocks.rows.count and position[1] < self.blocks.cols.count
        return inside and position not in self.finished


def fringe_part(prediction: Prediction, part: str) -> Any:
    """Return one part of a prediction's fringe: what one neighbour needs, and no more."""
    return getattr(prediction.fringe, part)


def _count_workers(client: Client) -> int:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    able = sum(1 for w in workers if w.get("resources", {}).get(RESOURCE))
    if not able:
        raise PlanError(
            f"no worker of the cluster offers the resource {RESOURCE}; "
            f"start workers with --resources {RESOURCE}={SLOTS}"
        )
    return able
