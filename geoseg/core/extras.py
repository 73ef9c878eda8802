"""Optional libraries, each of which is installed with an extra of the package."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from geoseg.core.errors import ConfigError


def require(module: str, extra: str, purpose: str) -> None:
    """Check that a library is installed.

    Parameters
    ----------
    module
        Name of the module to import.
    extra
        The extra of geoseg that brings it.
    purpose
        What needs it, for the message.

    Raises
    ------
    ConfigError
        When it is not installed; tells the command that installs it.

    Examples
    --------
    >>> require("json", "train", "geoseg train")
    """
    if find_spec(module) is None:
        raise ConfigError(
            f"{purpose}: {module} is not installed; it comes with: python -m pip install 'geoseg[{extra}]'"
        )


_BUILDS = {"onnxruntime": ("onnxruntime-gpu", "onnxruntime")}
"""Packages that bring the same module, each built for other devices."""


def installed_version(module: str) -> str:
    """Return the version of the package that brings a module.

    Raises
    ------
    PackageNotFoundError
        When it is not installed.

    Examples
    --------
    >>> installed_version("numpy").split(".")[0] >= "2"
    True
    """
    for package in _BUILDS.get(module, ())[:-1]:
        with suppress(PackageNotFoundError):
            return version(package)
    return version(module)
