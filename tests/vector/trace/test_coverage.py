"""RegionPolygons are those of the whole map, whatever the blocks are and wherever they are worked on."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapely
from hypothesis import given
from scipy.ndimage import label as scipy_label

from geoseg.core.geometry import Window, windows_of
from geoseg.core.legend import NODATA
from geoseg.core.ordered import Workers
from geoseg.vector.recipe import Generalize
from geoseg.vector.trace import coverage
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.coverage import polygons
from tests.conftest import write_raster
from tests.vector.maps import (
    HERE,
    Elsewhere,
    found,
    many,
    maps,
    patches,
    polygons_of,
    rasterio_polygons,
    save,
    simplest,
    spiral,
    with_hole,
)

BLOCKS = (1, 2, 3, 5, 1024)


def islands():
    """Islands in holes in islands, some on the lines between blocks."""
    classes = np.zeros((13, 17), np.uint8)
    for i in range(1, 6):
        classes[i:-i, i:-i] = i % 3
    classes[2, 2:9] = NODATA
    return classes


def ragged():
    """A strip of a scene: nodata beyond a slanting edge."""
    y, x = np.indices((19, 23))
    return np.where(abs(x - y) < 7, (x // 3 + y // 4) % 3, NODATA).astype(np.uint8)


def noise():
    return np.random.default_rng(0).integers(0, 2, (14, 15)).astype(np.uint8)


SPECIAL = {
    "chessboard": np.indices((9, 8)).sum(axis=0).astype(np.uint8) % 2,
    "chessboard of nodata": np.where(np.indices((8, 9)).sum(axis=0) % 2, 1, NODATA).astype(np.uint8),
    "islands": islands(),
    "spiral": spiral(17),
    "ragged": ragged(),
    "one class": np.full((7, 11), 3, np.uint8),
    "one pixel": np.full((1, 1), 2, np.uint8),
    "one pixel in nodata": np.pad(np.full((1, 1), 2, np.uint8), 3, constant_values=NODATA),
    "the last class": np.where(np.indices((6, 6)).sum(axis=0) % 3, 254, 0).astype(np.uint8),
    "rings that meet in corners": np.array(
        [[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 0, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], np.uint8
    ),
    "one row": np.array([[0, 0, 1, 255, 1, 1, 0]], np.uint8),
    "one column": np.array([[0], [0], [1], [255], [1], [0]], np.uint8),
    "noise": noise(),
}


def is_rasterios(folder, classes, block):
    theirs, values = rasterio_polygons(classes)
    ours, stats = polygons_of(folder, classes, block=block)
    assert shapely.is_valid(ours).all()
    assert simplest(ours, stats.value.tolist()) == simplest(theirs, values)
    assert shapely.area(ours).tolist() == stats.pixels.tolist()


@many(15)
@given(maps())
def test_polygons_are_those_of_rasterio_for_any_block_size(tmp_path, classes):
    if (classes == NODATA).all():
        return
    for block in BLOCKS:
        is_rasterios(tmp_path, classes, block)


@pytest.mark.parametrize("name", SPECIAL)
def test_special_maps_are_those_of_rasterio(tmp_path, name):
    for block in BLOCKS:
        is_rasterios(tmp_path, SPECIAL[name], block)


def test_the_spiral_is_one_region_through_every_block():
    classes = SPECIAL["spiral"]
    assert scipy_label(classes == 1)[1] == 1
    for window in windows_of(classes.shape, 5):
        assert (classes[window.relative_to(Window.of(0, 0, *classes.shape))] == 1).any()


def test_a_larger_map_is_rasterios(tmp_path):
    is_rasterios(tmp_path, with_hole(patches(3, (300, 260))), 64)


def test_a_map_of_nodata_has_no_polygons(tmp_path):
    for block in BLOCKS:
        geometry, _ = polygons_of(tmp_path, np.full((5, 7), NODATA, np.uint8), block=block)
        assert len(geometry) == 0


def meeting_points(classes):
    """Return the corners (x, y) where three pixels or more of different regions or of none meet."""
    regions = np.full(np.add(classes.shape, 2), -1)
    taken = 0
    for value in np.unique(classes[classes != NODATA]):
        labels, count = scipy_label(classes == value)
        inner = regions[1:-1, 1:-1]
        inner[labels > 0] = labels[labels > 0] + taken
        taken += count
    for y in range(classes.shape[0] + 1):
        for x in range(classes.shape[1] + 1):
            around = set(regions[y : y + 2, x : x + 2].ravel().tolist())
            if len(around) > 2:
                yield (x, y), len(around - {-1})


@many(15)
@given(maps())
def test_where_three_regions_meet_all_have_a_vertex(tmp_path, classes):
    points = list(meeting_points(classes))
    for block in (2, 1024):
        geometry, _ = polygons_of(tmp_path, classes, block=block)
        corners = [set(map(tuple, shapely.get_coordinates(g).astype(int).tolist())) for g in geometry]
        for point, regions in points:
            assert sum(point in c for c in corners) == regions
        assert not len(geometry) or shapely.coverage_is_valid(geometry)


def test_rasterios_polygons_lack_such_vertices():
    classes = np.array([[0, 0], [1, 2]], np.uint8)
    assert not shapely.coverage_is_valid(rasterio_polygons(classes)[0])


@many(15)
@given(maps())
def test_sums_are_those_of_the_pixels(tmp_path, classes):
    rng = np.random.default_rng(classes.size)
    share = rng.random(classes.shape).astype(np.float32)
    share[classes == NODATA] = 255
    confidence = write_raster(tmp_path / "share.tif", share, nodata=255)
    files = MapFiles(save(tmp_path, classes), confidence)
    percent = np.rint(share * 100).astype(int)
    framed = np.pad(classes, 1, constant_values=NODATA)
    for block in (1, 4, 1024):
        geometry, stats = found(files, block=block, threshold=30)
        regions = {}
        for value in np.unique(classes[classes != NODATA]).tolist():
            labels, count = scipy_label(classes == value)
            for i in range(1, count + 1):
                inside = labels == i
                around = np.pad(inside, 1)
                near = np.zeros_like(around)
                for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
                    near |= np.roll(around, step, axis)
                y, x = np.argwhere(inside)[0].tolist()
                regions[x, y] = (
                    value, int(inside.sum()), int(percent[inside].sum()), int(percent[inside].min()),
                    int((percent[inside] < 30).sum()), bool((framed[near] == NODATA).any()),
                )  # fmt: skip
        assert len(geometry) == len(regions)
        for i, polygon in enumerate(geometry):
            (own,) = (r for (x, y), r in regions.items() if polygon.contains(shapely.Point(x + 0.5, y + 0.5))
                      and r[0] == stats.value[i] and r[1] == polygon.area)  # fmt: skip
            one = stats.take(np.array([i]))
            assert own == (
                one.value.item(), one.pixels.item(), one.confidence.item(), one.minimum.item(),
                one.doubtful.item(), one.edge.item(),
            )  # fmt: skip


def test_a_region_whose_neighbours_end_above_does_not_touch_the_edge(tmp_path):
    classes = np.ones((5, 5), np.uint8)
    classes[0, 2], classes[1:4, 2] = 0, 2
    for block in BLOCKS:
        _, stats = polygons_of(tmp_path, classes, block=block)
        assert dict(zip(stats.value.tolist(), stats.edge.tolist(), strict=True)) == {0: 1, 1: 1, 2: 0}


def test_objects_part_regions_of_a_class(tmp_path):
    classes = np.zeros((6, 8), np.uint8)
    classes[1:5, 1:7] = 1
    classes[:, 4] = 2  # the class between objects
    numbers = np.zeros(classes.shape, np.uint32)
    numbers[1:5, 1:4], numbers[1:5, 4:7] = 1, 2
    files = MapFiles(
        save(tmp_path, classes),
        objects=write_raster(tmp_path / "objects.tif", numbers),
        object_classes=np.array([0, 1, 1], np.uint8),
    )
    for block in BLOCKS:
        geometry, stats = found(files, block=block)
        every = sorted(
            zip(
                (stats.value % 256).tolist(),
                (stats.value // 256).tolist(),
                shapely.area(geometry),
                strict=True,
            )
        )
        # The class in between goes to object 2, and stays where there is no object.
        assert [e for e in every if e[1]] == [(1, 1, 12.0), (1, 2, 12.0)]
        assert [e[2] for e in every if e[0] == 2] == [1.0, 1.0]
        assert sum(e[2] for e in every) == classes.size


def all_bytes(files, how, workers, block=16):
    parts = polygons(files, workers, how=how, threshold=50, folder=files.classes.parent, block=block)
    return [
        array.tobytes()
        for p in parts
        for array in (p.rings.vertices, p.rings.offsets, p.rings.polygons, p.stats.pixels, p.stats.confidence)
    ]


@pytest.mark.parametrize("how", [Generalize(), Generalize(1.5, smooth=1.0)], ids=["exact", "generalised"])
def test_the_same_bytes_wherever_blocks_are_worked_on(tmp_path, how):
    classes = with_hole(patches(7, (90, 110)))
    share = np.random.default_rng(0).random(classes.shape).astype(np.float32)
    files = MapFiles(save(tmp_path, classes), write_raster(tmp_path / "share.tif", share))
    expected = all_bytes(files, how, HERE)
    for threads in (1, 2):
        with ThreadPoolExecutor(threads) as executor:
            assert all_bytes(files, how, Workers(executor, 2 * threads)) == expected
    elsewhere = Elsewhere()
    assert all_bytes(files, how, Workers(elsewhere, 9)) == expected
    assert elsewhere.most == 10


def test_only_a_bounded_number_of_blocks_waits(tmp_path):
    files = MapFiles(save(tmp_path, patches(1)))
    executor = Elsewhere()
    assert all_bytes(files, Generalize(), Workers(executor, 2), block=8)
    assert executor.most == 3


def test_regions_come_in_bounded_numbers(tmp_path, monkeypatch):
    classes = patches(5)
    files = MapFiles(save(tmp_path, classes))
    expected, _ = found(files, block=20)
    monkeypatch.setattr(coverage, "_REGIONS", 7)
    parts = list(polygons(files, HERE, how=Generalize(), folder=tmp_path, block=20))
    assert max(map(len, parts)) == 7
    geometry, _ = found(files, block=20)
    assert sorted(shapely.to_wkb(geometry)) == sorted(shapely.to_wkb(expected))


def test_a_failing_block_ends_the_work(tmp_path):
    path = save(tmp_path, patches(5))
    workers = Workers(Elsewhere(), 3)
    found_polygons = polygons(MapFiles(path), workers, how=Generalize(), folder=tmp_path, block=20)
    next(found_polygons)
    path.unlink()
    with pytest.raises(Exception, match="No such file"):
        list(found_polygons)


def test_rows_of_blocks_are_lower_where_the_map_is_noise_and_cover_it_once(tmp_path):
    rng = np.random.default_rng(0)
    classes = np.repeat(np.repeat(rng.integers(0, 3, (16, 16)), 8, 0), 8, 1).astype(np.uint8)
    classes[64:96] = rng.integers(0, 3, (32, 128))
    files = MapFiles(save(tmp_path, classes))
    windows = list(coverage.rows_of_blocks(files, classes.shape, 32))
    heights = [w.shape[0] for w in windows if w.cols.start == 0]
    assert heights[:2] == [32, 32]
    assert heights[2:-1] == [4] * 8
    assert heights[-1] == 32
    seen = np.zeros(classes.shape, int)
    for window in windows:
        seen[window.rows.start : window.rows.stop, window.cols.start : window.cols.stop] += 1
    assert (seen == 1).all()
