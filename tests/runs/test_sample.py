"""The main job on the real scene: the shipped pipeline, against one pass over the whole image."""

import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from geoseg.runs.prepare import prepare
from tests.conftest import ROOT
from tests.report.accessible import needs_axe, violations
from tests.whole_image import compare, whole_image_classes


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The plan, the folder and the record of the sample run, in a process whose memory is its own."""
    folder = tmp_path_factory.mktemp("sample") / "landcover"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        plan = prepare(ROOT / "pipelines/landcover.yaml", output=folder)
    command = [
        sys.executable,
        "-m",
        "geoseg",
        "run",
        "pipelines/landcover.yaml",
        "--output",
        folder,
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return plan, folder, json.loads(done.stdout)


def read(path):
    with rasterio.open(path) as src:
        return src.read(1)


def test_tiles_agree_with_the_whole_image_and_show_no_seam(sample):
    plan, folder, _ = sample
    difference = compare(read(folder / "classes.tif"), whole_image_classes(plan), plan)
    assert difference.overall <= 0.005
    assert 0.95 <= difference.seams <= 1.05


def test_the_rasters_are_cloud_optimised_and_complete(sample):
    plan, folder, manifest = sample
    for name in ("classes.tif", "confidence.tif"):
        valid, errors, remarks = cog_validate(str(folder / name), strict=True, quiet=True)
        assert (valid, errors, remarks) == (True, [], [])
    classes, confidence = read(folder / "classes.tif"), read(folder / "confidence.tif")
    assert set(np.unique(classes)) == set(plan.bundle.card.legend.ids.tolist())
    assert confidence.min() >= 1 / 6 - 0.01
    assert confidence.max() <= 1
    assert manifest["pixels"]["nodata"] == 0
    assert manifest["tiles_predicted"] == plan.grid.count


def test_coast_forest_and_fields_lie_where_they_are(sample):
    _, folder, manifest = sample
    classes = read(folder / "classes.tif")
    tree, grass, crop, bare, water = 1, 2, 3, 5, 6
    assert (classes[:, 1750:] == water).mean() > 0.99  # the open sea in the east
    assert (classes[:1200, :500] == water).mean() < 0.03  # the farmland in the west
    assert np.isin(classes[:1200, :500], (tree, grass, crop)).mean() > 0.93
    # The beach: between the sea and the land there is sand in most rows.
    assert ((classes[:1500, 1000:1750] == bare).any(axis=1)).mean() > 0.9
    areas = manifest["area_m2"]
    assert sum(areas.values()) == pytest.approx(classes.size * 100)


@needs_axe
def test_its_page_has_no_barrier(sample):
    assert violations(sample[1] / "report.html") == []


def test_announced_memory_holds_on_the_real_job(sample):
    _, _, record = sample
    memory = record["memory_bytes"]
    assert memory["peak_of_this_process"] <= memory["announced_per_worker"]
