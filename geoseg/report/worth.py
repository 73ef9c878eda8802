"""What a map is worth, for the top of its page: where and when, on which grid, by which model, how good."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from odc.geo.geobox import GeoBox

from geoseg.config.run_record import RunRecord
from geoseg.core.sharing import shared_path, shared_text
from geoseg.report.html import HeadlineFigure, is_number
from geoseg.report.lonlat import LonLat
from geoseg.scenes.grid import crs_name

_SCORES: dict[str, tuple[tuple[str, str], ...]] = {
    "classes": (("miou", "mean IoU"), ("macro_f1", "macro F1"), ("overall_accuracy", "overall accuracy")),
    "multilabel": (("miou", "mean IoU"), ("macro_f1", "macro F1"), ("micro_f1", "micro F1")),
    "instances": (("masks.ap", "mask AP"), ("masks.ap50", "at IoU 0.5"), ("f1", "F1")),
    "regression": (("rmse", "RMSE"), ("mae", "MAE"), ("r2", "R²")),
}
"""Scores of a card by task, the one that people compare first."""

_WITH_UNIT = ("rmse", "mae")


@dataclass(frozen=True)
class Worth:
    """The top of a page."""

    title: str
    """Name of the run and of the scene, once where they are the same."""
    facts: tuple[str, ...]
    """When and where the scene was taken, CRS, pixel, size."""
    model: str
    """Name, version and title of the model."""
    limits: tuple[str, ...]
    """What its card says that it is not good for."""


def worth_of(record: RunRecord, model: str, geobox: GeoBox, places: LonLat | None) -> Worth:
    """Return the top of a page.

    Parameters
    ----------
    record
        Content of `run.json`.
    model
        Name and version of the model, as the map has them.
    geobox
        The grid of the map.
    places
        Its places on the earth, if they are known.
    """
    scene, said = shared_path(record.plan.scene), record.model
    facts = (
        # A photograph has no date that matters.
        *([] if record.acquired is None and geobox.crs is None else [_taken(record.acquired)]),
        *([] if places is None else [_middle(geobox, places)]),
        *(["no CRS"] if geobox.crs is None else [crs_name(geobox.crs)]),
        *([] if record.plan.gsd_m is None else [f"{record.plan.gsd_m:g} m pixels"]),
        _size(geobox, record.plan.gsd_m),
    )
    named = model if said is None or said.title in {"", said.name} else f"{model}: {said.title}"
    limits = () if said is None else tuple(shared_text(text) for text in said.limitations)
    return Worth(scene if scene == record.name else f"{record.name}: {scene}", facts, named, limits)


def accuracy_figure(record: RunRecord) -> HeadlineFigure:
    """Return how good the model is: its first score, the others, and what they were measured on."""
    metrics = {} if record.model is None else record.model.metrics
    unit = f" {record.values.unit}" if record.values is not None and record.values.unit else ""
    found = [
        (name, f"{float(value):.3f}" + (unit if key in _WITH_UNIT else ""))
        for key, name in _SCORES.get(record.task, ())
        if is_number(value := _entry(metrics, key))
    ]
    if not found:
        what = "the run is of an older version" if record.model is None else "its card has no figures"
        return HeadlineFigure("Accuracy of the model", f"{what}; measure it: geoseg evaluate", "not stated")
    (name, score), *others = found
    reference = metrics.get("reference")
    more = [" ".join(pair) for pair in others]
    told = [", ".join(more), shared_text(reference)] if isinstance(reference, str) else [", ".join(more)]
    return HeadlineFigure(f"Model: {name}", "; ".join(t for t in told if t), score)


def class_scores(record: RunRecord) -> dict[str, tuple[Any, Any]]:
    """Return IoU and F1 of the model by slug of a class, where its card has them."""
    rows = () if record.model is None else record.model.metrics.get("classes", ())
    known = [r for r in rows if isinstance(r, Mapping)] if isinstance(rows, list) else []
    return {r["slug"]: (r.get("iou"), r.get("f1")) for r in known if "slug" in r}


def degrees_text(longitude: float, latitude: float, digits: int) -> str:
    """Return a place in degrees with the letters of its hemispheres: `10.5000° S, 75.6780° W`."""
    east = (longitude + 180) % 360 - 180
    north_south, east_west = "S" if latitude < 0 else "N", "W" if east < 0 else "E"
    return f"{abs(latitude):.{digits}f}° {north_south}, {abs(east):.{digits}f}° {east_west}"


def corners_text(geobox: GeoBox, places: LonLat | None) -> dict[str, str]:
    """Return longitude and latitude of the corners by name; none without places on the earth."""
    if places is None:
        return {}
    width, height = geobox.shape.x, geobox.shape.y
    corners = {"upper left corner": (0, 0), "lower right corner": (width, height)}
    return {
        name: degrees_text(*places.at(col, row, (height, width)), min(places.digits, 5))
        for name, (col, row) in corners.items()
    }


def _entry(metrics: Mapping[str, Any], key: str) -> Any:
    """Return an entry by its path `a.b`; None where there is none. Cards of imported models are free."""
    found: Any = metrics
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _taken(acquired: tuple[str, str] | None) -> str:
    if acquired is None:
        return "date of the scene unknown"
    first, last = (datetime.fromisoformat(t) for t in acquired)
    if first == last:
        return f"taken {first:%Y-%m-%d %H:%M} UTC"
    return f"taken {first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _middle(geobox: GeoBox, places: LonLat) -> str:
    width, height = geobox.shape.x, geobox.shape.y
    return degrees_text(*places.at(width / 2, height / 2, (height, width)), min(places.digits, 4))


def _size(geobox: GeoBox, gsd_m: float | None) -> str:
    width, height = geobox.shape.x, geobox.shape.y
    text = f"{width} × {height} px"
    if gsd_m is None:
        return text
    unit, name = (1000, "km") if max(width, height) * gsd_m >= 1000 else (1, "m")
    return f"{text} ({width * gsd_m / unit:.3g} × {height * gsd_m / unit:.3g} {name})"
