import struct

import matplotlib as mpl
import numpy as np
import pytest

from geoseg.core.legend import Legend, LegendClass
from geoseg.report.quicklook import Caption, _round_length, write_quicklook
from geoseg.report.scene_picture import scene_picture
from geoseg.scenes.catalog import resolve_scene
from tests.conftest import BAND_NAMES, reflectance, write_raster

LEGEND = Legend((LegendClass(1, "tree", "Tree", "#00ff00"), LegendClass(2, "water", "Water", "#0000ff")))


@pytest.fixture(autouse=True)
def _full_size():
    """Draw all pixels, as a run does that is no test."""
    with mpl.rc_context({"savefig.dpi": "figure"}):
        yield


def pixels(path):
    import matplotlib.image

    return np.rint(matplotlib.image.imread(path)[..., :3] * 255).astype(int)


@pytest.mark.parametrize("shape", [(300, 260), (1, 1), (30, 900)])
def test_the_map_shows_the_legend_colours_and_nodata_white(tmp_path, shape):
    scene_path = write_raster(tmp_path / "s.tif", reflectance(*shape), names=BAND_NAMES, scale=0.0001)
    classes = np.ones(shape, np.uint8)
    classes[: shape[0] // 2] = 2
    class_map = write_raster(tmp_path / "c.tif", classes, nodata=255)
    out = tmp_path / "quicklook.png"
    scene = resolve_scene(str(scene_path), "s", BAND_NAMES)
    caption = Caption("title & <b>", "sub", {1: 0.5, 2: 0.5})
    write_quicklook(out, scene, scene_picture(scene), class_map, LEGEND, caption)
    assert out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    picture = pixels(out)
    width, height = struct.unpack(">II", out.read_bytes()[16:24])
    assert width >= 1000
    assert height >= 150
    right = picture[:, picture.shape[1] * 43 // 100 : picture.shape[1] * 83 // 100].reshape(-1, 3)
    assert (right == (0, 255, 0)).all(axis=1).mean() > 0.01
    if shape[0] > 1:
        assert (right == (0, 0, 255)).all(axis=1).mean() > 0.01


@pytest.mark.parametrize(
    ("length", "expected"), [(4832, 2000), (999, 500), (1000, 1000), (0.7, 0.5), (23, 20)]
)
def test_scale_bars_have_round_lengths(length, expected):
    assert _round_length(length) == pytest.approx(expected)
