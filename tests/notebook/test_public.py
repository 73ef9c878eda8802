"""The public functions: what they are, what they give back, and that their examples are true."""

import ast
import doctest
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray

import geoseg
from geoseg.config.run_record import RunRecord
from geoseg.core.errors import ConfigError, OutputError, SceneError
from geoseg.runs.finished import Run
from geoseg.runs.page import remake_page
from tests.conftest import ROOT, reflectance, write_pipeline, write_raster
from tests.training.test_train import document
from tests.training.worlds import labelled_scene

PUBLIC = {
    "open_scene", "open_bundle", "plan", "run", "open_run", "segment", "vectorize", "train", "evaluate",
    "validate", "errors",
}  # fmt: skip


def test_only_these_names_are_public_and_the_stub_has_the_same():
    assert set(geoseg.__all__) == PUBLIC
    stub = ast.parse((ROOT / "geoseg/__init__.pyi").read_text())
    imported = {a.asname for n in stub.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert imported == PUBLIC
    for name in PUBLIC:
        assert getattr(geoseg, name).__doc__
    assert set(dir(geoseg)) >= PUBLIC
    with pytest.raises(AttributeError, match="no attribute 'segmentt'"):
        _ = geoseg.segmentt


def test_importing_geoseg_loads_no_library_and_sets_no_variable():
    code = """
        import os, sys
        before = dict(os.environ)
        import geoseg
        heavy = {"torch", "rasterio", "numpy", "dask", "pydantic", "yaml"} & set(sys.modules)
        print(heavy or "none", dict(os.environ) == before)
    """
    lines = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["none", "True"]


def test_the_examples_of_the_public_functions_are_true(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(4):
        labelled_scene(tmp_path, f"s{i}", (128, 128), seed=i, origin=(5e5 + 5000 * i, 4.5e6), keep=False)
    document(tmp_path, tmp_path).rename("forest.yaml")
    Path("forest.yaml").write_text(Path("forest.yaml").read_text().replace("name: toy", "name: forest"))
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    # The run comes first: the others open it.
    names = {"geoseg": geoseg, "xarray": xarray}
    for name in (
        "open_scene", "open_bundle", "plan", "run", "open_run", "segment", "vectorize", "evaluate",
        "validate", "train",
    ):  # fmt: skip
        (test,) = finder.find(getattr(geoseg, name), name, globs=names)
        assert test.examples, f"geoseg.{name} has no example"
        runner.run(test)
    (test,) = finder.find(Run, "Run", globs={"geoseg": geoseg})
    runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
    assert runner.summarize(verbose=False).attempted >= 16


def test_texts_and_paths_mean_the_same_and_changes_are_keywords(pipeline_file, scene_file, tmp_path):
    as_text = geoseg.plan(str(pipeline_file), tiling={"block": 2}, output=str(tmp_path / "a"))
    as_path = geoseg.plan(pipeline_file, **{"tiling.block": 2}, output=tmp_path / "a", scene=scene_file)
    assert as_text.fingerprint == as_path.fingerprint
    assert as_text.folder == as_path.folder == tmp_path / "a"
    assert as_text.pipeline.tiling.tile == geoseg.plan(pipeline_file).pipeline.tiling.tile
    assert as_text.fingerprint != geoseg.plan(pipeline_file, tiling={"block": 1}).fingerprint
    with pytest.raises(ConfigError, match=r"unknown key; did you mean 'block'"):
        geoseg.plan(pipeline_file, tiling={"blok": 2})


@pytest.fixture(scope="module")
def finished(tmp_path_factory, bundle):
    folder = tmp_path_factory.mktemp("finished")
    numbers = reflectance(90, 130)
    numbers[:, :20] = 0
    scene = write_raster(
        folder / "s.tif", numbers, scale=0.0001, nodata=0, names=("B02", "B03", "B04", "B08")
    )
    pipeline = write_pipeline(folder, scene, bundle.folder, "checks: {statistics: off}")
    return geoseg.run(pipeline, output=folder / "out", overwrite=True)


def test_a_run_gives_its_maps_lazily_and_as_they_are_on_disk(finished):
    classes, confidence = finished.classes(), finished.confidence()
    with rasterio.open(finished.folder / "classes.tif") as src:
        expected, transform, crs = src.read(1), src.transform, src.crs
    with rasterio.open(finished.folder / "confidence.tif") as src:
        probability = src.read(1)
    assert classes.chunks is not None
    assert confidence.chunks is not None
    assert (classes.to_numpy() == expected).all()
    assert (classes[10:60:7, 3].to_numpy() == expected[10:60:7, 3]).all()
    assert classes.dtype == np.uint8
    valid = probability != 255
    assert (np.isnan(confidence) == ~valid).all()
    assert (confidence.to_numpy()[valid] == probability[valid]).all()
    assert 1 / 3 <= probability[valid].min() <= probability[valid].max() <= 1
    assert confidence.dtype == np.float32
    assert classes.odc.geobox.transform == transform
    assert classes.odc.crs == crs.to_wkt()
    assert classes.attrs["flag_values"].tolist() == [c.id for c in finished.record.classes]
    assert len(classes.attrs["flag_meanings"].split()) == len(finished.record.classes)


def test_a_run_gives_its_polygons_page_and_record(finished):
    polygons = finished.polygons()
    assert polygons.area.sum() == pytest.approx(sum(finished.record.area_m2.values()))
    assert finished.report == finished.folder / "report.html"
    assert finished.report.exists()
    assert RunRecord.model_validate(json.loads((finished.folder / "run.json").read_text())) == finished.record
    assert geoseg.open_run(str(finished.folder)) == finished


def test_what_a_run_did_not_write_is_said_in_a_line(finished):
    kept = {k: v for k, v in finished.record.outputs.items() if not k.startswith(("confidence", "polygons"))}
    less = Run(finished.folder, finished.record.model_copy(update={"outputs": kept}))
    with pytest.raises(OutputError, match=r"wrote no confidence\.tif"):
        less.confidence()
    with pytest.raises(OutputError, match=r"wrote no polygons\.gpkg"):
        less.polygons()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["classes.tif", "polygons.gpkg", "polygons.parquet", "quicklook.png"])
def test_pipes_in_a_run_folder_are_told_and_not_waited_for(finished, tmp_path, name):
    folder = tmp_path / "odd!name"
    folder.mkdir()
    os.mkfifo(folder / name)
    outputs = {**finished.record.outputs}
    if name == "polygons.parquet":
        outputs[name] = outputs.pop("polygons.gpkg")
    run = Run(folder, finished.record.model_copy(update={"outputs": outputs}))
    look = {"classes.tif": run.classes, "quicklook.png": run._repr_html_}.get(name, run.polygons)
    with pytest.raises((OutputError, SceneError), match=r"is a pipe or a device|is no regular file"):
        look()
    shutil.copy(finished.folder / "run.json", folder)
    with pytest.raises(OutputError, match=f"{name}: is a pipe or a device, and no file; move it away"):
        remake_page(folder)


def test_representations_are_short_and_the_html_one_shows_the_quicklook(finished, pipeline_file):
    for thing in (
        finished, geoseg.plan(pipeline_file), geoseg.open_bundle("landcover-s2"),
        geoseg.plan(pipeline_file).scene,
    ):  # fmt: skip
        assert len(repr(thing)) < 300
    page = finished._repr_html_()
    assert "data:image/png;base64," in page
    assert all(c.title in page for c in finished.record.classes)


def test_many_scenes_give_a_run_each(pipeline_file, tmp_path):
    for name in "ab":
        write_raster(
            tmp_path / f"many/{name}.tif", reflectance(40, 50), scale=0.0001,
            names=("B02", "B03", "B04", "B08"),
        )  # fmt: skip
    (tmp_path / "many/c.tif").write_bytes(b"no raster")
    change = {"scenes": f"{tmp_path}/many/*.tif", "checks": {"statistics": "off"}, "scene": None}
    runs = geoseg.run(pipeline_file, output=tmp_path / "out", on_error="skip", **change)
    assert [r.record.name for r in runs] == ["a", "b"]
    assert [r.folder for r in runs] == [tmp_path / "out/a", tmp_path / "out/b"]


def test_a_plan_is_run_as_it_is(pipeline_file, tmp_path):
    planned = geoseg.plan(pipeline_file, output=tmp_path / "out")
    with pytest.raises(TypeError, match="give output, catalog and changes to geoseg"):
        geoseg.run(planned, output="elsewhere")
    events = []
    run = geoseg.run(planned, progress=events.append)
    assert run.record.fingerprint == planned.fingerprint
    assert next(e.stage for e in events if e.total) == "predict"
