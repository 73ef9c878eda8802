"""Reports of an evaluation as aligned text."""

from geoseg.evaluation.objects.reports import ObjectBundleReport, ObjectMapReport
from geoseg.evaluation.reports import (
    BundleReport,
    ClassEstimates,
    DrawnReport,
    EvaluationReport,
    Figure,
    FlagBundleReport,
    FlagReport,
    Interval,
    MapReport,
    NumberBundleReport,
    NumberReport,
    SampleReport,
)

_Total = tuple[str, str, str]
"""Name, figure and remark."""


def report_text(report: EvaluationReport) -> str:
    """Return a report as text: a row for each class, then the totals."""
    if isinstance(report, ObjectMapReport | ObjectBundleReport):
        return _objects(report)
    if isinstance(report, NumberReport | NumberBundleReport):
        return _numbers(report)
    if isinstance(report, FlagReport | FlagBundleReport):
        return _flags(report)
    if not isinstance(report, MapReport | BundleReport | SampleReport | DrawnReport):
        raise TypeError(f"no text for a {type(report).__name__}")
    if isinstance(report, SampleReport):
        return _estimates(report)
    return _drawn(report) if isinstance(report, DrawnReport) else _agreement(report)


def _numbers(report: NumberReport | NumberBundleReport) -> str:
    """Lay out the comparison of numbers."""

    def figure(value: Figure, *, unit: bool = True) -> str:
        return "-" if value is None else f"{value:.4g}{f' {report.unit}' if unit and report.unit else ''}"

    totals = [
        ("RMSE", figure(report.rmse), "root of the mean squared difference"),
        ("MAE", figure(report.mae), "mean absolute difference"),
        ("bias", figure(report.bias), "map minus reference"),
        ("R2", figure(report.r2, unit=False), "1 best; below 0: worse than the mean everywhere"),
        ("correlation", figure(report.correlation, unit=False), ""),
        ("reference", figure(report.reference_mean), f"standard deviation {figure(report.reference_std)}"),
        ("map", figure(report.map_mean), f"standard deviation {figure(report.map_std)}"),
        ("pixels compared", f"{report.pixels:,}", ""),
    ]
    if isinstance(report, NumberReport):
        totals.append(("not labelled", f"{report.unlabelled_pixels:,}", "mapped, but no reference"))
        totals.append(("not mapped", f"{report.unmapped_pixels:,}", "reference, but nodata in the map"))
    return "\n".join(_aligned(totals))


def _flags(report: FlagReport | FlagBundleReport) -> str:
    """Lay out the comparison of labels."""
    head = ["label", "IoU", "F1", "precision", "recall", "reference", "map"]
    rows = []
    for c in report.classes:
        figures = [_figure(v) for v in (c.iou, c.f1, c.precision, c.recall)]
        rows.append(
            [c.title, *figures, *(f"{100 * (v or 0):.2f} %" for v in (c.reference_share, c.map_share))]
        )
    totals = [
        ("mean IoU", _figure(report.miou), f"absent: {', '.join(report.absent)}" if report.absent else ""),
        ("macro F1", _figure(report.macro_f1), ""),
        ("micro F1", _figure(report.micro_f1), ""),
    ]
    if report.mean_average_precision is not None:
        totals.append(("average precision", _figure(report.mean_average_precision), "mean over the labels"))
    totals.append(("pixels compared", f"{report.pixels:,}", ""))
    return "\n".join([*_table([head, *rows]), "", *_aligned(totals)])


def _agreement(report: MapReport | BundleReport) -> str:
    """Lay out the comparison of a map, or of a network's chips, with a reference."""
    boundary = report.boundary if isinstance(report, MapReport) else None
    head = ["class", "IoU", "F1", "precision", "recall", "reference", "map"]
    rows = []
    for c in report.classes:
        figures = [_figure(v) for v in (c.iou, c.f1, c.precision, c.recall)]
        shares = [f"{100 * (v or 0):.2f} %" for v in (c.reference_share, c.map_share)]
        outline = [_figure(boundary.classes[c.slug])] if boundary else []
        error = [_figure(c.expected_calibration_error)] if report.calibration else []
        rows.append([c.title, *figures, *shares, *outline, *error])
    head += (["outline F1"] if boundary else []) + (["calibration error"] if report.calibration else [])
    table = _table([head, *rows])
    return "\n".join([*table, "", *_aligned([*_scores(report), *_pixels(report)])])


def _scores(report: MapReport | BundleReport) -> list[_Total]:
    present = len(report.classes) - len(report.absent)
    note = f"{present} of {len(report.classes)} classes; absent: {', '.join(report.absent)}"
    totals = [
        ("overall accuracy", _figure(report.overall_accuracy), ""),
        ("mean IoU", _figure(report.miou), note if report.absent else ""),
        ("macro F1", _figure(report.macro_f1), ""),
        ("frequency-weighted IoU", _figure(report.frequency_weighted_iou), ""),
        ("Cohen's kappa", _figure(report.kappa), ""),
    ]
    if isinstance(report, BundleReport):
        for name, scores in (report.other_parts or {}).items():
            overall = _figure(scores.overall_accuracy)
            totals.append((f"mean IoU, {name}", _figure(scores.miou), f"overall accuracy {overall}"))
    if isinstance(report, MapReport) and report.boundary:
        tolerance = f"tolerance {report.boundary.tolerance_pixels:g} px"
        totals.append(("mean boundary F1", _figure(report.boundary.mean_f1), tolerance))
    if calibration := report.calibration:
        error = _figure(calibration.expected_calibration_error)
        totals.append(("calibration error", error, f"{len(calibration.reliability)} bins"))
        if calibration.brier is not None:
            totals.append(("Brier score", _figure(calibration.brier), "0 best, 2 worst"))
    return totals


def _pixels(report: MapReport | BundleReport) -> list[_Total]:
    totals = [("pixels compared", f"{report.pixels:,}", "")]
    if isinstance(report, MapReport):  # every pixel of a chip has a class
        missing = f"{report.unmapped.pixels:,}"
        totals.append(("not labelled", f"{report.unlabelled_pixels:,}", "mapped, but no reference class"))
        totals.append(("not mapped", missing, "reference class, but nodata in the map"))
    return totals


def _objects(report: ObjectMapReport | ObjectBundleReport) -> str:
    """Lay out the scores of objects, of each class and of all."""
    head = ["class", "mask AP", "box AP", "F1", "precision", "recall", "reference", "detections"]
    rows = [
        [
            c.title, *(_figure(v) for v in (c.mask_ap, c.box_ap, c.f1, c.precision, c.recall)),
            f"{c.objects:,}", f"{c.detections:,}",
        ]
        for c in report.classes
    ]  # fmt: skip
    masks, boxes = report.masks, report.boxes
    sizes = ", ".join(
        f"{name} {_figure(value)}" for name in ("small", "medium", "large")
        if (value := getattr(masks, name)) is not None
    )  # fmt: skip
    totals = [
        ("mask AP", _figure(masks.ap), "mean over IoU 0.5 to 0.95; of " + sizes if sizes else ""),
        ("mask AP50, AP75", f"{_figure(masks.ap50)}, {_figure(masks.ap75)}", ""),
        ("box AP", _figure(boxes.ap), f"AP50 {_figure(boxes.ap50)}, AP75 {_figure(boxes.ap75)}"),
        ("F1", _figure(report.f1), f"at IoU 0.5 and a score of {report.score_threshold:.3f} or more"),
        ("precision, recall", f"{_figure(report.precision)}, {_figure(report.recall)}", ""),
        (
            "objects",
            f"{report.objects:,}",
            f"{report.detections:,} found, {report.duplicates:,} of them twice",
        ),
    ]
    if isinstance(report, ObjectMapReport):
        if report.left_out:
            totals.append(("left out", f"{report.left_out:,}", "where the reference says nothing"))
        if (seams := report.seams) is not None:
            beside = f"of {seams.objects:,} on seams; elsewhere {_figure(seams.interior.recall)}"
            totals.append(("recall on seams", _figure(seams.recall), beside))
            totals.append(
                ("found twice on seams", f"{seams.duplicates:,}", f"elsewhere {seams.interior.duplicates:,}")
            )
    return "\n".join([*_table([head, *rows]), "", *_aligned(totals)])


def _estimates(report: SampleReport) -> str:
    """Lay out the estimates from a sample, with 95 % confidence intervals."""
    unit, size, digits = ("km²", 1e6, 3) if report.unit == "m2" else ("px", 1.0, 0)
    head = ["class", "points", "found", "user's", "producer's", f"area [{unit}]", f"mapped [{unit}]"]

    def row(c: ClassEstimates) -> list[str]:
        return [
            c.title, str(c.points), str(c.found),
            _interval(c.users_accuracy), _interval(c.producers_accuracy),
            _interval(c.area, size, digits), f"{c.mapped_area / size:,.{digits}f}",
        ]  # fmt: skip

    totals = [
        ("overall accuracy", _interval(report.overall_accuracy), "in brackets: 95 % confidence intervals"),
        ("points labelled", str(report.points), ""),
        ("not labelled", str(report.unlabelled_points), ""),
    ]
    return "\n".join([*_table([head, *map(row, report.classes)]), "", *_aligned(totals)])


def _drawn(report: DrawnReport) -> str:
    """Lay out the points of a sample that was drawn, and the next step."""
    rows = [[c.title, str(c.points), f"{c.pixels:,}", _share(c.expected_area_within)] for c in report.classes]
    basis = f"expected from {report.expected_from}, if errors fall on classes as they are mapped"
    if "pilot" in report.expected_from:
        basis = f"expected from {report.expected_from}"
    last = f"wrote {report.output}; fill in reference_class, then: geoseg evaluate --sample {report.output}"
    return "\n".join([*_table([["class", "points", "pixels", "area to"], *rows]), "", basis, last])


def _share(value: Figure) -> str:
    return "-" if value is None else f"± {100 * value:.0f} %"


def _table(lines: list[list[str]]) -> list[str]:
    """Align names to the left and figures to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]


def _aligned(totals: list[_Total]) -> list[str]:
    name, value = (max(len(t[i]) for t in totals) for i in (0, 1))
    return [f"{a:<{name}}  {b:>{value}}  {c}".rstrip() for a, b, c in totals]


def _figure(value: Figure) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(interval: Interval, size: float = 1.0, digits: int = 3) -> str:
    low, high = interval.ci95
    if interval.value is None or low is None or high is None:
        return "-"
    value, least, most = (f"{v / size:,.{digits}f}" for v in (interval.value, low, high))
    return f"{value} ({least} to {most})"
