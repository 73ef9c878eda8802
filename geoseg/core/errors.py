"""The errors that geoseg raises on purpose.

Every message is one line that says what is wrong, where, and what to do. The command line prints it and
exits with `exit_code`; anything that is not a `GeosegError` is a bug in geoseg.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, Self

from geoseg.core.secrets import redact
from geoseg.core.text import printable

ELSEWHERE = "choose another folder with --output"
"""Advice of messages about a place that a run writes to."""


class GeosegError(Exception):
    """Base of all expected errors; URLs in the message lose credentials, and control characters show."""

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(redact(str(message))))

    @classmethod
    def absent(cls, message: str) -> Self:
        """Return the error of what was named and is not there: wrong usage, whatever should be there."""
        error = cls(message)
        error.exit_code = ConfigError.exit_code
        return error


class ConfigError(GeosegError):
    """A YAML document, an option or a name that geoseg cannot use."""

    exit_code = 2


class SceneError(GeosegError):
    """Imagery that is missing, damaged or not what was declared."""


class OutsideError(SceneError):
    """A scene that has nothing of the area of interest."""


class BundleError(GeosegError):
    """A model bundle that is missing, damaged or inconsistent."""


class PlanError(GeosegError):
    """A run that cannot work as asked: wrong bands, scale or GSD, or too little memory."""


class DeviceMemoryError(PlanError):
    """A forward pass, or the pixels and sums of a block, too large for the memory of the device."""


class ClusterError(GeosegError):
    """A scheduler or workers that cannot be started or reached, or that were lost."""


class TrainingError(GeosegError):
    """A training that cannot go on."""


class OutputError(GeosegError):
    """A run folder or another place that cannot be written, or is in use."""


class GeosegWarning(UserWarning):
    """A warning to the user that does not stop the work; its text is treated as that of an error."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(redact(str(message))))


def one_line(error: BaseException) -> str:
    """Return an error's message on one line, or its type's name when it carries none.

    Examples
    --------
    >>> one_line(FileNotFoundError(2, "No such file or directory", "a.tif"))
    "No such file or directory: 'a.tif'"
    """
    text = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
    return " ".join(text.split()) or type(error).__name__


def listed(names: Collection[str], most: int = 14) -> str:
    """Return names for a message: all of a few, the first of many."""
    more = len(names) - most
    return ", ".join([*islice(names, most), *([f"and {more} more"] if more > 0 else [])])


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str:
    """Return `"; did you mean 'x'?"` when `word` resembles known words, else an empty string.

    Examples
    --------
    >>> did_you_mean("resnet43", ["resnet34", "resnet50", "vgg16"], most=2)
    "; did you mean 'resnet34' or 'resnet50'?"
    """
    return meant(get_close_matches(word, list(known), n=most, cutoff=0.6))


def meant(close: Sequence[str]) -> str:
    """Return `"; did you mean 'x' or 'y'?"`, of no words an empty string."""
    if not close:
        return ""
    *others, last = [repr(word) for word in close]
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def difference(old: Any, new: Any, path: str = "") -> str:
    """Return which value of two plans differs, and how: `"its tile is 512, now 1024"`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            if old.get(key) != new.get(key):
                return difference(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    short = [str(v) if len(str(v)) <= 60 else f"{str(v)[:57]}..." for v in (old, new)]
    return f"its {path or 'plan'} is {short[0]}, now {short[1]}"
