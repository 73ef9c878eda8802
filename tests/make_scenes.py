"""Large scenes that cost no disk: a VRT that repeats a small raster."""

from pathlib import Path
from xml.etree import ElementTree as ET

import rasterio


def repeat(small: Path, side: int, scale: float | None = None, width: int | None = None) -> Path:
    """Write a VRT that repeats a raster in both directions; return its path.

    It has `side` rows, and as many columns unless a `width` is given.
    """
    total = width or side
    with rasterio.open(small) as src:
        high, wide, names = src.height, src.width, src.descriptions
        wkt, t, dtype = src.crs.to_wkt(), src.transform, src.dtypes[0]
    root = ET.Element("VRTDataset", rasterXSize=str(total), rasterYSize=str(side))
    ET.SubElement(root, "SRS").text = wkt
    ET.SubElement(root, "GeoTransform").text = ", ".join(map(str, (t.c, t.a, t.b, t.f, t.d, t.e)))
    kind = {"uint8": "Byte", "uint16": "UInt16"}[dtype]
    for number, name in enumerate(names, start=1):
        band = ET.SubElement(root, "VRTRasterBand", dataType=kind, band=str(number))
        ET.SubElement(band, "Description").text = name
        if scale is not None:
            ET.SubElement(band, "Scale").text = repr(scale)
        for y in range(0, side, high):
            for x in range(0, total, wide):
                h, w = min(high, side - y), min(wide, total - x)
                source = ET.SubElement(band, "SimpleSource")
                ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = small.name
                ET.SubElement(source, "SourceBand").text = str(number)
                size = {"xSize": str(w), "ySize": str(h)}
                ET.SubElement(source, "SrcRect", xOff="0", yOff="0", **size)
                ET.SubElement(source, "DstRect", xOff=str(x), yOff=str(y), **size)
    path = small.with_name(f"{small.stem}-{side}x{total}.vrt")
    path.write_bytes(ET.tostring(root))
    return path
