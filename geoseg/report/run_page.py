"""The page of a run: one self-contained HTML file with a map to pan and zoom."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from geoseg.config.run_record import RunRecord
from geoseg.core.errors import OutputError, one_line
from geoseg.core.files import write_atomic
from geoseg.core.legend import Legend
from geoseg.core.run_files import RunFile
from geoseg.report import run_parts
from geoseg.report.field_page import label_page, value_page
from geoseg.report.map_images import (
    STEP,
    band_titles,
    class_layer,
    confidence_colors,
    confidence_layer,
    probability_layer,
)
from geoseg.report.map_page import Colors, ShownLayer, ShownMap, map_page, read_grid, strange_layers
from geoseg.report.object_parts import object_figures, object_section, object_table
from geoseg.report.polygon_sizes import polygon_sizes
from geoseg.report.scene_picture import ScenePicture
from geoseg.report.seams import check_seams
from geoseg.report.survey import survey
from geoseg.report.timeline import Timeline
from geoseg.scenes.gdal import RASTER_ERRORS
from geoseg.scenes.scene import part_at
from geoseg.tiling.grid import TileAxis, TileGrid

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
    def disagreement(self) -> Path | None:
        """Path of the map of where the networks of an ensemble disagree; None when the run wrote none."""
        return self.folder / RunFile.DISAGREEMENT if RunFile.DISAGREEMENT in self.record.outputs else None

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
    return _class_page(page)


def _class_page(page: RunPage) -> str:
    record, legend, objects = page.record, page.legend, page.record.objects
    geobox, _ = read_grid(page.class_map)
    found = survey(page.class_map, page.confidence)
    lines, columns = (axis.seams for axis in page.axes)
    seams = check_seams(((found.rows, lines), (found.cols, columns)))
    places = run_parts.least_confident(page.class_map, legend, geobox, found.cells)
    rows = run_parts.class_rows(record, legend, found)
    sizes = polygon_sizes(page.folder, record.outputs, legend, "px" if record.area_m2 is None else "m²")
    section = None if objects is None else object_section(record, legend, objects)
    confidence = run_parts.confidence_chart(rows, found) if found.cells and objects is None else None
    tables = {
        "classes": (
            run_parts.class_table(record, rows) if objects is None else object_table(record, legend, objects)
        ),
        **({} if section is None else {"scores": section.scores.table}),
        **({} if confidence is None else {"confidence": confidence.table}),
        **({} if sizes is None else {"sizes": sizes.chart.table}),
    }
    probabilities = page.folder / RunFile.PROBABILITIES if RunFile.PROBABILITIES in record.outputs else None
    shown = ShownMap(
        page.class_map, _layers(page, run_parts.shares_text(rows)), lines, columns,
        places=[p.box for p in places], legend=[r.legend.slug for r in rows], tables=tables,
        probabilities=None if probabilities is None else probability_layer(probabilities),
        probable=[] if probabilities is None else band_titles(probabilities),
    )  # fmt: skip
    return map_page(
        "run.html.j2", page, shown, seams=seams, rows=rows, objects=section, places=places, sizes=sizes,
        figures=(
            run_parts.headline_results(record, found) if objects is None else object_figures(record, objects)
        ),
        scored=any(r.iou is not None or r.f1 is not None for r in rows),
        ramp=["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in confidence_colors()] if found.cells else [],
        confidence=confidence,
        small=confidence_layer(page.confidence, _SMALL_MAP, "small") if page.confidence else None,
        seam_chart=run_parts.seam_chart(seams) if seams else None,
    )  # fmt: skip


def _layers(page: RunPage, classes: str) -> list[ShownLayer]:
    """Return the layers of the map."""
    colors: Colors = [[*c.rgb, c.title] for c in page.legend.classes]
    layers = [
        ShownLayer(
            "classes", "Classes", class_layer(page.class_map, page.legend), f"Class map: {classes}", colors
        )
    ]
    if page.confidence:
        title = "Confidence" if page.record.objects is None else "Score"
        steps: Colors = [
            [*rgb, f"{i * STEP} to {(i + 1) * STEP} %"] for i, rgb in enumerate(confidence_colors())
        ]
        alt = f"{title} map, dark where unsure"
        layers.append(ShownLayer("confidence", title, confidence_layer(page.confidence), alt, steps))
    if page.disagreement:
        differ: Colors = [
            [*rgb, f"disagreement {i * STEP} to {(i + 1) * STEP} %"]
            for i, rgb in enumerate(confidence_colors())
        ]
        about, picture = (
            "Disagreement of the networks, light where they disagree",
            confidence_layer(page.disagreement, kind="disagreement"),
        )
        layers.append(ShownLayer("disagreement", "Disagreement", picture, about, differ))
    return [*layers, *strange_layers(page)]
