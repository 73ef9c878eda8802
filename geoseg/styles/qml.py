"""Layer styles of QGIS (QML) as XML elements, tried in QGIS 3.22: see docs/qgis.md."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from geoseg.core.legend import Legend

# Red, green, blue and opacity of the line around polygons: dark, but so transparent that the classes of
# single pixels stay visible when the whole map is on the screen.
_OUTLINE = "35,35,35,90"
_OUTLINE_MM = "0.06"

_HATCHINGS = ("b_diagonal", "f_diagonal", "diagonal_x")
"""Fills of lines, as QGIS names them."""
_HATCHED_MM = "0.3"


def paletted(legend: Legend) -> ET.Element:
    """Describe a class raster: one named colour for each class."""
    root, renderer = _raster("paletted")
    palette = ET.SubElement(renderer, "colorPalette")
    for value, c in legend.by_id().items():
        ET.SubElement(palette, "paletteEntry", value=str(value), color=c.color, label=c.title, alpha="255")
    return root


def ramp(stops: Iterable[tuple[float, str, str]]) -> ET.Element:
    """Describe a raster of numbers: colours are interpolated between stops.

    Parameters
    ----------
    stops
        Value, colour (`#rrggbb`) and label, in ascending order of value.
    """
    stops = list(stops)
    low, high = (str(stops[i][0]) for i in (0, -1))
    root, renderer = _raster("singlebandpseudocolor")
    renderer.attrib |= {"classificationMin": low, "classificationMax": high}
    shader = ET.SubElement(
        ET.SubElement(renderer, "rastershader"), "colorrampshader",
        colorRampType="INTERPOLATED", classificationMode="1", clip="0", minimumValue=low, maximumValue=high,
    )  # fmt: skip
    for value, color, label in stops:
        ET.SubElement(shader, "item", value=str(value), color=color, label=label, alpha="255")
    return root


def composed(
    bands: Sequence[int], stretch: Sequence[tuple[float, float]], nodata: Sequence[float | None] = ()
) -> ET.Element:
    """Describe three bands of a raster as red, green and blue.

    Parameters
    ----------
    bands
        Numbers of the bands, from 1.
    stretch
        For each band the numbers that are black and full colour.
    nodata
        For each band a number that means nodata besides what the file states, None: none.
    """
    root, renderer = _raster("multibandcolor")
    del renderer.attrib["band"]
    for color, band, (low, high) in zip(("red", "green", "blue"), bands, stretch, strict=True):
        renderer.set(f"{color}Band", str(band))
        contrast = ET.SubElement(renderer, f"{color}ContrastEnhancement")
        ET.SubElement(contrast, "minValue").text = repr(low)
        ET.SubElement(contrast, "maxValue").text = repr(high)
        ET.SubElement(contrast, "algorithm").text = "StretchToMinimumMaximum"
    stated = ET.SubElement(root, "noData")
    for band, number in dict(zip(bands, nodata, strict=False)).items():
        if number is not None and math.isfinite(number):
            each = ET.SubElement(stated, "noDataList", bandNo=str(band), useSrcNoData="1")
            ET.SubElement(each, "noDataRange", min=repr(number), max=repr(number))
    return root


def flagged(color: str) -> ET.Element:
    """Describe a band of labels: a colour where there is one, and nothing where there is none."""
    root, renderer = _raster("paletted")
    palette = ET.SubElement(renderer, "colorPalette")
    for value, label, alpha in ((1, "yes", "255"), (0, "no", "0")):
        ET.SubElement(palette, "paletteEntry", value=str(value), color=color, label=label, alpha=alpha)
    return root


def outlined(color: str) -> ET.Element:
    """Describe a polygon layer of which only the outlines are drawn."""
    root = _qgis()
    renderer = ET.SubElement(root, "renderer-v2", type="singleSymbol", symbollevels="0", forceraster="0")
    symbol = ET.SubElement(
        ET.SubElement(renderer, "symbols"), "symbol", name="0", type="fill", alpha="1", clip_to_extent="1"
    )
    rgb = ",".join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))
    layer = {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"}
    line = {"outline_style": "solid", "outline_width": "0.6", "outline_width_unit": "MM"}
    _options(ET.SubElement(symbol, "layer", layer), {"style": "no", "outline_color": f"{rgb},255", **line})
    return root


def categorised(legend: Legend, attribute: str, *, by_slug: bool = False) -> ET.Element:
    """Describe a polygon layer: one named fill for each class, with a thin outline.

    Parameters
    ----------
    legend
        The classes.
    attribute
        Column with the class id.
    by_slug
        Whether the column has the slugs of classes instead; fills are then half transparent, to be drawn over
        a picture.
    """
    fills = [
        (
            _Category(
                c.slug if by_slug else str(value),
                "string" if by_slug else "long",
                c.title,
                alpha="0.5" if by_slug else "1",
            ),
            {
                "color": ",".join(map(str, (*c.rgb, 255))),
                "style": "solid",
                "outline_color": _OUTLINE,
                "outline_style": "solid",
                "outline_width": _OUTLINE_MM,
                "outline_width_unit": "MM",
                "joinstyle": "bevel",
            },
        )
        for value, c in legend.by_id().items()
    ]
    return _categories(attribute, fills)


def hatched(legend: Legend, attribute: str) -> ET.Element:
    """Describe a polygon layer: an outline and a hatching for each class, through which a map is seen.

    Parameters
    ----------
    legend
        Three classes at most: hatched to the right, to the left, and in both directions.
    attribute
        Column with the title of the class.
    """
    fills = [
        (
            _Category(c.title, "string", c.title),
            {
                "color": ",".join(map(str, (*c.rgb, 255))),
                "style": hatching,
                "outline_color": ",".join(map(str, (*c.rgb, 255))),
                "outline_style": "solid",
                "outline_width": _HATCHED_MM,
                "outline_width_unit": "MM",
                "joinstyle": "bevel",
            },
        )
        for c, hatching in zip(legend.classes, _HATCHINGS, strict=False)
    ]
    return _categories(attribute, fills)


@dataclass(frozen=True)
class _Category:
    """What the polygons of one fill have in a column."""

    value: str
    kind: str
    """Type of the column: `long` or `string`."""
    title: str
    alpha: str = "1"
    """Opacity of the fill, 0 to 1."""


def _categories(attribute: str, fills: Iterable[tuple[_Category, Mapping[str, str]]]) -> ET.Element:
    """Describe a polygon layer with a fill for each value of a column."""
    root = _qgis()
    renderer = ET.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr=attribute,
        symbollevels="0", forceraster="0", enableorderby="0",
    )  # fmt: skip
    categories, symbols = ET.SubElement(renderer, "categories"), ET.SubElement(renderer, "symbols")
    for number, (category, fill) in enumerate(fills):
        ET.SubElement(
            categories, "category", symbol=str(number), value=category.value, type=category.kind,
            label=category.title, render="true",
        )  # fmt: skip
        symbol = ET.SubElement(
            symbols, "symbol", name=str(number), type="fill", alpha=category.alpha, clip_to_extent="1",
            force_rhr="0",
        )  # fmt: skip
        layer = {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"}
        _options(ET.SubElement(symbol, "layer", layer), fill)
    return root


def _options(element: ET.Element, values: Mapping[str, str]) -> None:
    """Write properties as QGIS writes them since 3.20, and as older versions read them."""
    options = ET.SubElement(element, "Option", type="Map")
    for name, value in values.items():
        ET.SubElement(options, "Option", name=name, type="QString", value=value)
    for name, value in values.items():
        ET.SubElement(element, "prop", k=name, v=value)


def _qgis() -> ET.Element:
    return ET.Element("qgis", version="3.22", styleCategories="Symbology")


def _raster(kind: str) -> tuple[ET.Element, ET.Element]:
    root = _qgis()
    renderer = ET.SubElement(
        ET.SubElement(root, "pipe"), "rasterrenderer",
        type=kind, band="1", opacity="1", alphaBand="-1", nodataColor="",
    )  # fmt: skip
    return root, renderer
