import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rio_cogeo import cog_validate
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from geoseg.core.errors import GeosegWarning, OutputError
from geoseg.core.legend import NODATA
from geoseg.raster.cog import copy_cog
from geoseg.vector.recipe import Components, Watershed
from geoseg.vector.shape.instances import write_instances
from geoseg.vector.shape.watershed import split
from tests import processes
from tests.conftest import write_raster

HOUSE, SHED, EDGE = 1, 2, 3
CROSS = ndimage.generate_binary_structure(2, 1)
MAPS = arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    # Mostly houses: else there is nothing to cut.
    elements=st.sampled_from([0, SHED, EDGE, NODATA, *[HOUSE] * 6]),
)
METHODS = st.one_of(
    st.just(Components()),
    st.builds(Watershed, distance=st.sampled_from([0.0, 2.5]), depth=st.sampled_from([0.0, 0.3, 1.0])),
)
MANY = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def objects_of(folder, class_map, method, **options):
    """Return the raster of objects of a map and the class of each."""
    path = write_raster(folder / "classes.tif", np.asarray(class_map, np.uint8), nodata=NODATA)
    options = {"classes": frozenset([HOUSE]), **options}
    of = write_instances(path, folder / "ids.tif", method=method, **options)
    with rasterio.open(folder / "ids.tif") as src:
        return src.read(1), of


def in_scan_order(ids):
    """Number ids from 1 in the order of their first pixel."""
    found, first = np.unique(ids, return_index=True)
    order = found[np.argsort(first)]
    order = order[order > 0]
    table = np.zeros(int(ids.max()) + 1, int)
    table[order] = np.arange(1, len(order) + 1)
    return table[ids]


def discs(shape, *centres, radius=9):
    rows, cols = np.indices(shape)
    return np.any([np.hypot(rows - r, cols - c) <= radius for r, c in centres], axis=0).astype(np.uint8)


@MANY
@given(MAPS, METHODS, st.sampled_from([None, EDGE]), st.integers(1, 9))
def test_blocks_of_any_size_give_the_same_objects(tmp_path, classes, method, boundary, block):
    options = {"classes": frozenset([HOUSE, SHED]), "boundary": boundary}
    whole, classes_of = objects_of(tmp_path, classes, method, block=1000, **options)
    blocks, classes_of_blocks = objects_of(tmp_path, classes, method, block=block, **options)
    assert (blocks == whole).all()
    assert (classes_of_blocks == classes_of).all()
    assert (whole == in_scan_order(whole)).all()
    assert len(classes_of) == whole.max() + 1


@MANY
@given(MAPS, st.integers(1, 9))
def test_components_are_those_of_scipy(tmp_path, classes, block):
    ids, of = objects_of(tmp_path, classes, Components(), block=block, classes=frozenset([HOUSE, SHED]))
    houses, count = ndimage.label(classes == HOUSE, CROSS)
    sheds, more = ndimage.label(classes == SHED, CROSS)
    assert (ids == in_scan_order(np.where(sheds > 0, sheds + count, houses))).all()
    assert len(of) == count + more + 1
    assert (of[ids] == np.where(np.isin(classes, [HOUSE, SHED]), classes, NODATA)).all()


@MANY
@given(MAPS, METHODS)
def test_objects_are_in_one_piece_and_cover_their_classes(tmp_path, classes, method):
    ids, of = objects_of(tmp_path, classes, method, block=5, classes=frozenset([HOUSE, SHED]), boundary=EDGE)
    for number in range(1, len(of)):
        assert ndimage.label(ids == number, CROSS)[1] == 1
        assert set(np.unique(classes[ids == number])) - {EDGE} == {of[number]}
    assert (ids[np.isin(classes, [HOUSE, SHED])] > 0).all()
    assert (ids[np.isin(classes, [0, NODATA])] == 0).all()
    # What a boundary keeps touches no object.
    kept, _ = ndimage.label(classes == EDGE, CROSS)
    beside = ndimage.binary_dilation((classes == EDGE) & (ids == 0), CROSS)
    assert (ids[beside & (classes != EDGE)] == 0).all()
    assert all(len(set((ids[kept == k] > 0).tolist())) == 1 for k in range(1, kept.max() + 1))


def whole_map_watershed(mask, depth):
    """Cut all regions of a map at once with scikit-image: h-maxima as markers."""
    inside = np.pad(mask, 1)
    distance = ndimage.distance_transform_edt(inside)
    ground = np.where(inside, distance, -2 * depth - 2)  # else thin regions drown and lose their marker
    markers, _ = ndimage.label(
        local_maxima(reconstruction(ground - depth, ground, footprint=CROSS), connectivity=1) & inside, CROSS
    )
    return watershed(-distance, markers, connectivity=1, mask=inside)[1:-1, 1:-1], markers[1:-1, 1:-1]


def blobs(seed, shape=(150, 170), width=4.0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), width)
    return noise > np.quantile(noise, 0.6)


@pytest.mark.parametrize("depth", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_region_has_as_many_objects_as_h_maxima(tmp_path, seed, depth):
    mask = blobs(seed)
    ids, of = objects_of(tmp_path, mask, Watershed(depth=depth), block=64)
    expected, markers = whole_map_watershed(mask, depth)
    assert len(of) - 1 == expected.max() > ndimage.label(mask, CROSS)[1]
    # Each of our objects has the one marker of scikit-image's, and nearly the same pixels.
    pairs = np.unique(np.stack([ids[markers > 0], markers[markers > 0]]), axis=1)
    assert pairs.shape[1] == expected.max()
    table = np.zeros(len(of), int)
    table[pairs[0]] = pairs[1]
    assert (table[ids] != expected).mean() < 0.01


@pytest.mark.parametrize("distance", [0.0, 15.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_map_is_cut_as_each_whole_region_is(tmp_path, seed, distance):
    mask, how = blobs(seed), Watershed(distance, 0.7)
    ids, _ = objects_of(tmp_path, mask, how, block=50)
    expected = np.zeros(mask.shape, int)
    regions, count = ndimage.label(mask, CROSS)
    for number in range(1, count + 1):
        parts = split(regions == number, how)  # not within its rectangle: in the whole map
        expected[parts > 0] = parts[parts > 0] + expected.max()
    assert expected.max() > count
    assert (ids == in_scan_order(expected)).all()


@pytest.mark.parametrize("block", [7, 16, 1000])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_touching_discs_are_parted(tmp_path, count, block):
    centres = [(20, 12 + 16 * i) for i in range(count)]
    classes = discs((40, 24 + 16 * (count - 1)), *centres)
    assert ndimage.label(classes, CROSS)[1] == 1
    ids, of = objects_of(tmp_path, classes, Watershed(), block=block)
    assert len(of) == count + 1
    for row, col in centres:
        # Each object is its disc, but for the lens that two discs share.
        own = discs(classes.shape, (row, col)) > 0
        others = discs(classes.shape, *[c for c in centres if c != (row, col)]) > 0
        assert set(np.unique(ids[own & ~others])) == {ids[row, col]}
    assert len({ids[c] for c in centres}) == count


def test_centres_that_are_too_near_are_one_object(tmp_path):
    classes = discs((40, 60), (20, 12), (20, 28), (20, 44))
    assert len(objects_of(tmp_path, classes, Watershed(distance=16))[1]) == 4
    assert len(objects_of(tmp_path, classes, Watershed(distance=16.5))[1]) == 3  # the outer two
    assert len(objects_of(tmp_path, classes, Watershed(distance=33))[1]) == 2


def test_a_shallow_neck_does_not_cut(tmp_path):
    classes = discs((40, 44), (20, 14), (20, 29))
    assert len(objects_of(tmp_path, classes, Watershed(depth=1))[1]) == 3
    assert len(objects_of(tmp_path, classes, Watershed(depth=6))[1]) == 2


@pytest.mark.parametrize("angle", [0, 10, 30, 45])
def test_slender_rectangles_stay_whole(tmp_path, angle):
    rows, cols = np.indices((120, 120)) - 60
    a = np.deg2rad(angle)
    along, over = cols * np.cos(a) + rows * np.sin(a), rows * np.cos(a) - cols * np.sin(a)
    classes = (abs(along) <= 45) & (abs(over) <= 9)
    assert len(objects_of(tmp_path, classes, Watershed(), block=32)[1]) == 2


@pytest.mark.parametrize("method", [Components(), Watershed(), Watershed(distance=5)])
def test_a_ring_across_four_blocks_stays_one(tmp_path, method):
    rows, cols = np.indices((64, 64)) - 31.5
    radius = np.hypot(rows, cols)
    classes = ((radius > 14) & (radius < 25)).astype(np.uint8)
    classes[28:36, 28:36] = HOUSE  # an island in the ring's hole, drawn into the same rectangle
    ids, of = objects_of(tmp_path, classes, method, block=32)
    assert len(of) == 3
    assert set(np.unique(ids[28:36, 28:36])) == {2}
    assert set(np.unique(ids[(radius > 14) & (radius < 25)])) == {1}


def test_a_boundary_parts_objects_and_goes_to_the_nearest(tmp_path):
    classes = np.zeros((9, 16), np.uint8)
    classes[2:7, 1:7] = HOUSE
    classes[2:7, 7:10] = EDGE
    classes[2:7, 10:15] = SHED
    classes[0, 0] = EDGE  # touches nothing
    classes[2, 0] = EDGE  # touches one object
    options = {"classes": frozenset([HOUSE, SHED]), "block": 4}
    plain, _ = objects_of(tmp_path, classes, Components(), **options)
    assert (plain[classes == EDGE] == 0).all()
    ids, of = objects_of(tmp_path, classes, Components(), boundary=EDGE, **options)
    assert of.tolist() == [NODATA, HOUSE, SHED]
    assert (ids[2:7, 7] == 1).all()
    assert (ids[2:7, 9] == 2).all()
    assert set(np.unique(ids[2:7, 8])) <= {1, 2}
    assert (ids[0, 0], ids[2, 0]) == (0, 1)
    expected = np.isin(classes, [HOUSE, SHED, EDGE])
    expected[0, 0] = False
    assert ((ids > 0) == expected).all()


@pytest.mark.parametrize("method", [Components(), Watershed()])
@pytest.mark.parametrize("value", [0, NODATA])
def test_a_map_without_objects(tmp_path, value, method):
    ids, of = objects_of(tmp_path, np.full((30, 20), value), method, block=8, boundary=EDGE)
    assert of.tolist() == [NODATA]
    assert ids.shape == (30, 20)
    assert not ids.any()


def test_a_map_of_one_object(tmp_path):
    ids, of = objects_of(tmp_path, np.full((300, 600), HOUSE), Watershed(), block=100)
    assert (ids == 1).all()
    assert of.tolist() == [NODATA, HOUSE]


def test_a_region_that_is_too_large_stays_whole_and_is_told(tmp_path):
    classes = discs((80, 60), (20, 12), (20, 28), (60, 12), (60, 28), (60, 44))
    small = 22 * 40
    with pytest.warns(GeosegWarning, match=r"classes.tif: left in one piece: 1 region\(s\) .* of class 1 at "
                      "rows 51-70, columns 3-54; ") as caught:  # fmt: skip
        ids, of = objects_of(tmp_path, classes, Watershed(), largest=small)
    assert "\n" not in str(caught[0].message)
    assert len(of) == 4
    assert ids[60, 12] == ids[60, 44] != ids[20, 12] != ids[20, 28]


def test_a_boundary_that_is_too_large_goes_to_no_object(tmp_path):
    classes = np.zeros((40, 40), np.uint8)
    classes[5:15, 5:15] = HOUSE
    classes[10, 15:18] = EDGE
    classes[20:30, 5:35], classes[24:26, 4:36] = HOUSE, EDGE
    with pytest.warns(GeosegWarning, match=r"given to no object: 1 region\(s\) .*rows 24-26, columns 4-36"):
        ids, of = objects_of(tmp_path, classes, Components(), boundary=EDGE, block=8, largest=50)
    assert len(of) == 4
    assert not ids[24:26].any()
    assert (ids[10, 15:18] == 1).all()


def test_the_file_lies_where_the_map_does_and_becomes_a_cog(tmp_path):
    classes = discs((700, 600), (300, 300), (300, 330), radius=18)
    objects_of(tmp_path, classes, Watershed())
    copy_cog(tmp_path / "ids.tif", tmp_path / "instances.tif", "NEAREST")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["classes.tif", "ids.tif", "instances.tif"]
    assert cog_validate(str(tmp_path / "instances.tif"), strict=True, quiet=True) == (True, [], [])
    with rasterio.open(tmp_path / "classes.tif") as a, rasterio.open(tmp_path / "instances.tif") as b:
        assert (b.crs, b.transform, b.shape) == (a.crs, a.transform, a.shape)
        assert (b.dtypes, b.nodata, b.profile["tiled"]) == (("uint32",), 0, True)
        ids, coarse = b.read(1), b.read(1, out_shape=(350, 300))
    assert set(np.unique(ids)) == set(np.unique(coarse)) == {0, 1, 2}
    objects_of(tmp_path, classes, Watershed(), block=100)
    copy_cog(tmp_path / "ids.tif", tmp_path / "again.tif", "NEAREST")
    assert (tmp_path / "again.tif").read_bytes() == (tmp_path / "instances.tif").read_bytes()


def test_a_folder_that_is_not_there_is_told(tmp_path):
    path = write_raster(tmp_path / "c.tif", np.ones((5, 5), np.uint8))
    with pytest.raises(OutputError, match=r"gone/i.tif: cannot be written: ") as caught:
        write_instances(path, tmp_path / "gone" / "i.tif", classes=frozenset([1]), method=Components())
    assert "\n" not in str(caught.value)


def in_a_process(code, *arguments):
    done = processes.run_code(code, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    code = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from tests.vector.shape.test_instances import *
        folder = Path(sys.argv[1])
        path = write_raster(folder / "c.tif", np.random.default_rng(0).integers(0, 2, (900, 900), np.uint8))
        sys.dont_write_bytecode = True  # a short write would leave a damaged file
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_instances(path, folder / "i.tif", classes=frozenset([1]), method=Components(), boundary=0)
        except OutputError as error:
            print(error)
    """
    said = in_a_process(code, tmp_path)
    assert "i.tif: cannot be written: " in said
    assert "make room" in said
    assert len(said.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.tif"]


def test_memory_does_not_grow_with_the_map(tmp_path):
    pattern = discs((256, 256), *[(r, c) for r in (60, 190) for c in (40, 56, 140, 156, 172)])
    for side in (8, 16):
        write_raster(tmp_path / f"{side}.tif", np.tile(pattern, (side, side)), tiled=True, compress="deflate")
    code = """
        import os, sys
        from pathlib import Path
        os.environ["GDAL_CACHEMAX"] = "16"
        from geoseg.vector.shape.instances import Watershed, write_instances
        def peak():
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
        folder = Path(sys.argv[1])
        for side in (8, 16):
            how = {"classes": frozenset([1]), "method": Watershed(), "block": 512}
            print(len(write_instances(folder / f"{side}.tif", folder / "ids.tif", **how)) - 1, peak())
    """
    said = in_a_process(code, tmp_path)
    (small, before), (large, after) = (line.split() for line in said.splitlines())
    assert int(small) == 10 * 8**2
    assert int(large) == 10 * 16**2
    # The map grows by 13 million pixels: 13 MB of classes and 50 MB of ids.
    assert float(after) - float(before) < 20
