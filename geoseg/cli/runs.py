"""Commands that make, check and show runs."""

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import geoseg
from geoseg.cli import completion
from geoseg.cli.messages import errors, give, say, show_result, warn
from geoseg.cli.options import AsJson, CatalogFile, Debug, DryRun, Quiet, RunFolder, Trust
from geoseg.cli.progress import graceful_shutdown, run_progress, silent
from geoseg.core.errors import ConfigError

if TYPE_CHECKING:
    from geoseg.inference.plan import Plan
    from geoseg.runs.prepare import Batch
    from geoseg.runs.run import Options, Outcome


class OnError(StrEnum):
    """Whether the other scenes go on when one fails."""

    FAIL = "fail"
    SKIP = "skip"


def run(
    pipeline: Annotated[
        str,
        typer.Argument(
            metavar="PIPELINE",
            autocompletion=completion.pipelines,
            help="The pipeline: a file, or a name like landcover.",
        ),
    ],
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            autocompletion=completion.pipeline_keys,
            help="Replace a value of the pipeline.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Run folder or s3:// URI, not the pipeline's."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE|ADDRESS",
            autocompletion=completion.clusters,
            help="Where to compute: a file in configs/clusters, or a scheduler like tcp://node1:8786.",
        ),
    ] = None,
    scenes: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB|FILE",
            help="Many scenes: a glob in quotes, a list (.txt), a table (.csv, .parquet, .gpkg) or a STAC "
            "search (.json).",
        ),
    ] = None,
    aoi: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|WKT|W,S,E,N",
            help="Area of interest: a file of polygons, WKT, or west,south,east,north in degrees.",
        ),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option("--on-error", help="With many scenes: stop at one that fails, or go on.")
    ] = OnError.FAIL,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a finished run, or another plan's unfinished one."),
    ] = False,
    dry_run: DryRun = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Print the address of Dask's dashboard.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write a timeline: profile.json, and a picture in the report.")
    ] = False,
    trust: Trust = False,
    catalog: CatalogFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn a scene, or many, into class maps and polygons.

    An interrupted run is resumed by the same command. Many scenes get a run folder each, by their name.
    """
    with errors(debug=debug):
        from geoseg.runs.prepare import read_batch

        tell = silent if quiet else say
        changes = list(assign or [])
        changes += [] if cluster is None else [f"cluster={json.dumps(cluster)}"]
        changes += [] if aoi is None else [f"aoi={json.dumps(aoi)}", "bbox=null"]
        batch = read_batch(pipeline, changes, output, catalog, scenes, trust=trust)
        options = None
        if not dry_run:
            options = _options(
                overwrite=overwrite,
                profile=profile,
                quiet=quiet,
                dashboard=dashboard,
                scenes=len(batch.scenes),
            )
        if batch.many:
            tell(f"geoseg {geoseg.__version__}: {len(batch.scenes)} scenes into {batch.folder}")
            _run_scenes(batch, options, skip=on_error is OnError.SKIP, quiet=quiet, as_json=as_json)
        else:
            tell(f"geoseg {geoseg.__version__}: checking {pipeline}")
            plan = batch.plan(batch.scenes[0])
            if options is None:
                _show_plan(plan, overwrite=overwrite, profile=profile, as_json=as_json)
            else:
                _run_scene(plan, options, tell, as_json=as_json)


@contextlib.contextmanager
def _options(
    *, overwrite: bool, profile: bool, quiet: bool, dashboard: bool, scenes: int
) -> Iterator["Options"]:
    """Show progress and handle signals; yield the options of a run."""
    from geoseg.runs.run import Options

    with (
        run_progress(quiet=quiet, dashboard=dashboard, scenes=scenes) as on_progress,
        graceful_shutdown() as interruption,
    ):
        yield Options(overwrite, profile, on_progress, interruption)


def _show_plan(plan: "Plan", *, overwrite: bool, profile: bool, as_json: bool) -> None:
    """Show a plan, and say where its run would be refused."""
    from geoseg.cli import results
    from geoseg.runs.folder import why_refused
    from geoseg.runs.outputs import output_names

    names = output_names(plan, profile=profile)
    refused = why_refused(plan.folder, plan.identity(), names, overwrite=overwrite)
    for warning in (*plan.warnings, *([] if refused is None else [refused])):
        warn(warning)
    show_result(plan.summary(), results.plan_text, as_json=as_json)


def _run_scene(
    plan: "Plan", options: AbstractContextManager["Options"], tell: Callable[[str], None], *, as_json: bool
) -> None:
    """Run a plan."""
    from geoseg.cli import results
    from geoseg.runs.record import as_json as record_as_json

    for warning in plan.warnings:
        warn(warning)
    tell(results.plan_line(plan.summary()))
    from geoseg.runs.run import run as run_plan

    with options as entered:
        finished = run_plan(plan, entered)
    # After the bar, whose line they would share.
    for warning in finished.record.warnings[len(plan.warnings) :]:
        warn(warning)
    give(record_as_json(finished.record) if as_json else results.run_text(finished))


def _run_scenes(
    batch: "Batch",
    options: AbstractContextManager["Options"] | None,
    *,
    skip: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a pipeline on many scenes; without options check them only. Exit code 1 when one failed."""
    from geoseg.cli import results
    from geoseg.runs.batch import check_batch, run_batch

    def on_outcome(outcome: "Outcome") -> None:
        for warning in outcome.warnings:
            warn(f"{outcome.name}: {warning}")
        if outcome.state == "failed":
            say(f"{outcome.name}: {outcome.why}", "error")
        elif not quiet:
            say(f"{outcome.name}: {outcome.state}")

    if options is None:
        outcomes = check_batch(batch, on_outcome)
    else:
        with options as entered:
            outcomes = run_batch(batch, entered, skip=skip, on_outcome=on_outcome)
    show_result([asdict(o) for o in outcomes], lambda _: results.outcomes_text(outcomes), as_json=as_json)
    if any(o.state == "failed" for o in outcomes):
        raise typer.Exit(1)


def worker(
    cluster: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS|NAME|FILE",
            autocompletion=completion.clusters,
            help="The scheduler, like tcp://node1:8786.",
        ),
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
    run: RunFolder,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check the files of a run: record, checksums, rasters, styles, polygons, STAC item.

    Exit code 1 when a check failed.
    """
    with errors(debug=debug):
        from geoseg.runs.validate import validate as check

        report = check(run)
        show_result(report.to_dict(), lambda _: report.to_text(), as_json=as_json)
        failed = bool(report.failures)
    if failed:
        raise typer.Exit(1)


def compare(
    a: Annotated[str, typer.Argument(metavar="RUN_A", help="The folder or URI of the earlier run.")],
    b: Annotated[str, typer.Argument(metavar="RUN_B", help="That of the later one, of the same place.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Write the map of change, its polygons and tables into this folder.",
        ),
    ] = None,
    minimum: Annotated[
        int,
        typer.Option("--minimum", metavar="PIXELS", help="Smaller regions have no polygon of their own."),
    ] = 0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say where the classes of two runs differ, with a matrix of areas and, with -o, a map of change.

    Classes are matched by name. Where the grids differ, B is brought to that of A.
    """
    with errors(debug=debug):
        from geoseg.cli import results
        from geoseg.config.fields import Whole, check_number
        from geoseg.core.errors import ConfigError
        from geoseg.runs.comparison.compare import compare_runs

        check_number(minimum, Whole, "--minimum", ConfigError)
        found = compare_runs(a, b, output, minimum_pixels=minimum)
        for warning in found.warnings:
            warn(warning)
        show_result(found.to_dict(), lambda _: results.comparison_text(found), as_json=as_json)


def report(
    run: RunFolder,
    profile: Annotated[
        bool, typer.Option("--profile", help="Add a timeline, and write profile.json.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make the page of a finished run again: report.html."""
    with errors(debug=debug):
        from geoseg.runs.page import remake_page

        page = str(remake_page(run, profile=profile))
        show_result({"page": page}, lambda _: page, as_json=as_json)


def suggest(
    run: RunFolder,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The GeoPackage, or GeoTIFF, to write.")
    ],
    count: Annotated[int, typer.Option(help="Places at most.")] = 20,
    size: Annotated[
        int | None, typer.Option(help="Side of a place in pixels; default: that of the training chips.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed chooses the same places.")] = 0,
    pseudo: Annotated[
        float | None,
        typer.Option(metavar="CONFIDENCE", help="Write the pixels of at least this confidence as labels."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Choose the places of a run that are most worth labelling, to be labelled in QGIS."""
    with errors(debug=debug):
        from geoseg.config.fields import Count, Side, Whole, check_number
        from geoseg.core.notices import collect_warnings
        from geoseg.runs import suggest as suggesting

        check_number(count, Count, "--count", ConfigError)
        check_number(seed, Whole, "--seed", ConfigError)
        if size is not None:
            check_number(size, Side, "--size", ConfigError)
        if pseudo is not None:
            labels = suggesting.write_pseudo_labels(run, output, pseudo)
            show_result(labels.to_dict(), lambda _: labels.to_text(), as_json=as_json)
            return
        with collect_warnings() as notices:
            found = suggesting.suggest(run, output, count=count, size=size, seed=seed)
        for text in notices:
            warn(text)
        show_result(found.to_dict(), lambda _: found.to_text(), as_json=as_json)


def view(
    run: RunFolder,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Show a map in full resolution, served on this machine alone until Ctrl-C."
        ),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="Port of --serve on 127.0.0.1; default: a free one."),
    ] = None,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Open no browser; print what it would open.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Open the page of a run in the web browser, or with --serve a map of its files in full resolution."""
    with errors(debug=debug):
        from geoseg.runs.page import find_page

        if serve:
            _serve(run, port, no_open=no_open, as_json=as_json)
            return
        if port is not None:
            raise ConfigError("--port goes with --serve")
        page = find_page(run)
        opened = not no_open and _opened(page.as_uri())
        show_result({"page": str(page), "opened": opened}, lambda _: str(page), as_json=as_json)
        if not opened and not no_open:
            say("no web browser was found; open the file yourself", "note")


def _serve(run: str, port: int | None, *, no_open: bool, as_json: bool) -> None:
    """Serve the map of a run until the user ends it, which is no error."""
    from geoseg.runs.viewer.server import open_server

    if port is not None and not 1 <= port <= 65535:
        raise ConfigError(f"--port: 1 to 65535, not {port}")
    with open_server(run, port) as server, contextlib.suppress(KeyboardInterrupt):
        # The port is open: the browser waits until it is answered.
        opened = not no_open and _opened(server.url)
        show_result({"url": server.url, "opened": opened}, lambda _: server.url, as_json=as_json)
        say("serving on this machine alone; Ctrl-C ends it", "note")
        server.serve_forever()


def _opened(url: str) -> bool:
    """Open an address in the web browser; return whether there is one."""
    import webbrowser

    return webbrowser.open(url)
