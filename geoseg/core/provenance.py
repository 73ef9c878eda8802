"""The provenance that every record states: the command, the machine and versions."""

import platform
import shlex
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import geoseg
from geoseg.core.secrets import redact_command


def command() -> str:
    """Return the command line of this process, without credentials."""
    program = Path(sys.argv[0])
    # `python -m geoseg` is the same command by another name.
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *redact_command(sys.argv[1:])])


def machine() -> dict[str, str]:
    """Return the operating system and the version of Python."""
    return {"system": platform.platform(), "python": platform.python_version()}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of geoseg and of installed packages; those that are not installed are left out."""
    found = {"geoseg": geoseg.__version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
