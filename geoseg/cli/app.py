"""The command line. The only place that prints and that sets exit codes.

Results go to stdout; messages, warnings and bars to stderr. Exit codes: 0 done, 1 failed, 2 usage or
configuration, 130 interrupted.
"""

import contextlib
import gc
import importlib.util
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

import geoseg
from geoseg.core.allocator import limit_arenas
from geoseg.core.errors import ConfigError, GeosegError, one_line
from geoseg.core.secrets import redact

if TYPE_CHECKING:
    from geoseg.inference.interruption import Interruption
    from geoseg.runs.batch import Batch, Outcome
    from geoseg.runs.outputs import Progress
    from geoseg.training.callbacks import Event

app = typer.Typer(
    name="geoseg",
    help="Turn satellite and aerial scenes of any size into class maps and polygons.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
catalog_app = typer.Typer(help="Scenes by name, from data_catalog.yaml.", no_args_is_help=True)
models_app = typer.Typer(help="Model bundles.", no_args_is_help=True)
app.add_typer(catalog_app, name="catalog")
app.add_typer(models_app, name="models")

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only warnings, errors and results.")]
CatalogFile = Annotated[Path, typer.Option("--catalog", help="The data catalog.")]
ModelsFolder = Annotated[Path, typer.Option("--folder", help="Where the bundles lie.")]

_CATALOG = Path("data_catalog.yaml")
_MODELS = Path("configs/models")
_LINES = 30.0
"""Seconds between two lines of progress where there is no terminal."""


def main() -> None:
    """Run the command line."""
    limit_arenas()
    # Modules are many objects that stay: looked at again and again, they delay the start.
    gc.set_threshold(50_000)
    app()


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(f"geoseg {geoseg.__version__}")
        raise typer.Exit


class OnError(StrEnum):
    """What to do when one of many scenes fails."""

    FAIL = "fail"
    SKIP = "skip"


@app.command()
def run(
    pipeline: Annotated[Path, typer.Argument(help="The pipeline file, like pipelines/landcover.yaml.")],
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
    catalog: CatalogFile = _CATALOG,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn a scene, or many, into class maps and polygons.

    An interrupted run is resumed by the same command. Many scenes get a run folder each, by their name.
    """
    with _errors(debug):
        from geoseg.cli import show
        from geoseg.runs import pipeline as work
        from geoseg.runs.batch import read_batch

        say = _silent if quiet else _say
        where = [] if cluster is None else [f"cluster={json.dumps(cluster)}"]
        batch = read_batch(pipeline, [*(assign or []), *where], output, catalog, scenes)
        if batch is not None:
            skip = on_error is OnError.SKIP
            _run_batch(batch, dry_run, overwrite, skip, profile, as_json, quiet, dashboard)
            return
        say(f"geoseg {geoseg.__version__}: checking {pipeline}")
        prepared = work.prepare(pipeline, [*(assign or []), *where], output, catalog)
        for warning in prepared.warnings:
            _say(f"warning: {warning}")
        if dry_run:
            summary = prepared.plan.summary()
            typer.echo(json.dumps(summary, indent=2) if as_json else show.plan(summary))
            return
        say(show.plan_line(prepared.plan.summary()))
        with _progress(quiet, dashboard) as on_event, _finishing() as interruption:
            result = work.run(
                prepared, overwrite=overwrite, profile=profile, on_event=on_event, interruption=interruption
            )
        for warning in result.manifest["warnings"][len(prepared.warnings) :]:
            _say(f"warning: {warning}")
        typer.echo(
            json.dumps(result.manifest, indent=2, ensure_ascii=False)
            if as_json
            else show.result(result.folder, result.manifest)
        )


def _run_batch(
    batch: "Batch",
    dry_run: bool,
    overwrite: bool,
    skip: bool,
    profile: bool,
    as_json: bool,
    quiet: bool,
    dashboard: bool,
) -> None:
    """Run many scenes; exit code 1 when one failed."""
    from geoseg.cli import show
    from geoseg.runs import batch as work

    def tell(outcome: "Outcome") -> None:
        for warning in outcome.warnings:
            _say(f"warning: {outcome.name}: {warning}")
        if outcome.state == "failed":
            _say(f"error: {outcome.name}: {outcome.why}")
        elif not quiet:
            _say(f"{outcome.name}: {outcome.state}")

    if not quiet:
        _say(f"geoseg {geoseg.__version__}: {len(batch.scenes)} scenes into {batch.folder}")
    if dry_run:
        outcomes = work.check_batch(batch, tell)
    else:
        with _progress(quiet, dashboard) as on_event, _finishing() as interruption:
            outcomes = work.run_batch(
                batch, overwrite=overwrite, skip=skip, profile=profile, on_outcome=tell, on_event=on_event,
                interruption=interruption,
            )  # fmt: skip
    typer.echo(
        json.dumps([asdict(o) for o in outcomes], indent=2, ensure_ascii=False)
        if as_json
        else show.outcomes(outcomes)
    )
    if any(o.state == "failed" for o in outcomes):
        raise typer.Exit(1)


@app.command()
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
    with _errors(debug):
        from geoseg.inference.clusters import resolve_cluster
        from geoseg.inference.clusters.worker import become_worker

        become_worker(resolve_cluster(cluster), interface)


@app.command()
def inspect(
    path: Annotated[str, typer.Argument(help="A scene (name, file, folder), a bundle or a run folder.")],
    catalog: CatalogFile = _CATALOG,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a scene, a bundle or a run folder is."""
    with _errors(debug):
        from geoseg.cli import show

        _show(show.describe(path, catalog), as_json)


@app.command()
def validate(
    run: Annotated[str, typer.Argument(help="The folder or s3:// URI of a finished run.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check the files of a run: record, checksums, rasters, styles, polygons, STAC item.

    Exit code 1 when something is not as it should be.
    """
    with _errors(debug):
        from geoseg.runs.validate.run_folder import validate as check

        report = check(run)
        typer.echo(
            json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if as_json else report.to_text()
        )
        failed = bool(report.failures)
    if failed:
        raise typer.Exit(1)


@app.command()
def init(
    scene: Annotated[str, typer.Argument(help="A scene: name in the catalog, file or folder.")],
    model: Annotated[str, typer.Option("--model", help="The bundle that shall classify it.")],
    output: Annotated[
        Path | None, typer.Option(help="The file to write; default pipelines/NAME.yaml.")
    ] = None,
    catalog: CatalogFile = _CATALOG,
    debug: Debug = False,
) -> None:
    """Write a commented pipeline file for a scene and a bundle."""
    with _errors(debug):
        from geoseg.cli import show

        path, notes = show.write_pipeline(scene, model, output, catalog)
        for note in notes:
            _say(f"note: {note}")
        typer.echo(f"wrote {path}; look it over, then: geoseg run {path}")


RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="The folder or s3:// URI of a finished run.")]


@app.command()
def report(
    run: RunFolder,
    profile: Annotated[
        bool, typer.Option("--profile", help="With a timeline, which profile.json holds, too.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Make the page of a finished run again: report.html."""
    with _errors(debug):
        from geoseg.runs import page as run_page

        typer.echo(run_page.report(run, profile=profile))


@app.command()
def view(run: RunFolder, debug: Debug = False) -> None:
    """Open the page of a run in the web browser."""
    with _errors(debug):
        import webbrowser

        from geoseg.runs import page as run_page

        page = run_page.page_of(run)
        typer.echo(page)
        if not webbrowser.open(page.as_uri()):
            _say("no web browser was found; open the file yourself")


@app.command()
def train(
    training: Annotated[
        Path, typer.Argument(help="The training file, like configs/training/landcover-s2.yaml.")
    ],
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the file.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the training, instead of the file's.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again, also where a training was begun or finished.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and divide the data, say what would be done, stop.")
    ] = False,
    catalog: CatalogFile = _CATALOG,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network on labelled scenes or chips, into a bundle that `geoseg run` uses.

    An interrupted training is resumed by the same command.
    """
    with _errors(debug):
        from geoseg.cli import show
        from geoseg.training import train as training_run
        from geoseg.training.prepare import prepare

        (_silent if quiet else _say)(f"geoseg {geoseg.__version__}: reading the data of {training}")
        prepared = prepare(training, assign or [], output, catalog)
        for warning in prepared.warnings:
            _say(f"warning: {warning}")
        if dry_run:
            training_run.check_network(prepared)
            _show(prepared.summary(), as_json)
            return
        with _training_progress(quiet) as on_event:
            trained = training_run.train(prepared, overwrite=overwrite, on_event=on_event)
        if trained is None:
            return  # a process that only helped to train
        for warning in trained.record["warnings"][len(prepared.warnings) :]:
            _say(f"warning: {warning}")
        if as_json:
            typer.echo(json.dumps(trained.record, indent=2, ensure_ascii=False))
        else:
            typer.echo(show.as_text(show.training(trained.folder, trained.record)))


@app.command()
def evaluate(
    training: Annotated[
        Path | None, typer.Argument(help="A training file, to measure --model on its data.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="The bundle to measure.")] = None,
    split: Annotated[str, typer.Option(help="Part of the data: train, val or test.")] = "test",
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the training file."),
    ] = None,
    class_map: Annotated[
        Path | None, typer.Option("--map", help="A class map, as a run writes it: classes.tif.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="What is true: a raster of codes, or polygons.")
    ] = None,
    attribute: Annotated[str | None, typer.Option(help="Column of the polygons with the class.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the polygons.")] = None,
    legend: Annotated[
        str | None, typer.Option(help="Legend, name or file: classes of the map, codes of the reference.")
    ] = None,
    ignore: Annotated[
        str, typer.Option(metavar="CODES", help="Codes of the reference that do not count, like 0,70.")
    ] = "",
    confidence: Annotated[Path | None, typer.Option(help="confidence.tif of the run.")] = None,
    probabilities: Annotated[Path | None, typer.Option(help="probabilities.tif of the run.")] = None,
    boundary: Annotated[
        float | None, typer.Option(metavar="PIXELS", help="Score outlines, with this tolerance.")
    ] = None,
    sample: Annotated[
        Path | None, typer.Option(help="A labelled sample of `geoseg sample`, instead of --map.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the report here as JSON.")] = None,
    catalog: CatalogFile = _CATALOG,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say how good a map is, by a reference or a labelled sample, or a bundle on labelled data."""
    with _errors(debug):
        from geoseg.evaluation import evaluate as evaluating
        from geoseg.evaluation import text

        if training is not None and model is not None and class_map is None and sample is None:
            from geoseg.training import train as training_run

            report, lay_out = (
                training_run.evaluate(training, assign or [], model, split, catalog),
                text.map_report,
            )
        elif sample is not None and class_map is None and reference is None:
            report, lay_out = evaluating.evaluate_sample(sample), text.sample_report
        elif sample is None and class_map is not None and reference is not None:
            report, lay_out = (
                evaluating.evaluate_map(
                    class_map,
                    reference,
                    attribute=attribute,
                    layer=layer,
                    legend=legend,
                    ignore=_codes(ignore),
                    confidence=confidence,
                    probabilities=probabilities,
                    boundary=boundary,
                ),
                text.map_report,
            )
        else:
            raise ConfigError(
                "say what to compare: --map FILE --reference FILE, --sample FILE, or TRAINING --model BUNDLE"
            )
        for warning in report["warnings"]:
            _say(f"warning: {warning}")
        if output is not None:
            evaluating.write_report(output, report)
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False) if as_json else lay_out(report))


@app.command()
def sample(
    class_map: Annotated[Path, typer.Option("--map", help="A class map, as a run writes it: classes.tif.")],
    output: Annotated[Path, typer.Option(help="The GeoPackage to write.")],
    size: Annotated[int, typer.Option(help="Points in all.")] = 500,
    allocation: Annotated[
        str, typer.Option(help="Points of each class: proportional, equal, or neyman-like.")
    ] = "proportional",
    minimum: Annotated[int, typer.Option(help="Points of each class at least.")] = 50,
    seed: Annotated[int, typer.Option(help="The same seed draws the same points.")] = 0,
    legend: Annotated[str | None, typer.Option(help="Legend of the map, name or file.")] = None,
    confidence: Annotated[
        Path | None, typer.Option(help="confidence.tif of the run, for neyman-like.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Draw a stratified random sample of a class map, to be labelled in QGIS."""
    with _errors(debug):
        from geoseg.evaluation import evaluate as evaluating
        from geoseg.evaluation import text

        report = evaluating.draw_sample(
            class_map, output, size=size, allocation=allocation, minimum=minimum, seed=seed, legend=legend,
            confidence=confidence,
        )  # fmt: skip
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False) if as_json else text.drawn_report(report))


def _codes(listed: str) -> list[int]:
    try:
        return [int(code) for code in listed.split(",") if code.strip()]
    except ValueError:
        raise ConfigError(
            f"--ignore {listed}: whole numbers parted by commas are needed, like 0,70"
        ) from None


@app.command()
def doctor(as_json: AsJson = False, debug: Debug = False) -> None:
    """Show versions, device and GDAL drivers: what a bug report needs."""
    with _errors(debug):
        from geoseg.cli import show

        _show(show.environment(), as_json)


@catalog_app.command("list")
def catalog_list(catalog: CatalogFile = _CATALOG, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the scenes of the catalog."""
    with _errors(debug):
        from geoseg.cli import show

        _show(show.catalog(catalog), as_json)


@catalog_app.command("show")
def catalog_show(
    name: Annotated[str, typer.Argument(help="A name in the catalog.")],
    catalog: CatalogFile = _CATALOG,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show a scene of the catalog: its grid, bands and scale."""
    with _errors(debug):
        from geoseg.cli import show

        _show(show.scene(name, catalog), as_json)


@models_app.command("list")
def models_list(folder: ModelsFolder = _MODELS, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the bundles in a folder."""
    with _errors(debug):
        from geoseg.cli import show

        _show(show.bundles(folder), as_json)


@models_app.command("show")
def models_show(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder, or its name in --folder.")],
    folder: ModelsFolder = _MODELS,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show a bundle: bands, classes, tile sizes, agreement and limits."""
    with _errors(debug):
        from geoseg.cli import show

        _show(show.bundle(bundle if bundle.exists() else folder / bundle), as_json)


def _show(facts: Any, as_json: bool) -> None:
    from geoseg.cli import show

    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else show.as_text(facts))


def _say(message: str) -> None:
    typer.echo(message, err=True)


def _silent(_: str) -> None:
    return


@contextlib.contextmanager
def _errors(debug: bool) -> Iterator[None]:
    """Turn errors into one line and an exit code."""
    # A cluster manager ends jobs with SIGTERM: leave as tidily as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not debug:
        warnings.simplefilter("ignore")
    try:
        yield
    except BrokenPipeError:
        # Whoever read the result has seen enough, as with `geoseg inspect X | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on where it stopped")
        raise typer.Exit(130) from None
    except Exception as error:  # noqa: BLE001 - the last one that can say it in a line
        # Errors of other libraries tell URLs as they got them.
        whole = redact("".join(traceback.format_exception(error))).splitlines()
        for line in whole if debug else [f"error: {line}" for line in _lines_of(error)]:
            _say(line)
        raise typer.Exit(error.exit_code if isinstance(error, GeosegError) else 1) from None


@contextlib.contextmanager
def _finishing() -> Iterator["Interruption"]:
    """Let the first SIGINT or SIGTERM finish the blocks in hand; the second ends at once."""
    from geoseg.inference.interruption import Interruption

    interruption = Interruption()

    def on_signal(*_: object) -> None:
        if interruption.ask():
            _say("finishing the blocks in hand; a second signal stops at once")
        elif interruption.heard:
            _say("interrupted; the same command goes on where it stopped")
            # Threads compute, and Python would wait for them: what they leave is as after a kill.
            os._exit(130)
        else:
            raise KeyboardInterrupt

    before = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _lines_of(error: Exception) -> list[str]:
    if isinstance(error, GeosegError):
        return str(error).splitlines()
    if isinstance(error, MemoryError):
        less = (
            "smaller tiles (--set tiling.tile=256 --set tiling.block=1) or, in training, a smaller fit.batch"
        )
        return [f"out of memory; less is needed with {less}"]
    # A bug in geoseg; the user still gets one line.
    return [f"internal error, please report it with --debug: {type(error).__name__}: {one_line(error)}"]


@contextlib.contextmanager
def _training_progress(quiet: bool) -> Iterator[Callable[["Event"], None]]:
    """Yield what shows the events of a training: a line for each epoch, on a terminal a bar too."""
    from geoseg.training.callbacks import BatchDone, EpochDone

    def line(event: EpochDone) -> str:
        row = event.row
        return (
            f"epoch {event.epoch}/{event.epochs}: loss {row['train_loss']:.3f}, "
            f"val loss {row['val_loss']:.3f}, val mIoU {row['val_miou']:.3f}, {row['seconds']:.0f} s"
        )

    def tell(event: "Event") -> None:
        if not isinstance(event, BatchDone) and not quiet:
            _say(line(event) if isinstance(event, EpochDone) else event.message)

    if quiet or not sys.stderr.isatty():
        yield tell
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("train", total=None)
        miou = ""

        def bar(event: "Event") -> None:
            nonlocal miou
            if isinstance(event, EpochDone):
                bars.console.print(line(event), highlight=False)
                miou = f", val mIoU {event.row['val_miou']:.3f}"
            elif isinstance(event, BatchDone):
                text = f"loss {event.loss:.3f}{miou}"
                bars.update(task, completed=event.batch, total=event.batches, description=text)
            else:
                bars.console.print(event.message, highlight=False)

        yield bar


def _is_waiting(event: "Progress") -> bool:
    return event.fact is not None and event.fact["event"] == "waiting"


@contextlib.contextmanager
def _progress(quiet: bool, dashboard: bool) -> Iterator[Callable[["Progress"], None]]:
    """Yield what shows the events of a run: a bar on a terminal, a line for each stage elsewhere."""
    from geoseg.cli.throughput import Pace

    if dashboard and importlib.util.find_spec("bokeh") is None:
        raise ConfigError("--dashboard needs bokeh; get it with: python -m pip install 'geoseg[dashboard]'")
    pace = Pace()

    def show(event: "Progress") -> None:
        if dashboard and event.fact is not None and event.fact["event"] == "dashboard":
            _say(f"dashboard: {event.fact['address']}")
        pace.add(event.fact or {})

    if quiet or not sys.stderr.isatty():
        last, said = "", 0.0

        def line(event: "Progress") -> None:
            nonlocal last, said
            show(event)
            if _is_waiting(event) and not quiet:
                _say("waiting: no worker is there")
            if (event.stage != last or (event.total and monotonic() - said > _LINES)) and not quiet:
                rate = f", {pace.text()}" if event.stage == last and pace.text() else ""
                _say(
                    f"{event.stage}: {event.done} of {event.total} blocks{rate}"
                    if event.total
                    else event.stage
                )
                said = monotonic()
            last = event.stage

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:>16}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} blocks  {task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    # A descriptor of its own: the bar goes on while GDAL's messages are being caught.
    with (
        os.fdopen(os.dup(2), "w") as terminal,
        Bars(*columns, console=Console(file=terminal), transient=True) as bars,
    ):
        task = bars.add_task("predict", total=1, speed="")

        def bar(event: "Progress") -> None:
            show(event)
            if not event.total:
                bars.update(task, description=event.stage)
                return
            speed = "waiting: no worker is there" if _is_waiting(event) else pace.text()
            bars.update(task, description="predict", completed=event.done, total=event.total, speed=speed)

        yield bar
