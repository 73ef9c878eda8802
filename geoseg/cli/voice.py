"""How the command line speaks: in colour or not, and whether errors are JSON too.

Both are asked for before a command is known, anywhere among its arguments.
"""

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO

_STYLES = {"error": "1;31", "warning": "1;33", "note": "1;36", "ok": "32", "failed": "1;31"}
"""Codes of the terminal (ECMA-48): bold red, bold yellow, bold cyan, green."""


class When(StrEnum):
    """When to write in colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass
class Voice:
    """What the arguments of the current command ask for."""

    color: When = When.AUTO
    as_json: bool = False
    """Whether the result, and so also an error, is JSON."""


VOICE = Voice()
"""Set by the group of commands for each call."""


def colored(stream: TextIO) -> bool:
    """Return whether to write a stream in colour: `--color`, `NO_COLOR` (no-color.org), or a terminal."""
    if VOICE.color is not When.AUTO:
        return VOICE.color is When.ALWAYS
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(word: str, stream: TextIO) -> str:
    """Return a word such as `error` in its colour, where the stream has colours."""
    code = _STYLES.get(word.rstrip(":"))
    return f"\x1b[{code}m{word}\x1b[0m" if code and colored(stream) else word
