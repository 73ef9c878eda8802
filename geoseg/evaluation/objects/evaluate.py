"""From the objects of a map and a reference to a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config.legend import resolve_legend
from geoseg.core import provenance
from geoseg.core.detections import Detections
from geoseg.core.errors import ConfigError, SceneError
from geoseg.core.legend import Legend, Remap
from geoseg.core.notices import collect_warnings
from geoseg.core.parsing import parse_json, read_bytes
from geoseg.core.run_files import RunFile
from geoseg.evaluation.class_map import ClassMap, open_class_map
from geoseg.evaluation.compare import open_probabilities
from geoseg.evaluation.objects.gather import (
    COCO_RESULTS,
    coco_objects,
    known_only,
    mapped_objects,
    true_objects,
)
from geoseg.evaluation.objects.matching import Counts, Tally, match
from geoseg.evaluation.objects.overlap import groups
from geoseg.evaluation.objects.precision import Precision
from geoseg.evaluation.objects.reports import ObjectMapReport, SeamScores
from geoseg.evaluation.objects.scores import ObjectScores, count_scores, object_scores
from geoseg.scenes.grid import crs_name
from geoseg.scenes.labels import open_labels
from geoseg.scenes.open_objects import open_objects, with_zeros
from geoseg.tiling.grid import TileAxis

Lines = tuple[Sequence[int], Sequence[int]]
"""Rows and columns at which tiles meet."""


def compare_objects(
    predicted: Detections, true: Detections, legend: Legend, shape: tuple[int, int], threshold: float
) -> ObjectScores:
    """Compare the objects of a whole scene with the true ones.

    Parameters
    ----------
    predicted, true
        Boxes and masks in pixels of the scene; scores of true ones are not looked at.
    legend
        The classes.
    shape
        Rows and columns of the scene.
    threshold
        Least score of a predicted object that counts; average precision looks at all.
    """
    precision, tally = Precision(), Tally()
    for some, others in groups(predicted, true):
        precision.add(some, others, shape)
        tally.add(match(some, others))
    return object_scores(precision.compute(), tally, threshold, legend)


def compare_at_seams(predicted: Detections, true: Detections, lines: Lines) -> SeamScores:
    """Count the objects that lie on lines where tiles meet, and all others.

    Parameters
    ----------
    predicted, true
        Boxes and masks in pixels of the scene; all predicted ones count.
    lines
        Rows and columns at which tiles meet.
    """
    one = match(predicted, true)
    order = np.argsort(-predicted.scores.astype(int), kind="stable")
    crossing, crossed = _crosses(predicted, lines)[order], _crosses(true, lines)

    def counts(on: bool) -> Counts:  # noqa: FBT001
        mine, its = crossing == on, crossed == on
        right = int((one.seen & its).sum())
        # A prediction belongs to where its object is, which may cross a line that it does not reach itself.
        where = mine.copy()
        where[one.found >= 0] = its[one.found[one.found >= 0]]
        return Counts(int(its.sum()), int(where.sum()), right, int((one.twice & where).sum()))

    return SeamScores(**dict(count_scores(counts(on=True))), interior=count_scores(counts(on=False)))


def _crosses(found: Detections, lines: Lines) -> NDArray[np.bool_]:
    crosses = np.zeros(len(found), dtype=np.bool_)
    for axis, at in enumerate(lines):
        places = np.sort(np.asarray(at, dtype=np.int64))
        first = np.searchsorted(places, found.boxes[:, axis], side="right")
        crosses |= first < np.searchsorted(places, found.boxes[:, axis + 2], side="left")
    return crosses


def evaluate_objects(
    instances: Path,
    reference: str,
    *,
    attribute: str | None = None,
    layer: str | None = None,
    classes: Path | None = None,
    area: Path | None = None,
    legend: str | None = None,
    ignore: Sequence[int] = (),
) -> ObjectMapReport:
    """Compare the objects of a run with a reference.

    Scores and whole masks are those of `objects.coco.json` beside the map, where the run has written it; else
    an object has the pixels of its number, the class of `classes.tif` and the score of `confidence.tif`.

    Parameters
    ----------
    instances
        The raster of object numbers of a run, `instances.tif`.
    reference
        The true objects: polygons, a raster of object numbers, or COCO JSON.
    attribute, layer
        Column of the polygons with the class, and their layer.
    classes
        Raster of the classes of a reference in numbers.
    area
        Polygons of the part of the map where the reference has all objects.
    legend
        Name or file of a legend; default: the map's own classes.
    ignore
        Codes of the reference that are no class.

    Raises
    ------
    GeosegError
        When the files do not fit; see the subclasses.
    """
    document = None if legend is None else resolve_legend(legend)
    with collect_warnings() as notices:
        class_map = _class_map(instances, None if document is None else document.legend)
        own = class_map.legend
        codes = tuple((c.id,) for c in own.classes) if document is None else document.remap.codes
        remap = Remap(codes, tuple(dict.fromkeys(ignore)))
        names = {n: c[0] for k, c in zip(own.classes, codes, strict=True) for n in (k.slug, k.title)}
        numbers = with_zeros(open_labels(str(instances), class_map.source.geobox))
        labels = open_objects(
            Path(reference), class_map.source.geobox, remap, names, attribute=attribute, layer=layer,
            classes=classes, area=area, image=instances.name,
        )  # fmt: skip
        shape = numbers.geobox.shape.y, numbers.geobox.shape.x
        found, true = _mapped(instances, numbers, class_map), true_objects(labels)
        kept = known_only(found, labels)
        scores = compare_objects(kept, true, own, shape, 0.0)
        lines = _lines(instances, shape, picture=numbers.geobox.crs is None)
    return ObjectMapReport(
        map=str(instances),
        reference=reference,
        crs=crs_name(numbers.geobox.crs),
        command=provenance.command(),
        warnings=list(notices),
        left_out=len(found) - len(kept),
        seams=None if lines is None else compare_at_seams(kept, true, lines),
        **dict(scores),
    )


def _class_map(instances: Path, legend: Legend | None) -> ClassMap:
    path = instances.parent / RunFile.CLASSES
    if not instances.is_file():
        raise SceneError(f"{instances}: no such file; a run of a bundle of objects writes instances.tif")
    if not path.is_file():
        raise ConfigError(f"{instances}: {path.name} of the same run is needed beside it, for the classes")
    return open_class_map(path, legend)


def _mapped(instances: Path, numbers: Any, class_map: ClassMap) -> Detections:
    shape = numbers.geobox.shape.y, numbers.geobox.shape.x
    results = instances.parent / COCO_RESULTS
    if results.is_file():
        place = {c.id: i for i, c in enumerate(class_map.legend.classes)}
        return coco_objects(results, shape, place)
    confidence = instances.parent / RunFile.CONFIDENCE
    scores = None
    if confidence.is_file():
        scores = open_probabilities(str(confidence), class_map, all_classes=False)
    return mapped_objects(numbers, class_map, scores)


def lines_of(record: Mapping[str, Any], shape: tuple[int, int], *, picture: bool) -> Lines | None:
    """Return where the territories of the tiles of a run meet; None where it is not known.

    Parameters
    ----------
    record
        The record of the run. The tiles of an area of interest are those of its scene: not known.
    shape
        Rows and columns of the map.
    picture
        Whether the map has no CRS: its tiles lie inside it.
    """
    if record.get("aoi") is not None:
        return None
    try:
        axes = [
            TileAxis(n, int(tile), int(overlap), inside=picture and n > int(tile))
            for n, tile, overlap in zip(shape, record["tile"], record["overlap"], strict=True)
        ]
    except (ValueError, KeyError, TypeError):
        return None
    rows, cols = ([axis.territory(i).start for i in range(1, axis.count)] for axis in axes)
    return rows, cols


def _lines(instances: Path, shape: tuple[int, int], *, picture: bool) -> Lines | None:
    try:
        record = parse_json(read_bytes(instances.parent / RunFile.RECORD))
    except (OSError, ValueError):
        return None
    return lines_of(record, shape, picture=picture) if isinstance(record, dict) else None
