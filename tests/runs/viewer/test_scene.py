"""Tiles of scenes of several files, and across the antimeridian."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

from geoseg.config.scene import SceneEntry
from geoseg.scenes.opening import open_scene
from tests.conftest import reflectance, write_raster

pytest.importorskip("rio_tiler", reason="the map is served with: pip install 'geoseg[view]'")

COLORS = ("red", "green", "blue")
PLANES = reflectance(300, 260, bands=3)


def tiles(folder, entry):
    from geoseg.runs.viewer.scene import scene_tiles

    scene = open_scene(SceneEntry.model_validate(entry), "scene", folder)
    found, note = scene_tiles(json.loads(json.dumps(scene.identity())), folder, 40.0)
    assert note == ""
    return found


def place(x, y, z, crs=32633):
    from geoseg.runs.viewer.tiles import Place

    east, north = Transformer.from_crs(crs, 3857, always_xy=True).transform(x, y)
    share = np.array([east, -north]) / (2 * 20037508.342789244) + 0.5
    return Place(z, *(int(v) for v in share * 2**z))


def seen(found, at):
    return np.asarray(Image.open(io.BytesIO(found.tile(at))).convert("RGBA")).astype(int)


@pytest.mark.parametrize("z", [12, 17])
def test_several_files_and_mosaics_look_as_one_file(tmp_path, z):
    whole = write_raster(tmp_path / "whole.tif", PLANES, names=COLORS)
    for name, plane in zip(COLORS, PLANES, strict=True):
        write_raster(tmp_path / f"{name}.tif", plane[None])
    write_raster(tmp_path / "west.tif", PLANES[..., :140], names=COLORS)
    write_raster(tmp_path / "east.tif", PLANES[..., 130:], names=COLORS, origin=(501_300.0, 4_500_000.0))
    one = tiles(tmp_path, {"uri": str(whole)})
    many = tiles(tmp_path, {"bands": {name: f"{name}.tif" for name in COLORS}})
    mosaic = tiles(tmp_path, {"mosaic": [{"uri": "west.tif"}, {"uri": "east.tif"}]})
    # on the seam
    at = place(501_350, 4_498_500, z)
    expected = seen(one, at)
    assert expected[..., 3].any()
    assert expected[expected[..., 3] > 0][:, :3].std() > 20
    assert (seen(many, at) == expected).all()
    same = (np.abs(seen(mosaic, at) - expected) <= 2).all(axis=2)
    assert same.mean() > (0.98 if z == 17 else 0.995)


def test_a_map_across_the_antimeridian_has_tiles_on_both_sides(tmp_path):
    from geoseg.runs.viewer.site import bounds_of
    from geoseg.runs.viewer.tiles import Raster
    from geoseg.scenes import sources

    values = np.ones((200, 200), np.uint8)
    path = write_raster(
        tmp_path / "a.tif", values, crs="EPSG:32660", gsd=200, origin=(735_000.0, 4_500_000.0), nodata=255
    )
    west, _, east, _ = bounds_of(sources.inspect(str(path)).geobox)
    assert 179 < west < 180 < east < 181
    for x in (740_000, 770_000):
        tile = Raster(str(path)).tile(place(x, 4_480_000, 11, 32660))
        assert (tile == 1).mean() > 0.3
    assert place(740_000, 4_480_000, 11, 32660).x > 2000
    assert place(770_000, 4_480_000, 11, 32660).x < 40
