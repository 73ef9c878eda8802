"""Timelines of made-up events: lanes, totals, cuts, and how they are drawn."""

import random
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from geoseg.report.profile import trace_of
from geoseg.report.run_timeline import BINS, LEFT, LEVELS, SINGLE, WIDTH, WORKERS, draw_timeline, stages_of
from geoseg.report.timeline import SECOND, STAGES, WorkSpan, covered, in_lanes, timeline_of

RUN = {"time": 1000.0, "event": "run", "passes": 2, "device": "cpu"}


def block(name, *spans, worker="w1", event="predicted"):
    time = max(began + seconds for _, began, seconds in spans)
    return {"time": time, "event": event, "worker": worker, "scene": "s", "block": name, "spans": list(spans)}


def output(name, began, seconds):
    return {"time": began + seconds, "event": "output", "scene": "s", "file": name, "began": began,
            "seconds": seconds}  # fmt: skip


TWO = [
    RUN,
    {"time": 1000.0, "event": "begun", "worker": "w1", "scene": "s", "block": "a"},
    {"time": 1000.1, "event": "of a later version", "spans": 3},
    block("a", ("read", 1000.0, 1.0), ("wait", 1001.0, 0.5), ("forward", 1001.5, 2.0), ("new", 1001.0, 1.0)),
    block("b", ("read", 1001.0, 1.0), ("forward", 1002.0, 2.0), ("sum", 1004.0, 0.25)),
    block("a", ("settle", 1004.0, 0.125), ("write", 1004.125, 0.875), event="settled"),
    output("classes.tif", 1006.0, 1.5),
    {"time": 1008.0, "event": "finished"},
]


def test_spans_totals_and_the_busy_share_are_those_of_the_events():
    found = timeline_of(TWO)
    assert (found.began, found.workers, found.device, found.cut) == (1000.0, ("w1",), "cpu", 0)
    forward = [s for s in found.blocks if s.stage == "forward"]
    assert forward == [
        WorkSpan("w1", "forward", "a", 1_500_000, 3_500_000, 0),
        WorkSpan("w1", "forward", "b", 2_000_000, 4_000_000, 1),
    ]
    assert found.outputs == (WorkSpan("", "classes.tif", "", 6_000_000, 7_500_000),)
    seconds = {s: found.total(s) / SECOND for s in STAGES}
    assert seconds == {"read": 2, "wait": 0.5, "forward": 4, "sum": 0.25, "settle": 0.125, "write": 0.875}
    # Two passes could have run from the first span, at 0 s, to the last, at 5 s.
    assert (found.wall, found.busy) == (5 * SECOND, 4 / (2 * 5))
    table = {s.name: (s.seconds, s.share, s.under_way) for s in stages_of(found)}
    assert table["forward"] == (4, pytest.approx(4 / 7.25), 2.5 / 5)
    assert table["wait"] == (0.5, None, 0.1)
    assert sum(s.share or 0 for s in stages_of(found)) == pytest.approx(1)


def test_lanes_are_as_few_as_overlaps_ask_for_and_never_overlap():
    random.seed(4)
    spans = []
    for _ in range(400):
        start = random.randrange(10_000)
        stage = random.choice(STAGES)
        spans.append(WorkSpan(random.choice("ab"), stage, "x", start, start + random.randrange(300)))
    laid = in_lanes(spans)
    assert {replace(s, lane=0) for s in laid} == set(spans)
    for worker in "ab":
        for stage in STAGES:
            row = [s for s in laid if (s.worker, s.stage) == (worker, stage)]
            most = max(sum(o.start <= s.start < o.stop or o is s for o in row) for s in row)
            lanes = {s.lane for s in row}
            assert lanes == set(range(len(lanes)))
            assert len(lanes) <= most
            for lane in lanes:
                times = [(s.start, s.stop) for s in row if s.lane == lane]
                assert all(a[1] <= b[0] for a, b in pairwise(times))


def test_the_union_of_spans_counts_no_time_twice():
    random.seed(5)
    spans = [WorkSpan("a", "read", "x", s, s + random.randrange(1, 9)) for s in random.sample(range(200), 40)]
    ticks = {t for s in spans for t in range(s.start, s.stop)}
    assert covered(spans) == len(ticks)
    assert covered([]) == 0


def test_the_time_between_two_starts_is_left_out():
    later = [
        {**RUN, "time": 5000.0, "passes": 1},
        block("c", ("read", 5000.5, 1.0), ("forward", 5001.5, 1.5)),
        {"time": 5003.0, "event": "finished"},
    ]
    found = timeline_of([*TWO, *later])
    assert found.cut == (5000 - 1008) * SECOND
    assert found.stop == (8 + 3) * SECOND
    assert next(s.start for s in found.blocks if s.block == "c") == 8_500_000
    assert found.wall == (5 + 2.5) * SECOND
    assert found.busy == (4 + 1.5) / (2 * 5 + 2.5)


def test_a_worker_whose_clock_is_ahead_or_behind_gives_no_negative_time():
    found = timeline_of(
        [RUN, block("a", ("read", 990.0, 1.0), worker="slow"), block("b", ("read", 1000.0, 1.0))]
    )
    assert found.began == 990.0
    assert [s.start for s in found.blocks if s.worker == "slow"] == [0]
    assert min(e.get("ts", 0) for e in trace_of(found)["traceEvents"]) == 0


@pytest.mark.parametrize(
    "events",
    [
        [],
        [{"time": 1.0, "event": "finished"}],
        [{"event": "run"}],
        [RUN, {**TWO[3], "spans": [["read"]]}],
        [3],
    ],
)
def test_what_is_not_of_a_run_is_refused(events):
    with pytest.raises((LookupError, TypeError, ValueError)):
        timeline_of(events)


def boxes(shape):
    """Left, right, top and bottom of the boxes of a path."""
    found = re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)h-[\d.]+z", shape.path)
    return [(float(x), float(x) + float(w), float(y), float(y) + float(h)) for x, y, w, h in found]


def test_a_row_for_each_stage_of_each_worker_and_each_output_to_scale():
    other = block("c", ("forward", 1000.0, 7.5), worker="w2")
    picture = draw_timeline(timeline_of([*TWO, other]))
    rows = {g.title: [r.label for r in g.rows] for g in picture.groups}
    assert rows == {"worker 1": list(STAGES), "worker 2": ["forward"], "outputs": ["classes.tif"]}
    assert not picture.binned
    forward = picture.groups[0].rows[2]
    (a,), (b,) = (boxes(s) for s in forward.shapes)
    scale = (WIDTH - 14 - LEFT) / 7.5
    assert a[:2] == pytest.approx((LEFT + 1.5 * scale, LEFT + 3.5 * scale), abs=0.2)
    assert a[3] <= b[2] + 0.1  # the lanes lie below one another
    assert [s.title for s in forward.shapes] == ["a: 2 s from 1.50 s", "b: 2 s from 2.00 s"]
    middles = [r.y for g in picture.groups for r in g.rows]
    assert middles == sorted(middles)
    assert middles[-1] < picture.height - picture.axis
    assert [t.label for t in picture.ticks][:3] == ["0", "1", "2"]


@pytest.mark.parametrize("workers", [1, WORKERS, WORKERS + 1, 100])
def test_thousands_of_blocks_give_a_bounded_drawing(workers):
    events = [RUN]
    for i in range(10_000):
        at, worker = 1000 + (i // workers) * 0.1, f"w{i % workers}"
        events.append(block(f"b{i}", ("read", at, 0.02), ("forward", at + 0.02, 0.04), worker=worker))
    found = timeline_of(events)
    assert len(found.blocks) > SINGLE
    picture = draw_timeline(found)
    assert picture.binned
    rows = [r for g in picture.groups for r in g.rows]
    assert len(rows) == 2 * (workers if workers <= WORKERS else 1)
    assert all(len(r.shapes) <= LEVELS for r in rows)
    assert sum(len(boxes(s)) for r in rows for s in r.shapes) <= BINS * len(rows)
    assert sum(len(s.path) for r in rows for s in r.shapes) < 5000 * len(rows)


def test_a_shade_tells_how_full_a_piece_of_time_is():
    events = [RUN]
    # Two lanes: both at work in the first quarter, one in the second, none in the third, both again.
    for i in range(1600):
        at = 1000 + i * 0.01
        lanes = range(2 if not 400 <= i < 1200 else 1 if i < 800 else 0)
        events += [block(f"b{i}.{lane}", ("forward", at, 0.01)) for lane in lanes]
    ((row,),) = [g.rows for g in draw_timeline(timeline_of(events)).groups]
    shades = {s.opacity: [(round(x), round(y)) for x, y, _, _ in boxes(s)] for s in row.shapes}
    quarter = (WIDTH - 14 - LEFT) / 4
    at = [round(LEFT + i * quarter) for i in range(5)]
    assert shades[1.0] == [(at[0], at[1]), (at[3], at[4])]
    assert shades[0.6] == [(at[1], at[2])]
    assert set(shades) == {0.6, 1.0}
