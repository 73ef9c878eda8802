import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE
from geoseg.models.strangeness import Gauge
from geoseg.training import census
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


class Bright(Known):
    """A place of four bands: 98 of 100 pixels vary little, two are far away."""

    def read(self, window):
        pixels = super().read(window)
        rng = np.random.default_rng([window.rows.start, window.cols.start])
        values = rng.normal(0.2, 0.02, pixels.values.shape).astype(np.float32)
        values[:, rng.random(window.shape) < 0.02] += 0.5
        values[:, :5, :5] = np.nan
        return type(pixels)(values, pixels.channels)


def test_the_limit_is_the_quantile_of_the_pixels_themselves(monkeypatch):
    monkeypatch.setattr(census, "_SAMPLE", 10**6)
    place = Bright(np.zeros((128, 128), np.uint8), bands=4)
    cells = take_census([place], [Region(0, Window.of(0, 0, 128, 128), "u")], 64, 2)
    found = statistics(cells)
    pixels = np.concatenate([c.sample for c in cells], axis=1)
    assert pixels.shape[1] == 128 * 128 - 4 * 25
    gauge = Gauge.of(found.mean, found.covariance, found.strangeness.distance)
    assert 0.985 < (gauge.distances(pixels) <= gauge.limit).mean() < 0.995
    # A normal distribution of four bands would end at 3.6, and call twice as many unlike.
    assert found.strangeness.distance > 6
    assert found.strangeness.texture == pytest.approx(4, rel=0.1)


def test_a_sample_of_the_pixels_gives_about_the_same_limit(monkeypatch):
    place = Bright(np.zeros((128, 128), np.uint8), bands=4)
    regions = [Region(0, Window.of(0, 0, 128, 128), "u")]
    whole = statistics(take_census([place], regions, 32, 2)).strangeness
    monkeypatch.setattr(census, "_SAMPLE", 4096)
    some = take_census([place], regions, 32, 2)
    assert max(c.sample.shape[1] for c in some) == 256
    assert statistics(some).strangeness.distance == pytest.approx(whole.distance, rel=0.1)
    again = statistics(take_census([place], regions, 32, 2)).strangeness
    assert again == statistics(some).strangeness


def test_pixels_that_are_all_alike_have_no_limit():
    class Flat(Known):
        def read(self, window):
            pixels = super().read(window)
            return type(pixels)(np.ones_like(pixels.values), pixels.channels)

    cells = take_census([Flat(np.zeros((8, 8), np.uint8))], [Region(0, Window.of(0, 0, 8, 8), "u")], 8, 2)
    assert statistics(cells).strangeness is None
