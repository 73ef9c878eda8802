"""Check a finished run against its promises, from its files alone."""

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
        The folder of a finished run, or its URI; the files of a URI are downloaded for the check. The folder
        of many scenes is checked scene by scene.

    Returns
    -------
    Report
        The checks and their failures.

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
