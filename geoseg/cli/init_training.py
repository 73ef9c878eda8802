"""`geoseg init --train`: a commented training file for a folder of images and labels."""

import re
from collections.abc import Callable
from pathlib import Path

from geoseg.core.errors import OutputError
from geoseg.core.files import as_output_error, write_atomic
from geoseg.training.start.draft import draft
from geoseg.training.start.text import training_text


def write_training(
    folder: Path, output: Path | None, attribute: str | None, say: Callable[[str], None]
) -> tuple[Path, tuple[str, ...]]:
    """Write a commented training file; return its path and notes on what the user should check.

    Raises
    ------
    OutputError
        When the file exists or cannot be written.
    GeosegError
        When the folder holds nothing that can be trained on.
    """
    name = re.sub(r"[^\w.-]+", "-", folder.absolute().name).strip("-.") or "training"
    path = output or Path("configs/training") / f"{name}.yaml"
    if path.exists():
        raise OutputError(f"{path}: exists already; choose another file with --output")
    found = draft(folder, name, training_text, attribute=attribute, say=say)
    with as_output_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, training_text(found.draft, found.estimate).encode())
    return path, found.notes
