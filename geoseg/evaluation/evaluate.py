"""From the files of a user to the report of an evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config.legend import resolve_legend
from geoseg.core import provenance
from geoseg.core.errors import ConfigError, SceneError, did_you_mean
from geoseg.core.legend import Legend, Remap
from geoseg.core.notices import collect_warnings
from geoseg.evaluation import sample as samples
from geoseg.evaluation.area import Z95, estimate, least_points
from geoseg.evaluation.class_map import ClassMap, open_class_map
from geoseg.evaluation.compare import ProbabilityRaster, compare, open_probabilities
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
from geoseg.scenes.labels import open_labels, warn_of_nodata_codes

ENOUGH_POINTS = 10
"""Reference points of a class on which the interval of its area can rest: with few, a Wald interval is too
narrow (Brown, Cai and DasGupta 2001, Interval estimation for a binomial proportion)."""


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
        A raster of codes, or polygons.
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
    *,
    size: int,
    allocation: str = "proportional",
    minimum: int = 50,
    seed: int = 0,
    legend: str | None = None,
    confidence: Path | None = None,
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
    size
        Number of points.
    allocation
        `proportional`, `equal` or `neyman-like`; see `geoseg.evaluation.sample.points_per_class`.
    minimum
        Fewest points of each class that has so many pixels; at least two.
    seed
        The same seed draws the same points.
    legend
        Name or file of a legend; default: the map's own classes.
    confidence
        Confidence raster of the run, for `neyman-like`.
    rows
        Rows that are read at a time; the sample does not depend on it.

    Raises
    ------
    GeosegError
        When the map has too few pixels for such a sample, or the output exists.
    """
    if allocation not in samples.ALLOCATIONS:
        raise ConfigError(
            f"--allocation {allocation}: unknown{did_you_mean(allocation, samples.ALLOCATIONS)}; known: "
            f"{', '.join(samples.ALLOCATIONS)}"
        )
    if output.suffix.lower() != ".gpkg":
        raise ConfigError(
            f"--output {output}: a sample is a GeoPackage; name it "
            f"{output.parent / (output.stem or 'sample')}.gpkg"
        )
    if output.exists():
        raise ConfigError(f"--output {output}: exists and may hold labels; choose another name or remove it")
    if size < 1 or minimum < 0 or seed < 0:
        raise ConfigError("--size is at least 1, --minimum and --seed at least 0")
    opened = open_class_map(class_map, None if legend is None else resolve_legend(legend).legend)
    raster = _open_probabilities(confidence, opened, all_classes=False)
    strata = samples.count_strata(opened, raster, rows)
    points = samples.points_per_class(strata, size, allocation, minimum)
    drawn = samples.draw(opened, strata.pixels, points, seed, rows)
    design: dict[str, str | int] = {"map": str(class_map), "allocation": allocation, "seed": seed}
    samples.write_sample(output, opened, strata, drawn, design)
    classes = [
        DrawnClass(id=c.id, slug=c.slug, title=c.title, points=int(k), pixels=int(n))
        for c, k, n in zip(opened.legend.classes, points, strata.pixels, strict=True)
    ]
    return DrawnReport(
        output=str(output), points=int(points.sum()), map=str(class_map), allocation=allocation, seed=seed,
        classes=classes,
    )  # fmt: skip


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

    classes = [
        ClassEstimates(
            id=number,
            slug=slug,
            title=title,
            points=int(points[i]),
            users_accuracy=_interval(estimates.users[i], estimates.users_se[i]),
            producers_accuracy=_interval(estimates.producers[i], estimates.producers_se[i]),
            area_share=_interval(estimates.share[i], estimates.share_se[i]),
            area=_interval(estimates.share[i], estimates.share_se[i], float(areas.sum())),
            mapped_area=round(float(areas[i]), 6),
        )
        for i, (number, slug, title) in enumerate(strata[["class_id", "slug", "title"]].to_numpy().tolist())
    ]
    found = sample.counts.sum(axis=0).tolist()
    notices += [_thin(c, n) for c, n in zip(classes, found, strict=True) if _is_thin(c, n)]
    return SampleReport(
        sample=str(path),
        command=provenance.command(),
        warnings=notices,
        unit="m2" if metric else "pixels",
        points=int(points.sum()),
        unlabelled_points=sample.unlabelled,
        overall_accuracy=_interval(estimates.overall, estimates.overall_se),
        classes=classes,
        error_matrix=ErrorMatrix(slugs=strata["slug"].tolist(), points=sample.counts.tolist()),
    )


def _is_thin(one: ClassEstimates, points: int) -> bool:
    """Return whether the interval of a class's area cannot keep its word, as that of a rare class."""
    area, half = one.area.value, one.area.ci95
    return points < ENOUGH_POINTS or (area is not None and half is not None and half > area)


def _thin(one: ClassEstimates, points: int) -> str:
    return (
        f"{one.slug}: its area rests on {points} reference points, too few for the interval; "
        "label more points where this class may be"
    )


def _interval(value: float, error: float, factor: float = 1.0) -> Interval:
    """Return an estimate with its standard error, times a factor, as a confidence interval."""
    return Interval(value=plain(value * factor), ci95=plain(Z95 * error * factor))


def _check_points(path: Path, sample: samples.Sample, needed: NDArray[Any]) -> None:
    labelled = sample.counts.sum(axis=1)
    for points, what, remedy in (
        (sample.points, "points", "draw another sample with geoseg sample"),
        (labelled, "labelled points", "fill in reference_class there"),
    ):
        poor = sample.strata["title"][points < needed]
        if len(poor):
            raise SceneError(f"{path}: fewer than two {what} in {', '.join(poor)}; {remedy}")
