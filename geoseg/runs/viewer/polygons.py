"""The polygons of a run for a map: single vector tiles of its archive, or all of them where they are few."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmtiles.reader import MmapSource, Reader

from geoseg.core.run_files import RunFile
from geoseg.runs.finished import Run
from geoseg.runs.viewer.tiles import Place

MOST_BYTES = 16_000_000
"""Largest file of polygons that is sent as a whole."""

_WHOLE = (RunFile.GEOPACKAGE, RunFile.FLATGEOBUF, RunFile.GEOJSON, RunFile.GEOPARQUET)


@dataclass(frozen=True)
class Polygons:
    """What the page is told of the polygons, and how it gets them."""

    about: dict[str, Any]
    """For MapLibre: `kind` is `tiles` or `geojson`."""
    tile: Callable[[Place], bytes | None] = lambda _: None
    """A vector tile, compressed with gzip; None where it is empty."""
    whole: Callable[[], bytes] | None = None
    """All of them as GeoJSON."""


def polygons_of(run: Run, folder: Path) -> tuple[Polygons | None, str]:
    """Return the polygons of a run, None where none can be shown, and a note for the page."""
    outputs = run.record.outputs
    if RunFile.PMTILES in outputs and (folder / RunFile.PMTILES).is_file():
        return _tiled(folder / RunFile.PMTILES), ""
    files = [folder / name for name in _WHOLE if name in outputs and (folder / name).is_file()]
    if not files:
        return None, ""
    if files[0].stat().st_size > MOST_BYTES:
        return None, "The polygons are many: they are shown when the run writes them as pmtiles, too."
    return Polygons({"kind": "geojson"}, whole=lambda: _as_geojson(run)), ""


def _tiled(path: Path) -> Polygons:
    with path.open("rb") as file:
        # The file may be closed: the memory map stays.
        archive = Reader(MmapSource(file))
    head = archive.header()
    layers = archive.metadata()["vector_layers"]
    about = {
        "kind": "tiles", "layer": layers[0]["id"],
        "minzoom": head["min_zoom"], "maxzoom": head["max_zoom"],
    }  # fmt: skip
    return Polygons(about, tile=lambda place: archive.get(*place))


def _as_geojson(run: Run) -> bytes:
    frame = run.polygons().to_crs(4326)
    return json.dumps(json.loads(frame.to_json(drop_id=False)), separators=(",", ":")).encode()
