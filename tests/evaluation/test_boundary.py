import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from geoseg.evaluation.boundary import BoundaryCounts, count_boundaries, halo


def patches(seed, classes, size=(40, 36)):
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, classes, (10, 9)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    prediction = np.roll(reference, rng.integers(-2, 3), axis=int(rng.integers(0, 2)))
    prediction[rng.random(size) < 0.03] = 0
    reference[rng.random(size) < 0.03] = 255
    return reference, prediction


def by_distance(reference, prediction, classes, tolerance):
    """The definition in the paper, class by class, with exact distances."""
    known = (reference != 255) & (prediction != 255)
    rows = []
    for c in range(classes):
        outlines = []
        for side in (reference, prediction):
            edge = np.zeros(side.shape, bool)
            for y, x in zip(*np.nonzero(known & (side == c)), strict=True):
                for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    inside = 0 <= v < side.shape[0] and 0 <= u < side.shape[1]
                    edge[y, x] |= inside and known[v, u] and side[v, u] != c
            outlines.append(edge)
        far = [distance_transform_edt(~e) if e.any() else np.full(e.shape, np.inf) for e in outlines]
        (r, p), (to_r, to_p) = outlines, far
        rows.append((r.sum(), (r & (to_p <= tolerance)).sum(), p.sum(), (p & (to_r <= tolerance)).sum()))
    return BoundaryCounts(*np.array(rows).T)


def same(one, other):
    for name in ("reference", "found", "mapped", "right"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("tolerance", [0, 1, 2, 2.5, 3])
@pytest.mark.parametrize("classes", [3, 40])
def test_the_counts_are_those_of_the_definition(tolerance, classes):
    reference, prediction = patches(int(tolerance * 2) + classes, classes)
    same(count_boundaries(reference, prediction, classes, tolerance),
         by_distance(reference, prediction, classes, tolerance))  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    height=st.integers(3, 40),
    width=st.integers(3, 36),
    tolerance=st.sampled_from([0, 1, 2, 3.2]),
)
def test_blocks_with_their_halo_add_up_to_the_whole(seed, height, width, tolerance):
    reference, prediction = patches(seed, 4)
    rim = halo(tolerance)
    padded = [np.pad(a, rim, constant_values=255) for a in (reference, prediction)]
    total = BoundaryCounts.nothing(4)
    for row in range(0, 40, height):
        for col in range(0, 36, width):
            part = [a[row : row + height + 2 * rim, col : col + width + 2 * rim] for a in padded]
            core = tuple(slice(rim, n - rim) for n in part[0].shape)
            total += count_boundaries(*part, 4, tolerance, core)
    same(total, count_boundaries(reference, prediction, 4, tolerance))


def test_equal_maps_score_one_and_a_map_without_the_class_zero():
    reference, _ = patches(3, 2)
    whole = count_boundaries(reference, reference, 3, 0).to_dict(["a", "b", "c"])
    assert whole == {"mean_f1": 1.0, "classes": {"a": 1.0, "b": 1.0, "c": None}}
    flat = count_boundaries(reference, np.zeros_like(reference), 2, 2).to_dict(["a", "b"])
    assert flat["mean_f1"] == 0.0
