"""Styled layer descriptors (OGC 02-070, SLD 1.0), the styles of GeoServer."""

from xml.etree import ElementTree as ET

from geoseg.core.legend import Legend


def raster_sld(legend: Legend, name: str) -> ET.Element:
    """Describe a class raster; values without a class stay transparent."""
    root, style = _style(name)
    rule = ET.SubElement(ET.SubElement(style, "FeatureTypeStyle"), "Rule")
    # `values` is an extension of GeoServer: colours of single values, without interpolation.
    colors = ET.SubElement(ET.SubElement(rule, "RasterSymbolizer"), "ColorMap", type="values")
    for value, c in legend.by_id().items():
        ET.SubElement(colors, "ColorMapEntry", color=c.color, quantity=str(value), label=c.title)
    return root


def polygon_sld(legend: Legend, name: str, attribute: str) -> ET.Element:
    """Describe a polygon layer whose column `attribute` holds the class id."""
    root, style = _style(name)
    rules = ET.SubElement(style, "FeatureTypeStyle")
    for value, c in legend.by_id().items():
        rule = ET.SubElement(rules, "Rule")
        ET.SubElement(rule, "Name").text = c.slug
        ET.SubElement(rule, "Title").text = c.title
        equal = ET.SubElement(ET.SubElement(rule, "ogc:Filter"), "ogc:PropertyIsEqualTo")
        ET.SubElement(equal, "ogc:PropertyName").text = attribute
        ET.SubElement(equal, "ogc:Literal").text = str(value)
        symbolizer = ET.SubElement(rule, "PolygonSymbolizer")
        fill, stroke = ET.SubElement(symbolizer, "Fill"), ET.SubElement(symbolizer, "Stroke")
        parameters = (
            (fill, "fill", c.color),
            (stroke, "stroke", "#232323"),
            (stroke, "stroke-width", "0.2"),
            (stroke, "stroke-opacity", "0.35"),
        )
        for element, key, text in parameters:
            ET.SubElement(element, "CssParameter", name=key).text = text
    return root


def _style(name: str) -> tuple[ET.Element, ET.Element]:
    namespaces = {"xmlns": "http://www.opengis.net/sld", "xmlns:ogc": "http://www.opengis.net/ogc"}
    root = ET.Element("StyledLayerDescriptor", {"version": "1.0.0", **namespaces})
    layer = ET.SubElement(root, "NamedLayer")
    ET.SubElement(layer, "Name").text = name
    style = ET.SubElement(layer, "UserStyle")
    ET.SubElement(style, "Name").text = name
    return root, style
