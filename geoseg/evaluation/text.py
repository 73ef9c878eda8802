"""Reports of an evaluation as text that people read."""

from typing import Any


def map_report(report: dict[str, Any]) -> str:
    """Lay out the comparison of a map, or of a model's chips, with a reference: classes, then totals."""
    boundary = report.get("boundary")
    head = ["class", "IoU", "F1", "precision", "recall", "reference", "map"]
    rows = []
    for c in report["classes"]:
        figures = [_figure(c[k]) for k in ("iou", "f1", "precision", "recall")]
        shares = [f"{100 * c[k]:.2f} %" for k in ("reference_share", "map_share")]
        outline = [_figure(boundary["classes"][c["slug"]])] if boundary else []
        rows.append([c["title"], *figures, *shares, *outline])
    present = len(report["classes"]) - len(report["absent"])
    note = f"{present} of {len(report['classes'])} classes; absent: {', '.join(report['absent'])}"
    totals = [
        ("overall accuracy", _figure(report["overall_accuracy"]), ""),
        ("mean IoU", _figure(report["miou"]), note if report["absent"] else ""),
        ("macro F1", _figure(report["macro_f1"]), ""),
        ("frequency-weighted IoU", _figure(report["frequency_weighted_iou"]), ""),
        ("Cohen's kappa", _figure(report["kappa"]), ""),
    ]
    if boundary:
        tolerance = f"tolerance {boundary['tolerance_pixels']:g} px"
        totals.append(("mean boundary F1", _figure(boundary["mean_f1"]), tolerance))
    calibration = report.get("calibration")
    if calibration:
        error = calibration["expected_calibration_error"]
        totals.append(("calibration error", _figure(error), f"{len(calibration['reliability'])} bins"))
        if calibration["brier"] is not None:
            totals.append(("Brier score", _figure(calibration["brier"]), "0 best, 2 worst"))
    totals.append(("pixels compared", f"{report['pixels']:,}", ""))
    if "unmapped" in report:  # of a map; every pixel of a chip has a class
        totals.append(("not labelled", f"{report['unlabelled_pixels']:,}", "mapped, but no reference class"))
        totals.append(
            ("not mapped", f"{report['unmapped']['pixels']:,}", "reference class, but nodata in the map")
        )
    return "\n".join([*_table([head + (["outline F1"] if boundary else []), *rows]), "", *_totals(totals)])


def sample_report(report: dict[str, Any]) -> str:
    """Lay out the estimates from a sample: a row for each class with 95 % confidence intervals."""
    unit, size = ("km2", 1e6) if report["unit"] == "m2" else ("px", 1.0)
    digits = 3 if unit == "km2" else 0
    head = ["class", "points", "user's", "producer's", f"area [{unit}]", f"mapped [{unit}]"]
    rows = []
    for c in report["classes"]:
        area = c["area"]
        interval = f"{area['value'] / size:,.{digits}f} ± {area['ci95'] / size:,.{digits}f}"
        rows.append([
            c["title"], str(c["points"]), _interval(c["users_accuracy"]), _interval(c["producers_accuracy"]),
            interval, f"{c['mapped_area'] / size:,.{digits}f}",
        ])  # fmt: skip
    totals = [
        ("overall accuracy", _interval(report["overall_accuracy"]), "± is the 95 % confidence interval"),
        ("points labelled", str(report["points"]), ""),
        ("not labelled", str(report["unlabelled_points"]), ""),
    ]
    return "\n".join([*_table([head, *rows]), "", *_totals(totals)])


def drawn_report(report: dict[str, Any]) -> str:
    """Lay out a sample that was drawn."""
    rows = [[c["title"], str(c["points"]), f"{c['pixels']:,}"] for c in report["classes"]]
    path = report["output"]
    last = f"wrote {path}; fill in reference_class, then: geoseg evaluate --sample {path}"
    return "\n".join([*_table([["class", "points", "pixels"], *rows]), "", last])


def _table(lines: list[list[str]]) -> list[str]:
    """Align names to the left and figures to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]


def _totals(totals: list[tuple[str, str, str]]) -> list[str]:
    name, value = (max(len(t[i]) for t in totals) for i in (0, 1))
    return [f"{a:<{name}}  {b:>{value}}  {c}".rstrip() for a, b, c in totals]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(pair: dict[str, float | None]) -> str:
    if pair["value"] is None or pair["ci95"] is None:
        return "-"
    return f"{pair['value']:.3f} ± {pair['ci95']:.3f}"
