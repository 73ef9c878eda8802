"""Areas of interest, as pipelines describe them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from geoseg.config.fields import GATE
from geoseg.config.loader import Document

Longitude = Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False), GATE]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False), GATE]
_Corners = tuple[Longitude, Latitude, Longitude, Latitude]


def _has_area(box: _Corners) -> _Corners:
    west, south, east, north = box
    if south >= north:
        raise ValueError("write west, south, east, north: the second number must be less than the fourth")
    if west == east:
        raise ValueError("write west, south, east, north: west and east are the same")
    return box


def _four(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise ValueError("write four numbers: west, south, east, north")
    return value


Bbox = Annotated[_Corners, AfterValidator(_has_area), BeforeValidator(_four, json_schema_input_type=_Corners)]
"""West, south, east, north in degrees; a box whose west is more than its east crosses the antimeridian."""


class Box(Document):
    """A box in longitude and latitude."""

    bbox: Bbox


class Geometry(BaseModel):
    """A GeoJSON geometry, in longitude and latitude."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Literal["Polygon", "MultiPolygon", "GeometryCollection", "Feature", "FeatureCollection"]


def _kind(value: object) -> str:
    """Return which form a value has, so that errors are of this form alone."""
    if isinstance(value, list | tuple):
        return "(corners)"
    if isinstance(value, dict):
        return "(geometry)" if "type" in value else "(box)"
    if isinstance(value, Box):
        return "(box)"
    return "(geometry)" if isinstance(value, Geometry) else "(text)"


Area = Annotated[
    Annotated[str, Tag("(text)")]
    | Annotated[Bbox, Tag("(corners)")]
    | Annotated[Box, Tag("(box)")]
    | Annotated[Geometry, Tag("(geometry)")],
    Discriminator(_kind),
]
"""A file of polygons, WKT or GeoJSON as text; a box; a GeoJSON geometry."""
