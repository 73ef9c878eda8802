"""The project of a run for QGIS: its text, and what the real QGIS opens."""

import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio

from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from geoseg.runs.validate.styles import _project
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster

SYSTEM_PYTHON = "/usr/bin/python3"
_LOOK = """
import json, sys
from qgis.core import Qgis, QgsApplication, QgsProject
QgsApplication.setPrefixPath("/usr", True)
app = QgsApplication([], False)
app.initQgis()
project = QgsProject.instance()
assert project.read(sys.argv[1])
tree = project.layerTreeRoot()
def legend(layer):
    if layer.type() == 0:
        return [category.label() for category in layer.renderer().categories()]
    return [pair[0] for pair in layer.renderer().legendSymbologyItems()]
print(json.dumps({
    "title": project.title(), "crs": project.crs().authid(),
    "view": project.viewSettings().defaultViewExtent().toString(0),
    "layers": [{"name": l.name(), "valid": l.isValid(), "crs": l.crs().authid(), "legend": legend(l),
                "shown": tree.findLayer(l.id()).isVisible(), "box": l.extent().toString(0)}
               for l in tree.layerOrder()],
}))
app.exitQgis()
"""


def document(folder):
    with zipfile.ZipFile(folder / "run.qgz") as archive:
        assert archive.namelist() == ["run.qgs"]
        return ET.fromstring(archive.read("run.qgs"))  # noqa: S314


def sources(folder):
    return {m.findtext("layername"): m.findtext("datasource") for m in document(folder).iter("maplayer")}


@pytest.fixture(scope="module")
def place(tmp_path_factory, bundle):
    """A folder with scenes of one file and of four, with and without a CRS, and their runs."""
    folder = tmp_path_factory.mktemp("project")
    values = reflectance(70, 90)
    write_raster(folder / "one & only.tif", values, names=BAND_NAMES, scale=0.0001)
    write_raster(folder / "nowhere.tif", values, names=BAND_NAMES, scale=0.0001, crs=None)
    (folder / "four").mkdir()
    bands = {}
    for number, name in enumerate(BAND_NAMES):
        write_raster(folder / f"four/{name}.tif", values[number : number + 1], names=[name], scale=0.0001)
        bands[name] = {"uri": str(folder / f"four/{name}.tif")}
    whole = json.dumps({"bands": bands})
    for name, scene, changes in (
        ("one", folder / "one & only.tif", ["vectorize.crs=EPSG:4326", "outputs.polygons=[fgb]"]),
        ("nowhere", folder / "nowhere.tif", ["gsd=auto", "checks.gsd=off"]),
        ("four", folder / "one & only.tif", [f"scene={whole}"]),
    ):
        run(prepare(write_pipeline(folder, scene, bundle.folder), changes, folder / "runs" / name))
    return folder


def test_layers_are_named_by_relative_paths_from_top_to_bottom(place):
    found = sources(place / "runs/one")
    assert list(found.values()) == [
        "./polygons.fgb", "./confidence.tif", "./classes.tif", "../../one & only.tif"
    ]  # fmt: skip
    assert sources(place / "runs/four")["Polygons"] == "./polygons.gpkg|layername=toy"
    root = document(place / "runs/four")
    assert str(place) not in ET.tostring(root, encoding="unicode")
    assert root.findtext("properties/Paths/Absolute") == "false"


def test_bands_in_several_files_are_joined(place):
    assert list(sources(place / "runs/four").values())[-1] == "./scene.vrt"
    assert str(place) not in (place / "runs/four/scene.vrt").read_text()
    with (
        rasterio.open(place / "runs/four/scene.vrt") as joined,
        rasterio.open(place / "one & only.tif") as src,
    ):
        order = [BAND_NAMES.index(n) + 1 for n in ("red", "green", "blue")]
        np.testing.assert_array_equal(joined.read(), src.read(order))
        assert (joined.transform, joined.crs) == (src.transform, src.crs)
    record = json.loads((place / "runs/four/run.json").read_text())
    assert {"run.qgz", "scene.vrt"} <= record["outputs"].keys()
    assert "scene.vrt" not in json.loads((place / "runs/one/run.json").read_text())["outputs"]


def test_the_classes_are_those_of_the_legend(place):
    record = json.loads((place / "runs/one/run.json").read_text())
    expected = {c["id"]: (c["title"], c["color"].lower()) for c in record["classes"]}
    assert _project(place / "runs/one/run.qgz") == expected


def test_no_project_where_none_is_asked_for(place, bundle):
    pipeline = write_pipeline(place, place / "one & only.tif", bundle.folder)
    finished = run(prepare(pipeline, ["outputs.project=false"], place / "runs/none"))
    assert not {"run.qgz", "scene.vrt"} & finished.record.outputs.keys()


@pytest.mark.skipif(shutil.which("qgis") is None, reason="needs QGIS")
def test_qgis_opens_it_also_in_another_place(place, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(place, moved)
    titles = [c["title"] for c in json.loads((place / "runs/one/run.json").read_text())["classes"]]
    for name, crs, polygons, scene in (
        ("one", "EPSG:32633", "EPSG:4326", "one & only"),
        ("four", "EPSG:32633", "EPSG:32633", None),
        ("nowhere", "", "", "nowhere"),
    ):
        seen = opened(moved / "runs" / name / "run.qgz")
        names = [one["name"] for one in seen["layers"]]
        assert names[:3] == ["Polygons", "Confidence", "Classes"]
        assert scene is None or Path(names[3]).stem == scene
        assert all(one["valid"] for one in seen["layers"])
        assert [one["shown"] for one in seen["layers"]] == [False, False, True, True]
        assert [one["crs"] for one in seen["layers"]] == [polygons, crs, crs, crs]
        assert seen["layers"][0]["legend"] == seen["layers"][2]["legend"] == titles
        # The map lies on its scene.
        assert seen["layers"][2]["box"] == seen["layers"][3]["box"]
        assert seen["crs"] == crs


def opened(project):
    """Return what QGIS says of a project."""
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", _LOOK, project], capture_output=True, text=True, timeout=120, check=False,
        env={"QT_QPA_PLATFORM": "offscreen", "HOME": str(project.parent), "PATH": "/usr/bin"},
    )  # fmt: skip
    if "No module named 'qgis'" in done.stderr:
        pytest.skip("needs the Python of QGIS")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
