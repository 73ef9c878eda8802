"""Commands that list, show, import and export bundles."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli import completion
from geoseg.cli.messages import errors, say, show_facts, show_result
from geoseg.cli.options import AsJson, CatalogFile, Debug, ModelsFolder, TrainingChanges
from geoseg.cli.options import Trust as TrustCode

if TYPE_CHECKING:
    from geoseg.models.importing.source import Ask


def models_list(folder: ModelsFolder = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the bundles in a folder."""
    with errors(debug=debug):
        from geoseg.cli import show

        show_facts(show.bundles(folder), as_json=as_json)


def models_encoders(
    word: Annotated[
        str, typer.Argument(metavar="[WORD]", help="Part of a name, such as resnet or dinov3.")
    ] = "",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the encoders that networks can have, and the names of their pretrained weights."""
    with errors(debug=debug):
        from geoseg.core.errors import ConfigError
        from geoseg.models.networks.encoders import encoders

        found = encoders(word)
        if not found:
            raise ConfigError(f"{word}: no name of an encoder holds this; try a shorter part of it")
        rows = [{"encoder": name, "weights": ", ".join(weights)} for name, weights in found.items()]
        show_facts(rows, as_json=as_json)


Architecture = Annotated[
    str | None, typer.Option(help="Architecture of bare weights, such as Unet; see docs/architectures.md.")
]
Encoder = Annotated[str | None, typer.Option(help="Encoder of bare weights, such as resnet34.")]
As = Annotated[
    str | None, typer.Option("--as", help="Network of bare weights: torchvision:fcn_resnet50 and others.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Load pickles, TorchScript and .pt2, which can run code as you.")
]


def models_show(
    bundle: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE",
            autocompletion=completion.bundles,
            help="A bundle (folder, name, URI), or a network of others: file or folder.",
        ),
    ],
    folder: ModelsFolder = None,
    architecture: Architecture = None,
    encoder: Encoder = None,
    as_: As = None,
    trust: Trust = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show a bundle: bands, classes, tile sizes, agreement and limits; or what a network of others says."""
    with errors(debug=debug):
        from geoseg.cli import show
        from geoseg.core.paths import at_home

        place = bundle if folder is None or Path(bundle).exists() else folder / bundle
        path = Path(at_home(str(place)))
        foreign = path.is_file() or (path.is_dir() and not (path / "geoseg.json").is_file())
        if foreign and (
            path.is_file() or any((path / n).is_file() for n in ("config.json", "saved_model.pb"))
        ):
            from geoseg.models.importing.importer import describe

            show_facts(describe(path, _ask(architecture, encoder, as_, {}, trust)), as_json=as_json)
            return
        show_facts(show.bundle(place), as_json=as_json)


def models_import(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="ONNX, weights, checkpoint, SavedModel, program of torch, or STAC item."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="The folder of the bundle, which must not exist."
        ),
    ],
    card: Annotated[Path | None, typer.Option(help="YAML file with what the source does not say.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="One key of the card: bands=red,nir, gsd=10-30.")
    ] = None,
    architecture: Architecture = None,
    encoder: Encoder = None,
    as_: As = None,
    trust: Trust = False,
    scene: Annotated[
        str | None,
        typer.Option(metavar="SCENE", autocompletion=completion.scenes, help="A scene to compare on, too."),
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="An .npz: numbers, and the probabilities that the original gave.")
    ] = None,
    answers_scale: Annotated[float, typer.Option(help="Factor from its numbers to those of the card.")] = 1.0,
    catalog: CatalogFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Take in a network that was trained elsewhere, and prove that its bundle answers as it does."""
    with errors(debug=debug):
        from geoseg.models.importing.draft import read_facts, read_settings
        from geoseg.models.importing.importer import Checks, import_model

        said = {**({} if card is None else read_facts(card)), **read_settings(changes or ())}
        network = said.pop("network", {})
        checks = Checks(scene, catalog, answers, answers_scale)
        made = import_model(source, output, said, _ask(architecture, encoder, as_, network, trust), checks)
        for note in made.notes:
            say(note, "note")
        origin = made.origin
        facts = {"bundle": str(output), "notes": list(made.notes), "origin": origin.model_dump(mode="json")}
        text = (
            f"wrote {output}: {made.bundle.card.name}, {origin.kind}; its probabilities differ from those of "
            f"{origin.compared_with} by {origin.largest_difference:.2g} at most, in {origin.batches} batches"
        )
        show_result(facts, lambda _: text, as_json=as_json)


def _ask(
    architecture: str | None, encoder: str | None, as_: str | None, network: dict[str, Any], trust: bool
) -> "Ask":
    from geoseg.core.errors import ConfigError
    from geoseg.models.importing.source import Ask

    said = {"_model_class": architecture, "encoder_name": encoder}
    network = {**network, **{k: v for k, v in said.items() if v is not None}}
    library, _, name = (as_ or "torchvision:").partition(":")
    if library != "torchvision":
        raise ConfigError(f"--as {as_}: write it as torchvision:fcn_resnet50")
    return Ask(network, name or None, trust)


class ModelForm(StrEnum):
    """A form in which a bundle is given to others."""

    ONNX = "onnx"
    STAC = "stac"
    DEEPNESS = "deepness"


def models_export(
    bundle: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE",
            autocompletion=completion.bundles,
            help="A bundle: its folder, its name, or its URI.",
        ),
    ],
    to: Annotated[
        ModelForm,
        typer.Option(
            help="onnx: of any tile size; deepness: for the QGIS plugin; stac: ONNX and an MLM item."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder to write into.")
    ] = Path(),
    trust: TrustCode = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a bundle as ONNX, or as a STAC item with its ONNX file."""
    with errors(debug=debug):
        from geoseg.models.bundle import open_bundle
        from geoseg.models.exporting.export import export_bundle

        written = export_bundle(open_bundle(bundle, trust=trust), to.value, output)
        files = [str(p) for p in written]
        show_result({"files": files}, lambda _: f"wrote {', '.join(files)}", as_json=as_json)


def models_measure(
    bundle: Annotated[
        str,
        typer.Argument(metavar="BUNDLE", autocompletion=completion.bundles, help="A bundle: folder or name."),
    ],
    training: Annotated[
        str,
        typer.Argument(
            metavar="TRAINING",
            autocompletion=completion.trainings,
            help="The training that it was made with: a file, or a name.",
        ),
    ],
    assign: TrainingChanges = None,
    trust: TrustCode = False,
    catalog: CatalogFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure how the training pixels of a bundle vary, and write it into its card.

    Runs then say which pixels are unlike them. Trainings measure it themselves.
    """
    with errors(debug=debug):
        from geoseg.core.notices import collect_warnings
        from geoseg.training.bands import measure_bands

        with collect_warnings() as notices:
            found = measure_bands(bundle, training, assign or [], catalog, trust=trust)
        for text in notices:
            say(text, "warning")
        far = found.card.strangeness
        facts = {"bundle": str(found.folder), "strangeness": None if far is None else far.model_dump()}
        text = (
            f"{found.folder}: the training pixels do not vary, so none can be told from them"
            if far is None
            else f"wrote {found.folder}: 99 of 100 training pixels are within a distance of {far.distance:g}"
        )
        show_result(facts, lambda _: text, as_json=as_json)
