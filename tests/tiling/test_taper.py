import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.tiling.grid import TileAxis
from geoseg.tiling.taper import UNIT, rising, taper


@st.composite
def axes(draw):
    tile = draw(st.integers(1, 70))
    return TileAxis(draw(st.integers(1, 300)), tile, 2 * draw(st.integers(0, tile // 4)))


def total(axis):
    """Sum the weights of all tiles on the scene's pixels."""
    sums = np.zeros(axis.length + 2 * axis.tile, dtype=int)
    for i in range(axis.count):
        start = axis.span(i).start + axis.tile
        sums[start : start + axis.tile] += taper(
            axis.tile, axis.overlap, first=i == 0, last=i == axis.count - 1
        )
    return sums[axis.tile : axis.tile + axis.length]


@settings(max_examples=150, deadline=None)
@given(axes())
def test_weights_sum_to_256_on_every_pixel_of_an_axis(axis):
    assert (total(axis) == 256).all()


@settings(max_examples=50, deadline=None)
@given(axes(), axes())
def test_weights_sum_to_65536_on_every_pixel_of_a_scene(rows, cols):
    assert (np.multiply.outer(total(rows), total(cols)) == 65536).all()


@pytest.mark.parametrize("overlap", [2, 16, 64, 500])
def test_a_flank_rises_and_is_its_own_complement(overlap):
    flank = rising(overlap)
    assert UNIT == 256
    assert flank.dtype == np.int32
    assert (np.diff(flank) >= 0).all()
    assert flank[0] < 256 // 2 < flank[-1] <= 256
    # Symmetric but for the rounding of halves.
    assert np.abs(flank + flank[::-1] - 256).max() <= 1


def test_a_flank_is_a_rounded_hann_window():
    expected = 128 * (1 - np.cos(np.pi * (np.arange(32) + 0.5) / 32))
    assert np.abs(rising(32) - expected).max() <= 0.5 + 1e-9


def test_outer_flanks_are_flat():
    assert (taper(8, 4, first=True, last=True) == 256).all()
    assert taper(8, 4, first=True, last=False)[:4].tolist() == [256] * 4
    assert taper(8, 4, first=True, last=False)[4:].tolist() == (256 - rising(4)).tolist()
    assert taper(8, 4, first=False, last=True)[:4].tolist() == rising(4).tolist()
    assert taper(8, 4, first=False, last=True)[4:].tolist() == [256] * 4
    assert (taper(8, 0, first=False, last=False) == 256).all()
