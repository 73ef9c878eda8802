"""`item.json`: a STAC item that agrees with the files and with `run.json`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from geoseg.core.errors import OutputError
from geoseg.core.files import read_object
from geoseg.core.legend import NODATA
from geoseg.report.profile import PROFILE
from geoseg.runs.folder import MANIFEST
from geoseg.runs.item import ITEM, LATER, MULTIHASH_SHA256, schema_problems
from geoseg.runs.validate.files import Record
from geoseg.runs.validate.findings import Failure


def check_item(record: Record) -> Iterator[Failure]:
    """Hold the item to the STAC schemas, its assets to the files, its grid and classes to the record."""
    try:
        item = read_object(record.folder / ITEM, OutputError, "as STAC describes it")
    except OutputError as error:
        yield Failure(ITEM, "item", "a JSON object", str(error))
        return
    problems = schema_problems(item)
    for problem in problems:
        yield Failure(ITEM, "schema", "a STAC 1.1 item", problem)
    if not problems:
        yield from _assets(record, item)
        yield from _grid(record, item)
        yield from _classes(record, item)


def _assets(record: Record, item: dict[str, Any]) -> Iterator[Failure]:
    assets = {str(a["href"]).removeprefix("./"): a for a in item["assets"].values()}
    for name in sorted({*record.outputs, MANIFEST} - {ITEM, PROFILE} - assets.keys()):
        yield Failure(ITEM, "assets", name, "not listed")
    for name, asset in assets.items():
        if "/" in name or not (record.folder / name).is_file():
            yield Failure(ITEM, f"asset {name}", "a file beside it", "missing")
        facts = record.outputs.get(name)
        if facts is None or name in LATER:
            continue
        told = (asset.get("file:size"), asset.get("file:checksum"))
        if told != (facts["bytes"], MULTIHASH_SHA256 + facts["sha256"]):
            expected = f"{facts['bytes']} bytes, sha256 {facts['sha256'][:12]}... as in {MANIFEST}"
            yield Failure(ITEM, f"size and checksum of {name}", expected, f"{told[0]} bytes, {told[1]}")


def _grid(record: Record, item: dict[str, Any]) -> Iterator[Failure]:
    box, told = record.geobox, item["properties"]
    if told.get("proj:shape") != list(box.shape):
        yield Failure(ITEM, "proj:shape", str(list(box.shape)), str(told.get("proj:shape")))
    transform = told.get("proj:transform") or []
    if len(transform) < 6 or not np.allclose(transform[:6], box.transform[:6], rtol=1e-12, atol=0):
        yield Failure(ITEM, "proj:transform", str(list(box.transform[:6])), str(transform))
    code = f"EPSG:{box.crs.epsg}" if box.crs is not None and box.crs.epsg else None
    if told.get("proj:code") != code:
        yield Failure(ITEM, "proj:code", str(code), str(told.get("proj:code")))
    if (box.crs is None) != (item["geometry"] is None):
        yield Failure(
            ITEM, "geometry", "null" if box.crs is None else "a footprint", str(item["geometry"])[:60]
        )


def _classes(record: Record, item: dict[str, Any]) -> Iterator[Failure]:
    bands = item["assets"].get("classes", {}).get("bands") or [{}]
    told = {
        c.get("value"): (c.get("title"), c.get("color_hint"), c.get("count"))
        for c in bands[0].get("classification:classes", [])
        if c.get("value") != NODATA
    }
    pixels = record.manifest["pixels"]
    legend = {i: (c.title, c.color[1:].upper(), pixels[c.slug]) for i, c in record.legend.by_id().items()}
    for number in legend.keys() | told.keys():
        if legend.get(number) != told.get(number):
            yield Failure(ITEM, f"class {number}", str(legend.get(number)), str(told.get(number)))
