"""The notebooks in examples/, cell by cell, in one folder and in the order of their README."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.cells import code_cells, execute
from tests.conftest import ROOT

# As in a notebook, where warnings do not stop a cell.
pytestmark = pytest.mark.filterwarnings("default", "ignore:Use `@` matmul:PendingDeprecationWarning")

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")


@pytest.fixture
def run(folder, monkeypatch, small_pictures):
    """Run a notebook in the folder of all; return its variables, once its pictures have been drawn."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")

    def run(name):
        plt.close("all")
        names = execute(EXAMPLES / f"{name}.ipynb")
        assert plt.get_fignums()
        for number in plt.get_fignums():
            check_picture(plt.figure(number))
        plt.close("all")
        return names

    return run


def check_picture(figure):
    """Draw a figure; its maps have coordinates in metres, and their colours are explained."""
    figure.canvas.draw()
    maps = [a for a in figure.axes if a.images]
    for axis in maps:
        assert re.fullmatch(r"easting \(m\)", axis.get_xlabel())
        assert axis.get_title()
        values = axis.images[0].get_array()
        assert np.std(np.ma.filled(values.astype(float), np.nan)[np.isfinite(values)]) > 0
        natural = values.ndim == 3
        explained = axis.get_legend() is not None or axis.images[0].colorbar is not None
        assert natural or explained
    assert maps or all(a.get_xlabel() for a in figure.axes)


def test_each_notebook_is_told_in_the_readme_and_is_clean():
    told = re.findall(r"^\| \[(.*)\.ipynb\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(p.stem for p in EXAMPLES.glob("*.ipynb"))
    assert all(code_cells(EXAMPLES / f"{name}.ipynb") for name in told)


def test_a_first_map_and_how_good_it_is(run, folder):
    first = run("first-map")
    assert first["shown"][-1] == "[]"  # nothing that validate finds
    assert (folder / "outputs/first-map/polygons.parquet").exists()
    assert "data:image/png;base64" in (folder / "outputs/first-map/report.html").read_text()
    second = run("evaluation")
    assert 0.5 < second["report"].overall_accuracy < 1
    table = second["table"]
    assert ((table["from"] <= table["estimated"]) & (table["estimated"] <= table["to"])).all()


def test_a_stac_item_becomes_polygons(run):
    import geoseg

    names = run("stac-to-polygons")
    polygons, part = names["polygons"], names["part"]
    assert polygons.geometry.is_valid.all()
    pixels = part.sizes["x"] * part.sizes["y"]
    assert polygons.area.sum() == pytest.approx(100 * pixels)  # a coverage of 10 m pixels
    assert names["table"]["hectares"].sum() == pytest.approx(pixels / 100, rel=0.01)
    # The door of the item, its item.json and the catalog's entry are the same scene.
    known = geoseg.open_scene("sentinel2-sample", bands=list(names["FILES"]))
    known = known.isel(y=slice(600, 1112), x=slice(300, 1068))
    again = geoseg.segment(known, "landcover-s2", outputs=["class"])["class"].compute()
    assert (again.to_numpy() == names["found"]["class"].to_numpy()).all()


def test_a_published_cloud_network_masks_clouds(run, folder, monkeypatch):
    from geoseg.models.importing import proof

    if find_spec("ukis_csmask") is None or find_spec("onnxruntime") is None:
        pytest.skip("ukis-csmask or onnxruntime is not installed")
    monkeypatch.setattr(proof, "BATCHES", 1)
    names = run("cloud-mask")
    clouds, masked = names["clouds"].to_numpy(), names["maps"]["with the cloud mask"].to_numpy()
    assert 0.3 < (clouds == 1).mean() < 0.8
    assert ((masked == 255) == (clouds == 1)).all()
    # What the product is certain of is cloud for the network, too.
    certain = ~names["quality"].to_numpy()
    assert (clouds[certain] == 1).mean() > 0.95


def test_own_labels_become_a_model_and_a_map(run, folder):
    names = run("own-labels")
    assert (folder / "outputs/coast/bundle/geoseg.json").exists()
    assert names["report"].overall_accuracy > 0.9
    assert names["report"].miou > 0.8
