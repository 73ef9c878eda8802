"""The command line, the only module that prints and sets exit codes.

Results go to stdout; messages, warnings and bars to stderr. Exit codes: 0 done, 1 failed, 2 usage or
configuration, 130 interrupted.
"""

import gc
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import geoseg
from geoseg.cli import info, models, runs, training
from geoseg.cli.messages import say
from geoseg.core.paths import at_home
from geoseg.core.process import configure_process


class _AtHome(TyperGroup):
    """Commands whose arguments may begin with `~`, which shells leave alone in `--output=~/maps`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_at_home(a) for a in args])


def _at_home(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return f"{name}={at_home(value)}" if equals and name.startswith("--") else at_home(argument)


app = typer.Typer(
    name="geoseg",
    cls=_AtHome,
    help="Turn satellite and aerial scenes of any size into class maps and polygons.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
catalog_app = typer.Typer(help="Scenes by name, from data_catalog.yaml.", no_args_is_help=True)
models_app = typer.Typer(help="Model bundles.", no_args_is_help=True)
for command in (
    runs.run, runs.worker, info.inspect, runs.validate, info.init, runs.report, runs.view,
    training.train, training.evaluate, training.sample, info.doctor, info.schema,
):  # fmt: skip
    app.command()(command)
app.add_typer(catalog_app, name="catalog")
app.add_typer(models_app, name="models")
catalog_app.command("list")(info.catalog_list)
catalog_app.command("show")(info.catalog_show)
models_app.command("list")(models.models_list)
models_app.command("show")(models.models_show)
models_app.command("import")(models.models_import)
models_app.command("export")(models.models_export)


def main() -> None:
    """Run the command line."""
    configure_process()
    # Imports create many permanent objects: collect garbage less often, so as not to traverse them.
    gc.set_threshold(50_000)
    try:
        app()
    except OSError as error:  # help and usage are written outside of the commands
        say(f"error: stdout: {error.strerror or error}")
        sys.exit(1)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(f"geoseg {geoseg.__version__}")
        raise typer.Exit
