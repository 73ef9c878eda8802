"""Facts in the metadata of ONNX files as the QGIS plugin Deepness reads them.

Each value is JSON, in older files a Python literal. The plugin feeds uint8 numbers divided by 255, less a
mean, divided by a standard deviation.
"""

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.core.errors import BundleError
from geoseg.models.importing.draft import checked

_CENTIMETRES = 100


def facts_of_metadata(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Return the facts of a card that metadata of Deepness tell; none where there is no key of Deepness.

    Raises
    ------
    BundleError
        When the network is no segmentation, or a value cannot be read.
    """
    known = {k: _value(metadata[k], k, path) for k in _KEYS if k in metadata}
    if not known:
        return {}
    if (kind := known.get("model_type", "Segmentor")) != "Segmentor":
        raise BundleError(
            f"{path}: its model_type is {str(kind)[:40]!r}; geoseg runs networks of class Segmentor"
        )
    facts: dict[str, Any] = {"numbers": "raw", "input_scale": 1 / 255}
    if "resolution" in known:
        facts["gsd"] = float(known["resolution"]) / _CENTIMETRES
    if names := known.get("class_names") or known.get("names"):
        facts["classes"] = _names(names)
    for key in ("mean", "std"):
        if values := known.get(f"standardization_{key}"):
            facts[key] = [float(v) for v in values]
    side = known.get("tile_size") or known.get("tiles_size")
    if side:
        facts["tile"] = int(side)
        if overlap := known.get("tiles_overlap"):
            facts["overlap"] = round(int(side) * float(overlap) / 100) // 2 * 2
    # What geoseg itself wrote, for which the plugin has no keys.
    own = known.get("geoseg")
    return {**facts, **checked(dict(own), f"{path}: metadata geoseg")} if isinstance(own, dict) else facts


_KEYS = (
    "geoseg",
    "model_type", "class_names", "names", "resolution", "tile_size", "tiles_size", "tiles_overlap",
    "standardization_mean", "standardization_std", "seg_thresh", "seg_small_segment",
)  # fmt: skip


def _value(text: str, key: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        if key == "model_type":
            return text
        raise BundleError(
            f"{path}: metadata {key}: {text[:40]!r} is neither JSON nor a Python literal"
        ) from None


def _names(names: Any) -> dict[int, str]:
    pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
    return dict(sorted((int(k), str(v)) for k, v in pairs))
