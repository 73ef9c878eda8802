"""The scene of a run as tiles: from its local files, or from a picture where many pixels meet in one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from geoseg.core.errors import SceneError
from geoseg.report.scene_picture import colors_of, picture_of, stretched
from geoseg.runs.scene_layer import SceneLayer, scene_layers, scene_vrt, stretch_of
from geoseg.runs.viewer.tiles import SIDE, Place, Raster, deepest_zoom, png
from geoseg.scenes.grid import gsd_m
from geoseg.scenes.opening import reopen_scene

_PICTURE = 1536
"""Longest side of the picture in pixels."""


@dataclass(frozen=True)
class SceneTiles:
    """What is read for a tile of the scene."""

    rasters: tuple[Raster, ...]
    """Red, green and blue of each scene of a mosaic, the uppermost first."""
    limits: tuple[tuple[float, float], ...]
    """Numbers that are black and full colour, by band."""
    picture: Raster
    """The whole scene, already stretched."""
    picture_zoom: int
    """Up to this zoom level the picture has all that a tile shows."""
    title: str
    files: tuple[MemoryFile, ...]
    """Hold what the rasters read from memory."""

    def tile(self, place: Place) -> bytes:
        """Return a tile as PNG."""
        rgba = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
        if place.z <= self.picture_zoom:
            values = self.picture.tile(place)
            if values is not None:
                rgba[..., :3] = np.moveaxis(values.filled(0), 0, 2)
                rgba[..., 3] = np.where(np.ma.getmaskarray(values).any(axis=0), 0, 255)
            return png(rgba)
        for raster in self.rasters:
            if rgba[..., 3].all():
                break
            values = raster.tile(place)
            if values is not None:
                self._lay_under(rgba, values)
        return png(rgba)

    def _lay_under(self, rgba: NDArray[np.uint8], values: np.ma.MaskedArray[Any, Any]) -> None:
        """Fill what is still empty."""
        seen = ~np.ma.getmaskarray(values).any(axis=0) & (rgba[..., 3] == 0)
        for channel, (low, high) in enumerate(self.limits):
            rgba[seen, channel] = stretched(values.data[channel][seen], low, high)
        rgba[seen, 3] = 255


def scene_tiles(identity: dict[str, Any], folder: Path, latitude: float) -> tuple[SceneTiles | None, str]:
    """Return the tiles of the scene of a run, None where there are none, and a note for the page."""
    try:
        scene, changed = reopen_scene(identity)
        layers = scene_layers(scene, folder)
        if not layers:
            return (
                None,
                "The scene is not shown: its files do not lie on this machine as a map can show them.",
            )
        wanted, title = colors_of(scene)
        pixels = scene.pick(wanted).preview(_PICTURE)
        picture = picture_of(pixels, title)
    except SceneError as error:
        return None, f"The scene could not be read any more ({error})."
    whole = _in_memory(picture.rgb, pixels.valid, scene.geobox)
    pixel = (gsd_m(scene.geobox) or 1.0) * scene.geobox.shape.x / picture.rgb.shape[1]
    files, rasters = [whole], list[Raster]()
    for layer in layers:
        if not layer.is_one_file:
            files.append(_joined(layer, folder))
        path = layer.bands[0].source.path if layer.is_one_file else files[-1].name
        rasters.append(_raster(layer, path))
    note = "The files of the scene have been written to since the run." if changed else ""
    zoom = deepest_zoom(pixel, latitude) - 2  # whose pixels are no smaller than those of the picture
    small = Raster(whole.name, (1, 2, 3))
    found = SceneTiles(tuple(rasters), stretch_of(picture), small, zoom, title, tuple(files))
    return found, note


def _raster(layer: SceneLayer, path: str) -> Raster:
    numbers = tuple(b.index for b in layer.bands) if layer.is_one_file else (1, 2, 3)
    nodata = {b.nodata for b in layer.bands}
    return Raster(path, numbers, nodata.pop() if len(nodata) == 1 else None, "bilinear")


def _joined(layer: SceneLayer, folder: Path) -> MemoryFile:
    """Return the VRT of a scene of several files, with whole paths, in memory."""
    root = scene_vrt(layer, folder)
    for element, band in zip(root.iter("SourceFilename"), layer.bands, strict=True):
        element.set("relativeToVRT", "0")
        element.text = str(Path(band.source.path).expanduser().absolute())
    return MemoryFile(ET.tostring(root, encoding="utf-8"), ext=".vrt")


def _in_memory(rgb: NDArray[np.uint8], valid: NDArray[np.bool_], geobox: GeoBox) -> MemoryFile:
    rows, cols = valid.shape
    file = MemoryFile(ext=".tif")
    with file.open(
        driver="GTiff", width=cols, height=rows, count=4, dtype="uint8", crs=geobox.crs.to_wkt(),
        transform=geobox.transform @ Affine.scale(geobox.shape.x / cols, geobox.shape.y / rows),
    ) as target:  # fmt: skip
        target.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
        target.write(np.moveaxis(rgb, 2, 0), (1, 2, 3))
        target.write(np.where(valid, 255, 0).astype(np.uint8), 4)
    return file
