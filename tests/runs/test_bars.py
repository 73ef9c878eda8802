import io
import time

import pytest
from rich.console import Console

from geoseg.runs.bars import _Bar, lines
from geoseg.runs.pace import Pace
from geoseg.runs.progress import ENDED, PREDICT, Progress, Work


def test_without_a_terminal_each_stage_is_a_line_with_times():
    said = []
    with lines(said.append) as tell:
        for done in range(3):
            tell(Progress(PREDICT, done, 2, name="a", work=Work(total=8)))
        tell(Progress("polygons.fgb", name="a", text="polygons 2 of 3 formats", work=Work(4, 8, 2)))
        tell(Progress(ENDED, 1, name="a"))
    assert said == ["[0:00] predict 0 of 2 blocks", "[0:00] polygons 2 of 3 formats, 0:00 left"]


def test_without_events_a_line_comes_all_the_same():
    said = []
    with lines(said.append, every=0.05) as tell:
        tell(Progress("polygons", name="a"))
        until = time.monotonic() + 10
        while len(said) < 3 and time.monotonic() < until:
            time.sleep(0.02)
    assert len(said) >= 3
    assert set(said) == {"[0:00] polygons"}


@pytest.mark.parametrize(("width", "whole"), [(80, False), (120, True)])
def test_the_bar_fits_the_terminal(width, whole):
    pace = Pace()
    for done, at in ((0, 0.0), (1, 10.0)):
        facts = [
            {"event": "predicted", "worker": w, "time": at, "pixels": 4_000_000 * done, "spans": []}
            for w in "ab"
        ]
        for fact in facts:
            pace.add(Progress(PREDICT, done, 4, name="a", fact=fact, work=Work(total=3)))
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(_Bar(pace))
    (line,) = out.getvalue().splitlines()
    assert line.startswith("predict 1 of 4 blocks ")
    assert "0.80 Mpx/s" in line
    assert ("2 workers" in line) == whole
    assert len(line) <= width
