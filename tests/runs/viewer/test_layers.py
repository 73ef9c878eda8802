"""The colours of maps of labels and of numbers, and what their pixels say."""

from types import SimpleNamespace

import numpy as np
import pytest

from geoseg.config.run_record import RecordedClass
from geoseg.report.map_images import value_colors
from tests.conftest import write_raster

pytest.importorskip("rio_tiler", reason="the map is served with: pip install 'geoseg[view]'")

CLASSES = [
    RecordedClass(id=1, slug="tree", title="Tree", color="#00ff00"),
    RecordedClass(id=2, slug="road", title="Road", color="#ff0000"),
]


def layers(folder, values=None, **record):
    from geoseg.runs.viewer.layers import map_layers

    outputs = dict.fromkeys(path.name for path in folder.iterdir())
    about = {"objects": None, **record}
    made = SimpleNamespace(classes=CLASSES, outputs=outputs, values=values, pixels={}, **about)
    made.pixels.update(tree=90, road=10)
    return {layer.name: layer for layer in map_layers(made, folder)}


def test_the_rarest_label_lies_on_top(tmp_path):
    planes = np.array([[[1, 1, 0, 255]], [[1, 0, 0, 255]]], np.uint8)
    write_raster(tmp_path / "labels.tif", planes, nodata=255)
    layer = layers(tmp_path)["labels"]
    values = np.ma.masked_equal(planes, 255)
    shown = layer.paint(values)[0].tolist()
    assert shown == [[255, 0, 0, 255], [0, 255, 0, 255], [232, 232, 232, 255], [0, 0, 0, 0]]
    assert [layer.say(values[:, 0, i]) for i in range(3)] == ["Tree, Road", "Tree", "none"]


def test_numbers_go_from_the_least_to_the_largest_colour(tmp_path):
    plane = np.array([[[2.0, 30.0, 15.0, np.nan]]], np.float32)
    write_raster(tmp_path / "values.tif", plane, nodata=np.nan)
    histogram = [0] * 20
    histogram[0] = histogram[19] = 50
    about = SimpleNamespace(title="Height", unit="m", min=0.0, max=20.0, histogram=histogram)
    layer = layers(tmp_path, about)["values"]
    shown = layer.paint(np.ma.masked_invalid(plane))[0].tolist()
    colors = value_colors()
    assert shown[1] == [*colors[-1], 255]
    assert shown[0][:3] == list(colors[len(colors) // 10])
    assert shown[3] == [0, 0, 0, 0]
    assert (layer.say(plane[:, 0, 0]), layer.ramp[1:]) == ("2 m", ("0 m", "20 m"))


def test_every_share_has_its_name(tmp_path):
    for name in ("confidence", "disagreement"):
        write_raster(tmp_path / f"{name}.tif", np.zeros((1, 2, 2), np.float32), nodata=255)
    titles = {name: layer.title for name, layer in layers(tmp_path).items()}
    assert titles == {"confidence": "Confidence", "disagreement": "Disagreement"}
    assert layers(tmp_path, objects="found")["confidence"].title == "Score"
