"""Import a network: read it, complete its card, write a bundle, and prove that it answers as before."""

import os
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoseg.core.errors import BundleError, ConfigError, GeosegWarning, OutputError
from geoseg.core.files import as_output_error
from geoseg.models.bundle import Bundle, open_bundle, write_card
from geoseg.models.card import Card, CardOrigin
from geoseg.models.importing.draft import Draft, Facts, make_card, write_form
from geoseg.models.importing.find import read_source
from geoseg.models.importing.source import Ask, Source
from geoseg.scenes.catalog import resolve_scene


@dataclass(frozen=True)
class Checks:
    """What an import is proved on beside seeded batches."""

    scene: str | None = None
    """A scene: its name, path or URI."""
    catalog: Path | None = None
    """The data catalog."""
    answers: Path | None = None
    """An npz file with numbers, and probabilities that the original gave for them."""
    answers_scale: float = 1.0
    """Factor from the numbers of that file to the units of the card."""


@dataclass(frozen=True)
class Imported:
    """A bundle that was imported and proved."""

    bundle: Bundle
    origin: CardOrigin
    notes: tuple[str, ...] = field(default=())


def import_model(path: Path, output: Path, said: Facts, ask: Ask, checks: Checks) -> Imported:
    """Import a network that was trained elsewhere.

    Parameters
    ----------
    path
        The source, see `geoseg.models.importing.find.read_source`.
    output
        The folder of the bundle; it must not exist.
    said
        What the user says, as keys of a draft.
    ask
        What the user says of the source beside the card.
    checks
        What it is proved on beside seeded batches.

    Raises
    ------
    ConfigError
        When something must be said that nobody says; a file to fill in is written beside `output`.
    BundleError
        When the source cannot be used, or the bundle would answer otherwise.
    OutputError
        When the folder exists or cannot be written.
    """
    if output.exists():
        raise OutputError(f"{output}: exists already; choose another folder with --output")
    source = read_source(path, ask)
    draft = Draft(source.facts, said)
    _check_missing(draft, source, output)
    card = make_card(draft, path.resolve().stem, source.sizes)
    _check_counts(card, source)
    with as_output_error(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = output.with_name(f".{output.name}.{os.getpid()}.importing")
        folder.mkdir()
    try:
        source.write(card, folder)
        origin = _prove(open_bundle(folder), source, draft, checks)
        written = open_bundle(folder).card
        write_card(written.model_copy(update={"origin": origin}), folder)
        with as_output_error(output):
            folder.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Imported(open_bundle(output), origin, source.notes)


def _check_missing(draft: Draft, source: Source, output: Path) -> None:
    missing = draft.missing(source.sizes)
    if not missing:
        return
    form = output.with_name(f"{output.name}.card.yaml")
    kept = form.exists()
    if not kept:
        with as_output_error(form):
            form.parent.mkdir(parents=True, exist_ok=True)
        write_form(draft, missing, form)
    raise ConfigError(
        f"{source.path}: neither it nor the card says: {', '.join(missing)}; "
        f"{f'fill in {form}' if kept else f'wrote {form} to fill in'}, then give --card {form.name}"
    )


def _check_counts(card: Card, source: Source) -> None:
    if len(card.bands) != source.bands:
        raise ConfigError(f"{source.path}: takes {source.bands} bands, and {len(card.bands)} are named")
    named = len(card.classes) if card.channels is None else None
    if named is not None and card.answered != source.channels:
        raise ConfigError(
            f"{source.path}: gives {source.channels} channels, and {named} classes are named; to drop some, "
            "name the channel of each class: channels=0,1,2"
        )
    if card.answered > source.channels:
        raise ConfigError(
            f"{source.path}: gives {source.channels} channels, and channel {card.answered - 1} is named"
        )


def _prove(bundle: Bundle, source: Source, draft: Draft, checks: Checks) -> CardOrigin:
    """Return the origin for the card, once the bundle answers as the original does.

    Raises
    ------
    BundleError
        When it does not.
    ConfigError
        When there is nothing to compare with.
    """
    # torch and OpenVINO: slow to import.
    from geoseg.models.importing import proof  # noqa: PLC0415

    worst, count, runner, scene_name = 0.0, 0, source.runner, None
    if checks.answers is not None:
        pairs = proof.read_answers(checks.answers, bundle.card, checks.answers_scale)
        worst, count = proof.difference_to_answers(bundle, pairs)
        runner = " and ".join(filter(None, [runner, f"the answers in {checks.answers.name}"]))
        _refuse(worst, draft, bundle)
    if source.finder is not None:
        return _prove_objects(bundle, source, draft)
    if source.original is None and checks.answers is None:
        raise ConfigError(
            f"{source.path}: is a {source.kind}, which nothing here can run to compare; give --answers "
            "FILE.npz: numbers of its bands, and the probabilities that it gave for them where it was trained"
        )
    if source.original is not None:
        card = make_card(draft, "original", source.sizes, of_source=True)
        found, batches = proof.largest_difference(bundle, source.original, card, proof.seeded(bundle.card))
        worst, count = max(worst, found), count + batches
        if checks.scene is not None:
            scene: Any = resolve_scene(
                checks.scene, checks.scene, [b.common_name for b in bundle.card.bands], None, checks.catalog
            )
            tiles = proof.scene_batches(scene, bundle.card)
            found, batches = proof.largest_difference(bundle, source.original, card, tiles)
            worst, count, scene_name = max(worst, found), count + batches, scene.name
        _refuse(worst, draft, bundle)
    elif checks.scene is not None:
        warnings.warn(
            "--scene: the original cannot run here, so only its answers are compared",
            GeosegWarning,
            stacklevel=2,
        )
    return CardOrigin(
        source=source.path.resolve().name, kind=source.kind, sha256=source.sha256, compared_with=runner,
        largest_difference=float(f"{worst:.3g}"), batches=count, scene=scene_name,
    )  # fmt: skip


def _prove_objects(bundle: Bundle, source: Source, draft: Draft) -> CardOrigin:
    """Return the origin for the card, once the bundle finds the objects that the original finds."""
    from geoseg.models.importing import detectors, proof  # noqa: PLC0415

    assert source.finder is not None  # noqa: S101 (asked before)
    worst, count = detectors.largest_difference(bundle, source.finder, proof.seeded(bundle.card))
    _refuse(worst, draft, bundle)
    return CardOrigin(
        source=source.path.resolve().name, kind=source.kind, sha256=source.sha256,
        compared_with=source.runner, largest_difference=float(f"{worst:.3g}"), batches=count,
    )  # fmt: skip


def _refuse(worst: float, draft: Draft, bundle: Bundle) -> None:
    from geoseg.models.importing.proof import TOLERANCE  # noqa: PLC0415

    if worst <= TOLERANCE:
        return
    differ = draft.contradictions()
    cause = (
        f"the source says otherwise than the card: {', '.join(differ)}"
        if differ
        else "see bands and their order, mean, std, numbers, input_scale, preprocess, channels and output"
    )
    raise BundleError(
        f"{bundle.card.name}: its probabilities differ from the original's by up to {worst:.2g}, and at most "
        f"{TOLERANCE:g} is accepted; nothing was written; {cause}"
    )


def describe(path: Path, ask: Ask) -> dict[str, Any]:
    """Return what is known of a network of others, and what an import would have to be told."""
    source = read_source(path, ask)
    sizes = source.sizes
    return {
        "source": str(path),
        "kind": source.kind,
        "takes": f"{source.bands} bands, tiles of "
        + (f"{sizes.fixed} px" if sizes.fixed else f"multiples of {sizes.divisor} px"),
        "gives": f"{source.channels} channels",
        "sees_the_whole_tile": sizes.is_global,
        "says": source.facts,
        "missing": Draft(source.facts, {}).missing(sizes),
        "notes": list(source.notes),
        "sha256": source.sha256,
    }
