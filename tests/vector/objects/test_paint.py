import json
from dataclasses import replace

import numpy as np
import pytest

from geoseg.core.geometry import Window
from geoseg.vector.objects import paint
from geoseg.vector.objects.coco import encoded, runs, write_coco
from geoseg.vector.objects.collected import collected
from geoseg.vector.objects.outline import mask_polygons
from geoseg.vector.objects.paint import Canvas, Found, number, numbers_of, painted_windows
from geoseg.vector.objects.rule import MergedObject
from geoseg.vector.recipe import Generalize
from tests.vector.objects.scenes import box, disc

SHAPE = (40, 50)


def merged_of(*things):
    """Return things as merged objects; keys follow their order."""
    return [
        MergedObject((-t.score, 0, 0, i), identity[0], t.mask, t.kind, t.score, 1)
        for i, t in enumerate(things)
        if (identity := t.identity)
    ]


@pytest.fixture
def paint_all(tmp_path):
    """Return a function that paints things: the found objects and the numbers of all pixels."""

    def call(*things, valid=None):
        valid = np.ones(SHAPE, bool) if valid is None else valid

        def inside(window):
            return valid[window.rows.start : window.rows.stop, window.cols.start : window.cols.stop]

        with collected(merged_of(*things), tmp_path / "bits") as objects:
            canvas = Canvas(objects)
            found = Found(objects, number(objects, canvas, SHAPE, inside))
            drawn = np.zeros(SHAPE, np.uint32)
            numbers = numbers_of(found.numbered, len(objects))
            for window, part in painted_windows(canvas, numbers, SHAPE):
                drawn[window.rows.start : window.rows.stop, window.cols.start : window.cols.stop] = part
            yield found, drawn

    return call


def one(generator):
    return next(generator)


def test_objects_are_numbered_by_their_first_pixel_whatever_order_they_come_in(paint_all):
    things = [box(20, 30, 30, 40), box(5, 25, 9, 29, kind=2), box(5, 3, 30, 8), disc(20, 18, 5, kind=3)]

    found, drawn = one(paint_all(*things))
    again, drawn_again = one(paint_all(*reversed(things)))

    assert found.numbered.classes.tolist() == [255, 1, 2, 3, 1]
    assert found.numbered.pixels.tolist() == [0, 125, 16, 81, 100]
    assert np.array_equal(drawn, drawn_again)
    firsts = [int(np.flatnonzero(drawn.ravel() == n)[0]) for n in range(1, 5)]
    assert firsts == sorted(firsts)
    assert again.numbered.pixels.tolist() == found.numbered.pixels.tolist()


def test_a_small_object_on_a_large_one_is_seen_and_numbered_by_what_is_seen(paint_all):
    """The panel hides the first pixel of the roof."""
    roof, panel, other = box(10, 10, 30, 30), box(10, 10, 14, 14, kind=2), box(10, 40, 12, 42, kind=3)

    found, drawn = one(paint_all(roof, panel, other))

    assert found.numbered.classes.tolist() == [255, 2, 1, 3]
    assert found.numbered.pixels.tolist() == [0, 16, 400 - 16, 4]
    assert (drawn[10, 10], drawn[10, 14], drawn[10, 40]) == (1, 2, 3)


def test_an_object_that_is_hidden_whole_has_no_number(paint_all):
    """Of two equal ones the better is seen."""
    found, drawn = one(paint_all(box(5, 5, 9, 9, score=6_000), box(5, 5, 9, 9, kind=2, score=9_000)))

    assert len(found.objects) == 2
    assert found.numbered.classes.tolist() == [255, 2]
    assert np.unique(drawn).tolist() == [0, 1]


def test_what_an_area_cuts_off_does_not_change_what_lies_on_top(tmp_path):
    """A roof of which the area leaves less than its panel has lies below the panel all the same."""
    panel, roof = merged_of(box(10, 10, 20, 20), box(19, 10, 24, 20))
    with collected([panel, replace(roof, beyond=900)], tmp_path / "bits") as objects:
        assert objects.upwards().tolist() == [1, 0]
    with collected([panel, roof], tmp_path / "bits") as objects:
        assert objects.upwards().tolist() == [0, 1]


def test_objects_at_the_frame_or_at_nodata_touch_the_edge(paint_all):
    valid = np.ones(SHAPE, bool)
    valid[:, 45:] = False

    found, _ = one(paint_all(box(0, 3, 4, 6), box(10, 40, 14, 45), box(20, 40, 24, 44), valid=valid))

    assert found.numbered.edge.tolist() == [False, True, True, False]


def test_the_windows_in_which_objects_are_painted_change_nothing(paint_all, monkeypatch):
    things = [disc(20, 20, 12), disc(22, 30, 12, kind=2), box(0, 0, 40, 3, kind=3)]
    found, drawn = one(paint_all(*things))
    monkeypatch.setattr(paint, "SIDE", 7)

    in_parts, drawn_in_parts = one(paint_all(*things))

    assert np.array_equal(drawn, drawn_in_parts)
    for name in ("classes", "pixels", "edge", "index"):
        assert np.array_equal(getattr(found.numbered, name), getattr(in_parts.numbered, name))


def test_a_map_without_objects_has_none(paint_all):
    found, drawn = one(paint_all())

    assert (len(found.numbered), found.numbered.percent.tolist(), drawn.max()) == (0, [255], 0)


def decoded(text):
    """Return the run lengths in a text of COCO, as `rleFrString` of its API reads them."""
    lengths, at = [], 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            letter = ord(text[at]) - 48
            value |= (letter & 31) << shift
            more, at, shift = bool(letter & 32), at + 1, shift + 5
            if not more and letter & 16:
                value |= -1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    return lengths


def test_coco_results_hold_the_whole_masks(paint_all, tmp_path):
    things = [box(0, 10, 40, 30), disc(20, 18, 5, kind=2, score=8_765), box(0, 0, 40, 2), box(39, 49, 40, 50)]
    for found, _ in paint_all(*things):
        write_coco(tmp_path / "coco.json", found, SHAPE)

    results = json.loads((tmp_path / "coco.json").read_text())

    assert [r["id"] for r in results] == [1, 2, 3, 4]
    for result, thing in zip(results, [things[2], things[0], things[1], things[3]], strict=True):
        lengths = decoded(result["segmentation"]["counts"])
        flat = np.repeat(np.arange(len(lengths)) % 2, lengths).astype(bool)
        whole = np.zeros(SHAPE, bool)
        rows, cols = thing.window.rows, thing.window.cols
        whole[rows.start : rows.stop, cols.start : cols.stop] = thing.mask
        assert np.array_equal(flat.reshape(SHAPE[::-1]).T, whole)
        assert result["bbox"] == [cols.start, rows.start, len(cols), len(rows)]
        assert (result["category_id"], result["score"]) == (thing.kind, thing.score / 10_000)


def test_coco_masks_are_those_of_its_own_library():
    """Runs that get shorter and longer, over several letters each."""
    reader = pytest.importorskip("faster_coco_eval").mask
    mask = np.random.default_rng(0).random((70, 90)) < 0.5
    mask[:, 3:40] = True
    whole = np.zeros((200, 300), bool)
    whole[100:170, 50:140] = mask

    text = encoded(runs(mask, Window.of(100, 50, 70, 90), whole.shape))

    theirs = reader.encode(np.asfortranarray(whole.astype(np.uint8)))
    assert text == theirs["counts"].decode()


@pytest.mark.parametrize("how", [Generalize(), Generalize(tolerance=1.5), Generalize(smooth=0.4)])
def test_polygons_of_whole_masks_overlap(paint_all, how):
    roof, panel = box(10, 10, 30, 30), disc(20, 20, 4, kind=2)
    for found, _ in paint_all(roof, panel):
        (polygons,) = mask_polygons(found.objects, found.numbered, how, SHAPE)

    assert polygons.stats.value.tolist() == [1 + 256, 2 + 512]
    assert polygons.stats.pixels.tolist() == [400, int(panel.mask.sum())]
    areas = []
    for first, last in zip(polygons.rings.offsets[:-1], polygons.rings.offsets[1:], strict=True):
        y, x = polygons.rings.vertices[first:last].astype(float).T
        areas.append(abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1])) / 2)
    assert areas[0] == pytest.approx(400, abs=4)
    assert areas[1] == pytest.approx(panel.mask.sum(), abs=12)


def test_a_mask_in_two_parts_with_a_hole_is_traced_whole(paint_all):
    thing = box(5, 5, 25, 35)
    thing.mask[:, 14:16] = False
    thing.mask[8:12, 4:8] = False
    for found, _ in paint_all(thing):
        (polygons,) = mask_polygons(found.objects, found.numbered, Generalize(), SHAPE)

    assert np.diff(polygons.rings.polygons).tolist() == [2, 1]
    assert polygons.stats.value.tolist() == [257, 257]
    assert polygons.stats.pixels.sum() == thing.mask.sum()
