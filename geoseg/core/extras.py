"""Optional libraries, each of which is installed with an extra of the package."""

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
