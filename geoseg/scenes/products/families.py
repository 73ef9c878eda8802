"""Which family of products a STAC item belongs to, and what its numbers mean where the item does not say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from geoseg.scenes.products import hls, landsat, sentinel2
from geoseg.scenes.products.documents import as_number
from geoseg.scenes.products.items import Item

Scaling = tuple[float | None, float | None]


@dataclass(frozen=True)
class Family:
    """What is known of the products of a collection."""

    sensor: str | None = None
    """The sensor whose designations are used for bands without a common name."""
    level: Literal["toa", "surface"] | None = None
    offset_applied: bool = False
    """Whether a catalog says that it took the offset of Sentinel-2 off the numbers."""
    reflectance: Scaling = (None, None)
    """Scale and offset of optical bands where an item tells neither."""
    temperature: Scaling = (None, None)
    """Those of thermal bands."""
    nodata: float | None = None
    saturated: float | None = None

    def scaling(self, common_name: str) -> Scaling:
        """Return scale and offset of a band by its common name."""
        return self.temperature if common_name.startswith("lwir") else self.reflectance


def family_of(item: Item, properties: Mapping[str, Any]) -> Family:
    """Return the family of an item."""
    collection = str(item.get("collection", "")).lower()
    said = " ".join(str(properties.get(k, "")) for k in ("platform", "constellation", "eo:platform")).lower()
    level = _level(f"{properties.get('processing:level', '')} {collection}".lower())
    if "hls" in collection:
        return Family(
            sensor="hls-l30" if "l30" in collection else "hls-s30", level="surface", nodata=hls.NODATA,
            reflectance=hls.REFLECTANCE, temperature=hls.TEMPERATURE,
        )  # fmt: skip
    if "sentinel-2" in said or "sentinel-2" in collection:
        return _sentinel2(properties, level)
    if number := re.search(r"landsat[-_ ]?([45789])", said):
        second = str(properties.get("landsat:collection_number", "02")) in {"02", "2"}
        correction = str(properties.get("landsat:correction", "")).upper()
        level = "surface" if correction.startswith("L2") else level
        family = Family(sensor=f"landsat-{number[1]}", level=level, nodata=landsat.NODATA)
        if second and level == "surface":
            return Family(
                family.sensor, level, nodata=family.nodata,
                reflectance=landsat.REFLECTANCE, temperature=landsat.TEMPERATURE,
            )  # fmt: skip
        return family
    return Family(level=level)


def _sentinel2(properties: Mapping[str, Any], level: Literal["toa", "surface"] | None) -> Family:
    found = properties.get("s2:processing_baseline", properties.get("processing:version"))
    number = as_number(found)
    return Family(
        sensor="sentinel-2",
        level=level,
        offset_applied=properties.get("earthsearch:boa_offset_applied") is True,
        reflectance=(None, None) if number is None else sentinel2.usual_scaling(number),
        nodata=sentinel2.NODATA,
        saturated=sentinel2.SATURATED,
    )


def _level(said: str) -> Literal["toa", "surface"] | None:
    if re.search(r"(?<![a-z])l-?2|level-?2|-sr\b", said):
        return "surface"
    return "toa" if re.search(r"(?<![a-z])l-?1|level-?1", said) else None
