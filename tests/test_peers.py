"""The instruments of `python -m tests.benchmarks peers`: what they measure is what happened."""

import sys

import numpy as np
import pytest

from tests.benchmarks.peers import scene
from tests.benchmarks.peers.compare import differences, lines_of, spread
from tests.benchmarks.peers.measure import FailedError, measured
from tests.benchmarks.peers.scene import plane
from tests.conftest import reflectance


def test_a_measured_command_counts_its_children(tmp_path):
    child = "x = bytearray(300_000_000); import time; time.sleep(0.4); sum(range(20_000_000))"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    cost = measured([sys.executable, "-c", parent], tmp_path / "log.txt")
    assert 0.3 < cost.peak < 0.4
    assert 0.1 < cost.cpu < cost.wall - 0.3


def test_memory_of_the_measuring_process_is_not_the_commands(tmp_path):
    ballast = np.ones(40_000_000)
    assert measured([sys.executable, "-c", "import time; time.sleep(0.2)"], tmp_path / "log.txt").peak < 0.1
    assert ballast.nbytes > 0.3e9


def test_a_command_that_fails_says_why(tmp_path):
    with pytest.raises(FailedError, match=r"exit status 3: no such scene"):
        measured([sys.executable, "-c", "print('no such scene'); raise SystemExit(3)"], tmp_path / "log.txt")


def test_lines_are_where_tiles_begin_end_and_meet():
    assert lines_of([0, 384, 488], 512, 1000) == [384, 448, 488, 512, 692, 896]
    assert lines_of([-8, 376], 512, 880) == [376, 440, 504]
    assert lines_of([0, 512], 512, 1000) == [512]


def test_differences_are_told_apart_by_place():
    whole = np.zeros((1000, 1000), np.uint8)
    whole[:, 600:] = 1
    classes = whole.copy()
    note = {"rows": [500], "cols": [600]}
    same = {"overall": 0, "inside": 0, "seams": 0, "border": 0, "seam_index": 1}
    assert differences(classes, whole, note) == same
    classes[0] = 5  # at the border
    classes[500:, :300] = 2  # changes along the line of 500, and 44 columns reach inside
    found = differences(classes, whole, note)
    inside = 1000 - 2 * 256
    assert found["overall"] == pytest.approx((1000 + 500 * 300) / 1000**2)
    assert found["border"] == pytest.approx((1000 + 500 * 64 + 64 * 236) / (1000**2 - 872**2))
    assert found["inside"] == pytest.approx((500 - 256) * 44 / inside**2)
    assert found["seams"] == pytest.approx(8 * 44 / (2 * 16 * inside - 16 * 16))
    assert found["seam_index"] == pytest.approx((1000 - 1 + 300) / 1000)


def test_the_mirrored_plane_is_one_image(monkeypatch):
    numbers = reflectance(400, 280, bands=6)
    monkeypatch.setattr(scene, "sample", lambda: (numbers, "", None))
    whole = plane(-50, 1000, 100, 200)
    assert np.array_equal(plane(-20, 1040, 30, 60), whole[:, 30:60, 40:100])
    axis = 4 * 280 - scene.ORIGIN[1]  # the image turns round here
    assert np.array_equal(plane(0, axis - 30, 10, 30), plane(0, axis, 10, 30)[:, :, ::-1])
    assert not np.array_equal(plane(0, 0, 10, 30), plane(0, -30, 10, 30)[:, :, ::-1])


def test_a_spread_is_median_least_and_most():
    assert spread([3.0, 1.0, 2.5]) == "2.50 (1.00 to 3.00)"
    assert spread([2.0]) == "2.00"
