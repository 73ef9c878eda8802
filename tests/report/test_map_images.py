import base64
import io

import numpy as np
import pytest
from PIL import Image

from geoseg.core.legend import NODATA, Legend, LegendClass
from geoseg.report import map_images
from geoseg.report.map_images import (
    band_titles,
    class_layer,
    confidence_colors,
    confidence_layer,
    probability_layer,
    scene_layer,
)
from geoseg.report.scene_picture import ScenePicture, scene_picture
from geoseg.scenes.catalog import resolve_scene
from tests.conftest import BAND_NAMES, reflectance, write_raster


def legend(count):
    return Legend(
        tuple(LegendClass((7 * i) % 255, f"c{i}", f"C{i}", f"#{i:02x}{255 - i:02x}40") for i in range(count))
    )


def decoded(layer):
    image = Image.open(io.BytesIO(base64.b64decode(layer.uri.partition(",")[2])))
    assert image.size == layer.shape[::-1]
    return np.asarray(image.convert("RGBA"))


@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 255])
def test_every_class_has_its_colour_and_nodata_none(tmp_path, count):
    classes = legend(count)
    values = np.append(classes.ids, NODATA)[np.arange(20 * 20) % (count + 1)].reshape(20, 20)
    pixels = decoded(class_layer(write_raster(tmp_path / "c.tif", values), classes))
    for c in classes.classes:
        assert (pixels[values == c.id] == (*c.rgb, 255)).all()
    assert (pixels[values == NODATA, 3] == 0).all()


def test_confidence_has_a_colour_for_every_five_per_cent(tmp_path):
    shares = np.arange(102, dtype=np.float32)[None] / np.float32(100)
    shares[0, 101] = NODATA
    pixels = decoded(confidence_layer(write_raster(tmp_path / "c.tif", shares, nodata=NODATA)))
    colors = confidence_colors()
    assert len(set(colors)) == 20
    assert [tuple(p[:3]) for p in pixels[0, :101].tolist()] == [colors[min(i // 5, 19)] for i in range(101)]
    assert pixels[0, 101, 3] == 0


def test_layers_are_no_longer_than_they_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(map_images, "CLASSES_LONGEST", 64)
    path = write_raster(tmp_path / "c.tif", np.zeros((100, 300), np.uint8))
    assert class_layer(path, legend(2)).shape == (20, 60)


def test_layers_that_take_too_many_bytes_are_made_smaller(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(map_images, "BYTES", {"scene": 9_000, "classes": 3_000, "confidence": 1_500_000})
    classes = write_raster(tmp_path / "c.tif", 7 * rng.integers(0, 6, (200, 160)).astype(np.uint8))
    layers = [
        class_layer(classes, legend(6)),
        scene_layer(ScenePicture(rng.integers(0, 255, (200, 160, 3)).astype(np.uint8), "")),
    ]
    for layer, most in zip(layers, (3_000, 9_000), strict=True):
        assert len(base64.b64decode(layer.uri.partition(",")[2])) <= most
        assert layer.shape[0] / layer.shape[1] == pytest.approx(200 / 160, rel=0.05)
        assert len(base64.b64decode(layer.uri.partition(",")[2])) > most / 2  # and not smaller than needed
        decoded(layer)


def test_a_page_of_any_scene_stays_below_six_megabytes():
    # Base64 adds a third; text, script and data take less than 300 kB.
    assert sum(map_images.BYTES.values()) * 4 / 3 < 5_700_000


def test_probabilities_of_a_small_map_are_exact_and_of_a_large_one_means(tmp_path, monkeypatch):
    shares = np.random.default_rng(0).uniform(0, 1, (2, 40, 60)).astype(np.float32)
    shares[:, :10, :10] = NODATA
    path = write_raster(
        tmp_path / "p.tif", shares, nodata=NODATA, names=("probability of A", "probability of B")
    )
    found = probability_layer(path)
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.layer.uri.partition(",")[2]))))
    assert (found.step, found.count, grey.shape) == (1, 2, (80, 60))
    assert (grey[40:] == np.where(shares[1] > 1, NODATA, np.rint(shares[1] * 100))).all()
    assert band_titles(path) == ["A", "B"]
    monkeypatch.setattr(map_images, "PROBABILITIES_LONGEST", 30)
    small = probability_layer(path)
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(small.layer.uri.partition(",")[2]))))
    assert (small.step, grey.shape) == (2, (40, 30))
    mean = shares[0, 20:22, 20:22].mean()
    assert abs(int(grey[10, 10]) - 100 * mean) <= 1


def test_a_scene_is_shown_in_true_colour_between_its_percentiles(tmp_path):
    planes = reflectance(80, 60)
    planes[:, :10] = 0
    path = write_raster(tmp_path / "s.tif", planes, names=BAND_NAMES, nodata=0, scale=0.0001)
    picture = scene_picture(resolve_scene(str(path), "s", [*BAND_NAMES[::-1]]))
    assert picture.title == "True colour"
    assert (picture.rgb[:10] == 255).all()
    for channel, band in zip(np.moveaxis(picture.rgb[10:], 2, 0), planes[[2, 1, 0], 10:], strict=True):
        low, high = np.percentile(band, (2, 98))
        assert (channel[band <= low] == 0).all()
        assert (channel[band >= high] == 255).all()
        order = np.argsort(band, axis=None)
        assert (np.diff(channel.ravel()[order].astype(int)) >= 0).all()


def test_a_scene_without_red_green_and_blue_shows_the_bands_it_has(tmp_path):
    path = write_raster(tmp_path / "s.tif", reflectance(30, 30, bands=1), names=("nir",))
    picture = scene_picture(resolve_scene(str(path), "s", ["nir"]))
    assert picture.title == "Band nir"
    assert picture.rgb.shape == (30, 30, 3)
    assert (picture.rgb[..., 0] == picture.rgb[..., 2]).all()
