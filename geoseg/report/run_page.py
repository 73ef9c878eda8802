"""The page of a run: one self-contained HTML file with a map to pan and zoom."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import rasterio
from odc.geo.geobox import GeoBox

from geoseg.config.run_record import RunRecord
from geoseg.core.errors import OutputError, one_line
from geoseg.core.files import write_atomic
from geoseg.core.legend import Legend
from geoseg.core.run_files import RunFile
from geoseg.core.sharing import shared_path, shared_text
from geoseg.report import run_parts
from geoseg.report.field_page import label_page, value_page
from geoseg.report.html import read_template, render
from geoseg.report.map_images import (
    STEP,
    MapLayer,
    class_layer,
    confidence_colors,
    confidence_layer,
    scene_layer,
    strangeness_layers,
    strangeness_legend,
)
from geoseg.report.object_parts import object_figures, object_section
from geoseg.report.run_facts import megabytes, run_facts
from geoseg.report.run_parts import UnsurePlace
from geoseg.report.run_timeline import draw_timeline
from geoseg.report.scene_picture import ScenePicture
from geoseg.report.seams import check_seams
from geoseg.report.survey import survey
from geoseg.report.timeline import Timeline
from geoseg.scenes.gdal import RASTER_ERRORS
from geoseg.scenes.grid import crs_name
from geoseg.scenes.scene import part_at
from geoseg.tiling.grid import TileAxis, TileGrid

LAST = (RunFile.PAGE, RunFile.PROFILE)
"""Files that are finished after the page, which therefore cannot state their checksums."""

_SMALL_MAP = 640
"""Longer side of the confidence map beside its histogram, in pixels."""


@dataclass(frozen=True)
class RunPage:
    """Content of the page of a run."""

    record: RunRecord
    """Content of `run.json`."""
    folder: Path
    """Folder with the maps."""
    picture: ScenePicture | None
    """Picture of the scene; None when its files cannot be read any more."""
    note: str = ""
    """Note about the scene: that it is missing, or has changed since the run."""
    timeline: Timeline | None = None
    """Timeline of the run; None when no profile was asked for."""

    @cached_property
    def legend(self) -> Legend:
        """Classes in channel order."""
        return Legend.of(self.record.classes)

    @property
    def class_map(self) -> Path:
        """Path of the class map."""
        return self.folder / RunFile.CLASSES

    @property
    def confidence(self) -> Path | None:
        """Path of the confidence map; None when the run wrote none."""
        return self.folder / RunFile.CONFIDENCE if RunFile.CONFIDENCE in self.record.outputs else None

    @property
    def strangeness(self) -> Path | None:
        """Path of the map of distances from the training pixels; None when the run wrote none."""
        return self.folder / RunFile.STRANGENESS if RunFile.STRANGENESS in self.record.outputs else None

    @property
    def axes(self) -> tuple[TileAxis, TileAxis]:
        """Tiles along rows and along columns."""
        plan, part = self.record.plan, part_at(self.record.identity["scene"].get("part"), None)
        shape, window = ((plan.height, plan.width), None) if part is None else (part.whole.shape, part.window)
        sizes = zip(shape, plan.tile, plan.overlap, strict=True)
        inside = "tiles" in self.record.identity
        grid = TileGrid(
            *(TileAxis(n, tile, overlap, inside=inside and n > tile) for n, tile, overlap in sizes)
        )
        grid = grid if window is None else grid.cut(window)
        return grid.rows, grid.cols


def write_run_page(path: Path, page: RunPage) -> None:
    """Write the page as one HTML file that loads no other file.

    The maps are read in windows and from their overviews: memory does not grow with them.

    Parameters
    ----------
    path
        File to write; it appears complete or not at all.
    page
        Content of the page.

    Raises
    ------
    OutputError
        When a map cannot be read or the file cannot be written.
    """
    try:
        text = run_page(page)
    except RASTER_ERRORS as error:
        raise OutputError(f"{page.folder}: a map of the run cannot be read: {one_line(error)}") from error
    write_atomic(path, text.encode("utf-8"))


def run_page(page: RunPage) -> str:
    """Return the page as text."""
    if page.record.task == "regression":
        return value_page(page)
    if page.record.task == "multilabel":
        return label_page(page)
    record, legend = page.record, page.legend
    with rasterio.open(page.class_map) as src:
        geobox, model = GeoBox(src.shape, src.transform, src.crs), src.tags().get("GEOSEG_MODEL", "")
    found = survey(page.class_map, page.confidence)
    lines = tuple(axis.seams for axis in page.axes)
    seams = check_seams(((found.rows, lines[0]), (found.cols, lines[1])))
    places = run_parts.least_confident(page.class_map, legend, geobox, found.cells)
    rows = run_parts.class_rows(record, legend, found)
    script, objects = read_template("map.js"), record.objects
    return render(
        "run.html.j2",
        record=record,
        scene=shared_path(record.plan.scene),
        warnings=[shared_text(w) for w in record.warnings],
        model=model,
        finished=f"{datetime.fromisoformat(record.finished):%Y-%m-%d %H:%M} UTC",
        note=shared_text(page.note),
        picture=page.picture.title if page.picture else "",
        figures=(
            run_parts.headline_results(record, found, seams)
            if objects is None
            else object_figures(record, objects)
        ),
        objects=None if objects is None else object_section(record, legend, objects),
        rows=rows,
        layers=_layers(page, run_parts.shares_text(rows)),
        bars=run_parts.confidence_bars(found) if found.cells else [],
        small=confidence_layer(page.confidence, _SMALL_MAP) if page.confidence else None,
        places=places,
        seams=seams,
        seam_chart=run_parts.seam_chart(seams) if seams else None,
        timeline=draw_timeline(page.timeline) if page.timeline else None,
        facts=run_facts(record, model, None if geobox.crs is None else crs_name(geobox.crs)),
        files={k: (megabytes(f.bytes), f.sha256) for k, f in record.outputs.items() if k not in LAST},
        data=_map_data(page, geobox, places),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _layers(page: RunPage, classes: str) -> dict[str, tuple[MapLayer, str]]:
    """Return the layers of the map by name, the lowest first, each with its text alternative."""
    layers = {"classes": (class_layer(page.class_map, page.legend), f"Class map: {classes}")}
    if page.confidence:
        layers["confidence"] = (confidence_layer(page.confidence), "Confidence map, dark where unsure")
    layers |= strangeness_layers(page.strangeness)
    if page.picture:
        layers = {"scene": (scene_layer(page.picture), f"Scene: {page.picture.title}"), **layers}
    return layers


def _map_data(page: RunPage, geobox: GeoBox, places: list[UnsurePlace]) -> dict[str, Any]:
    """Return the data for the script of the map."""
    crs, (rows, cols) = geobox.crs, page.axes
    return {
        "width": geobox.shape.x,
        "height": geobox.shape.y,
        "transform": None if crs is None else tuple(geobox.transform)[:6],
        "geographic": crs is not None and crs.geographic,
        "gsd": page.record.plan.gsd_m,
        "legends": [
            ["classes", [[*c.rgb, c.title] for c in page.legend.classes]],
            [
                "confidence",
                [[*c, f"{i * STEP} to {(i + 1) * STEP} %"] for i, c in enumerate(confidence_colors())],
            ],
            strangeness_legend(),
        ],
        "rows": rows.seams,
        "cols": cols.seams,
        "places": [p.box for p in places],
    }
