import numpy as np
import pytest

from geoseg.core.errors import OutputError
from geoseg.core.legend import NODATA
from geoseg.report import survey as module
from geoseg.report.seams import REACH, check_seams
from geoseg.report.survey import Changes, mean_confidence, survey
from tests.conftest import write_raster


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """A class map of uneven size with a hole, and its confidence: files and pixels."""
    folder, rng = tmp_path_factory.mktemp("maps"), np.random.default_rng(3)
    classes = rng.integers(1, 4, (13, 17)).repeat(12, 0).repeat(12, 1)[:150, :199].astype(np.uint8)
    classes[40:70, 90:130] = NODATA
    percent = rng.integers(0, 101, classes.shape)
    shares = np.where(classes == NODATA, 255, percent * np.float32(0.01)).astype(np.float32)
    class_map = write_raster(folder / "classes.tif", classes, nodata=NODATA)
    return class_map, write_raster(folder / "confidence.tif", shares, nodata=NODATA), classes, percent


@pytest.fixture(params=[32, 50, 1024])
def found(request, maps, monkeypatch):
    """The survey in windows of some size: it must not matter."""
    monkeypatch.setattr(module, "_WINDOW", request.param)
    return survey(*maps[:2])


def test_pixels_are_counted_by_class_and_confidence(found, maps):
    _, _, classes, percent = maps
    for i in range(255):
        expected = np.bincount(percent[classes == i], minlength=101)
        np.testing.assert_array_equal(found.counts[i], expected)
    assert found.histogram.sum() == (classes != NODATA).sum()
    assert mean_confidence(found.histogram) == pytest.approx(percent[classes != NODATA].mean() / 100)
    assert np.isnan(mean_confidence(np.zeros(101, np.int64)))


def test_cells_hold_the_mean_confidence_of_their_pixels(found, maps):
    _, _, classes, percent = maps
    seen = np.zeros(classes.shape, int)
    for cell in found.cells:
        here = cell.window.relative_to(cell.window.of(0, 0, 1, 1))
        valid = classes[here] != NODATA
        assert cell.pixels == valid.sum() > 0
        assert cell.confidence == pytest.approx(percent[here][valid].mean() / 100)
        seen[here] += 1
    assert (seen[classes != NODATA] == 1).all()
    assert seen.max() == 1
    assert len(found.cells) < 24 * 24


def test_changes_are_counted_line_by_line_without_nodata(found, maps):
    classes = maps[2]
    for lines, counted in ((classes, found.rows), (classes.T, found.cols)):
        both = (lines[1:] != NODATA) & (lines[:-1] != NODATA)
        np.testing.assert_array_equal(counted.pairs, [0, *both.sum(axis=1)])
        np.testing.assert_array_equal(counted.changes, [0, *((lines[1:] != lines[:-1]) & both).sum(axis=1)])


def test_without_confidence_classes_and_changes_are_counted(maps):
    path, _, classes, _ = maps
    found = survey(path, None)
    assert found.cells == ()
    assert [int(found.counts[i].sum()) for i in (1, 2, 3)] == [(classes == i).sum() for i in (1, 2, 3)]


def test_a_confidence_map_on_another_grid_is_refused(maps, tmp_path):
    other = write_raster(tmp_path / "other.tif", np.zeros((150, 198), np.float32))
    with pytest.raises(OutputError, match="not on the grid"):
        survey(maps[0], other)


def profile(changes, pairs=1000):
    return Changes(np.asarray(changes, np.int64), np.full(len(changes), pairs, np.int64))


def noise(length=400, mean=40.0, seed=0):
    return np.random.default_rng(seed).poisson(mean, length)


def test_a_map_without_seams_has_an_index_near_one():
    check = check_seams(((profile(noise()), (100, 200, 300)), (profile(noise(seed=1)), (150, 250))))
    assert check.lines == 5
    assert check.index == pytest.approx(1, abs=0.2)
    assert not check.shows


def test_a_seam_stands_out_and_the_index_is_the_ratio():
    changes = noise()
    changes[[100, 200]] *= 2
    flat = profile(np.full(300, 40)), ()
    check = check_seams(((profile(changes), (100, 200)), flat))
    beside = [line for s in (100, 200) for d in range(2, REACH + 1) for line in (s - d, s + d)]
    assert check.index == pytest.approx(changes[[100, 200]].mean() / changes[beside].mean())
    assert check.shows
    assert check.higher == 0
    assert dict(check.profile)[0] == pytest.approx(changes[[100, 200]].sum() / 2000)
    assert [at for at, _ in check.profile] == list(range(-REACH, REACH + 1))


def test_seams_are_not_compared_with_seams():
    changes = np.full(400, 40)
    changes[[100, 104, 108]] = 400
    check = check_seams(((profile(changes), (100, 104, 108)), (profile([0]), ())))
    assert check.index == pytest.approx(10)


@pytest.mark.parametrize("seams", [(), (1,)])
def test_no_tiles_that_meet_make_no_check(seams):
    assert check_seams(((profile([0, 5], pairs=0), seams), (profile([0, 5]), ()))) is None


def test_too_few_changes_say_nothing():
    check = check_seams(((profile(np.full(100, 1)), (50,)), (profile([0]), ())))
    assert check.index is None
    assert not check.shows
