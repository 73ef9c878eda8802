import pytest

from geoseg.runs.pace import Pace, clock_time
from geoseg.runs.progress import ENDED, PREDICT, Progress, Work


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def at(clock, pace, seconds, *event, **more):
    clock.now = 100.0 + seconds
    pace.add(Progress(*event, **more))
    return pace.view()


def test_outputs_are_part_of_the_run(clock):
    """Four blocks of 10 s, then outputs that usually take 20 s: at 40 s two thirds are over."""
    pace, work = Pace(clock=clock), Work(total=20)
    view = at(clock, pace, 0, PREDICT, 0, 4, name="a", work=work)
    assert (view.share, view.left) == (0, None)
    view = at(clock, pace, 10, PREDICT, 1, 4, name="a", work=work)
    assert (view.left, view.times) == (50, "0:10, 0:50 left")
    assert view.what == "predict 1 of 4 blocks"
    view = at(clock, pace, 40, PREDICT, 4, 4, name="a", work=work)
    assert view.share == pytest.approx(2 / 3)
    view = at(clock, pace, 40, "classes.tif", name="a", work=Work(0, 20, 5))
    assert (view.what, view.left) == ("classes.tif", 20)


def test_outputs_that_take_twice_as_long_move_the_end(clock):
    pace = Pace(clock=clock)
    at(clock, pace, 0, PREDICT, 4, 4, name="a", work=Work(total=20))
    at(clock, pace, 0, "classes.tif", name="a", work=Work(0, 20, 10))
    view = at(clock, pace, 20, "polygons", name="a", work=Work(10, 20, 10))
    assert view.left == 20
    before = pace.view().share
    clock.now += 100  # a step that takes longer than thought: no end is said, rather than a wrong one
    assert (pace.view().left, pace.view().share) == (None, before)
    assert pace.view().times == "2:00"
    at(clock, pace, 121, ENDED, 1, name="a")
    assert pace.view().left == 0


def test_the_share_never_falls_and_time_goes_on_within_a_block(clock):
    pace = Pace(clock=clock)
    at(clock, pace, 0, PREDICT, 0, 10, name="a", work=Work(total=0))
    first = at(clock, pace, 10, PREDICT, 1, 10, name="a")
    clock.now += 5
    second = pace.view()
    assert (first.left, second.left) == (90, 85)
    clock.now += 500  # the other blocks take far longer
    late = at(clock, pace, 515, PREDICT, 2, 10, name="a")
    assert late.left > 1000
    assert late.share >= second.share


def test_blocks_that_were_staged_before_tell_no_pace(clock):
    pace = Pace(clock=clock)
    assert at(clock, pace, 0, PREDICT, 90, 100, name="a", work=Work()).left is None
    assert at(clock, pace, 2, PREDICT, 91, 100, name="a", work=Work()).left == 18


def test_many_scenes_are_one_run(clock):
    pace = Pace(4, clock)
    at(clock, pace, 0, ENDED, 0, name="finished before")
    at(clock, pace, 0, PREDICT, 0, 2, name="a", work=Work(total=1))
    view = at(clock, pace, 10, ENDED, 1, name="a")
    assert (view.share, view.left) == (pytest.approx(1 / 3), pytest.approx(20))
    view = at(clock, pace, 10, PREDICT, 0, 2, name="b", work=Work(total=1))
    assert view.what == "scene 2 of 3, b: predict 0 of 2 blocks"
    at(clock, pace, 20, ENDED, 1, name="b")
    view = at(clock, pace, 30, ENDED, 1, name="c")
    assert (view.share, view.left) == (1, 0)


def test_a_run_without_workers_says_that_it_waits(clock):
    pace = Pace(clock=clock)
    view = at(clock, pace, 0, PREDICT, 0, 4, fact={"event": "waiting", "time": 0.0})
    assert view.rate == "waiting: no worker is there"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.7, "1:00"), (750, "12:30"), (10935, "3:02:15")]
)
def test_times_are_those_of_a_clock(seconds, text):
    assert clock_time(seconds) == text
