"""A finished run held to what it promises, from its files alone."""

from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.core.extras import require

if TYPE_CHECKING:
    from geoseg.runs.validate.findings import Report


def validate(place: Path | str) -> "Report":
    """Check a run folder from its files alone; nothing is written there.

    Parameters
    ----------
    place
        A finished run: a folder, or a URI, whose files are fetched for the time of the check.

    Returns
    -------
    Report
        What was checked, and everything that is not as it should be.

    Raises
    ------
    OutputError
        When there is no such folder.
    ConfigError
        When the libraries of the extra `validate` are not installed.
    """
    for module in ("rio_cogeo", "jsonschema", "scipy"):
        require(module, "validate", "geoseg validate")
    from geoseg.runs.validate.run_folder import check_folder  # noqa: PLC0415

    return check_folder(place)
