"""A STAC item of the Machine Learning Model extension, version 1.4, for an exported bundle."""

from typing import Any

from geoseg.models.bundle import Bundle
from geoseg.models.exporting.facts import exported_facts

EXTENSION = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"


def item_of(bundle: Bundle, file: str, raw_scale: float) -> dict[str, Any]:
    """Return the item of a bundle whose ONNX file lies beside it.

    A model has no place and no time: the footprint is the Earth, the time an open interval, as the extension
    advises. What it has no field for stands under keys with the prefix `geoseg:`.

    Parameters
    ----------
    bundle
        The bundle.
    file
        Name of the ONNX file.
    raw_scale
        What raw numbers are divided by before they enter the graph.
    """
    card = bundle.card
    bands = [b.common_name for b in card.bands]
    side = card.tile.size
    raw = card.numbers == "raw"
    ring = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    properties: dict[str, Any] = {
        "datetime": None,
        "start_datetime": "1970-01-01T00:00:00Z",
        "end_datetime": "9999-12-31T23:59:59Z",
        "description": card.description or card.title,
        "title": card.title,
        "mlm:name": card.name,
        "mlm:architecture": bundle.architecture,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "ONNX",
        "mlm:accelerator": None,
        "mlm:input": [
            {
                "name": "scene",
                "bands": bands,
                "input": {
                    "shape": [-1, len(bands), side, side],
                    "dim_order": ["batch", "bands", "height", "width"],
                    "data_type": "float32",
                },
                "value_scaling": [{"type": "scale", "value": raw_scale}] if raw else None,
                "pre_processing_function": None,
            }
        ],
        "mlm:output": [
            {
                "name": "probabilities",
                "tasks": ["semantic-segmentation"],
                "result": {
                    "shape": [-1, len(card.classes), side, side],
                    "dim_order": ["batch", "class", "height", "width"],
                    "data_type": "float32",
                },
                "classification:classes": [
                    {
                        "value": c.id,
                        "name": c.slug,
                        "title": c.title,
                        "color_hint": c.color.lstrip("#").upper(),
                    }
                    for c in card.classes
                ],
                "post_processing_function": None,
            }
        ],
        "bands": [_band(b.common_name, b.wavelength_um) for b in card.bands],
        **{f"geoseg:{key}": value for key, value in exported_facts(card, raw_scale).items()},
    }
    if card.license:
        properties["license"] = card.license
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [EXTENSION],
        "id": card.name,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [-180, -90, 180, 90],
        "properties": properties,
        "links": [],
        "assets": {
            "model": {
                "href": f"./{file}",
                "type": "application/octet-stream; framework=onnx",
                "title": "network from physical values to class probabilities",
                "roles": ["mlm:model", "data"],
                "mlm:artifact_type": "onnx",
            }
        },
    }


def _band(name: str, wavelength_um: float | None) -> dict[str, Any]:
    known = {} if wavelength_um is None else {"eo:center_wavelength": wavelength_um}
    return {"name": name, "eo:common_name": name, **known}
