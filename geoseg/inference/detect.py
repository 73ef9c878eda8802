"""The task of a run that finds objects: read a block, detect in its tiles, stage what they report.

A block waits for no other: tiles report their objects whole, and which of them are the same is decided when
all blocks are finished.
"""

import time
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.detections import Detections
from geoseg.core.geometry import Window
from geoseg.inference.backoff import detect_with_backoff
from geoseg.inference.detection import Detection
from geoseg.inference.events import Stopwatch, report
from geoseg.inference.predict import (
    Incidents,
    Job,
    in_core,
    network_counts,
    plain_errors,
    read_block,
    strangeness_of,
)
from geoseg.models.backends.detector import Detector, load_detector
from geoseg.models.backends.load import device_pool
from geoseg.models.strangeness import count_unlike
from geoseg.scenes.pixels import Pixels
from geoseg.tiling.blocks import Block
from geoseg.vector.objects.reported import Reported
from geoseg.vector.objects.reported import report as reported_by
from geoseg.vector.objects.staged import BlockObjects


@plain_errors
def detect_block(job: Job, block: Block) -> dict[str, Any]:
    """Read a block's window once, find the objects of its tiles and stage them.

    A tile without a valid pixel is skipped.

    Returns
    -------
    counts
        Tiles, detections, pixels of nodata, seconds; also written to the block's marker.

    Raises
    ------
    SceneError
        When the scene cannot be read.
    DeviceMemoryError
        When not even one tile fits on the device.
    OutputError
        When the block cannot be written.
    CancelledError
        When the run ends early.
    """
    assert job.detection is not None  # noqa: S101 (only such runs have this task)
    assert job.staging is not None  # noqa: S101 (a run has it)
    report(job.topic, "begun", scene=job.label, block=block.name)
    pool = device_pool(job.segmenter)
    loading = pool.submit(load_detector, job.segmenter)  # while the block is read
    watch, incidents = Stopwatch(), Incidents()
    pixels = read_block(job, block, watch, incidents)
    start = time.perf_counter()
    detector = loading.result()
    values, valid = (detector.arrays.put(a) for a in (pixels.values, pixels.valid))
    work = _Work(job, block, detector, values, valid, watch, incidents)
    chosen = [t for t in block.tiles if pixels.valid[t.relative_to(block.reach)].any()]
    batches = [
        pool.submit(work.detect, chosen[i : i + job.batch], time.time())
        for i in range(0, len(chosen), job.batch)
    ]
    try:
        found = [one for batch in batches for one in batch.result()]
    finally:
        for b in batches:
            b.cancel()
    if job.given_up:
        raise CancelledError(f"{block.name} was given up")
    predicted = time.perf_counter() - start
    facts = {"scene": job.label, "block": block.name, "pixels": block.core.shape[0] * block.core.shape[1]}
    report(job.topic, "predicted", **facts, spans=watch.spans, **incidents.counts())
    written = Stopwatch()
    with written.time("settle"):
        reported = _reported(job, job.detection, block, pixels, dict(zip(chosen, found, strict=True)))
        mapped = in_core(block, pixels.valid)
        levels = strangeness_of(job, block, pixels)
        data = BlockObjects(reported, mapped).encode()
    counts = {
        "tiles": len(chosen),
        "skipped": len(block.tiles) - len(chosen),
        "seconds": {
            "read": watch.total("read"),
            "forward": watch.total("forward"),
            "predict": predicted,
            "settle": written.total("settle"),
        },
        **incidents.counts(),
        **network_counts(job),
        "nodata": int(mapped.size - np.count_nonzero(mapped)),
        "classes": {},
        **({} if levels is None else count_unlike(levels)),
        "detections": len(reported),
        # Tiles that may lack objects, because they have as many as the network gives.
        "full": sum(len(d) >= job.detection.per_tile for d in found),
    }
    with written.time("write"):
        job.staging.write_bytes(block, data, counts)
    report(job.topic, "settled", scene=job.label, block=block.name, spans=written.spans)
    return counts


@dataclass(frozen=True)
class _Work:
    """The arguments that all batches of a block share."""

    job: Job
    block: Block
    detector: Detector
    values: Any
    """Raw numbers of the block's window, shape (B, rows, cols), in the memory of the detector's device."""
    valid: Any
    """Their validity, shape (rows, cols), in the same memory."""
    watch: Stopwatch
    incidents: Incidents

    def detect(self, tiles: list[Window], submitted: float) -> list[Detections]:
        """Find the objects of up to a batch of tiles; nothing when the run ends early."""
        job = self.job
        self.watch.add("wait", submitted, max(0.0, time.time() - submitted))
        places = [t.relative_to(self.block.reach) for t in tiles]
        seen = [(self.values[:, rows, cols], self.valid[rows, cols]) for rows, cols in places]
        if job.given_up:
            return []
        with self.watch.time("forward"):
            batch = detect_with_backoff(
                self.detector, job.segmenter, seen, job.batch, job.scene.gain, job.scene.bias
            )
        if batch.size < job.batch:
            self.incidents.batch = min(self.incidents.batch or batch.size, batch.size)
        return batch.tiles


def _reported(
    job: Job, how: Detection, block: Block, pixels: Pixels, found: dict[Window, Detections]
) -> Reported:
    """Return what the tiles of a block report, in pixels of the map."""
    ids: NDArray[np.uint8] = np.asarray(job.legend.ids, np.uint8)
    parts = [
        reported_by(d, tile, job.grid, pixels.valid[tile.relative_to(block.reach)], ids, how.reach)
        for tile, d in found.items()
    ]
    return Reported.concatenate(parts)
