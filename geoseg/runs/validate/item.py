"""Checks of `item.json`: the STAC schema, and agreement with the files and `run.json`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from geoseg.core.errors import OutputError
from geoseg.core.files import read_object
from geoseg.core.legend import NODATA
from geoseg.core.run_files import RunFile
from geoseg.runs.item import LATER, MULTIHASH_SHA256, footprint
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.finished_folder import FinishedFolder
from geoseg.runs.validate.stac_schema import schema_problems


def check_item(run: FinishedFolder) -> Iterator[Failure]:
    """Check the item against the STAC schemas, its assets, grid and classes against files and record."""
    try:
        item = read_object(run.folder / RunFile.ITEM, OutputError, "as STAC describes it")
    except OutputError as error:
        yield Failure(RunFile.ITEM, "item", "a JSON object", str(error))
        return
    problems = schema_problems(item)
    for problem in problems:
        yield Failure(RunFile.ITEM, "schema", "a STAC 1.1 item", problem)
    if not problems:
        yield from _assets(run, item)
        yield from _grid(run, item)
        if run.map_name == RunFile.CLASSES:
            yield from _classes(run, item)


def _assets(run: FinishedFolder, item: dict[str, Any]) -> Iterator[Failure]:
    assets = {str(a["href"]).removeprefix("./"): a for a in item["assets"].values()}
    for name in sorted({*run.outputs, RunFile.RECORD} - {RunFile.ITEM, RunFile.PROFILE} - assets.keys()):
        yield Failure(RunFile.ITEM, "assets", name, "not listed")
    for name, asset in assets.items():
        if "/" in name or not (run.folder / name).is_file():
            yield Failure(RunFile.ITEM, f"asset {name}", "a file beside it", "missing")
        facts = run.outputs.get(name)
        if facts is None or name in LATER:
            continue
        found = (asset.get("file:size"), asset.get("file:checksum"))
        if found != (facts.bytes, MULTIHASH_SHA256 + facts.sha256):
            expected = f"{facts.bytes} bytes, sha256 {facts.sha256[:12]}... as in {RunFile.RECORD}"
            yield Failure(
                RunFile.ITEM, f"size and checksum of {name}", expected, f"{found[0]} bytes, {found[1]}"
            )


def _grid(run: FinishedFolder, item: dict[str, Any]) -> Iterator[Failure]:
    box, found = run.geobox, item["properties"]
    if found.get("proj:shape") != list(box.shape):
        yield Failure(RunFile.ITEM, "proj:shape", str(list(box.shape)), str(found.get("proj:shape")))
    transform = found.get("proj:transform") or []
    if len(transform) < 6 or not np.allclose(transform[:6], box.transform[:6], rtol=1e-12, atol=0):
        yield Failure(RunFile.ITEM, "proj:transform", str(list(box.transform[:6])), str(transform))
    code = f"EPSG:{box.crs.epsg}" if box.crs is not None and box.crs.epsg else None
    if found.get("proj:code") != code:
        yield Failure(RunFile.ITEM, "proj:code", str(code), str(found.get("proj:code")))
    on_earth = footprint(box) is not None
    if on_earth != (item["geometry"] is not None):
        expected = "a footprint" if on_earth else "null"
        yield Failure(RunFile.ITEM, "geometry", expected, str(item["geometry"])[:60])


def _classes(run: FinishedFolder, item: dict[str, Any]) -> Iterator[Failure]:
    bands = item["assets"].get("classes", {}).get("bands") or [{}]
    found = {
        c.get("value"): (c.get("title"), c.get("color_hint"), c.get("count"))
        for c in bands[0].get("classification:classes", [])
        if c.get("value") != NODATA
    }
    pixels = run.record.pixels
    legend = {i: (c.title, c.color[1:].upper(), pixels[c.slug]) for i, c in run.legend.by_id().items()}
    for number in legend.keys() | found.keys():
        if legend.get(number) != found.get(number):
            yield Failure(RunFile.ITEM, f"class {number}", str(legend.get(number)), str(found.get(number)))
