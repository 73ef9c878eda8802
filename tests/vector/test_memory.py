"""What a row of blocks leaves to the next is as long as a line of pixels, not as the map so far."""

from dataclasses import fields

import numpy as np
import pytest

from geoseg.vector.recipe import Generalize
from geoseg.vector.trace import coverage
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.coverage import polygons
from tests.vector.maps import HERE, save


def held(state):
    """Return the bytes of all arrays in a dataclass of dataclasses."""
    if isinstance(state, np.ndarray):
        return state.nbytes
    return sum(held(getattr(state, f.name)) for f in fields(state))


@pytest.mark.parametrize("how", [Generalize(), Generalize(1.5)], ids=["exact", "generalised"])
def test_what_is_carried_does_not_grow_with_the_rows(tmp_path, monkeypatch, how):
    monkeypatch.setattr(coverage, "_CALM", 1)  # rows of their whole height, although this is noise
    classes = np.random.default_rng(0).integers(0, 8, (640, 128)).astype(np.uint8)
    carried = []
    advance = coverage._advance

    def watched(*arguments):
        state, complete = advance(*arguments)
        carried.append(held(state))
        return state, complete

    monkeypatch.setattr(coverage, "_advance", watched)
    parts = polygons(MapFiles(save(tmp_path, classes)), HERE, how=how, folder=tmp_path, block=64)
    assert sum(map(len, parts)) > 40_000
    assert len(carried) == 10
    # All arcs of a row of blocks are tens of times more.
    assert max(carried[:-1]) < 128 * 400
    assert np.ptp(carried[:-1]) < 0.2 * max(carried)
    assert carried[-1] < 128 * 20


def test_noise_comes_in_parts_while_it_is_traced(tmp_path, monkeypatch):
    monkeypatch.setattr(coverage, "_CALM", 1)
    classes = np.random.default_rng(0).integers(0, 8, (256, 64)).astype(np.uint8)
    parts = polygons(MapFiles(save(tmp_path, classes)), HERE, how=Generalize(), folder=tmp_path, block=64)
    assert [len(p) > 1000 for p in parts] == [True] * 4
