"""A few cases of each kind, the same ones each time; `make fuzz` tries others for minutes."""

import pytest

from tests.fuzz.targets import settings_of, trial
from tests.fuzz.world import World

CASES = {"documents": 20, "bundles": 2, "rasters": 3, "scene_lists": 6, "run_folders": 0, "pipelines": 0}
"""Cases beside the EXAMPLES of each kind; all together take a few seconds."""


@pytest.fixture(scope="module")
def world(tmp_path_factory, bundle):
    return World(tmp_path_factory.mktemp("fuzz") / "world", bundle.folder)


@pytest.mark.parametrize("target", CASES)
def test_hostile_input_ends_in_one_line_and_leaves_nothing(target, world):
    trial(target, world, settings_of(CASES[target], derandomize=True))()
