"""Messages of commands: results on stdout, all else on stderr, errors as one line and an exit code."""

import contextlib
import errno
import json
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import typer

from geoseg.cli.voice import VOICE, paint
from geoseg.core.errors import GeosegError, one_line
from geoseg.core.notices import say_waits_by
from geoseg.core.secrets import redact
from geoseg.core.text import printable

LONGEST_LINE = 300
"""Characters of a message; `--debug` shows more."""

_MOST_LINES = 10

_NO_MEMORY = re.compile(
    r"failed to map segment|cannot allocate memory|unable to allocate|can't allocate memory|bad.?alloc",
    re.IGNORECASE,
)
"""What libraries say when the system gives them no more memory."""


def say(message: str, kind: str = "") -> None:
    """Write a message to stderr, without credentials and what a terminal obeys.

    A message of a kind, `error`, `warning` or `note`, begins with it, in its colour, and is not long.
    """
    text = printable(redact(message))
    if not kind:
        _write(text)
        return
    rest = shortened(f"{kind}: {text}").removeprefix(f"{kind}:")
    _write(f"{paint(f'{kind}:', sys.stderr)}{rest}")


def _write(text: str) -> None:
    # Not by typer, which writes past what rich puts in place of stderr, into the line of a bar.
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def give(result: str) -> None:
    """Write a result to stdout, likewise."""
    typer.echo(printable(redact(result)))


def warn(message: str) -> None:
    """Write a warning to stderr."""
    say(message, "warning")


def fail(lines: list[str], kind: str, exit_code: int) -> None:
    """Say why a command fails, in lines; where its result would be JSON, say it there, too."""
    for line in lines:
        say(line, "error")
    if VOICE.as_json:
        error = {"kind": kind, "exit_code": exit_code, "messages": lines}
        with contextlib.suppress(OSError):  # which may be why it fails
            give(json.dumps({"error": error}, indent=2, ensure_ascii=False))


def show_facts(facts: Any, *, as_json: bool) -> None:
    """Write facts to stdout, for people or as JSON."""
    from geoseg.cli.layout import as_text

    show_result(facts, as_text, as_json=as_json)


def show_result(result: Any, lay_out: Callable[[Any], str], *, as_json: bool) -> None:
    """Write a result to stdout: laid out for people, or as JSON."""
    give(json.dumps(result, indent=2, ensure_ascii=False) if as_json else lay_out(result))


@contextlib.contextmanager
def errors(*, debug: bool) -> Iterator[None]:
    """Turn errors into one line and an exit code."""
    # Cluster managers end jobs with SIGTERM: end as tidily as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say_waits_by(warn)
    unraisable = sys.unraisablehook
    if not debug:
        warnings.simplefilter("ignore")
        # Such an error stops nothing, as when rasterio cannot read what GDAL tells it of a damaged file.
        sys.unraisablehook = lambda _: None
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except BrokenPipeError:
        # The reader closed the pipe, as with `geoseg inspect X | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where it stopped")
        raise typer.Exit(130) from None
    except Exception as error:  # noqa: BLE001 (whatever it is, the user gets one line)
        code = error.exit_code if isinstance(error, GeosegError) else 1
        if debug:
            # Errors of other libraries may contain URLs with secrets.
            for line in redact("".join(traceback.format_exception(error))).splitlines():
                say(line)
        fail(_lines_of(error), type(error).__name__, code)
        raise typer.Exit(code) from None
    finally:
        sys.unraisablehook = unraisable


def shortened(line: str) -> str:
    """Return a line of at most `LONGEST_LINE` characters: its beginning says where, its end what to do."""
    if len(line) <= LONGEST_LINE:
        return line
    begin = LONGEST_LINE // 3
    return f"{line[:begin]} ... {line[begin + 5 - LONGEST_LINE :]}"


def _lines_of(error: Exception) -> list[str]:
    if isinstance(error, GeosegError):
        lines = str(error).splitlines()
        more = len(lines) - _MOST_LINES
        return [*lines[:_MOST_LINES], *([f"and {more} more problems like these"] if more > 0 else [])]
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        less = (
            "smaller tiles (--set tiling.tile=256 --set tiling.block=1) or, in training, a smaller fit.batch"
        )
        return [f"out of memory; less is needed with {less}"]
    if "can't start new thread" in str(error):
        return ["too many processes and threads are running; end some, or allow more: ulimit -u"]
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else "the result cannot be written or a file read: "
        advice = "; was a text given where a path is expected?" if error.errno == errno.ENAMETOOLONG else ""
        return [f"{place}{error.strerror or one_line(error)}{advice}"]
    # A bug in geoseg; the user still gets one line.
    return [f"internal error, please report it with --debug: {type(error).__name__}: {one_line(error)}"]
