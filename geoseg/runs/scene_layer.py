"""The scene beneath the map in desktop GIS: which bands of which files, and a VRT where they are several."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

from odc.geo.geobox import GeoBox

from geoseg.core.errors import SceneError
from geoseg.core.files import write_atomic
from geoseg.report.scene_picture import ScenePicture, colors_of
from geoseg.scenes import sources
from geoseg.scenes.bands import SceneBand
from geoseg.scenes.remote import is_remote
from geoseg.scenes.scene import Scene
from geoseg.scenes.turns import AS_STORED
from geoseg.storage.store import is_uri

_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32",
    "int32": "Int32", "float32": "Float32", "float64": "Float64",
}  # fmt: skip
"""Types of numpy as GDAL names them."""

_MOST_MEMBERS = 64
"""Most scenes of a mosaic that are layers of a project."""


@dataclass(frozen=True)
class SceneLayer:
    """Three bands of one scene, as red, green and blue."""

    name: str
    bands: tuple[SceneBand, ...]

    @property
    def is_one_file(self) -> bool:
        """Whether one file has all bands."""
        return len({band.source.path for band in self.bands}) == 1

    @property
    def geobox(self) -> GeoBox:
        """The grid of the finest band."""
        return min((b.source.geobox for b in self.bands), key=lambda g: abs(g.resolution.x))


def scene_layers(scene: Scene, folder: Path | str) -> list[SceneLayer]:
    """Return the layers that show a scene, the first one uppermost: one, or one for each scene of a mosaic.

    A scene is left out whose files lie on a server, in an archive or in a bucket, or whose bands lie in
    several files that a VRT cannot join: of several CRS, or with north at the bottom; and a photograph that
    its EXIF turns, which QGIS does not.

    Parameters
    ----------
    scene
        The scene.
    folder
        The run folder, or its URI, from which no relative path leads to a file.
    """
    if is_uri(folder):
        return []
    indexes, _ = colors_of(scene)
    found: list[SceneLayer] = []
    for member in scene.members[:_MOST_MEMBERS]:
        layer = SceneLayer(Path(member.name).name, tuple(_whole(member.bands[i]) for i in indexes))
        alone = len(scene.members) == 1
        usable = _lies_as_shown(layer) if layer.is_one_file else alone and _fit(layer)
        if usable and all(_is_file(b) for b in layer.bands):
            found.append(layer)
    return found


def scene_vrt(layer: SceneLayer, folder: Path) -> ET.Element:
    """Describe a layer whose bands lie in several files as a GDAL VRT with paths relative to `folder`."""
    geobox = layer.geobox
    root = ET.Element("VRTDataset", rasterXSize=str(geobox.shape.x), rasterYSize=str(geobox.shape.y))
    if geobox.crs is not None:
        ET.SubElement(root, "SRS").text = geobox.crs.to_wkt()
    a, b, c, d, e, f = tuple(geobox.transform)[:6]
    ET.SubElement(root, "GeoTransform").text = ", ".join(repr(float(v)) for v in (c, a, b, f, d, e))
    for number, (band, color) in enumerate(zip(layer.bands, ("Red", "Green", "Blue"), strict=True), start=1):
        element = ET.SubElement(
            root, "VRTRasterBand", dataType=_TYPES.get(band.dtype.name, "Float32"), band=str(number)
        )
        ET.SubElement(element, "Description").text = band.common_name
        if band.nodata is not None:
            ET.SubElement(element, "NoDataValue").text = repr(band.nodata)
        ET.SubElement(element, "ColorInterp").text = color
        source = ET.SubElement(element, "SimpleSource", resampling="bilinear")
        path = ET.SubElement(source, "SourceFilename", relativeToVRT="1")
        path.text = relative_path(band.source.path, folder)
        ET.SubElement(source, "SourceBand").text = str(band.index)
        own = band.source.geobox
        ET.SubElement(source, "SrcRect", _rectangle(0, 0, own.shape.x, own.shape.y))
        left, top = ~geobox.transform @ (own.transform.c, own.transform.f)
        right, bottom = ~geobox.transform @ (own.transform @ (own.shape.x, own.shape.y))
        ET.SubElement(source, "DstRect", _rectangle(left, top, right - left, bottom - top))
    return root


def write_scene_vrt(path: Path, layer: SceneLayer, folder: Path) -> Path:
    """Write `scene_vrt`; the file will lie in `folder`.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    root = scene_vrt(layer, folder)
    ET.indent(root)
    write_atomic(path, ET.tostring(root, encoding="utf-8"))
    return path


def relative_path(path: str, folder: Path) -> str:
    """Return a path relative to a folder, with slashes; links of the folder are followed, as GIS do."""
    file = Path(path).expanduser().absolute()
    return Path(os.path.relpath(file.parent.resolve() / file.name, folder.absolute().resolve())).as_posix()


def stretch_of(picture: ScenePicture) -> tuple[tuple[float, float], ...]:
    """Return the numbers between which each band goes from black to full colour."""
    return tuple((low, high if high > low else low + 1) for low, high in picture.limits)


def _whole(band: SceneBand) -> SceneBand:
    """Return a band whose file is read in full resolution, whatever overview the map was made of."""
    if band.source.level is None:
        return band
    try:
        return replace(band, source=sources.inspect(band.source.path))
    except SceneError:
        return band


def _is_file(band: SceneBand) -> bool:
    return not is_remote(band.source.path) and Path(band.source.path).is_file()


def _lies_as_shown(layer: SceneLayer) -> bool:
    """Return whether the file lies in QGIS as its map does: a photograph may be turned by its EXIF."""
    source = layer.bands[0].source
    return source.geobox.crs is not None or source.turn == AS_STORED


def _fit(layer: SceneLayer) -> bool:
    """Return whether a VRT can join the bands."""
    crs = {None if b.source.geobox.crs is None else b.source.geobox.crs.to_wkt() for b in layer.bands}
    return len(crs) == 1 and all(b.source.turn == AS_STORED for b in layer.bands)


def _rectangle(x: float, y: float, width: float, height: float) -> dict[str, str]:
    values = {"xOff": x, "yOff": y, "xSize": width, "ySize": height}
    return {k: f"{round(v, 6):.10g}" if math.isfinite(v) else "0" for k, v in values.items()}
