"""The examples of docs/vectors.md that read polygons, on a run."""

import re
import shlex
import shutil
import subprocess

import pytest

from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from tests.conftest import BAND_NAMES, ROOT, reflectance, write_pipeline, write_raster

PAGE = (ROOT / "docs/vectors.md").read_text()
SECTION = re.search(r"^### Reading them$(.*?)^### ", PAGE, re.MULTILINE | re.DOTALL)[1]
EXAMPLES = re.findall(r"^```(\w+)\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, code in EXAMPLES if language == "sh" for line in code.splitlines()]
PYTHON = [code for language, code in EXAMPLES if language == "python" and "qgis" not in code]
CONSOLE = [code for language, code in EXAMPLES if language == "python" and "qgis" in code]
QGIS = """
from qgis.core import QgsApplication
QgsApplication.setPrefixPath("/usr", True)
app = QgsApplication([], False)
app.initQgis()
{code}
print(fields.isValid(), fields.featureCount())
app.exitQgis()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, bundle):
    """A folder with the run `landcover`."""
    folder = tmp_path_factory.mktemp("reading")
    # West of the easting that an example asks for.
    west = (439_000.0, 4_500_000.0)
    scene = write_raster(
        folder / "scene.tif", reflectance(100, 90), names=BAND_NAMES, scale=0.0001, origin=west
    )
    changes = ["name=landcover", "outputs.polygons=[gpkg,parquet,fgb,geojson]"]
    run(prepare(write_pipeline(folder, scene, bundle.folder), changes, folder / "outputs/landcover"))
    return folder


@pytest.mark.filterwarnings("error:More than one layer")
@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.split()[1] + str(PYTHON.index(code)))
def test_examples_in_python_read_the_polygons(place, monkeypatch, code):
    pytest.importorskip(code.split()[1])
    monkeypatch.chdir(place)
    found = {}
    exec(code, found)  # noqa: S102 (it is that of the docs)
    assert len(next(found[name] for name in ("fields", "areas", "shapes") if name in found)) > 0
    assert "part" not in found or len(found["part"]) <= len(found["fields"])


@pytest.mark.skipif(shutil.which("qgis") is None, reason="needs QGIS")
@pytest.mark.parametrize("code", CONSOLE)
def test_examples_for_the_console_of_qgis_read_the_polygons(place, code):
    environment = {"QT_QPA_PLATFORM": "offscreen", "HOME": str(place), "PATH": "/usr/bin"}
    done = subprocess.run(
        ["/usr/bin/python3", "-c", QGIS.format(code=code)], cwd=place, env=environment, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    if "No module named 'qgis'" in done.stderr:
        pytest.skip("QGIS of another Python")
    valid, count = done.stdout.split()
    assert valid == "True", done.stderr
    assert int(count) > 0


@pytest.mark.skipif(shutil.which("ogr2ogr") is None, reason="needs GDAL's commands")
@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line[:30])
def test_examples_with_gdal_read_the_polygons(place, line):
    done = subprocess.run(
        shlex.split(line), cwd=place, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
    assert line.startswith("ogr2ogr") or "class_name: String" in done.stdout
    made = [place / word for word in line.split() if word in {"large.fgb", "fields.sql"}]
    assert len(made) == line.startswith("ogr2ogr")
    assert all(path.stat().st_size > 500 for path in made)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="needs R with sf")
@pytest.mark.parametrize("code", [code for language, code in EXAMPLES if language == "r"])
def test_examples_in_r_read_the_polygons(place, code):
    done = subprocess.run(
        ["Rscript", "-e", code], cwd=place, capture_output=True, text=True, timeout=120, check=False
    )
    if "there is no package called" in done.stderr:
        pytest.skip("needs sf and terra")
    assert done.returncode == 0, done.stderr
    assert "more than one layer" not in done.stderr
