"""Labelled data made on the spot, small enough to look through."""

import numpy as np

from geoseg.config.legend import LegendDocument
from geoseg.config.scene import SceneEntry
from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE
from geoseg.scenes.labelled import InMemory, Labelled, LabelledPixels
from geoseg.scenes.labels import open_labels
from geoseg.scenes.opening import open_scene
from tests.conftest import BAND_NAMES, reflectance, write_raster

LEGEND = LegendDocument.model_validate(
    {
        "classes": [
            {"id": 1, "slug": "water", "title": "Water", "color": "#2b7bba"},
            {"id": 2, "slug": "tree", "title": "Tree", "color": "#1b7837"},
            {"id": 3, "slug": "crop", "title": "Crop", "color": "#f2cf63"},
        ],
        "ignore": [0],
    }
)


class Known:
    """A place whose values are 1000 x row + column in every band, with given channels."""

    def __init__(self, channels, bands=2, name="known"):
        self.name, self.channels, self.bands = name, channels, bands

    @property
    def shape(self):
        return self.channels.shape

    def read(self, window: Window) -> LabelledPixels:
        rows = np.arange(window.rows.start, window.rows.stop, dtype=np.float32)[:, None]
        cols = np.arange(window.cols.start, window.cols.stop, dtype=np.float32)[None]
        values = np.broadcast_to(1000 * rows + cols, (self.bands, *window.shape)).copy()
        channels = np.full(window.shape, IGNORE, dtype=np.uint8)
        inside = window.clip(self.shape)
        whole = Window.of(0, 0, *self.shape)
        channels[inside.relative_to(window)] = self.channels[inside.relative_to(whole)]
        return LabelledPixels(values, channels)


def labelled_scene(
    folder, name="a", size=(128, 128), seed=0, group="g", part=None, origin=(5e5, 4.5e6), keep=True
):
    """A scene whose class follows from its values, so that a network can learn it; codes 1 to 3."""
    numbers = reflectance(*size, seed=seed)
    image = write_raster(folder / f"{name}.tif", numbers, names=BAND_NAMES, scale=0.0001, origin=origin)
    smooth = numbers[0].astype(float)
    codes = np.digitize(smooth, [1600, 2700]).astype(np.uint8) + 1
    labels = write_raster(folder / f"{name}_labels.tif", codes, origin=origin)
    scene = open_scene(SceneEntry(uri=str(image)), name, folder)
    place = Labelled(scene, open_labels(str(labels), scene.geobox), LEGEND.remap, group, part)
    return InMemory(place) if keep else place
