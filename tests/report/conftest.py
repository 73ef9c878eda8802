"""A finished run whose names are hard to print."""

import json
import shutil

import pytest

from tests.conftest import BAND_NAMES, make_bundle, reflectance, write_pipeline, write_raster

TITLES = ('Grass & "herbs"', "<b>Wald</b> d'été", "水体")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of the run; nobody writes into it."""
    from geoseg.runs.prepare import prepare
    from geoseg.runs.run import run

    folder = tmp_path_factory.mktemp("page")
    bundle = make_bundle(folder / "bundle", classes=3)
    card = bundle.folder / "geoseg.json"
    content = json.loads(card.read_text())
    for c, title in zip(content["classes"], TITLES, strict=True):
        c["title"] = title
    card.write_text(json.dumps(content))
    planes = reflectance(300, 260)
    planes[:, 100:140, 200:] = 0
    scene = write_raster(folder / "scene.tif", planes, names=BAND_NAMES, scale=0.0001, nodata=0)
    run(prepare(write_pipeline(folder, scene, bundle.folder)))
    return folder / "out"


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the run to write into."""
    return shutil.copytree(finished, tmp_path / "run")
