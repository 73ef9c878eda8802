"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli import completion

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only warnings, errors and results.")]
CatalogFile = Annotated[
    Path | None,
    typer.Option(
        "--catalog", help="The data catalog; default: those of the current folder, the user and geoseg."
    ),
]
ModelsFolder = Annotated[
    Path | None,
    typer.Option(
        "--folder", help="Folder of the bundles; default: those of the current folder, the user and geoseg."
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the network's own Python code, if it is some, as you.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Check all input, print what would be done, stop.")
]
TrainingChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=completion.training_keys,
        help="Replace a value of the training file.",
    ),
]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="The folder or s3:// URI of a finished run.")]
