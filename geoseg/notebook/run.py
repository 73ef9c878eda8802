"""Plan and run pipelines."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from geoseg.inference.plan import Plan
from geoseg.notebook.progress import progress_bar
from geoseg.runs.batch import run_batch
from geoseg.runs.finished import Run, open_run
from geoseg.runs.prepare import prepare, read_batch
from geoseg.runs.progress import Progress
from geoseg.runs.run import Options
from geoseg.runs.run import run as run_plan


def plan(
    pipeline: str | Path,
    *,
    output: str | Path | None = None,
    catalog: str | Path | None = None,
    trust: bool = False,
    **changes: Any,
) -> Plan:
    """Check all input of a pipeline for one scene and plan its run; nothing is computed or written.

    Parameters
    ----------
    pipeline
        A file, or a name like `landcover`.
    output
        Run folder or URI, instead of the pipeline's.
    catalog
        The catalog file; None looks in the current folder, the user's, and in what ships with geoseg.
    trust
        Import the network's code where it is a class of a package, which runs as you.
    **changes
        Values to use instead of the pipeline's; a mapping changes only the keys that it has.

    Raises
    ------
    GeosegError
        When the run cannot work; see the classes in `geoseg.errors`.

    Examples
    --------
    >>> plan = geoseg.plan("landcover", tiling={"block": 2})
    >>> plan.grid.count
    4
    >>> plan.fingerprint[:8] == geoseg.plan("landcover").fingerprint[:8]
    False
    """
    return prepare(pipeline, changes, output, catalog, trust=trust)


def run(
    pipeline: str | Path | Plan,
    *,
    output: str | Path | None = None,
    catalog: str | Path | None = None,
    overwrite: bool = False,
    profile: bool = False,
    on_error: Literal["fail", "skip"] = "fail",
    progress: bool | Callable[[Progress], None] = True,
    trust: bool = False,
    **changes: Any,
) -> Run | list[Run]:
    """Turn a scene, or many, into class maps and polygons.

    A run that was interrupted is resumed by the same call, and ends with the same bytes.

    Parameters
    ----------
    pipeline
        A file, a name like `landcover`, or a plan.
    output
        Run folder or URI, instead of the pipeline's; for many scenes, the folder of their run folders.
    catalog
        The catalog file; None looks in the current folder, the user's, and in what ships with geoseg.
    overwrite
        Replace a finished run, or the unfinished run of another plan.
    profile
        Also write a timeline: `profile.json`, and a picture in the report.
    on_error
        With many scenes: stop at one that fails, or go on with the others.
    progress
        Whether to show a bar, on a terminal or in a notebook; or a callback for events.
    trust
        Import the network's code where it is a class of a package, which runs as you.
    **changes
        Values to use instead of the pipeline's; a mapping changes only the keys that it has.

    Returns
    -------
    Run or list of Run
        The finished run; for a pipeline with `scenes`, the runs of all scenes that did not fail, and that
        meet the area of interest.

    Raises
    ------
    GeosegError
        When the run failed, see the classes in `geoseg.errors`; finished blocks are kept.
    TypeError
        When output, catalog or changes are given with a plan.

    Examples
    --------
    >>> run = geoseg.run("landcover", output="outputs/example", progress=False)
    >>> round(run.record.area_m2["water"] / 1e6)
    192
    >>> run.classes().dtype
    dtype('uint8')
    """
    showing = progress_bar() if progress is True else contextlib.nullcontext(progress or _silent)
    if isinstance(pipeline, Plan):
        if changes or output is not None or catalog is not None:
            raise TypeError("a plan is run as it is: give output, catalog and changes to geoseg.plan")
        with showing as show:
            return run_plan(pipeline, Options(overwrite, profile, show))
    batch = read_batch(pipeline, changes, output, catalog, trust=trust)
    if not batch.many:
        planned = batch.plan(batch.scenes[0])
        with showing as show:
            return run_plan(planned, Options(overwrite, profile, show))
    with showing as show:
        outcomes = run_batch(batch, Options(overwrite, profile, show), skip=on_error == "skip")
    folders = {o.name: o.folder for o in outcomes if o.state not in {"failed", "outside the area"}}
    return [open_run(folders[scene.name]) for scene in batch.scenes if scene.name in folders]


def _silent(_: Progress) -> None:
    return
