"""The command line. The only place that prints and that sets exit codes.

Results go to stdout; messages, warnings and bars to stderr. Exit codes: 0 done, 1 failed, 2 usage or
configuration, 130 interrupted.
"""

import gc
from typing import Annotated

import typer

import geoseg
from geoseg.cli import listing, runs, training
from geoseg.core.process import configure_process

app = typer.Typer(
    name="geoseg",
    help="Turn satellite and aerial scenes of any size into class maps and polygons.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
catalog_app = typer.Typer(help="Scenes by name, from data_catalog.yaml.", no_args_is_help=True)
models_app = typer.Typer(help="Model bundles.", no_args_is_help=True)
for command in (
    runs.run, runs.worker, listing.inspect, runs.validate, listing.init, runs.report, runs.view,
    training.train, training.evaluate, training.sample, listing.doctor, listing.schema,
):  # fmt: skip
    app.command()(command)
app.add_typer(catalog_app, name="catalog")
app.add_typer(models_app, name="models")
catalog_app.command("list")(listing.catalog_list)
catalog_app.command("show")(listing.catalog_show)
models_app.command("list")(listing.models_list)
models_app.command("show")(listing.models_show)


def main() -> None:
    """Run the command line."""
    configure_process()
    # Imported modules are many objects that stay: the collector need not visit them often.
    gc.set_threshold(50_000)
    app()


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(f"geoseg {geoseg.__version__}")
        raise typer.Exit
