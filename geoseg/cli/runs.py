"""Commands that make, check and show runs."""

import json
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

import geoseg
from geoseg.cli.messages import errors, say, show_result
from geoseg.cli.options import AsJson, CatalogFile, Debug, Quiet, RunFolder
from geoseg.cli.progress import finishing, run_progress, silent

if TYPE_CHECKING:
    from geoseg.inference.plan import Plan
    from geoseg.runs.run import Options, Outcome


class OnError(StrEnum):
    """What to do when one of many scenes fails."""

    FAIL = "fail"
    SKIP = "skip"


def run(
    pipeline: Annotated[str, typer.Argument(help="The pipeline: a file, or a name like landcover.")],
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the pipeline.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Run folder or s3:// URI, instead of the pipeline's.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE|ADDRESS",
            help="Where to compute: a file in configs/clusters, or a scheduler like tcp://node1:8786.",
        ),
    ] = None,
    scenes: Annotated[
        str | None,
        typer.Option(help="Many scenes: a glob in quotes, a list (.txt) or a table (.csv, .parquet, .gpkg)."),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option("--on-error", help="With many scenes: stop at one that fails, or go on.")
    ] = OnError.FAIL,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a finished run, or another plan's unfinished one."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all input, print the plan, stop.")
    ] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Say where Dask's dashboard is.")] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write a timeline: profile.json, and a picture in the report.")
    ] = False,
    catalog: CatalogFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn a scene, or many, into class maps and polygons.

    An interrupted run is resumed by the same command. Many scenes get a run folder each, by their name.
    """
    with errors(debug=debug):
        from geoseg.cli import show
        from geoseg.runs.prepare import read_batch
        from geoseg.runs.run import Options, check_batch, run_batch

        tell = silent if quiet else say
        where = [] if cluster is None else [f"cluster={json.dumps(cluster)}"]
        batch = read_batch(pipeline, [*(assign or []), *where], output, catalog, scenes)
        plan = None
        if batch.many:
            tell(f"geoseg {geoseg.__version__}: {len(batch.scenes)} scenes into {batch.folder}")
        else:
            tell(f"geoseg {geoseg.__version__}: checking {pipeline}")
            plan = batch.plan(batch.scenes[0])
            for warning in plan.warnings:
                say(f"warning: {warning}")
        if dry_run and plan is not None:
            show_result(plan.summary(), show.plan, as_json=as_json)
        elif dry_run:
            _show_outcomes(check_batch(batch, _Teller(quiet)), as_json=as_json)
        else:
            if plan is not None:
                tell(show.plan_line(plan.summary()))
            with run_progress(quiet=quiet, dashboard=dashboard) as on_progress, finishing() as interruption:
                options = Options(overwrite, profile, on_progress, interruption)
                if plan is None:
                    skip = on_error is OnError.SKIP
                    outcomes = run_batch(batch, options, skip=skip, on_outcome=_Teller(quiet))
                else:
                    _run_one(plan, options, as_json=as_json)
                    return
            _show_outcomes(outcomes, as_json=as_json)


def _run_one(plan: "Plan", options: "Options", *, as_json: bool) -> None:
    from geoseg.cli import show
    from geoseg.runs.record import as_json as record_as_json
    from geoseg.runs.run import run as run_plan

    finished = run_plan(plan, options)
    for warning in finished.record.warnings[len(plan.warnings) :]:
        say(f"warning: {warning}")
    typer.echo(record_as_json(finished.record) if as_json else show.run(finished))


class _Teller:
    """Says what became of each scene of many."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def __call__(self, outcome: "Outcome") -> None:
        for warning in outcome.warnings:
            say(f"warning: {outcome.name}: {warning}")
        if outcome.state == "failed":
            say(f"error: {outcome.name}: {outcome.why}")
        elif not self.quiet:
            say(f"{outcome.name}: {outcome.state}")


def _show_outcomes(outcomes: list["Outcome"], *, as_json: bool) -> None:
    """Write what became of many scenes; exit code 1 when one failed."""
    from geoseg.cli import show

    if as_json:
        typer.echo(json.dumps([asdict(o) for o in outcomes], indent=2, ensure_ascii=False))
    else:
        typer.echo(show.outcomes(outcomes))
    if any(o.state == "failed" for o in outcomes):
        raise typer.Exit(1)


def worker(
    cluster: Annotated[
        str, typer.Argument(metavar="ADDRESS|NAME|FILE", help="The scheduler, like tcp://node1:8786.")
    ],
    interface: Annotated[
        str | None, typer.Option(help="Network interface to listen on, like eth0; default the loopback.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Join a running Dask scheduler as a worker, until it ends."""
    with errors(debug=debug):
        from geoseg.inference.clusters import resolve_cluster
        from geoseg.inference.clusters.worker import become_worker

        become_worker(resolve_cluster(cluster), interface)


def validate(
    run: Annotated[str, typer.Argument(help="The folder or s3:// URI of a finished run.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check the files of a run: record, checksums, rasters, styles, polygons, STAC item.

    Exit code 1 when something is not as it should be.
    """
    with errors(debug=debug):
        from geoseg.runs.validate import validate as check

        report = check(run)
        show_result(report.to_dict(), lambda _: report.to_text(), as_json=as_json)
        failed = bool(report.failures)
    if failed:
        raise typer.Exit(1)


def report(
    run: RunFolder,
    profile: Annotated[
        bool, typer.Option("--profile", help="With a timeline, which profile.json holds, too.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Make the page of a finished run again: report.html."""
    with errors(debug=debug):
        from geoseg.runs.page import remake_page

        typer.echo(remake_page(run, profile=profile))


def view(run: RunFolder, debug: Debug = False) -> None:
    """Open the page of a run in the web browser."""
    with errors(debug=debug):
        import webbrowser

        from geoseg.runs.page import find_page

        page = find_page(run)
        typer.echo(page)
        if not webbrowser.open(page.as_uri()):
            say("no web browser was found; open the file yourself")
