"""What the fields of STAC's extensions may hold, written after their texts; tests have no network.

Each extension is closed: a field with its prefix that stands not here is an error.
"""

from typing import Any

from jsonschema import Draft7Validator

_TEXT, _COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number"}
_CLASS = {
    "type": "object",
    "required": ["value", "name"],
    "properties": {
        "value": {"type": "integer"},
        "name": {"type": "string", "pattern": "^[0-9A-Za-z_-]+$"},
        "title": _TEXT,
        "description": _TEXT,
        "color_hint": {"type": "string", "pattern": "^[0-9A-F]{6}$"},
        "nodata": {"type": "boolean"},
        "count": _COUNT,
        "percentage": {"type": "number", "minimum": 0, "maximum": 100},
    },
    "additionalProperties": False,
}
FIELDS: dict[str, dict[str, Any]] = {
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json": {
        "proj:code": {"type": ["string", "null"], "pattern": "^[A-Z]+:[0-9A-Za-z]+$"},
        "proj:wkt2": {"type": ["string", "null"]},
        "proj:bbox": {"type": "array", "minItems": 4, "maxItems": 4, "items": _NUMBER},
        "proj:shape": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer"}},
        "proj:transform": {"type": "array", "minItems": 6, "maxItems": 6, "items": _NUMBER},
    },
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json": {
        "raster:sampling": {"enum": ["area", "point"]},
        "raster:spatial_resolution": {"type": "number", "exclusiveMinimum": 0},
    },
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json": {
        "classification:classes": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _CLASS},
    },
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json": {
        "processing:datetime": {"type": "string", "format": "date-time", "pattern": "Z$"},
        "processing:level": {"type": "string", "pattern": "^L[0-4][A-C]?$"},
        "processing:lineage": _TEXT,
        "processing:software": {"type": "object", "additionalProperties": _TEXT},
    },
    "https://stac-extensions.github.io/file/v2.1.0/schema.json": {
        "file:size": _COUNT,
        "file:checksum": {"type": "string", "pattern": "^[0-9a-f]+$"},
    },
}


def extension_problems(item: dict[str, Any]) -> list[str]:
    """Hold every field with a prefix to the fields above; the item must declare exactly what it uses."""
    problems, used = [], set()
    owners = {field.partition(":")[0]: uri for uri, fields in FIELDS.items() for field in fields}
    for fields in _objects(item):
        for key, value in fields.items():
            prefix = key.partition(":")[0]
            if ":" not in key:
                continue
            uri = owners.get(prefix)
            if uri is None or key not in FIELDS[uri]:
                problems.append(f"{key} is in no extension")
                continue
            used.add(uri)
            problems += [f"{key}: {e.message}" for e in Draft7Validator(FIELDS[uri][key]).iter_errors(value)]
    if used != set(item["stac_extensions"]):
        problems.append(f"declares {sorted(item['stac_extensions'])}, uses {sorted(used)}")
    return problems


def _objects(item: dict[str, Any]) -> list[dict[str, Any]]:
    assets = list(item["assets"].values())
    return [item["properties"], *assets, *(band for asset in assets for band in asset.get("bands", []))]
