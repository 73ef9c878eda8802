"""The examples of docs/vectors.md that read polygons, on a run."""

import re
import shutil
import subprocess

import pytest

from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from tests.conftest import BAND_NAMES, ROOT, reflectance, write_pipeline, write_raster

PAGE = (ROOT / "docs/vectors.md").read_text()
SECTION = re.search(r"^### Reading them$(.*?)^### ", PAGE, re.MULTILINE | re.DOTALL)[1]
EXAMPLES = re.findall(r"^```(\w+)\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in EXAMPLES if language == "python"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, bundle):
    """A folder with the run `landcover`."""
    folder = tmp_path_factory.mktemp("reading")
    scene = write_raster(folder / "scene.tif", reflectance(100, 90), names=BAND_NAMES, scale=0.0001)
    changes = ["name=landcover", "outputs.polygons=[gpkg,parquet]"]
    run(prepare(write_pipeline(folder, scene, bundle.folder), changes, folder / "outputs/landcover"))
    return folder


@pytest.mark.filterwarnings("error:More than one layer")
@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.split()[1] + str(PYTHON.index(code)))
def test_examples_in_python_read_the_polygons(place, monkeypatch, code):
    pytest.importorskip(code.split()[1])
    monkeypatch.chdir(place)
    found = {}
    exec(code, found)  # noqa: S102 (it is that of the docs)
    assert len(found.get("fields", found.get("areas"))) > 0
    assert "part" not in found or len(found["part"]) <= len(found["fields"])


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="needs R with sf")
def test_the_example_in_r_reads_the_polygons(place):
    (code,) = (code for language, code in EXAMPLES if language == "r")
    done = subprocess.run(
        ["Rscript", "-e", code], cwd=place, capture_output=True, text=True, timeout=120, check=False
    )
    if "there is no package called" in done.stderr:
        pytest.skip("needs sf")
    assert done.returncode == 0, done.stderr
    assert "more than one layer" not in done.stderr
