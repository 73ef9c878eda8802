"""Measure how good maps, samples and bundles are; check the files of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.core.errors import ConfigError
from geoseg.core.paths import at_home
from geoseg.core.run_files import RunFile
from geoseg.runs.finished import Run
from geoseg.runs.validate import validate as validate_folder

INSTANCES = "instances.tif"
"""The raster of object numbers of a run."""

if TYPE_CHECKING:
    from geoseg.evaluation.reports import EvaluationReport
    from geoseg.runs.validate.findings import Report


def evaluate(
    subject: str | Path | Run,
    reference: str | Path | None = None,
    *,
    training: str | Path | None = None,
    split: str = "test",
    catalog: str | Path | None = None,
    trust: bool = False,
    **options: Any,
) -> "EvaluationReport":
    """Measure how good a map or a bundle is, by a reference, a labelled sample, or labelled data.

    Parameters
    ----------
    subject
        With `reference`: a map of classes, numbers or labels, or a run, whose confidence is evaluated, too;
        of a run that finds objects, these. With `training`: a bundle, its name or folder. Alone: a labelled
        sample (`.gpkg`) of `geoseg sample`.
    reference
        A raster of codes, or polygons; for a map of numbers a raster of numbers, for one of labels a raster
        with a band of 0 and 1 for each, or a path with `{class}` for one of each.
    training
        A training document; the bundle is measured on its data.
    split
        Part of the training's data: train, val or test.
    catalog
        The catalog file of the training's data.
    trust
        Import the network's code where it is a class of a package, which runs as you.
    **options
        For a comparison with a reference: `attribute` and `layer` of its polygons, `legend` (classes of the
        map and codes of the reference), `ignore` (codes that are not counted), `boundary` (tolerance for
        outlines in pixels); see `geoseg.evaluation.evaluate.evaluate_map`. Of objects also `classes` and
        `area`, see `geoseg.evaluation.objects.evaluate.evaluate_objects`.

    Returns
    -------
    MapReport, NumberReport, FlagReport, BundleReport, SampleReport, ObjectMapReport or ObjectBundleReport
        The report; `to_dict` and `to_json` give it as plain values.

    Raises
    ------
    GeosegError
        When the files do not fit each other; see the classes in `geoseg.errors`.
    TypeError
        When options are given without a reference.

    Examples
    --------
    >>> run = geoseg.open_run("outputs/example")
    >>> geoseg.evaluate(run, "outputs/example/classes.tif").overall_accuracy
    1.0
    """
    from geoseg.evaluation import evaluate as evaluation  # noqa: PLC0415
    from geoseg.evaluation.fields import compare_map  # noqa: PLC0415

    if options and reference is None:
        raise TypeError(f"evaluate: {', '.join(options)} are for a comparison with a reference")
    if training is not None:
        from geoseg.training.evaluate import evaluate_bundle  # noqa: PLC0415 (torch takes seconds)

        if isinstance(subject, Run) or reference is not None:
            raise ConfigError("evaluate: with training= the subject is a bundle, and there is no reference")
        return evaluate_bundle(training, (), subject, split, catalog, trust=trust)
    if reference is None:
        if isinstance(subject, Run):
            raise ConfigError("evaluate: a run is compared with a reference; give it as second argument")
        return evaluation.evaluate_sample(at_home(Path(subject)))
    instances = _instances(subject)
    if instances is not None:
        from geoseg.evaluation.objects.evaluate import evaluate_objects  # noqa: PLC0415

        return evaluate_objects(instances, at_home(str(reference)), **options)
    files: dict[str, Any] = {}
    if isinstance(subject, Run):
        for key, name in (("confidence", RunFile.CONFIDENCE), ("probabilities", RunFile.PROBABILITIES)):
            if name in subject.record.outputs and RunFile.CLASSES in subject.record.outputs:
                files[key] = Path(subject.folder) / name
        name = next(
            (n for n in (RunFile.VALUES, RunFile.LABELS) if n in subject.record.outputs), RunFile.CLASSES
        )
        path = Path(subject.folder) / name
    else:
        path = at_home(Path(subject))
    return compare_map(path, at_home(str(reference)), {**files, **options})


def _instances(subject: str | Path | Run) -> Path | None:
    """Return the raster of object numbers that is meant; None where a class map is."""
    if isinstance(subject, Run):
        return Path(subject.folder) / INSTANCES if INSTANCES in subject.record.outputs else None
    path = Path(at_home(Path(subject)))
    return path if path.name == INSTANCES else None


def validate(run: str | Path | Run) -> "Report":
    """Check the files of a finished run: record, checksums, rasters, styles, polygons, STAC item.

    Parameters
    ----------
    run
        A run, its folder, or its URI.

    Returns
    -------
    Report
        `failures` is empty when every check passed; `to_text()` lays it out.

    Raises
    ------
    OutputError
        When there is no such folder.
    ConfigError
        When the libraries of the extra `validate` are not installed.

    Examples
    --------
    >>> geoseg.validate("outputs/example").failures
    []
    """
    return validate_folder(run.folder if isinstance(run, Run) else run)
