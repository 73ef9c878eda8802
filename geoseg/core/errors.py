"""The errors that geoseg raises on purpose.

Every message is one line that says what is wrong, where, and what to do. The command line prints it and
exits with `exit_code`; anything that is not a `GeosegError` is a bug in geoseg.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from geoseg.core.secrets import redact


class GeosegError(Exception):
    """Base of all expected errors; URLs in the message lose their credentials."""

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(redact(str(message)))


class ConfigError(GeosegError):
    """A YAML document, an option or a name that geoseg cannot use."""

    exit_code = 2


class SceneError(GeosegError):
    """Imagery that is missing, damaged or not what was declared."""


class BundleError(GeosegError):
    """A model bundle that is missing, damaged or inconsistent."""


class PlanError(GeosegError):
    """A run that cannot work as asked: wrong bands, scale or GSD, or too little memory."""


class DeviceMemoryError(PlanError):
    """A forward pass, or a block's pixels and sums, that do not fit into the memory of their device."""


class ClusterError(GeosegError):
    """Workers or a scheduler that are not there, or are there no more."""


class TrainingError(GeosegError):
    """A training that cannot go on."""


class OutputError(GeosegError):
    """A run folder that cannot be used or written."""


class GeosegWarning(UserWarning):
    """Something worth saying that does not stop the work; URLs lose their credentials."""

    def __init__(self, message: object = "") -> None:
        super().__init__(redact(str(message)))


def one_line(error: BaseException) -> str:
    """Return an error's message on one line, or its type's name when it carries none."""
    return " ".join(str(error).split()) or type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` when `word` resembles a known word, else an empty string."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
