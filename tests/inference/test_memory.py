"""The plan's promise: announced memory is at least the measured peak, which does not grow with the scene."""

import json
import subprocess
import sys

import pytest

from tests.conftest import BAND_NAMES, ROOT, make_bundle, reflectance, write_pipeline, write_raster
from tests.make_scenes import repeat


@pytest.fixture(scope="module")
def run_at(tmp_path_factory):
    """Run a scene of some rows and columns with a network that costs nothing; return its manifest."""
    folder = tmp_path_factory.mktemp("memory")
    tile = {"size": 1024, "min": 256, "max": 1024, "overlap": 128, "divisor": 32}
    bundle = make_bundle(folder / "bundle", tile=tile)
    small = write_raster(folder / "small.tif", reflectance(2048, 2048), names=BAND_NAMES, tiled=True)

    def measure(rows, cols, module="tests.inference.free"):
        pipeline = write_pipeline(folder, repeat(small, rows, scale=0.0001, width=cols), bundle.folder)
        command = [sys.executable, "-m", module, "run", str(pipeline), "--output", str(folder / str(rows)),
                   "--json", "--quiet", "--overwrite", "--set", "outputs.polygons=[]"]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return measure


def test_announced_memory_holds_and_the_peak_does_not_grow_with_the_scene(run_at):
    peaks, announced = {}, {}
    # The shorter side is the same: fringes along it wait for the next blocks, and that is announced.
    for rows, cols in ((2048, 2048), (6144, 4096), (15360, 4096)):
        manifest = run_at(rows, cols)
        memory = manifest["memory_bytes"]
        peaks[rows] = memory["peak_of_this_process"]
        announced[rows] = memory["announced_per_worker"]
        assert peaks[rows] <= announced[rows]
        assert manifest["tiles_predicted"] == manifest["plan"]["tiles"]
    # One byte kept for each of the 38 million pixels more would be over 6 % of the 620 MB.
    assert peaks[15360] <= 1.06 * peaks[6144]


def test_announced_memory_holds_with_a_real_network(run_at):
    memory = run_at(2048, 2048, "geoseg")["memory_bytes"]
    assert memory["peak_of_this_process"] <= memory["announced_per_worker"]
    # and is no fantasy
    assert memory["announced_per_worker"] < 2.0 * memory["peak_of_this_process"]
