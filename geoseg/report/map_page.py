"""What the pages of all maps share: the top, the map and its data, the files, and how it was made."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio
from odc.geo.geobox import GeoBox

from geoseg.core.run_files import RunFile
from geoseg.core.sharing import shared_text
from geoseg.report.doubt_lines import DoubtLines, doubt_lines
from geoseg.report.file_rows import file_rows
from geoseg.report.html import HeadlineFigure, read_template, render
from geoseg.report.lonlat import LonLat, lonlat_of
from geoseg.report.map_images import (
    MapLayer,
    ProbabilityLayer,
    scene_layer,
    strangeness_layer,
    strangeness_legend,
)
from geoseg.report.run_facts import run_facts
from geoseg.report.run_timeline import draw_timeline
from geoseg.report.seams import SeamCheck
from geoseg.report.worth import corners_text, worth_of
from geoseg.scenes.grid import crs_name

if TYPE_CHECKING:
    from geoseg.report.run_page import RunPage

_SCRIPTS = ("view", "recolour", "draw", "readout", "pin", "gestures", "legend", "share", "figures", "start")
"""The parts of the script of the map, in the order in which they need each other."""

Colors = Sequence[Sequence[int | str]]
"""Red, green, blue and name of each colour of a picture."""


@dataclass(frozen=True)
class ShownLayer:
    """A picture that can be laid over the scene."""

    name: str
    title: str
    """What the reader chooses it by."""
    picture: MapLayer
    alt: str
    colors: Colors
    """What its colours mean."""


@dataclass(frozen=True)
class ShownMap:
    """The map of a page."""

    path: Path
    layers: Sequence[ShownLayer]
    """Those over the scene; the first one is shown."""
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    """Where tiles meet."""
    none: str = "no data"
    """What the map says where no layer says anything."""
    places: Sequence[tuple[int, int, int, int]] = ()
    """Frames: first column and row, and one past the last column and row."""
    probabilities: ProbabilityLayer | None = None
    probable: Sequence[str] = ()
    """What its probabilities are of."""
    tables: Mapping[str, Sequence[Sequence[Any]]] = field(default_factory=dict)
    """What can be saved as CSV, by the name of its figure."""
    legend: Sequence[str] = ()
    """Slugs of the classes of the first layer, which can be shown alone."""


def strange_layers(page: "RunPage") -> list[ShownLayer]:
    """Return the layer of the distance from the training pixels, where a run wrote it."""
    if page.strangeness is None:
        return []
    alt = "Distance from the training pixels, red where unlike"
    picture, legend = strangeness_layer(page.strangeness), strangeness_legend()
    return [ShownLayer("strangeness", "Unlike the training", picture, alt, legend)]


def read_grid(path: Path) -> tuple[GeoBox, str]:
    """Return the grid of a map, and name and version of its model."""
    with rasterio.open(path) as src:
        return GeoBox(src.shape, src.transform, src.crs), src.tags().get("GEOSEG_MODEL", "")


def map_page(
    template: str,
    page: "RunPage",
    shown: ShownMap,
    *,
    figures: list[HeadlineFigure],
    seams: SeamCheck | None,
    **parts: Any,
) -> str:
    """Fill the template of a map.

    Parameters
    ----------
    template
        File in `report/templates` that extends `map_page.html.j2`.
    page
        The run.
    shown
        Its map.
    figures
        What the map is worth, at the top.
    seams
        Whether tiles show.
    **parts
        What the template's own sections need.
    """
    record = page.record
    geobox, model = read_grid(shown.path)
    lonlat = lonlat_of(geobox)
    script = map_script()
    facts = run_facts(record, model, None if geobox.crs is None else crs_name(geobox.crs))
    facts["Scene"].update(corners_text(geobox, lonlat))
    if seams is not None and seams.index is not None and record.objects is None:
        facts["Tiles"]["seam index"] = f"{seams.index:.2f}"
    scene = None if page.picture is None else scene_layer(page.picture)
    doubt = doubt_lines(page.folder / RunFile.DOUBT, geobox) if RunFile.DOUBT in record.outputs else []
    tables = {**shown.tables, **({} if seams is None else {"seams": _seam_table(seams)})}
    return render(
        template,
        record=record,
        worth=worth_of(record, model, geobox, lonlat),
        figures=figures,
        warnings=[shared_text(w) for w in record.warnings],
        note=shared_text(page.note),
        picture=page.picture.title if page.picture else "",
        scene_picture=scene,
        layers=shown.layers,
        probabilities=shown.probabilities,
        places=parts.pop("places", []),
        seams=seams,
        doubt=doubt,
        timeline=draw_timeline(page.timeline) if page.timeline else None,
        facts=facts,
        files=file_rows(record.outputs),
        data=_data(record.plan.gsd_m, geobox, lonlat, shown, tables, doubt),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        **parts,
    )


def map_script() -> str:
    """Return the script of the map, whose parts share one scope."""
    parts = "\n".join(read_template(f"map/{name}.js") for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _data(
    gsd_m: float | None,
    geobox: GeoBox,
    lonlat: LonLat | None,
    shown: ShownMap,
    tables: Mapping[str, Sequence[Sequence[Any]]],
    doubt: Sequence[DoubtLines],
) -> dict[str, Any]:
    """Return the data for the script."""
    crs, chances = geobox.crs, shown.probabilities
    return {
        "width": geobox.shape.x,
        "height": geobox.shape.y,
        "transform": None if crs is None else tuple(geobox.transform)[:6],
        "crs": None if crs is None else crs_name(crs),
        "geographic": crs is not None and crs.geographic,
        "lonlat": None if lonlat is None else asdict(lonlat),
        "gsd": gsd_m,
        "layers": [{"name": s.name, "colors": s.colors} for s in shown.layers],
        "legend": list(shown.legend),
        "none": shown.none,
        "rows": shown.rows,
        "cols": shown.cols,
        "places": list(shown.places),
        "doubt": [{"color": d.color, "lines": d.lines} for d in doubt],
        "probabilities": None if chances is None else {"names": list(shown.probable), "step": chances.step},
        # Not a number is no JSON.
        "tables": json.loads(json.dumps(tables), parse_constant=lambda _: None),
    }


def _seam_table(seams: SeamCheck) -> list[tuple[Any, ...]]:
    return [("distance to the seam in pixels", "share of pairs that differ"), *seams.profile]
