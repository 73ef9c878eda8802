"""Commands and groups of them: help, wrong usage, and what may stand anywhere among the arguments."""

import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from geoseg.cli.messages import fail
from geoseg.cli.voice import VOICE, When, colored
from geoseg.core.errors import did_you_mean
from geoseg.core.paths import at_home

_UsageError: type[Any] = typer.BadParameter.__mro__[1]
_AnyError: type[Any] = typer.BadParameter.__mro__[2]
"""The errors of click, which typer had as a dependency and now brings itself."""


class _Help:
    """A command whose help shows no type after flags, and has colours when we have."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, flags without `<bool>`, which would suggest that they take a value."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in found:
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""
        return found

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help; typer has settings of its own for colours."""
        from typer import rich_utils

        has_colors = colored(sys.stdout)
        rich_utils.COLOR_SYSTEM = "auto" if has_colors else None
        rich_utils.FORCE_TERMINAL = True if has_colors else None
        super().format_help(ctx, formatter)  # type: ignore[misc]


class Command(_Help, TyperCommand):
    """A command."""


class Group(_Help, TyperGroup):
    """A group of commands."""


class Root(Group):
    """All commands; wrong usage is one line, and `--color` may stand anywhere."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that the arguments name."""
        given = list(sys.argv[1:] if args is None else args)
        options = given[: given.index("--")] if "--" in given else given
        VOICE.color, VOICE.as_json = When.AUTO, "--json" in options
        try:
            code = super().main(
                _color_first(given), prog_name, complete_var, False, windows_expand_args, **extra
            )
        except _AnyError as error:
            code = error.exit_code
            if type(error).__name__ != "NoArgsIsHelpError":  # help was shown
                fail([_said(error)], "UsageError", code)
        except typer.Abort:
            code = 1
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take `~`, which shells leave alone in `--output=~/maps`, for the user's folder."""
        return super().parse_args(ctx, [_at_home(a) for a in args])


def _color_first(arguments: list[str]) -> list[str]:
    """Return arguments with `--color` before the command, wherever it stood."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    first: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments[:end])
    for argument in waiting:
        if argument == "--color":
            first += [argument, *[v for v in [next(waiting, None)] if v is not None]]
        elif argument.startswith("--color="):
            first.append(argument)
        else:
            rest.append(argument)
    return [*first, *rest, *arguments[end:]]


def _at_home(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return f"{name}={at_home(value)}" if equals and name.startswith("--") else at_home(argument)


def _said(error: Any) -> str:
    """Return what is wrong with the usage, in one line, and where the usage is told."""
    text = " ".join(str(error.format_message()).split()).rstrip(".")
    text = re.sub(r" \((Possible options|Did you mean):? .*$|[.,]? Did you mean .*$", "", text)
    text = _said_of_value(error) or f"{text[:1].lower()}{text[1:]}"
    context = getattr(error, "ctx", None)
    if context is None:
        return text
    known = [o for p in context.command.get_params(context) for o in p.opts]
    known += list(getattr(context.command, "commands", ()))
    wrong = re.search(r"no such (?:option|command):? '?([^\s']+)", text)
    guess = did_you_mean(wrong[1], known) if wrong else ""
    return f"{text}{guess}{'' if guess else ';'} see: {context.command_path} --help"


def _said_of_value(error: Any) -> str:
    """Return what a value should be, as documents are told; empty when the value is not what is wrong."""
    parameter, cause = getattr(error, "param", None), error.__cause__
    if parameter is None or not hasattr(cause, "errors"):
        return ""
    from geoseg.config.wording import first_of

    _, text = first_of(cause)
    if choices := re.match(r"(?P<value>'.*') is not one of (?P<known>'.*')\.? \(got ", text):
        *some, last = choices["known"].replace("'", "").split(", ")
        text = f"{', '.join(some)}{' or ' if some else ''}{last}, not {choices['value']}"
    # The long name: `-o` and `--output` are one option.
    return f"{max(parameter.opts, key=len)}: {text}"


def docs_address() -> str:
    """Return where the documentation lies, as the metadata of the package say; empty when they do not."""
    try:
        urls = metadata("geoseg").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    named = dict(url.split(", ", 1) for url in urls if ", " in url)
    return next((named[name] for name in ("Documentation", "Homepage", "Repository") if name in named), "")
