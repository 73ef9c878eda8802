"""Runs against scipy's labels."""

import numpy as np
import pytest
from hypothesis import given
from scipy.ndimage import label as scipy_label

from geoseg.core.legend import NODATA
from geoseg.vector.trace.components import NONE, OUTSIDE, Runs
from tests.vector.maps import many, maps


def plain(values):
    """Number regions in scan order of their first pixel, the long way."""
    found, count = np.zeros(values.shape, int), 0
    for value in np.unique(values[values >= 0]):
        own, more = scipy_label(values == value)
        found[own > 0] = own[own > 0] + count
        count += more
    _, first = np.unique(np.append(0, found), return_index=True)
    rank = np.zeros(count + 1, int)
    rank[1 + np.argsort(first[1:])] = np.arange(1, count + 1)
    return rank[found], count


def check(values):
    runs = Runs.of(values)
    labels, count = plain(values)
    assert runs.count == count
    assert (runs.to_pixels(runs.labels) == labels).all()
    assert (runs.to_pixels(runs.values) == values).all()
    assert (runs.starts[runs.rows] == np.arange(len(values) + 1) * values.shape[1]).all()
    _, first = np.unique(labels, return_index=True)
    assert (runs.starts[runs.firsts] == first[len(first) - count :]).all()
    framed = Runs.of(np.pad(values, 1, constant_values=OUTSIDE), 1)
    assert framed.shape == runs.shape
    for name in ("starts", "rows", "labels", "values"):
        assert (getattr(framed, name) == getattr(runs, name)).all()


@many(60)
@given(maps(side=20))
def test_labels_are_those_of_scipy(classes):
    check(np.where(classes == NODATA, NONE, classes.astype(np.int16)))


@pytest.mark.parametrize("cols", [1, 7, 8, 9, 64, 1000])
def test_any_width_and_any_number_of_runs(cols):
    check(np.random.default_rng(cols).integers(NONE, 3, (40, cols)).astype(np.int16))


def test_values_of_objects_are_larger_than_a_class():
    check(np.random.default_rng(0).integers(NONE, 3, (20, 30)) * 2**40)
