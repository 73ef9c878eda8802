import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.warp import Resampling, reproject

from geoseg.core.geometry import Span
from geoseg.scenes import grid, resample

METHODS = [resample.bilinear, resample.average, resample.nearest]


def box(shape, gsd, origin=(0.0, 0.0)):
    return GeoBox(shape, Affine(gsd, 0, origin[0], 0, -gsd, origin[1]), "EPSG:32633")


def resampled(values, source, target, method, valid=None, rows=None, cols=None):
    spans = rows or Span(0, target.shape.y), cols or Span(0, target.shape.x)
    taps = [
        method(grid.edges_in(source, target, span, axis), source.shape[axis])
        for axis, span in enumerate(spans)
    ]
    part = tuple(slice(t.first, t.stop) for t in taps)
    band = values[part].astype(np.float32)[None]
    (found,), mask = resample.apply(band, None if valid is None else valid[part], *taps)
    return found, mask


def noise(shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 1000, shape).astype(np.float32)


def test_bilinear_equals_gdal_away_from_the_border():
    source, target = box((20, 24), 20), box((40, 48), 10)
    values = noise((20, 24))
    expected = np.zeros((40, 48), np.float32)
    crs = rasterio.crs.CRS.from_epsg(32633)
    reproject(values, expected, src_transform=source.transform, src_crs=crs, dst_transform=target.transform,
              dst_crs=crs, resampling=Resampling.bilinear)  # fmt: skip
    found, valid = resampled(values, source, target, resample.bilinear)
    assert valid is None
    assert found.dtype == np.float32
    assert np.abs(found - expected)[1:-1, 1:-1].max() < 0.01


def test_bilinear_repeats_the_outermost_centres():
    found, _ = resampled(np.array([[0.0, 8.0]]), box((1, 2), 20), box((2, 4), 10), resample.bilinear)
    assert found.tolist() == [[0, 2, 6, 8], [0, 2, 6, 8]]


@pytest.mark.parametrize("shift", [0, 5, 10, 13])
def test_bilinear_keeps_a_ramp_also_when_the_origin_is_shifted(shift):
    source, target = box((30, 30), 20, (-200.0 - shift, 200.0 + shift)), box((20, 20), 10)
    x = source.coordinates["x"].values
    found, _ = resampled(np.tile(x, (30, 1)), source, target, resample.bilinear)
    assert np.allclose(found, target.coordinates["x"].values, atol=1e-3)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_average_of_aligned_pixels_is_the_mean_of_the_block(factor):
    values = noise((12 * factor, 10 * factor))
    source, target = box(values.shape, 10), box((12, 10), 10 * factor)
    found, _ = resampled(values, source, target, resample.average)
    expected = values.reshape(12, factor, 10, factor).mean(axis=(1, 3))
    assert np.allclose(found, expected, rtol=1e-5)


def test_average_weighs_by_the_share_that_is_covered():
    found, _ = resampled(np.array([[0.0, 30.0, 60.0]]), box((1, 3), 10), box((1, 2), 15), resample.average)
    assert found.tolist() == pytest.approx(np.array([[10.0, 50.0]]))


def test_nearest_takes_the_pixel_under_the_centre():
    values = np.arange(12.0).reshape(3, 4)
    found, _ = resampled(values, box((3, 4), 20), box((6, 8), 10), resample.nearest)
    assert (found == values.repeat(2, axis=0).repeat(2, axis=1)).all()


@settings(max_examples=80, deadline=None)
@given(st.floats(3, 60), st.floats(-25, 25), st.sampled_from(METHODS), st.integers(1, 40))
def test_weights_sum_to_one_and_stay_inside(gsd, shift, method, count):
    taps = method(grid.edges_in(box((30, 30), 10), box((count, 1), gsd, (0.0, shift)), Span(0, count), 0), 30)
    assert np.allclose(taps.weight.sum(axis=1), 1, atol=1e-6)
    assert taps.weight.min() >= 0
    assert 0 <= taps.first < taps.stop <= 30
    assert taps.index.shape == taps.weight.shape == (count, taps.index.shape[1])


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(METHODS),
    st.sampled_from([3.7, 5.0, 10.0, 20.0, 23.3, 60.0, 90.0]),
    st.floats(-15, 15),
    st.booleans(),
    st.data(),
)
def test_any_window_equals_the_slice_of_the_whole(method, gsd, shift, masked, data):
    values = noise((40, 40), 1)
    valid = noise((40, 40), 2) > 300 if masked else None
    count = max(1, round(400 / gsd))
    source, target = box((40, 40), 10), box((count, count), gsd, (shift, -shift))
    start = data.draw(st.tuples(*[st.integers(0, count - 1)] * 2))
    rows, cols = (Span(s, data.draw(st.integers(s + 1, count))) for s in start)
    whole = resampled(values, source, target, method, valid)
    part = resampled(values, source, target, method, valid, rows, cols)
    here = slice(rows.start, rows.stop), slice(cols.start, cols.stop)
    assert (part[0] == whole[0][here]).all()
    assert (part[1] is None) if valid is None else (part[1] == whole[1][here]).all()


def test_invalid_pixels_take_no_part_and_half_the_weight_is_enough():
    values = np.array([[10.0, -999.0, 30.0, 50.0, -999.0, -999.0]])
    valid = values > 0
    found, good = resampled(values, box((1, 6), 10), box((1, 3), 20, (0, 5)), resample.average, valid)
    assert found.tolist() == [[10, 40, 0]]
    assert good.tolist() == [[True, True, False]]


def test_less_than_half_of_the_weight_is_not_enough():
    values = np.array([[0.0, 0.0, 30.0]])
    found, good = resampled(values, box((1, 3), 10), box((1, 1), 30, (0, 10)), resample.average, values > 0)
    assert found == pytest.approx(30)
    assert good.tolist() == [[False]]


def test_what_lies_under_invalid_pixels_does_not_matter():
    valid = noise((20, 20), 3) > 500
    one, two = (np.where(valid, noise((20, 20)), filler) for filler in (np.nan, 1e30))
    for method in METHODS:
        a, b = (resampled(v, box((20, 20), 20), box((40, 40), 10), method, valid) for v in (one, two))
        assert (a[0] == b[0]).all()
        assert (a[1] == b[1]).all()
