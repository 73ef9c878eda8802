"""Drive the blocks of one scene, as a run does."""

import contextlib

from geoseg.inference.driver import BlockDone, SceneWork, WorkFailed, predict_scenes


def run_blocks(client, job, blocks, finished, on_event, on_fact=lambda _: None, interruption=None):
    """Predict and settle all blocks that are not finished; raise the first error of a task."""
    work = SceneWork(job.label, job, blocks, finished)
    with contextlib.closing(predict_scenes(client, [work], interruption)) as events:
        for event in events:
            if isinstance(event, BlockDone):
                on_event(event)
            elif isinstance(event, WorkFailed):
                raise event.error
            elif isinstance(event, dict):
                on_fact(event)
