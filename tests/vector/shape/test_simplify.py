"""Generalised polygons are valid, share their edges, and do not depend on the blocks."""

import numpy as np
import pytest
import shapely
from hypothesis import given

from geoseg.core.errors import OutputError
from geoseg.core.legend import NODATA
from geoseg.vector.recipe import Generalize
from geoseg.vector.shape.guard import open_corners
from geoseg.vector.trace.block import MapFiles
from tests.vector.maps import EXACT, found, many, maps, patches, polygons_of, save, with_hole

WAYS = {
    "visvalingam": Generalize(1.0),
    "visvalingam, far": Generalize(4.0),
    "douglas-peucker": Generalize(1.0, "douglas-peucker"),
    "douglas-peucker, far": Generalize(4.0, "douglas-peucker"),
    "smooth": Generalize(smooth=1.0),
    "both": Generalize(1.5, smooth=2.0),
    "both, far": Generalize(3.0, "douglas-peucker", smooth=5.0),
}
ways = pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)


def is_a_coverage(geometry, stats, classes):
    """Hold polygons to what every way of generalising promises."""
    assert shapely.is_valid(geometry).all()
    assert (shapely.area(geometry) > 0).all()
    if not len(geometry):
        return
    assert shapely.coverage_is_valid(geometry)
    assert stats.pixels.sum() == (classes != NODATA).sum()
    if (classes != NODATA).all():
        frame = shapely.box(0, 0, *classes.shape[::-1])
        assert shapely.union_all(geometry).equals(frame)
        assert shapely.area(geometry).sum() == pytest.approx(classes.size)


@ways
def test_polygons_stay_a_coverage_for_any_block_size(tmp_path, how):
    for seed, classes in enumerate((patches(1), with_hole(patches(2)), patches(3, (40, 41), 2, 0.6))):
        files = MapFiles(save(tmp_path, classes))
        exact, _ = found(files)
        reference = None
        for block in (7, 32, 1024):
            geometry, stats = found(files, how, block=block)
            is_a_coverage(geometry, stats, classes)
            assert len(geometry) == len(exact)
            own = sorted(shapely.to_wkb(shapely.normalize(geometry)))
            reference = reference or own
            assert own == reference, (seed, block)


@many(15)
@given(maps(classes=2))
def test_noise_stays_a_coverage(tmp_path, classes):
    files = MapFiles(save(tmp_path, classes))
    for how in WAYS.values():
        geometry, stats = found(files, how, block=4)
        is_a_coverage(geometry, stats, classes)


def junctions(geometry):
    """Return the corners at which three polygons or more meet."""
    corners = np.concatenate([np.unique(shapely.get_coordinates(g), axis=0) for g in geometry])
    point, times = np.unique(corners, axis=0, return_counts=True)
    return set(map(tuple, point[times > 2].tolist()))


@ways
def test_junctions_stay(tmp_path, how):
    classes = patches(4)
    exact, _ = polygons_of(tmp_path, classes)
    geometry, _ = polygons_of(tmp_path, classes, how)
    assert len(junctions(exact)) > 20
    corners = set(map(tuple, shapely.get_coordinates(geometry).tolist()))
    assert junctions(exact) <= corners


@ways
def test_the_frame_of_the_map_stays(tmp_path, how):
    classes = patches(6)
    geometry, _ = polygons_of(tmp_path, classes, how)
    outline = shapely.union_all(geometry)
    assert outline.equals(shapely.box(0, 0, 70, 60))
    exact, _ = polygons_of(tmp_path, classes)
    exact_frame, own_frame = (
        shapely.length(shapely.intersection(g, outline.exterior)) for g in (exact, geometry)
    )
    assert exact_frame.sum() == own_frame.sum() == outline.length


def vertices(geometry):
    return int(shapely.get_num_coordinates(geometry).sum())


@pytest.mark.parametrize("method", ["visvalingam", "douglas-peucker"])
def test_tolerance_takes_vertices_away(tmp_path, method):
    """On winding boundaries 1.5 px leaves less than half of the vertices, 4 px a third."""
    files = MapFiles(save(tmp_path, patches(8, (200, 200), width=5.0)))
    exact, fine, coarse = (vertices(found(files, Generalize(t, method))[0]) for t in (0, 1.5, 4))
    assert fine < 0.5 * exact
    assert coarse < 0.34 * exact
    assert coarse < fine


def test_distance_stays_within_the_tolerance_of_douglas_and_peucker(tmp_path):
    files = MapFiles(save(tmp_path, patches(9, (120, 120), width=4.0)))
    for tolerance in (1.0, 2.0, 5.0):
        exact, simple = (
            shapely.union_all(shapely.boundary(found(files, Generalize(t, "douglas-peucker"))[0]))
            for t in (0, tolerance)
        )
        corners = shapely.points(shapely.get_coordinates(exact))
        assert shapely.distance(corners, simple).max() <= tolerance


def test_a_staircase_becomes_a_diagonal(tmp_path):
    classes = (np.add.outer(np.arange(40), np.arange(40)) > 40).astype(np.uint8)
    geometry, _ = polygons_of(tmp_path, classes, Generalize(2.0))
    assert len(geometry) == 2
    assert vertices(geometry) < 20
    assert shapely.area(geometry).sum() == 1600


@ways
def test_a_disc_keeps_its_area(tmp_path, how):
    y, x = np.indices((220, 220)) - 110
    classes = (y * y + x * x < 100**2).astype(np.uint8)
    geometry, stats = polygons_of(tmp_path, classes, how)
    disc = geometry[stats.value == 1].item()
    # The chords of Douglas and Peucker lie within a disc: 3 px take up to 2 / 3 * 3 * 2 / 100 of it.
    far = how.method == "douglas-peucker" and how.tolerance > 2
    assert disc.area == pytest.approx((classes == 1).sum(), rel=0.04 if far else 0.01)
    assert disc.centroid.distance(shapely.Point(109.5 + 0.5, 109.5 + 0.5)) < 1


def test_smoothing_rounds_corners(tmp_path):
    """A curve turns a little at each vertex where an edge of pixels turns by a right angle."""
    y, x = np.indices((60, 60)) - 30
    classes = (y * y + x * x < 20**2).astype(np.uint8)

    def sharpest(how):
        geometry, stats = polygons_of(tmp_path, classes, how)
        xy = shapely.get_coordinates(geometry[stats.value == 1].item().exterior)[:-1]
        step = np.roll(xy, -1, axis=0) - xy
        heading = np.arctan2(step[:, 1], step[:, 0])
        return np.degrees(np.abs((np.diff(heading) + np.pi) % (2 * np.pi) - np.pi).max())

    assert sharpest(EXACT) == pytest.approx(90)
    assert sharpest(Generalize(1.5, smooth=3.0)) < 25


LENS = np.array(
    [
        [0, 0, 0, 0, 0, 0, 1, 1],
        [0, 0, 0, 2, 2, 1, 1, 1],
        [0, 0, 2, 2, 1, 1, 1, 1],
        [0, 0, 2, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
    ],
    np.uint8,
)
"""A sliver along a slanting boundary: both its arcs have the same ends."""


@ways
@pytest.mark.parametrize("turn", range(4))
def test_what_lies_between_two_arcs_with_the_same_ends_stays(tmp_path, how, turn):
    for classes in (np.rot90(LENS, turn), np.rot90(LENS.T, turn)):
        geometry, stats = polygons_of(tmp_path, np.ascontiguousarray(classes), how)
        is_a_coverage(geometry, stats, classes)
        assert sorted(stats.value.tolist()) == [0, 1, 2]


@ways
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 2)])
def test_the_smallest_islands_stay(tmp_path, how, size):
    classes = np.zeros((9, 9), np.uint8)
    classes[4 : 4 + size[0], 3 : 3 + size[1]] = 1
    geometry, stats = polygons_of(tmp_path, classes, how)
    is_a_coverage(geometry, stats, classes)
    assert sorted(stats.value.tolist()) == [0, 1]


def test_no_room_for_the_corners_is_told(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), open_corners((9, 9), tmp_path / "gone"):
        pass
