import numpy as np
import pytest

from geoseg.core.detections import Detections
from geoseg.core.geometry import Span, Window
from geoseg.tiling.grid import TileAxis, TileGrid
from geoseg.vector.objects.reported import NOTHING, Reported, report, unpacked
from geoseg.vector.objects.staged import BlockObjects, decode, decode_valid
from tests.vector.objects.scenes import IDS, grid_of

GRID = grid_of((96, 144))
"""2 x 3 tiles of 64 px that overlap by 16: the middle one of the upper row sees the columns 40 to 104."""

TILE = Window.of(-8, 40, 64, 64)


def reported(*objects, tile=TILE, grid=GRID, valid=None, reach="territory"):
    """Return what a tile reports of objects: first row and column in the tile, rows, columns, score."""
    found = Detections.of(
        [(row, col, np.ones((height, width), bool), 0, score) for row, col, height, width, score in objects]
    )
    valid = np.ones((64, 64), bool) if valid is None else valid
    return report(found, tile, grid, valid, IDS + 3, reach)


def test_masks_are_placed_in_the_map_and_lose_what_lies_beyond_it():
    one = reported((0, 20, 20, 10, 8_000))

    assert one.boxes.tolist() == [[0, 60, 12, 70]]
    assert unpacked(one.bits, (12, 10)).all()
    assert (one.places.tolist(), one.classes.tolist(), one.scores.tolist()) == ([[0, 1]], [3], [8_000])


def test_what_lies_in_the_mirrored_margin_alone_goes():
    assert len(reported((0, 20, 8, 10, 8_000))) == 0


def test_nodata_is_taken_off_and_an_object_in_it_goes():
    valid = np.ones((64, 64), bool)
    valid[:, :30] = False

    found = reported((20, 20, 10, 30, 9_000), (40, 10, 10, 20, 8_000), valid=valid)

    assert found.boxes.tolist() == [[12, 70, 22, 90]]
    assert found.ranks.tolist() == [0]


@pytest.mark.parametrize(("reach", "kept"), [("territory", [0, 2]), ("tile", [0, 1, 2])])
def test_a_tile_reports_what_reaches_into_its_territory(reach, kept):
    """The territory begins at column 48, which is the eighth of the tile."""
    found = reported((20, 0, 9, 9, 9_000), (30, 0, 9, 8, 8_000), (50, 50, 9, 14, 7_000), reach=reach)

    assert found.ranks.tolist() == kept


def test_a_mask_is_cut_by_the_edge_of_a_tile_but_not_by_that_of_the_scene():
    objects = [(20, 1, 9, 20, 9_000), (20, 2, 9, 20, 8_000), (55, 30, 8, 8, 7_000), (8, 30, 5, 5, 6_000)]

    assert reported(*objects).cut.tolist() == [True, False, True, False]
    last = reported((20, 30, 9, 34, 9_000), tile=Window.of(40, 88, 64, 64))
    assert last.cut.tolist() == [False]


def test_of_a_part_of_a_scene_the_edges_of_the_part_cut_nothing_off():
    """Its tiles are those of the scene, and end where no object of the scene does."""
    rows, cols = GRID.rows, TileAxis(96, 64, 16, before=30, after=34)
    grid = TileGrid(rows, cols)

    whole = reported((20, 0, 9, 30, 9_000), tile=grid.window(0, 1), grid=grid)

    assert grid.window(0, 1).cols.start == 10
    assert whole.cut.tolist() == [True]


def test_territories_partition_the_scene_and_those_of_a_part_are_the_same():
    for axis in (GRID.rows, GRID.cols, TileAxis(160, 64, 16), TileAxis(40, 64, 0)):
        spans = [axis.territory(i) for i in range(axis.count)]

        assert [i for s in spans for i in range(s.start, s.stop)] == list(range(axis.length))
    whole = TileAxis(160, 64, 16)
    part = whole.cut(Span(50, 90))
    assert part.count < whole.count
    for i in range(part.count):
        assert part.territory(i).shift(50) == whole.territory(i)


def test_of_a_part_of_a_scene_masks_go_on_beyond_it_but_not_beyond_the_scene():
    grid = TileGrid(GRID.rows, TileAxis(96, 64, 16, before=30, after=34))

    found = reported((20, 20, 9, 30, 9_000), (20, 0, 9, 12, 8_000), tile=grid.window(0, 0), grid=grid)

    assert grid.window(0, 0).cols == Span(-38, 26)
    assert found.boxes[:, [1, 3]].tolist() == [[-18, 12], [-30, -26]]


def test_a_block_comes_back_from_its_bytes():
    valid = np.ones((5, 7), bool)
    found = Reported.concatenate([reported((20, 20, 9, 9, 9_000)), reported((30, 0, 9, 9, 8_000))])

    data = BlockObjects(found, valid).encode()

    again = decode(data)
    assert BlockObjects(again, valid).encode() == data
    assert again.offsets.tolist() == [0, 11, 22]
    assert decode_valid(data, (5, 7)) is None
    valid[2, 3] = False
    data = BlockObjects(NOTHING, valid).encode()
    assert np.array_equal(decode_valid(data, (5, 7)), valid)
    assert len(decode(data)) == 0
    with pytest.raises(ValueError, match="no mask of 9 x 9"):
        decode_valid(data, (9, 9))
