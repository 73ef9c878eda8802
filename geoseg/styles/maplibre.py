"""Styles of MapLibre (maplibre.org/maplibre-style-spec, version 8) for vector tiles."""

from typing import Any

from geoseg.core.legend import Legend

_SOURCE = "polygons"


def polygon_style(
    tiles: str,
    layer: str,
    legend: Legend,
    attribute: str,
    *,
    center: tuple[float, float],
    zoom: float,
    attribution: str,
) -> dict[str, Any]:
    """Describe a layer of vector tiles: one named fill for each class, and thin outlines.

    Parameters
    ----------
    tiles
        Name of a PMTiles archive, relative to the page that shows the map.
    layer
        Name of the layer in the tiles.
    legend
        The classes.
    attribute
        Attribute with the class id.
    center, zoom
        What is shown first: longitude and latitude, zoom level.
    attribution
        Where the polygons come from, as HTML.

    Returns
    -------
    dict
        The style, plain values for JSON. Its layers are called `<id> <title>` and `outlines`. The attribute
        `id` is the id of a feature, for what changes under the pointer.
    """
    drawn = {"source": _SOURCE, "source-layer": layer}
    fills = [
        {
            "id": f"{value} {c.title}",
            "type": "fill",
            **drawn,
            "filter": ["==", ["get", attribute], value],
            # Smooth edges of neighbours would let the background through between them.
            "paint": {"fill-color": c.color, "fill-antialias": False},
        }
        for value, c in legend.by_id().items()
    ]
    # As wide as a few pixels of a map, outlines would hide it.
    width = ["interpolate", ["linear"], ["zoom"], zoom + 1, 0, zoom + 3, 0.6]
    line = {"line-color": "#232323", "line-opacity": 0.35, "line-width": width}
    return {
        "version": 8,
        "name": layer,
        "center": list(center),
        "zoom": zoom,
        "sources": {
            _SOURCE: {
                "type": "vector",
                "url": f"pmtiles://{tiles}",
                "promoteId": "id",
                "attribution": attribution,
            }
        },
        "layers": [*fills, {"id": "outlines", "type": "line", **drawn, "paint": line}],
    }
