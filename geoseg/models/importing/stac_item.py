"""Facts of STAC items with the Machine Learning Model extension, versions 1.2 to 1.4."""

import re
from pathlib import Path
from typing import Any

from geoseg.core.errors import BundleError
from geoseg.core.files import read_object
from geoseg.models.importing.draft import Facts

_EXTENSION = re.compile(r"stac-extensions.*/mlm/v1\.([2-4])\.")


def is_model_item(path: Path) -> bool:
    """Return whether a file is a STAC item that describes a model."""
    try:
        item = read_object(path, BundleError, "of STAC")
    except BundleError:
        return False
    return any(isinstance(k, str) and k.startswith("mlm:") for k in _mapping(item.get("properties")))


def read_item(path: Path) -> tuple[Facts, Path]:
    """Return what an item says of its model, and the file of the model.

    Raises
    ------
    BundleError
        When it has another version, or no model beside it.
    """
    item = read_object(path, BundleError, "of STAC")
    extensions = [str(e) for e in item.get("stac_extensions") or []]
    if not any(_EXTENSION.search(e) for e in extensions):
        said = next((e for e in extensions if "/mlm/" in e), "none")
        raise BundleError(f"{path}: says extension {said[:80]}; geoseg reads mlm v1.2 to v1.4")
    properties = _mapping(item.get("properties"))
    try:
        facts = _facts(properties)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise BundleError(f"{path}: its mlm: fields cannot be read: {str(error)[:100]}") from error
    return facts, _model_file(item, path)


def _model_file(item: dict[str, Any], path: Path) -> Path:
    assets = [a for a in _mapping(item.get("assets")).values() if isinstance(a, dict)]
    models = [a for a in assets if "mlm:model" in (a.get("roles") or []) or "mlm:artifact_type" in a]
    if not models:
        raise BundleError(f"{path}: has no asset with the role mlm:model")
    href = str(models[0].get("href"))
    if "://" in href:
        raise BundleError(f"{path}: its model is at {href[:120]}; download it, and write its path into href")
    file = path.parent / href
    if not file.exists():
        raise BundleError.absent(f"{path}: its model {href[:120]} is not there")
    return file


def _facts(properties: dict[str, Any]) -> Facts:
    facts: Facts = {}
    if name := properties.get("mlm:name"):
        facts["name"] = facts["title"] = str(name)
    for key, target in (("description", "description"), ("license", "license")):
        if properties.get(key):
            facts[target] = " ".join(str(properties[key]).split())[:1000]
    entry = _mapping((properties.get("mlm:input") or [{}])[0])
    output = _mapping((properties.get("mlm:output") or [{}])[0])
    bands = [_band(b, properties) for b in entry.get("bands") or properties.get("bands") or []]
    if bands:
        facts["bands"] = bands
    facts |= _scaling(entry, len(bands))
    facts |= _tile(_mapping(entry.get("input")))
    if classes := output.get("classification:classes") or output.get("classification_classes"):
        facts["classes"] = [_class(c) for c in classes]
    gsd = properties.get("raster:spatial_resolution") or properties.get("gsd")
    if isinstance(gsd, int | float) and not isinstance(gsd, bool):
        facts["gsd"] = gsd
    for key in _OWN:
        if f"geoseg:{key}" in properties:
            facts[key] = properties[f"geoseg:{key}"]
    return facts


_OWN = (
    "mean",
    "std",
    "numbers",
    "output",
    "gsd",
    "level",
    "preprocess",
    "input_scale",
    "channels",
    "temperature",
    "calibration",
    "overlap",
    "resize",
)
"""Keys of a draft for which the extension has no field; geoseg writes them with its own prefix."""


def _band(band: Any, properties: dict[str, Any]) -> str:
    """Return the common name of a band, which newer versions keep in `bands` of the item."""
    name = band if isinstance(band, str) else band.get("name", "")
    known = [b for b in (properties.get("bands") or properties.get("eo:bands") or []) if isinstance(b, dict)]
    found = next((b for b in known if b.get("name") == name), {})
    return str(found.get("eo:common_name") or found.get("common_name") or name)


def _scaling(entry: dict[str, Any], bands: int) -> Facts:
    """Return mean and standard deviation: `value_scaling`, or `norm_type` and `statistics` of 1.2."""
    rows = entry.get("value_scaling")
    if rows:
        if any(r.get("type") not in ("z-score", "scale") for r in rows):
            return {}
        scores = [r for r in rows if r["type"] == "z-score"]
        factors = [r for r in rows if r["type"] == "scale"]
        if not scores:
            return {}
        scores = scores * (bands // len(scores)) if bands and bands % len(scores) == 0 else scores
        scale = {"input_scale": 1 / float(factors[0]["value"])} if factors else {}
        return {
            "mean": [float(r["mean"]) for r in scores],
            "std": [float(r["stddev"]) for r in scores],
            **scale,
        }
    statistics = entry.get("statistics") or []
    if entry.get("norm_type") == "z-score" and statistics:
        return {
            "mean": [float(s["mean"]) for s in statistics],
            "std": [float(s["stddev"]) for s in statistics],
        }
    return {}


def _tile(shape: dict[str, Any]) -> Facts:
    """Return the side of the tiles, where the item says a square one."""
    order = [str(d) for d in shape.get("dim_order") or []]
    sizes = dict(zip(order, shape.get("shape") or [], strict=False))
    sides = {
        sizes.get(k)
        for names in (("height", "y", "rows"), ("width", "x", "cols"))
        for k in names
        if k in sizes
    }
    side = next(iter(sides), None)
    return {"tile": side} if len(sides) == 1 and isinstance(side, int) and side > 0 else {}


def _class(entry: dict[str, Any]) -> dict[str, Any]:
    row = {"id": int(entry["value"]), "title": str(entry.get("title") or entry.get("name") or entry["value"])}
    if entry.get("name"):
        row["slug"] = str(entry["name"])
    if color := entry.get("color_hint") or entry.get("color-hint"):
        row["color"] = f"#{str(color).lstrip('#')}"
    return row


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
