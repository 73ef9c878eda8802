"""From the files of a user to the report of an evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config.legend import resolve_legend
from geoseg.core import provenance
from geoseg.core.errors import ConfigError, SceneError
from geoseg.core.legend import Legend, Remap
from geoseg.core.notices import collect_warnings
from geoseg.evaluation import sample as samples
from geoseg.evaluation.area import estimate, least_points
from geoseg.evaluation.class_map import ClassMap, open_class_map
from geoseg.evaluation.compare import ProbabilityRaster, compare, open_probabilities
from geoseg.evaluation.design import (
    CONJECTURED,
    Conjecture,
    Design,
    allocated,
    conjecture_from,
    conjecture_of,
    expected_widths,
)
from geoseg.evaluation.intervals import Limits
from geoseg.evaluation.metrics import plain
from geoseg.evaluation.reports import (
    ClassEstimates,
    DrawnClass,
    DrawnReport,
    ErrorMatrix,
    Interval,
    MapReport,
    SampleReport,
)
from geoseg.scenes.grid import crs_name
from geoseg.scenes.label_colors import ColorTable
from geoseg.scenes.labels import open_labels, warn_of_nodata_codes

ENOUGH_POINTS = 10
"""Reference points of a class below which its area is said to rest on few."""


def evaluate_map(
    class_map: Path,
    reference: str,
    *,
    attribute: str | None = None,
    layer: str | None = None,
    legend: str | None = None,
    ignore: Sequence[int] = (),
    confidence: Path | None = None,
    probabilities: Path | None = None,
    boundary: float | None = None,
) -> MapReport:
    """Compare a class map with a reference.

    Parameters
    ----------
    class_map
        A raster of class ids, such as `classes.tif` of a run.
    reference
        A raster of codes, a picture in the colours of the classes, or polygons.
    attribute, layer
        Column with the class, and layer of the polygons.
    legend
        Name or file of a legend: classes of the map and codes of the reference. Default: the map's own
        classes, whose ids are the codes.
    ignore
        Codes of the reference that do not count, besides those of the legend.
    confidence, probabilities
        Rasters of the run, for calibration error and Brier score; probabilities are preferred.
    boundary
        Tolerance of boundary F1 in pixels; None leaves it out.

    Raises
    ------
    GeosegError
        When the files do not fit; see the subclasses.
    """
    if boundary is not None and not 0 <= boundary <= 100:
        raise ConfigError(f"--boundary {boundary:g}: a tolerance of 0 to 100 pixels is needed")
    document = None if legend is None else resolve_legend(legend)
    with collect_warnings() as notices:
        opened = open_class_map(class_map, None if document is None else document.legend)
        remap = _remap(opened.legend, None if document is None else document.remap, ignore)
        labels = open_labels(
            reference,
            opened.source.geobox,
            attribute=attribute,
            layer=layer,
            names=_names(opened.legend, remap),
            colors=ColorTable.of(opened.legend, remap),
        )
        warn_of_nodata_codes([labels], remap, [c.slug for c in opened.legend.classes])
        comparison = compare(
            opened,
            labels,
            remap,
            probabilities=_open_probabilities(probabilities, opened, all_classes=True),
            confidence=_open_probabilities(confidence, opened, all_classes=False),
            tolerance=boundary,
        )
    return MapReport.model_validate(
        {
            "map": str(class_map),
            "reference": reference,
            "crs": crs_name(opened.source.geobox.crs),
            "command": provenance.command(),
            "warnings": notices,
            **comparison.to_dict(opened.legend),
        }
    )


def _open_probabilities(
    path: Path | None, class_map: ClassMap, *, all_classes: bool
) -> ProbabilityRaster | None:
    return None if path is None else open_probabilities(str(path), class_map, all_classes=all_classes)


def _remap(legend: Legend, given: Remap | None, ignore: Sequence[int]) -> Remap:
    codes = tuple((c.id,) for c in legend.classes) if given is None else given.codes
    already = () if given is None else given.ignored
    try:
        return Remap(codes, tuple(dict.fromkeys((*already, *ignore))))
    except ValueError as error:
        raise ConfigError(f"--ignore: {error}, a class and ignore; leave it out") from None


def _names(legend: Legend, remap: Remap) -> dict[str, int]:
    """Return the first code of each class, by slug and by title."""
    coded = [(c, codes[0]) for c, codes in zip(legend.classes, remap.codes, strict=True) if codes]
    return {name: code for c, code in coded for name in (c.title, c.slug)}


def draw_sample(
    class_map: Path,
    output: Path,
    design: Design,
    *,
    legend: str | None = None,
    confidence: Path | None = None,
    pilot: Path | None = None,
    rows: int | None = None,
) -> DrawnReport:
    """Draw a stratified random sample of a class map and write it as a GeoPackage.

    Each class that the map has gets at least two points, or its only pixel: `evaluate_sample` takes no fewer.

    Parameters
    ----------
    class_map
        A raster of class ids.
    output
        The GeoPackage; it must not exist yet, since it might hold labels.
    design
        Size and allocation of the sample.
    legend
        Name or file of a legend; default: the map's own classes.
    confidence
        Confidence raster of the run: its mean in each class is the expected user's accuracy.
    pilot
        A labelled sample of the same map: its points and labels are kept, and its errors are expected.
    rows
        Rows that are read at a time; the sample does not depend on it.

    Raises
    ------
    GeosegError
        When the map has too few pixels for such a sample, or the output exists.
    """
    if output.suffix.lower() != ".gpkg":
        raise ConfigError(
            f"--output {output}: a sample is a GeoPackage; name it "
            f"{output.parent / (output.stem or 'sample')}.gpkg"
        )
    if output.exists():
        raise ConfigError(f"--output {output}: exists and may hold labels; choose another name or remove it")
    opened = open_class_map(class_map, None if legend is None else resolve_legend(legend).legend)
    target = design.target(opened.legend)
    strata = samples.count_strata(opened, _open_probabilities(confidence, opened, all_classes=False), rows)
    before, labelled = (None, None) if pilot is None else samples.read_pilot(pilot, opened)
    conjecture = _conjecture(strata, labelled, design)
    had = np.zeros_like(strata.pixels) if labelled is None else labelled.points
    points = allocated(design, strata.pixels, conjecture, target, None if labelled is None else had)
    taken = None if before is None else (before.rows, before.cols)
    drawn = samples.draw(opened, strata.pixels - had, points - had, design.seed, rows, taken)
    drawn = drawn if before is None else before.joined(drawn)
    said: dict[str, str | int] = {"map": str(class_map), "allocation": design.resolved, "seed": design.seed}
    samples.write_sample(output, opened, strata, drawn, said)
    widths = expected_widths(conjecture, points, strata.pixels)
    classes = [
        DrawnClass(
            id=c.id, slug=c.slug, title=c.title, points=int(k), pixels=int(n),
            expected_area_within=plain(w) if n else None,
        )
        for c, k, n, w in zip(opened.legend.classes, points, strata.pixels, widths, strict=True)
    ]  # fmt: skip
    return DrawnReport(
        output=str(output), points=int(points.sum()), map=str(class_map),
        allocation=design.resolved, seed=design.seed, expected_from=conjecture.source, classes=classes,
    )  # fmt: skip


def _conjecture(strata: samples.Strata, pilot: samples.Sample | None, design: Design) -> Conjecture:
    """Return what is expected of the map: by a pilot, by its confidence, or by what maps usually are."""
    if pilot is not None:
        return conjecture_from(strata.pixels, pilot.counts)
    if strata.confidence is not None:
        return conjecture_of(strata.pixels, strata.confidence, "the map's mean confidence")
    if design.resolved == "neyman-like":
        raise ConfigError(
            "--allocation neyman-like needs the map's confidence, or a pilot; give --confidence FILE"
        )
    source = f"an assumed user's accuracy of {CONJECTURED:g}"
    return conjecture_of(strata.pixels, CONJECTURED, source)


def evaluate_sample(path: Path) -> SampleReport:
    """Estimate accuracies and areas from a labelled sample (Olofsson et al. 2014).

    Strata are weighted by their areas. In a map in degrees, whose pixels differ in size, the pixels within a
    class are treated as equal.

    Raises
    ------
    SceneError
        When the file is no sample, has labels that are no class, or a class has fewer than two labelled
        points and more pixels.
    """
    sample = samples.read_sample(path)
    strata, points = sample.strata, sample.counts.sum(axis=1)
    pixels = strata["pixels"].to_numpy(dtype=np.int64)
    metric = bool(strata["area_m2"].notna().all())
    areas = strata["area_m2" if metric else "pixels"].to_numpy(dtype=np.float64)
    _check_points(path, sample, least_points(pixels))
    estimates = estimate(sample.counts, areas, pixels)
    notices = []
    if sample.unlabelled:
        total = sample.unlabelled + int(points.sum())
        notices.append(
            f"{path}: {sample.unlabelled} of {total} points have no reference_class and are left out"
        )

    found = sample.counts.sum(axis=0).tolist()
    classes = [
        ClassEstimates(
            id=number,
            slug=slug,
            title=title,
            points=int(points[i]),
            found=found[i],
            users_accuracy=_interval(estimates.users, i),
            producers_accuracy=_interval(estimates.producers, i),
            area_share=_interval(estimates.share, i),
            area=_interval(estimates.share, i, float(areas.sum())),
            mapped_area=round(float(areas[i]), 6),
        )
        for i, (number, slug, title) in enumerate(strata[["class_id", "slug", "title"]].to_numpy().tolist())
    ]
    notices += [_thin(c) for c in classes if c.found < ENOUGH_POINTS]
    return SampleReport(
        sample=str(path),
        command=provenance.command(),
        warnings=notices,
        unit="m2" if metric else "pixels",
        points=int(points.sum()),
        unlabelled_points=sample.unlabelled,
        overall_accuracy=_interval(estimates.overall),
        classes=classes,
        error_matrix=ErrorMatrix(slugs=strata["slug"].tolist(), points=sample.counts.tolist()),
    )


def _thin(one: ClassEstimates) -> str:
    points = "1 point" if one.found == 1 else f"{one.found} points"
    return f"{one.slug}: its area rests on {points}; label more where this class may be to know it better"


def _interval(limits: Limits, place: int | tuple[()] = (), factor: float = 1.0) -> Interval:
    """Return an estimate of one class, or the only one, times a factor, with its confidence interval."""
    value, low, high = (plain(float(v[place]) * factor) for v in limits)
    return Interval(value=value, ci95=(low, high))


def _check_points(path: Path, sample: samples.Sample, needed: NDArray[Any]) -> None:
    labelled = sample.counts.sum(axis=1)
    for points, what, remedy in (
        (sample.points, "points", "draw another sample with geoseg sample"),
        (labelled, "labelled points", "fill in reference_class there"),
    ):
        poor = sample.strata["title"][points < needed]
        if len(poor):
            raise SceneError(f"{path}: fewer than two {what} in {', '.join(poor)}; {remedy}")
