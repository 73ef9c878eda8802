import functools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.geometry import Window
from geoseg.vector.objects.merge import Merger
from geoseg.vector.objects.reported import Reported
from geoseg.vector.objects.rule import Rule, detections
from tests.vector.objects.scenes import RULE, Thing, box, disc, grid_of, identities, merged, tiles_of

SHAPE = (200, 180)
THINGS = [
    box(10, 10, 20, 20),
    box(30, 5, 170, 25),  # four tiles high
    box(120, 60, 130, 180, kind=3),
    box(124, 64, 127, 67),  # lies on the one before
    disc(48, 48, 12),  # at the corner of four territories
    disc(48, 72, 12),  # touches it
    disc(100, 100, 20),
    disc(5, 170, 9, kind=3),
    box(150, 150, 200, 180),
]
"""Objects in, across and larger than tiles of 64 px."""


def blocks_of(grid, size, rng=None):
    """Return the tiles of blocks of `size` tiles a side, in scan order or shuffled."""
    rows, cols = grid.rows.count, grid.cols.count
    blocks = [
        [
            (i, j)
            for i in range(top, min(top + size, rows))
            for j in range(left, min(left + size, cols))
        ]
        for top in range(0, rows, size)
        for left in range(0, cols, size)
    ]  # fmt: skip
    if rng is not None:
        rng.shuffle(blocks)
    return blocks


def noisy(seed, shape=SHAPE, n=40):
    """Things that overlap, of several scores: what is kept depends on the order of keys alone."""
    rng = np.random.default_rng(seed)
    things = []
    for _ in range(n):
        top, left = rng.integers(0, shape[0] - 8), rng.integers(0, shape[1] - 8)
        height, width = (rng.integers(4, 90), rng.integers(4, 40))[:: rng.choice([1, -1])]
        kind, score = int(rng.integers(1, 3)), int(rng.integers(5, 10)) * 1000
        bottom, right = min(top + height, shape[0]), min(left + width, shape[1])
        things.append(box(int(top), int(left), int(bottom), int(right), kind, score))
    return things


def jittered(tiles, seed):
    """Change scores a little from tile to tile, as networks do, and drop some detections."""
    rng = np.random.default_rng(seed)
    found = {}
    for place, one in tiles.items():
        scores = (one.scores - rng.integers(0, 3, len(one)) * 500).astype(np.uint16)
        cut = one.cut | (rng.random(len(one)) < 0.1)
        found[place] = Reported(one.places, one.ranks, one.boxes, one.classes, scores, cut, one.bits)
    return found


def test_a_network_that_errs_nowhere_gives_the_truth_back():
    grid = grid_of(SHAPE)

    objects = merged(tiles_of(THINGS, grid), grid)

    assert identities(objects) == {t.within(SHAPE).identity for t in THINGS}
    assert {o.score for o in objects} == {9_000}


@pytest.mark.parametrize("seed", range(3))
def test_any_scene_of_objects_apart_comes_back(seed):
    """Long, small and large ones, wherever tiles begin and end."""
    rng = np.random.default_rng(seed)
    things = [
        box(
            top,
            left,
            top + int(rng.integers(3, 36)),
            left + int(rng.integers(3, 36)),
            int(rng.integers(1, 4)),
        )
        for top in range(0, 160, 40)
        for left in range(0, 140, 40)
    ]
    things.append(box(162, 0, 199, 180))
    grid = grid_of(SHAPE, 64, int(rng.choice([8, 16, 32])))

    assert identities(merged(tiles_of(things, grid), grid)) == {t.identity for t in things}


def test_an_object_larger_than_the_overlap_is_joined_and_says_so():
    grid = grid_of(SHAPE)

    (one,) = merged(tiles_of([box(30, 5, 170, 25)], grid), grid)

    assert one.joined == 4
    (small,) = merged(tiles_of([disc(48, 48, 6)], grid), grid)
    assert small.joined == 1


def test_a_scene_without_objects_has_none():
    grid = grid_of(SHAPE)

    assert merged(tiles_of([], grid), grid) == []


@functools.cache
def noisy_tiles(seed):
    """Return what tiles report of a noisy scene, and the objects of all of them at once."""
    grid = grid_of(SHAPE)
    tiles = jittered(tiles_of(noisy(seed), grid), seed)
    return grid, tiles, facts(merged(tiles, grid))


def facts(objects):
    return sorted((o.key, o.box, o.mask.tobytes(), o.class_id, o.score, o.joined) for o in objects)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 5), seed=st.integers(0, 3), order=st.randoms(use_true_random=False))
def test_no_block_size_and_no_order_changes_an_object(size, seed, order):
    grid, tiles, whole = noisy_tiles(seed)

    assert facts(merged(tiles, grid, blocks_of(grid, size, order))) == whole


def test_only_detections_around_open_tiles_are_held():
    """Touching crowns over a long scene: without a chain of matches no group grows with the scene."""
    shape = (1000, 100)
    things = [disc(row, col, 7) for row in range(8, 992, 15) for col in range(8, 92, 15)]
    grid = grid_of(shape)
    tiles = tiles_of(things, grid)
    merger, most, objects = Merger(grid, Rule()), 0, []

    for block in blocks_of(grid, 1):
        objects += merger.add(block, detections(tiles[block[0]]))
        most = max(most, merger.open)

    assert identities(objects) == {t.identity for t in things}
    assert most < sum(map(len, tiles.values())) / 8


def test_tiles_that_are_not_predicted_are_not_waited_for():
    grid = grid_of(SHAPE)
    predicted = np.zeros((grid.rows.count, grid.cols.count), bool)
    predicted[0, 0] = True
    tiles = tiles_of([box(10, 10, 20, 20)], grid)
    merger = Merger(grid, Rule(), predicted)

    (one,) = merger.add([(0, 0)], detections(tiles[0, 0]))

    assert one.box == (10, 10, 20, 20)


@pytest.mark.parametrize("seed", range(3))
def test_a_part_of_a_scene_is_merged_as_the_whole(seed):
    """Its tiles report what they report of the whole, and match as they match there, also beyond the part."""
    grid, things, (row, col) = grid_of(SHAPE), noisy(seed), (70, 60)
    part = grid.cut(Window.of(row, col, 60, 50))
    top = grid.rows.index(part.rows.span(0).start + row)
    left = grid.cols.index(part.cols.span(0).start + col)
    moved = [replace(t, window=t.window.shift(-row, -col)) for t in things]

    mine = tiles_of(moved, part)
    whole = tiles_of(things, grid)
    its = {(i, j): whole[top + i, left + j] for i, j in mine}
    for place, one in mine.items():
        assert np.array_equal(one.boxes, its[place].boxes - np.array([row, col, row, col]))
        for name in ("ranks", "classes", "scores", "cut", "bits"):
            assert np.array_equal(getattr(one, name), getattr(its[place], name))

    its = {(top + i, left + j): one for (i, j), one in jittered(its, seed).items()}
    predicted = np.zeros((grid.rows.count, grid.cols.count), bool)
    predicted[tuple(zip(*its, strict=True))] = True
    merger = Merger(grid, RULE, predicted)
    expected = list(merger.add(its, detections(Reported.concatenate(list(its.values())))))
    assert len(expected) > 5
    assert facts(merged(jittered(mine, seed), part)) == sorted(
        (
            (key[0], key[1] - top, key[2] - left, key[3]),
            tuple(np.subtract(box, (row, col, row, col)).tolist()),
            *rest,
        )
        for key, box, *rest in facts(expected)
    )


def two_tiles(left: list[Thing], right: list[Thing], rule=None):
    """Return what is left of things that two tiles find: the left sees columns to 56, the right from 40."""
    grid = grid_of((64, 96))
    tiles = {(0, 0): tiles_of(left, grid)[0, 0], (0, 1): tiles_of(right, grid)[0, 1]}
    return merged(tiles, grid, rule=rule or Rule())


def test_a_small_object_on_a_large_one_stays():
    roof, chimney = box(10, 20, 40, 90), box(20, 42, 24, 50, kind=2)

    found = two_tiles([roof, chimney], [roof])

    assert identities(found) == {roof.identity, chimney.identity}


def test_of_two_detections_that_match_the_better_is_kept_whole():
    first, second = box(10, 44, 20, 54, score=8_000), box(11, 44, 21, 54, kind=2, score=9_500)

    (one,) = two_tiles([first], [second])

    assert (one.box, one.class_id, one.score) == ((11, 44, 21, 54), 2, 9_500)


def test_the_iou_that_parts_objects_is_a_setting():
    """The masks share 6 of 14 lines: an IoU of 0.4286."""
    first, second = box(10, 44, 20, 54), box(14, 44, 24, 54, score=8_000)

    assert len(two_tiles([first], [second], Rule(match=4_286))) == 2
    assert len(two_tiles([first], [second], Rule(match=4_285))) == 1


def test_a_part_of_what_another_tile_sees_whole_goes():
    """The left tile sees a third of the object and takes it for another class."""
    whole = box(10, 45, 30, 95)
    part = box(10, 45, 30, 64, kind=2, score=9_900)

    assert identities(two_tiles([part], [whole])) == {whole.identity}


@pytest.mark.parametrize(("left", "kind"), [(8_000, 2), (9_999, 1)])
def test_parts_of_two_classes_are_one_object_of_the_larger_and_surer_part(left, kind):
    """The left tile sees 36 columns, the right one 50, with a score of 7000."""
    hall = (10, 20, 30, 90)

    (one,) = two_tiles([box(*hall, score=left)], [box(*hall, kind=2, score=7_000)])

    assert (one.class_id, one.joined) == (kind, 2)


def test_what_lies_on_a_cut_object_stays_apart_from_it():
    """Panel and roof are cut by the same edge: each finds its own other part."""
    roof, panel = box(10, 20, 40, 90), box(12, 30, 38, 80, kind=2)

    found = two_tiles([roof, panel], [roof, panel])

    assert identities(found) == {roof.identity, panel.identity}


def test_the_score_of_a_joined_object_is_the_mean_by_area():
    """The left tile sees 36 columns, the right one 50."""
    hall = (10, 20, 30, 90)

    (one,) = two_tiles([box(*hall, score=9_000)], [box(*hall, score=5_000)])

    assert one.score == (36 * 9_000 + 50 * 5_000) // 86
