"""Commands that train networks and measure how good a map is."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

import geoseg
from geoseg.cli import completion
from geoseg.cli.messages import errors, give, say, show_facts, warn
from geoseg.cli.options import AsJson, CatalogFile, Debug, DryRun, Quiet, TrainingChanges, Trust
from geoseg.cli.progress import silent
from geoseg.cli.training_progress import training_progress
from geoseg.core.errors import ConfigError


def train(
    training: Annotated[
        str,
        typer.Argument(
            metavar="TRAINING",
            autocompletion=completion.trainings,
            help="The training: a file, or a name like landcover-s2.",
        ),
    ],
    assign: TrainingChanges = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder of the training, not the file's."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again, even if a training was begun or finished.")
    ] = False,
    dry_run: DryRun = False,
    finds_rate: Annotated[
        bool,
        typer.Option(
            "--find-rate", help="Look for a learning rate in a hundred steps, write its curve, stop."
        ),
    ] = False,
    searched: Annotated[
        Path | None,
        typer.Option("--search", metavar="FILE", help="Try the settings of this file, choose by val, stop."),
    ] = None,
    trust: Trust = False,
    catalog: CatalogFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network on labelled scenes or chips, into a bundle that `geoseg run` uses.

    An interrupted training is resumed by the same command.
    """
    with errors(debug=debug):
        from geoseg.cli import show
        from geoseg.training.prepare import prepare

        tell = silent if quiet else say
        tell(f"geoseg {geoseg.__version__}: reading the data of {training}")
        if searched is not None:
            _check_alone(dry_run=dry_run, overwrite=overwrite, find_rate=finds_rate)
            changes = tuple(assign or ())
            show_facts(_search(training, searched, changes, output, catalog, trust, quiet), as_json=as_json)
            return
        prepared = prepare(training, assign or [], output, catalog, trust=trust)
        for warning in prepared.warnings:
            warn(warning)
        if dry_run:
            from geoseg.training.build import check_network
            from geoseg.training.estimate import STEPS, estimate

            check_network(prepared)
            tell(f"takes {STEPS} steps, to estimate time and memory")
            facts = {**prepared.summary(), **estimate(prepared).facts()}
            if prepared.folds:
                facts["estimate"]["of"] = f"one of {facts['trainings']} trainings"
            show_facts(facts, as_json=as_json)
            return
        if finds_rate:
            from geoseg.training.build import check_network
            from geoseg.training.find_rate import STEPS as RATES
            from geoseg.training.find_rate import find_rate, write_rate

            check_network(prepared)
            tell(f"takes {RATES} steps, each with a higher learning rate")
            show_facts(write_rate(prepared, find_rate(prepared)), as_json=as_json)
            return
        from geoseg.training.train import train as run_training

        with training_progress(quiet=quiet) as on_event:
            trained = run_training(prepared, overwrite=overwrite, on_event=on_event)
        if trained is None:
            return  # a helper process of a training on several devices
        for warning in trained.record.warnings[len(prepared.warnings) :]:
            warn(warning)
        if as_json:
            give(trained.record.to_json())
        else:
            show_facts(show.training(trained.folder, trained.record), as_json=False)


def _check_alone(**others: bool) -> None:
    """Refuse other options beside a search, which would be left out."""
    if given := [f"--{name.replace('_', '-')}" for name, yes in others.items() if yes]:
        raise ConfigError(f"--search goes without {' and '.join(given)}")


def _search(
    training: str,
    file: Path,
    changes: tuple[str, ...],
    output: Path | None,
    catalog: Path | None,
    trust: bool,
    quiet: bool,
) -> dict[str, Any]:
    """Try settings of a training, and return what was found as plain values."""
    from geoseg.config.loader import load
    from geoseg.config.search import Search
    from geoseg.core.extras import require

    require("lightning", "train", "training")
    require("optuna", "search", "--search")
    from geoseg.training.search.run import Asked, run_search

    asked = Asked(training, load(file, Search), changes, output, catalog, trust)
    with training_progress(quiet=quiet) as on_event:
        return run_search(asked, on_event).facts()


def evaluate(
    training: Annotated[
        str | None,
        typer.Argument(
            metavar="TRAINING",
            autocompletion=completion.trainings,
            help="A training, file or name, to measure --model on its data.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE", autocompletion=completion.bundles, help="The bundle to measure, folder or name."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Part of the data: train, val or test.")] = "test",
    assign: TrainingChanges = None,
    class_map: Annotated[
        Path | None,
        typer.Option("--map", help="A map, as a run writes it: classes.tif, values.tif or labels.tif."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="The reference: a raster of codes, numbers or labels, or polygons of classes."),
    ] = None,
    attribute: Annotated[str | None, typer.Option(help="Column of the polygons with the class.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the polygons.")] = None,
    legend: Annotated[
        str | None,
        typer.Option(
            metavar="LEGEND",
            autocompletion=completion.legends,
            help="Legend, name or file: classes of the map, codes of the reference.",
        ),
    ] = None,
    ignore: Annotated[
        str, typer.Option(metavar="CODES", help="Codes of the reference that are not counted, like 0,70.")
    ] = "",
    confidence: Annotated[Path | None, typer.Option(help="confidence.tif of the run.")] = None,
    probabilities: Annotated[Path | None, typer.Option(help="probabilities.tif of the run.")] = None,
    boundary: Annotated[
        float | None, typer.Option(metavar="PIXELS", help="Score outlines, with this tolerance.")
    ] = None,
    objects: Annotated[
        Path | None,
        typer.Option(help="Single objects, as a run writes them: instances.tif, instead of --map."),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(help="Of --objects: the raster of classes of a reference in object numbers."),
    ] = None,
    area: Annotated[
        Path | None,
        typer.Option(help="Of --objects: polygons of the part where the reference has all objects."),
    ] = None,
    sample: Annotated[
        Path | None, typer.Option(help="A labelled sample of `geoseg sample`, instead of --map.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the report here as JSON.")
    ] = None,
    trust: Trust = False,
    catalog: CatalogFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure how good a map is, by a reference or a labelled sample, or a bundle on labelled data."""
    with errors(debug=debug):
        from geoseg.config.fields import Pixels, check_number
        from geoseg.evaluation import evaluate as evaluating
        from geoseg.evaluation.fields import compare_map
        from geoseg.evaluation.reports import EvaluationReport, write_report
        from geoseg.evaluation.text import report_text

        if boundary is not None:
            check_number(boundary, Pixels, "--boundary in pixels", ConfigError)
        report: EvaluationReport
        if objects is not None and reference is not None and not (training or class_map or sample):
            from geoseg.evaluation.objects.evaluate import evaluate_objects

            report = evaluate_objects(
                objects, reference, attribute=attribute, layer=layer, classes=classes, area=area,
                legend=legend, ignore=_codes(ignore),
            )  # fmt: skip
        elif objects is not None or classes is not None or area is not None:
            raise ConfigError("--objects, --classes and --area go with --objects FILE --reference FILE alone")
        elif training is not None and model is not None and class_map is None and sample is None:
            from geoseg.training.evaluate import evaluate_bundle

            report = evaluate_bundle(training, assign or [], model, split, catalog, trust=trust)
        elif sample is not None and class_map is None and reference is None:
            report = evaluating.evaluate_sample(sample)
        elif sample is None and class_map is not None and reference is not None:
            options = {
                "attribute": attribute, "layer": layer, "legend": legend, "ignore": _codes(ignore),
                "confidence": confidence, "probabilities": probabilities, "boundary": boundary,
            }  # fmt: skip
            report = compare_map(
                class_map, reference, {k: v for k, v in options.items() if v not in (None, [])}
            )
        else:
            raise ConfigError(
                "say what to compare: --map FILE --reference FILE, --objects FILE --reference FILE, "
                "--sample FILE, or TRAINING --model BUNDLE"
            )
        for warning in getattr(report, "warnings", ()):
            warn(warning)
        if output is not None:
            write_report(output, report)
        give(report.to_json() if as_json else report_text(report))


def sample(
    class_map: Annotated[Path, typer.Option("--map", help="A class map, as a run writes it: classes.tif.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The GeoPackage to write.")],
    size: Annotated[int, typer.Option(help="Points in all.")] = 500,
    allocation: Annotated[
        str, typer.Option(help="Points of each class: proportional, equal, neyman-like, or area.")
    ] = "proportional",
    minimum: Annotated[int, typer.Option(help="Points of each class at least.")] = 50,
    seed: Annotated[int, typer.Option(help="The same seed draws the same points.")] = 0,
    legend: Annotated[
        str | None,
        typer.Option(
            metavar="LEGEND", autocompletion=completion.legends, help="Legend of the map, name or file."
        ),
    ] = None,
    confidence: Annotated[
        Path | None, typer.Option(help="confidence.tif of the run: the accuracy that is expected.")
    ] = None,
    for_area: Annotated[
        str | None, typer.Option(help="Classes whose areas are to be known, or all: built,water.")
    ] = None,
    within: Annotated[
        float | None, typer.Option(help="Share of these areas to know them by: 0.2 decides the size.")
    ] = None,
    pilot: Annotated[
        Path | None, typer.Option(help="A labelled sample of the same map, which this one goes on with.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Draw a stratified random sample of a class map, to be labelled in QGIS."""
    with errors(debug=debug):
        from geoseg.config.fields import Points, Whole, check_number
        from geoseg.evaluation import evaluate as evaluating
        from geoseg.evaluation.design import Design
        from geoseg.evaluation.text import report_text

        for name, value, kind in (
            ("size", size, Points),
            ("minimum", minimum, Points),
            ("seed", seed, Whole),
        ):
            check_number(value, kind, f"--{name}", ConfigError)
        design = Design(size, allocation, minimum, seed, _listed(for_area), within)
        report = evaluating.draw_sample(
            class_map, output, design, legend=legend, confidence=confidence, pilot=pilot
        )
        give(report.to_json() if as_json else report_text(report))


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _codes(listed: str) -> list[int]:
    # Nine digits: no code of a class is longer.
    if re.fullmatch(r"(\s*(-?\d{1,9})?\s*,)*\s*(-?\d{1,9})?\s*", listed) is None:
        raise ConfigError(f"--ignore {listed[:60]}: whole numbers parted by commas are needed, like 0,70")
    return [int(code) for code in listed.split(",") if code.strip()]
