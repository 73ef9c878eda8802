"""`geoseg.open_scene`: whatever a scene is given as, one Dataset."""

import json

import numpy as np
import pystac
import pytest

import geoseg
from geoseg.core.errors import ConfigError, SceneError
from tests.conftest import BAND_NAMES, reflectance, write_raster


@pytest.fixture
def scene_file(tmp_path):
    numbers = reflectance(40, 50)
    numbers[1, :5] = 0
    return write_raster(tmp_path / "s.tif", numbers, names=BAND_NAMES, scale=0.0001, nodata=0)


@pytest.fixture
def item(scene_file):
    """An item of version 1.1 with the bands of the file as one asset."""
    bands = [{"name": n, "eo:common_name": n, "raster:scale": 1e-4, "nodata": 0} for n in BAND_NAMES]
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": "toy", "stac_extensions": [], "links": [],
        "geometry": {"type": "Point", "coordinates": [15, 40]}, "bbox": [15, 40, 15, 40],
        "properties": {"datetime": "2024-06-01T10:00:00Z"},
        "assets": {
            "data": {"href": str(scene_file), "type": "image/tiff; application=geotiff", "bands": bands}
        },
    }  # fmt: skip


def test_a_path_an_entry_an_item_and_a_mosaic_of_one_are_one_scene(scene_file, item, tmp_path):
    (tmp_path / "toy.json").write_text(json.dumps(item))
    expected = geoseg.open_scene(scene_file)
    for source in (
        str(scene_file), {"uri": str(scene_file)}, item, pystac.Item.from_dict(item), tmp_path / "toy.json",
        [scene_file], [pystac.Item.from_dict(item)], {"mosaic": [str(scene_file)]},
    ):  # fmt: skip
        found = geoseg.open_scene(source, bands=["nir", "green"])
        assert list(found.data_vars) == ["nir", "green", "valid"]
        assert np.array_equal(found.green, expected.green)
        assert np.array_equal(found.valid, (expected.green != 0))
        assert found.green.attrs["scale_factor"] == 1e-4
        assert found.odc.geobox == expected.odc.geobox
    assert str(geoseg.open_scene(item).time.values) == "2024-06-01T10:00:00.000000000"


def test_the_quality_band_counts_unless_it_is_declined(scene_file, tmp_path):
    quality = write_raster(tmp_path / "q.tif", np.tile(np.uint8([0, 1]), (40, 25)))
    entry = {"uri": str(scene_file), "mask": {"uri": str(quality), "invalid_values": [1]}}
    assert geoseg.open_scene(entry).valid.values.mean() == pytest.approx(35 / 40 / 2)
    assert geoseg.open_scene(entry, mask=False).valid.values.mean() == pytest.approx(35 / 40)


def test_haze_is_part_of_the_offset(scene_file):
    entry = {"uri": str(scene_file), "level": "toa", "radiometry": {"dark_object": True}}
    scene = geoseg.open_scene(entry)
    assert scene.blue.attrs["add_offset"] < 0
    assert "level" not in scene.attrs
    assert geoseg.open_scene({**entry, "radiometry": {}}).attrs["level"] == "toa"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"uri": "a.tif", "skale": 1}, "open_scene: skale: unknown key; did you mean 'scale'"),
        (7, "int is no scene; give a name"),
        ([], "list is no scene"),
        ("no-such-scene", "is not in"),
        ("no/such.tif", "no such file"),
    ],
)
def test_what_is_no_scene_is_told_in_a_line(source, told):
    with pytest.raises((ConfigError, SceneError), match=told):
        geoseg.open_scene(source)
