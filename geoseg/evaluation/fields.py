"""Compare maps that are no class maps with a reference: numbers, and several labels for each pixel."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from geoseg.config.legend import resolve_legend
from geoseg.core import provenance
from geoseg.core.errors import ConfigError, SceneError
from geoseg.core.geometry import Window, windows_of
from geoseg.core.legend import Legend, LegendClass
from geoseg.core.notices import collect_warnings
from geoseg.core.parsing import parse_json, read_bytes
from geoseg.core.run_files import RunFile
from geoseg.evaluation.evaluate import evaluate_map
from geoseg.evaluation.flags import FlagAgreement
from geoseg.evaluation.numbers import NumberAgreement
from geoseg.evaluation.reports import EvaluationReport, FlagReport, NumberReport
from geoseg.scenes import sources
from geoseg.scenes.grid import crs_name
from geoseg.scenes.sources import SourceFile
from geoseg.scenes.truth import open_flags, open_numbers

_WINDOW = 1024


def kind_of_map(path: Path) -> str:
    """Return `regression`, `multilabel` or `classes`: what a raster holds, as far as it says.

    Numbers are real (float); labels are what a run wrote as such, or several bands of whole numbers.
    """
    if path.suffix.lower() not in {".tif", ".tiff", ".vrt"} and not path.is_file():
        return "classes"
    source = sources.inspect(str(path))
    if source.dtype(1).kind == "f":
        return "regression"
    return "multilabel" if len(source.data_bands) > 1 or _task(path) == "multilabel" else "classes"


def compare_map(path: Path, reference: str, options: Mapping[str, Any]) -> EvaluationReport:
    """Compare a map of any kind with a reference.

    Parameters
    ----------
    path
        A map of classes, numbers or labels.
    reference
        The reference.
    options
        Those of `geoseg.evaluation.evaluate.evaluate_map`; a map of numbers has none, one of labels `legend`.

    Raises
    ------
    GeosegError
        When the files or options do not fit; see the subclasses.
    """
    kind = kind_of_map(path)
    known = {"regression": (), "multilabel": ("legend",)}.get(kind)
    if known is not None and (others := [k for k in options if k not in known]):
        what = "numbers" if kind == "regression" else "labels"
        raise ConfigError(f"{others[0]}: is for maps of classes, and {path} is a map of {what}; leave it out")
    if kind == "regression":
        return evaluate_numbers(path, reference)
    if kind == "multilabel":
        return evaluate_flags(path, reference, **options)
    return evaluate_map(path, reference, **options)


def _task(path: Path) -> str | None:
    """Return the task of the run that wrote a map; None when there is none beside it."""
    try:
        record = parse_json(read_bytes(path.parent / RunFile.RECORD))
        return str(record["task"]) if path.name in record["outputs"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def evaluate_numbers(path: Path, reference: str) -> NumberReport:
    """Compare a map of numbers with a reference, pixel by pixel.

    Parameters
    ----------
    path
        A raster of numbers, such as `values.tif` of a run.
    reference
        A raster of numbers in the same unit; on another grid it is taken at the centres of the map's pixels.

    Raises
    ------
    GeosegError
        When the files do not fit; see the subclasses.
    """
    with collect_warnings() as notices:
        source = sources.inspect(str(path))
        if source.data_bands != (1,):
            raise SceneError(f"{path}: has {len(source.data_bands)} bands; a map of numbers has one")
        truth = open_numbers(reference, source.geobox)
        mapped = open_numbers(str(path), source.geobox)
        # The range is that of histograms, which a report has none of.
        sums, unmapped, unlabelled = NumberAgreement(0.0, 1.0), 0, 0
        for window in _windows(source.geobox):
            one, other = truth.read(window), mapped.read(window)
            sums.add(one, other)
            known, found = ~np.isnan(one), ~np.isnan(other)
            unmapped += int((known & ~found).sum())
            unlabelled += int((found & ~known).sum())
    if not sums.pixels:
        raise SceneError(f"{reference}: has no number where {path} has one")
    return NumberReport.model_validate(
        {
            "map": str(path),
            "reference": reference,
            "crs": crs_name(source.geobox.crs),
            "command": provenance.command(),
            "warnings": notices,
            "unit": _unit(path),
            "unmapped_pixels": unmapped,
            "unlabelled_pixels": unlabelled,
            **sums.scores(),
        }
    )


def _unit(path: Path) -> str:
    with rasterio.open(path) as src:
        return src.units[0] or ""


def evaluate_flags(path: Path, reference: str, *, legend: str | None = None) -> FlagReport:
    """Compare a map of labels with a reference, pixel by pixel.

    Parameters
    ----------
    path
        A raster with a band of 0 and 1 for each label, such as `labels.tif` of a run.
    reference
        A raster with the same bands, or a path in which `{class}` stands for the name of each label.
    legend
        Name or file of a legend, whose classes are the bands in this order; default: the names of the bands.

    Raises
    ------
    GeosegError
        When the files do not fit; see the subclasses.
    """
    with collect_warnings() as notices:
        source = sources.inspect(str(path))
        classes = _classes(source, path) if legend is None else resolve_legend(legend).legend
        if len(classes) != len(source.data_bands):
            bands = len(source.data_bands)
            raise ConfigError(f"--legend {legend}: has {len(classes)} classes, and {path} has {bands} bands")
        slugs = tuple(c.slug for c in classes.classes)
        truth, mapped = (open_flags(p, source.geobox, slugs) for p in (reference, str(path)))
        nothing = np.zeros(len(slugs), np.int64)
        sums = FlagAgreement(nothing, nothing, nothing, nothing)
        for window in _windows(source.geobox):
            sums = sums + FlagAgreement.of(truth.read(window), mapped.read(window))
    if not sums.neither.any() and not sums.both.any() and not sums.map_only.any():
        raise SceneError(f"{reference}: has no label where {path} has one")
    return FlagReport.model_validate(
        {
            "map": str(path),
            "reference": reference,
            "crs": crs_name(source.geobox.crs),
            "command": provenance.command(),
            "warnings": notices,
            **sums.scores(classes),
        }
    )


def _classes(source: SourceFile, path: Path) -> Legend:
    """Return a legend of the names of a map's bands."""
    try:
        names = [n or f"band-{i}" for i, n in enumerate(source.names, start=1)]
        return Legend(tuple(LegendClass(i, n, n, "#808080") for i, n in enumerate(names)))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; give its labels with --legend NAME or FILE") from None


def _windows(geobox: GeoBox) -> Iterator[Window]:
    yield from windows_of((geobox.shape.y, geobox.shape.x), _WINDOW)
