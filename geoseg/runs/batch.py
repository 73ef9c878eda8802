"""Run or check a pipeline on many scenes."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from geoseg.core.errors import GeosegError, OutsideError, one_line
from geoseg.runs.collection import Collection
from geoseg.runs.prepare import Batch
from geoseg.runs.run import Loop, Options, Outcome, ScenePlan
from geoseg.storage.store import open_store

SUMMARY = "scenes.json"
"""File with the outcome of every scene, in the folder that holds the run folders."""


def run_batch(
    batch: Batch,
    options: Options | None = None,
    *,
    skip: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Run a pipeline on every scene of a batch; scenes that are finished already are skipped.

    Parameters
    ----------
    batch
        The scenes.
    options
        How to run them.
    skip
        Go on with the other scenes when one fails; otherwise the first failure stops the run.
    on_outcome
        Called with the outcome of each scene.

    Returns
    -------
    outcomes
        In the order in which the scenes ended; also written to `scenes.json`. On request, the masks and
        overlays of all scenes lie in one folder each, and `results.csv` has the pixels of their classes.

    Raises
    ------
    GeosegError
        When the cluster is gone, or a scene failed and `skip` is not set; finished blocks are kept. When no
        scene meets the area of interest; scenes that do not are left out otherwise.
    """
    scenes = [ScenePlan(s.name, batch.folder_of(s), partial(batch.plan, s)) for s in batch.scenes]
    collection, outcomes = Collection(batch), list[Outcome]()

    def collect(outcome: Outcome) -> None:
        outcomes.append(collection.add(outcome))
        on_outcome(outcomes[-1])

    with Loop(scenes, options or Options(), many=True, skip=skip, on_outcome=collect) as loop:
        try:
            loop.run()
        finally:
            _write_summary(batch.folder, outcomes)
            collection.write_table()
    _check_area(outcomes)
    return outcomes


def check_batch(batch: Batch, on_outcome: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
    """Check and plan every scene; nothing is written.

    A scene that fails its check is an outcome, not an error.

    Raises
    ------
    OutsideError
        When no scene meets the area of interest.
    """
    outcomes = []
    for listed in batch.scenes:
        folder = str(batch.folder_of(listed))
        try:
            plan = batch.plan(listed)
        except OutsideError as error:
            outcomes.append(Outcome(listed.name, "outside the area", folder, one_line(error)))
        except GeosegError as error:
            outcomes.append(Outcome(listed.name, "failed", folder, one_line(error)))
        else:
            outcomes.append(Outcome(listed.name, "can run", folder, "", plan.warnings))
        on_outcome(outcomes[-1])
    _check_area(outcomes)
    return outcomes


def _check_area(outcomes: list[Outcome]) -> None:
    """Refuse an area of interest that no scene meets: it is more likely wrong than all of the list."""
    if outcomes and all(o.state == "outside the area" for o in outcomes):
        raise OutsideError(f"none of {len(outcomes)} scenes meets the area of interest; {outcomes[0].why}")


def _write_summary(folder: Path | str, outcomes: list[Outcome]) -> None:
    text = json.dumps([asdict(o) for o in outcomes], indent=2, ensure_ascii=False)
    store = open_store(folder)
    store.create()
    store.write(SUMMARY, text.encode() + b"\n")
