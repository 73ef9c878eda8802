import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE
from geoseg.training.census import Region, class_counts, cut, statistics, take_census
from tests.training.worlds import Known, labelled_scene


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(0, 9), st.integers(0, 9))
@settings(deadline=None)
def test_cells_cover_a_window_once(height, width, size, row, col):
    seen = np.zeros((row + height + 40, col + width + 40), dtype=int)
    for cell in cut(Window.of(row, col, height, width), size):
        seen[cell.rows.start : cell.rows.stop, cell.cols.start : cell.cols.stop] += 1
    assert seen[row : row + height, col : col + width].min() == 1
    assert seen.sum() == height * width


def test_counts_are_those_of_the_whole():
    channels = np.random.default_rng(0).choice([0, 1, 2, IGNORE], size=(70, 50)).astype(np.uint8)
    cells = take_census([Known(channels)], [Region(0, Window.of(0, 0, 70, 50), "u")], 32, 3)
    assert len(cells) == 6
    assert class_counts(cells, 3).tolist() == [(channels == c).sum() for c in range(3)]


def test_statistics_are_those_of_all_valid_pixels(tmp_path):
    place = labelled_scene(tmp_path, size=(90, 70))
    cells = take_census([place], [Region(0, Window.of(0, 0, 90, 70), "u")], 32, 3)
    whole = place.read(Window.of(0, 0, 90, 70)).values
    found = statistics(cells)
    assert found.mean == pytest.approx(np.nanmean(whole, axis=(1, 2)), rel=1e-6)
    assert found.std == pytest.approx(np.nanstd(whole, axis=(1, 2)), rel=1e-5)


def test_statistics_leave_invalid_pixels_out():
    class Holes(Known):
        def read(self, window):
            pixels = super().read(window)
            pixels.values[:, :, ::2] = np.nan
            return pixels

    cells = take_census([Holes(np.zeros((8, 8), np.uint8))], [Region(0, Window.of(0, 0, 8, 8), "u")], 8, 2)
    assert cells[0].valid == 32
    assert statistics(cells).mean[0] == pytest.approx(3500 + 4)


def test_no_valid_pixel_is_an_error():
    with pytest.raises(ValueError, match="no valid pixel"):
        statistics([])
