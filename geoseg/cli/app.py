"""The command line, the only module that prints and sets exit codes.

Results go to stdout; messages, warnings and bars to stderr. Exit codes: 0 done, 1 failed, 2 usage or
configuration, or something that was named and is not there, 130 interrupted.
"""

import gc
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

import geoseg
from geoseg.cli import info, models, runs, training
from geoseg.cli.commands import Command, Group, Root, docs_address
from geoseg.cli.examples import examples
from geoseg.cli.messages import say
from geoseg.cli.voice import VOICE, When
from geoseg.core.process import configure_process

_SETTINGS = {"help_option_names": ["-h", "--help"]}

_PANELS: dict[str, tuple[Callable[..., Any] | str, ...]] = {
    "Make maps": (runs.run, info.init, info.schema),
    "Look": (info.inspect, runs.view, runs.report, "catalog"),
    "Check": (runs.validate, runs.compare, training.evaluate, training.sample, runs.suggest),
    "Models": (training.train, "models"),
    "Compute": (runs.worker, info.doctor),
}
"""Commands, and groups of commands by their name, by the panel of the help."""

_GROUPS: dict[str, tuple[str, dict[str, Callable[..., Any]]]] = {
    "catalog": (
        "Scenes by name, from data_catalog.yaml.",
        {"list": info.catalog_list, "show": info.catalog_show},
    ),
    "models": (
        "Bundles: list, show, measure, import and export networks.",
        {
            "list": models.models_list, "show": models.models_show, "import": models.models_import,
            "export": models.models_export, "measure": models.models_measure,
            "encoders": models.models_encoders,
        },
    ),
}  # fmt: skip
"""Groups of commands: what they are about, and their commands."""


def _end() -> str:
    address = docs_address()
    more = f"\n\nDocumentation: {address}" if address else ""
    return f"geoseg COMMAND --help shows options and examples of a command.{more}"


def make_app() -> typer.Typer:
    """Return the command line."""
    made = typer.Typer(
        name="geoseg",
        cls=Root,
        help="Turn satellite and aerial scenes of any size into class maps and polygons.",
        epilog=_end(),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
    )
    made.callback(invoke_without_command=True)(_anywhere)
    for panel, commands in _PANELS.items():
        for command in commands:
            if isinstance(command, str):
                made.add_typer(_group(command), name=command, rich_help_panel=panel)
            else:
                end = examples(command.__name__)
                made.command(cls=Command, rich_help_panel=panel, epilog=end)(command)
    return made


def _group(name: str) -> typer.Typer:
    about, commands = _GROUPS[name]
    group = typer.Typer(cls=Group, help=about, no_args_is_help=True)
    for word, command in commands.items():
        group.command(word, cls=Command, epilog=examples(f"{name} {word}"))(command)
    return group


def main() -> None:
    """Run the command line."""
    configure_process()
    # Imports create many permanent objects: collect garbage less often, so as not to traverse them.
    gc.set_threshold(50_000)
    try:
        app(prog_name="geoseg")
    except OSError as error:  # help and usage are written outside of the commands
        say(f"stdout: {error.strerror or error}", "error")
        sys.exit(1)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"geoseg {geoseg.__version__}")
        raise typer.Exit


def _set_color(value: When) -> When:
    VOICE.color = value
    return value


def _anywhere(
    color: Annotated[
        When,
        typer.Option(
            callback=_set_color,
            is_eager=True,
            help="Write in colour; auto: on a terminal, unless NO_COLOR is set. May stand anywhere.",
        ),
    ] = When.AUTO,
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take what may stand before every command."""


app = make_app()
