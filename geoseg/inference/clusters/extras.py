"""Libraries that only some clusters need."""

from importlib.util import find_spec

from geoseg.core.errors import ConfigError


def needed(module: str, extra: str) -> None:
    """Check that a library is installed.

    Raises
    ------
    ConfigError
        When it is not; says which extra brings it.
    """
    if find_spec(module) is None:
        raise ConfigError(
            f"cluster: {module} is not installed; it comes with: python -m pip install 'geoseg[{extra}]'"
        )
