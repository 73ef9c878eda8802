"""Train networks, and say how good networks, maps and run folders are."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.core.errors import ConfigError
from geoseg.core.run_files import RunFile
from geoseg.runs.finished import Run
from geoseg.runs.validate import validate as validate_folder

if TYPE_CHECKING:
    from geoseg.evaluation.reports import BundleReport, MapReport, SampleReport
    from geoseg.runs.validate.findings import Report
    from geoseg.training.callbacks import Event
    from geoseg.training.train import Trained


def train(
    training: str | Path,
    *,
    output: str | Path | None = None,
    catalog: str | Path | None = None,
    overwrite: bool = False,
    on_event: Callable[["Event"], None] = lambda _: None,
    **changes: Any,
) -> "Trained | None":
    """Train a network on labelled scenes or chips, into a bundle that `geoseg.run` uses.

    An interrupted training is resumed by the same call.

    Parameters
    ----------
    training
        A training document: a file, or a name.
    output
        Folder of the training, instead of the document's.
    catalog
        The catalog file; None looks in the current folder, the user's, and in what ships with geoseg.
    overwrite
        Start again, also where a training was begun or finished.
    on_event
        Called after each batch and epoch.
    **changes
        Values to use instead of the document's; a mapping changes only the keys that it has.

    Returns
    -------
    Trained or None
        Folder, bundle and record; None in processes that only help to train on more devices.

    Raises
    ------
    GeosegError
        When the training cannot work or failed; its checkpoints are kept.

    Examples
    --------
    >>> trained = geoseg.train("forest.yaml", fit={"epochs": 1})
    >>> geoseg.open_bundle(trained.bundle).card.name
    'forest'
    """
    from geoseg.training.prepare import prepare  # noqa: PLC0415 (torch takes seconds)
    from geoseg.training.train import train as train_prepared  # noqa: PLC0415

    prepared = prepare(training, changes, None if output is None else Path(output), catalog)
    return train_prepared(prepared, overwrite=overwrite, on_event=on_event)


def evaluate(
    subject: str | Path | Run,
    reference: str | Path | None = None,
    *,
    training: str | Path | None = None,
    split: str = "test",
    catalog: str | Path | None = None,
    **options: Any,
) -> "MapReport | BundleReport | SampleReport":
    """Say how good a map, a labelled sample, or a bundle is.

    Parameters
    ----------
    subject
        With `reference` a class map, or a run, whose confidence is judged, too; with `training` a bundle, its
        name or folder; alone a labelled sample (`.gpkg`) of `geoseg sample`.
    reference
        A raster of codes, or polygons.
    training
        A training document; the bundle is measured on its data.
    split
        Part of that data: train, val or test.
    catalog
        The catalog file of that data.
    **options
        Of a comparison with a reference: `attribute` and `layer` of its polygons, `legend` (classes of the
        map and codes of the reference), `ignore` (codes that do not count), `boundary` (tolerance in pixels
        for outlines); see `geoseg.evaluation.evaluate.evaluate_map`.

    Returns
    -------
    MapReport, BundleReport or SampleReport
        The report; `to_dict` and `to_json` give it as plain values.

    Raises
    ------
    GeosegError
        When the files do not fit; see the classes in `geoseg.errors`.

    Examples
    --------
    >>> run = geoseg.open_run("outputs/example")
    >>> geoseg.evaluate(run, "outputs/example/classes.tif").overall_accuracy
    1.0
    """
    from geoseg.evaluation import evaluate as evaluation  # noqa: PLC0415

    if options and reference is None:
        raise TypeError(f"evaluate: {', '.join(options)} are for a comparison with a reference")
    if training is not None:
        from geoseg.training.evaluate import evaluate_bundle  # noqa: PLC0415 (torch takes seconds)

        if isinstance(subject, Run) or reference is not None:
            raise ConfigError("evaluate: with training= the subject is a bundle, and there is no reference")
        return evaluate_bundle(training, (), subject, split, catalog)
    if reference is None:
        if isinstance(subject, Run):
            raise ConfigError("evaluate: a run is compared with a reference; give it as second argument")
        return evaluation.evaluate_sample(Path(subject))
    files: dict[str, Any] = {}
    if isinstance(subject, Run):
        for key, name in (("confidence", RunFile.CONFIDENCE), ("probabilities", RunFile.PROBABILITIES)):
            if name in subject.record.outputs:
                files[key] = Path(subject.folder) / name
    class_map = Path(subject.folder) / RunFile.CLASSES if isinstance(subject, Run) else Path(subject)
    return evaluation.evaluate_map(class_map, str(reference), **{**files, **options})


def validate(run: str | Path | Run) -> "Report":
    """Check the files of a finished run: record, checksums, rasters, styles, polygons, STAC item.

    Parameters
    ----------
    run
        A run, its folder, or its URI.

    Returns
    -------
    Report
        `failures` is empty when all is as it should be; `to_text()` lays it out.

    Raises
    ------
    OutputError
        When there is no such folder.

    Examples
    --------
    >>> geoseg.validate("outputs/example").failures
    []
    """
    return validate_folder(run.folder if isinstance(run, Run) else run)
