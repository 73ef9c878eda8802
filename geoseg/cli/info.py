"""Commands that describe scenes, bundles, run folders and this machine; and `geoseg init`."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli import completion
from geoseg.cli.messages import errors, say, show_facts, show_result
from geoseg.cli.options import AsJson, CatalogFile, Debug, Quiet
from geoseg.core.errors import ConfigError


def inspect(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH|NAME",
            autocompletion=completion.things,
            help="A scene (name, file, folder), a bundle or a run folder.",
        ),
    ],
    catalog: CatalogFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Describe a scene, a bundle or a run folder."""
    with errors(debug=debug):
        from geoseg.cli import results, show
        from geoseg.cli.layout import as_text

        facts = show.describe(path, catalog)
        show_result(facts, results.folder_text if "run" in facts else as_text, as_json=as_json)


def init(
    scene: Annotated[
        str | None,
        typer.Argument(
            metavar="[SCENE]",
            autocompletion=completion.scenes,
            help="A scene to map: name in the catalog, file or folder.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="BUNDLE",
            autocompletion=completion.bundles,
            help="The bundle to classify it with.",
        ),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(
            "--train",
            metavar="FOLDER",
            help="Write a training file for a folder of images and labels instead.",
        ),
    ] = None,
    attribute: Annotated[
        str | None, typer.Option(help="Of --train: column of label polygons that holds the class.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write; default pipelines/NAME.yaml, with --train configs/training/NAME.yaml.",
        ),
    ] = None,
    catalog: CatalogFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a commented pipeline file for a scene and a bundle, or a training file for labelled images."""
    with errors(debug=debug):
        if (train is None) == (scene is None) or (scene is not None and model is None):
            raise ConfigError(
                "say what to begin: SCENE --model BUNDLE for a map, or --train FOLDER for a training"
            )
        if train is not None and model is not None:
            raise ConfigError("--model goes with a scene; a training is begun with --train FOLDER alone")
        if scene is not None and attribute is not None:
            raise ConfigError("--attribute goes with --train FOLDER")
        notes: Sequence[str]
        if train is not None:
            from geoseg.cli.init_training import write_training
            from geoseg.cli.progress import silent

            path, notes = write_training(train, output, attribute, silent if quiet else say)
            kind, command = "training", "train"
        else:
            from geoseg.cli.init import write_pipeline

            path, notes = write_pipeline(str(scene), str(model), output, catalog)
            kind, command = "pipeline", "run"
        for note in notes:
            say(note, "note")
        show_result(
            {kind: str(path), "notes": list(notes)},
            lambda _: f"wrote {path}; look it over, then: geoseg {command} {path}",
            as_json=as_json,
        )


def doctor(as_json: AsJson = False, debug: Debug = False) -> None:
    """Show versions, device and GDAL drivers: what a bug report needs."""
    with errors(debug=debug):
        from geoseg.cli import show

        show_facts(show.environment(), as_json=as_json)


def catalog_list(catalog: CatalogFile = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the scenes of the catalog."""
    with errors(debug=debug):
        from geoseg.cli import show

        show_facts(show.catalog(catalog), as_json=as_json)


def catalog_show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", autocompletion=completion.catalog_names, help="A name in the catalog."
        ),
    ],
    catalog: CatalogFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show a scene of the catalog: its grid, bands and scale."""
    with errors(debug=debug):
        from geoseg.cli import show

        show_facts(show.scene(name, catalog), as_json=as_json)


class DocumentKind(StrEnum):
    """A kind of YAML document."""

    PIPELINE = "pipeline"
    TRAINING = "training"
    LEGEND = "legend"
    CLUSTER = "cluster"
    CATALOG = "catalog"


def schema(
    kind: Annotated[
        DocumentKind,
        typer.Argument(metavar="KIND", help="The kind: pipeline, training, legend, cluster or catalog."),
    ],
    debug: Debug = False,
) -> None:
    """Print the JSON schema of a YAML document, for editors that complete and check it."""
    with errors(debug=debug):
        from geoseg.config.schema import schema as schema_of

        show_facts(schema_of(kind), as_json=True)
