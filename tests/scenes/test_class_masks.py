"""Class maps of other networks as masks: the same pixels for any window, and no more read than needed."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import binary_dilation

from geoseg.config.scene import SceneEntry
from geoseg.core.geometry import Window
from geoseg.scenes.class_masks import ClassMask, HeldMap
from geoseg.scenes.opening import open_scene
from tests.conftest import UTM, reflectance, write_raster

GRID = GeoBox((90, 110), Affine(10, 0, 500_000, 0, -10, 4_500_000), UTM)
WHOLE = Window.of(0, 0, 90, 110)


def classes(shape, seed=0):
    found = np.random.default_rng(seed).integers(0, 3, shape, dtype=np.uint8)
    return np.where(np.random.default_rng(seed + 1).random(shape) < 0.1, np.uint8(255), found)


class Watched:
    """Notes what is read of a map."""

    def __init__(self, numbers):
        self.numbers, self.read_windows = numbers, []

    def read(self, window):
        assert window.clip(self.numbers.shape) == window
        self.read_windows.append(window)
        return self.numbers[window.relative_to(Window.of(0, 0, 0, 0))]


def inside(window, other):
    return other.intersect(window) == window


@pytest.mark.parametrize("dilate", [0, 1, 4])
@pytest.mark.parametrize("gsd", [10, 20, 7])
def test_a_pixel_does_not_depend_on_the_window(gsd, dilate):
    shape = round(90 * 10 / gsd), round(110 * 10 / gsd)
    numbers = np.where(classes(shape, 3) == 1, classes(shape), np.uint8(0))
    watched = Watched(numbers)
    grid = GeoBox(shape, GRID.transform @ Affine.scale(gsd / 10), UTM)
    mask = ClassMask("m", grid, (1, 2), dilate, watched)
    valid = mask.valid_in(GRID, WHOLE)
    reach = np.hypot(*np.mgrid[-dilate : dilate + 1, -dilate : dilate + 1]) <= dilate
    bad = binary_dilation((numbers == 1) | (numbers == 2), reach) | (numbers == 255)
    rows, cols = (
        np.floor((np.arange(n) + 0.5) * 10 / gsd).astype(int).clip(0, s - 1)
        for n, s in zip(GRID.shape, shape, strict=True)
    )
    np.testing.assert_array_equal(valid, ~bad[np.ix_(rows, cols)])
    rng = np.random.default_rng(1)
    for row, col, height, width in zip(*rng.integers(0, [[60], [80], [29], [29]], (4, 20)), strict=True):
        window = Window.of(int(row), int(col), int(height) + 1, int(width) + 1)
        watched.read_windows.clear()
        np.testing.assert_array_equal(mask.valid_in(GRID, window), valid[window.relative_to(WHOLE)])
        (read,) = watched.read_windows
        assert read == mask.part(GRID, window)
        # A part of the map in memory is as good.
        held = HeldMap(read, numbers[read.relative_to(Window.of(0, 0, 0, 0))])
        np.testing.assert_array_equal(
            mask.with_map({"m": held}).valid_in(GRID, window), valid[window.relative_to(WHOLE)]
        )


def test_a_map_that_is_not_there_is_no_clear_sky():
    with pytest.raises(ValueError, match="m: its map is not there yet"):
        ClassMask("m", GRID, (1,)).valid_in(GRID, WHOLE)


def test_a_scene_says_what_it_reads_of_each_map(tmp_path):
    """Also of members in another CRS, off the grid, and for windows beyond the scene."""
    paths = [
        write_raster(tmp_path / "a.tif", reflectance(90, 110), names=("blue", "green", "red", "nir")),
        write_raster(tmp_path / "b.tif", reflectance(80, 80), names=("blue", "green", "red", "nir"),
                     origin=(500_603.0, 4_500_207.0)),
        write_raster(tmp_path / "c.tif", reflectance(120, 120), names=("blue", "green", "red", "nir"),
                     crs="EPSG:32634", origin=(-4_900.0, 4_516_600.0)),
    ]  # fmt: skip
    mosaic = open_scene(SceneEntry(mosaic=tuple(map(str, paths)), scale=1e-4), "mosaic", tmp_path)
    single = open_scene(SceneEntry(uri=str(paths[0]), scale=1e-4), "single", tmp_path)
    for scene in (mosaic, single, single.cut(Window.of(20, 30, 40, 50))):
        watched = [Watched(classes(tuple(m.whole.shape), i)) for i, m in enumerate(scene.members)]
        masks = {
            i: [ClassMask(f"mask-{i}", m.whole, (1,), 2, w)]
            for i, (m, w) in enumerate(zip(scene.members, watched, strict=True))
        }
        masked = scene.with_class_masks(masks)
        height, width = scene.shape
        for window in (
            Window.of(0, 0, height, width),
            Window.of(-9, -7, 40, 30),
            Window.of(height // 2, width // 2, 30, 40),
            Window.of(height - 5, width - 5, 25, 25),
        ):
            for one in watched:
                one.read_windows.clear()
            seen = masked.read(window)
            said = {mask.key: part for mask, part in masked.class_parts(window)}
            for i, one in enumerate(watched):
                assert all(inside(read, said[f"mask-{i}"]) for read in one.read_windows)
            # The parts that are said are enough.
            held = {
                f"mask-{i}": HeldMap(part, watched[i].read(part))
                for i in range(len(watched))
                if (part := said.get(f"mask-{i}"))
            }
            again = masked.with_class_maps(held).read(window)
            np.testing.assert_array_equal(again.valid, seen.valid)
            np.testing.assert_array_equal(again.values, seen.values)
        assert 0 < masked.read(Window.of(0, 0, height, width)).valid.mean() < 1
    assert len(mosaic.members) == 3
