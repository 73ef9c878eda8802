"""Runs of mosaics and composites: bytes, outputs, identity, resuming."""

import json

import numpy as np
import pytest
import rasterio

from geoseg.core.errors import OutputError
from geoseg.inference import predict
from geoseg.runs.prepare import prepare
from geoseg.runs.run import Options, run
from geoseg.runs.validate import validate
from tests.conftest import BAND_NAMES, read_manifest, reflectance, write_pipeline, write_raster
from tests.inference.free import Untracked, install, uninstall

QUICK = ("outputs.polygons=[]", "checks.statistics=off")


@pytest.fixture(autouse=True)
def free():
    install(Untracked())
    yield
    uninstall()


def cut(folder, values, *, side=150, **options):
    """Write a scene as tiles; return its folder."""
    for row in range(0, values.shape[1], side):
        for col in range(0, values.shape[2], side):
            part = values[:, row : row + side, col : col + side]
            origin = (500_000 + 10 * col, 4_500_000 - 10 * row)
            path = folder / f"{row:03}-{col:03}.tif"
            write_raster(path, part, origin=origin, names=BAND_NAMES, scale=0.0001, **options)
    return folder


def test_a_scene_in_tiles_has_the_bytes_of_the_whole(tmp_path, bundle):
    values = reflectance(200, 180)
    values[:, 90:150, 70:130] = 0
    whole = write_raster(tmp_path / "whole.tif", values, names=BAND_NAMES, scale=0.0001, nodata=0)
    tiles = cut(tmp_path / "tiles", values, side=100, nodata=0)
    pipeline = write_pipeline(tmp_path, whole, bundle.folder, "tiling: {block: 1}")
    found = {}
    for name, scene in (("one", [str(whole)]), ("many", str(tiles)), ("plain", None)):
        changes = [*QUICK, *([] if scene is None else [f"scene={{mosaic: {json.dumps(scene)}}}"])]
        run(prepare(pipeline, changes, tmp_path / name))
        found[name] = []
        for file in ("classes.tif", "confidence.tif"):
            with rasterio.open(tmp_path / name / file) as src:
                found[name].append(src.read())
    for name in ("one", "many"):
        for ours, theirs in zip(found[name], found["plain"], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    identity = read_manifest(tmp_path / "many")["identity"]["scene"]
    names = [m["name"][-11:] for m in identity["members"]]
    assert names == ["000-000.tif", "000-100.tif", "100-000.tif", "100-100.tif"]
    assert not validate(tmp_path / "many").failures


def test_a_composite_writes_its_observations(tmp_path, bundle, geoseg_here):
    rng = np.random.default_rng(0)
    paths, seen = [], np.zeros((160, 140), int)
    for i in range(3):
        values = reflectance(160, 140, seed=i)
        hole = rng.random((20, 20)).repeat(8, axis=0).repeat(7, axis=1) < 0.5
        values[:, hole] = 0
        seen += ~hole
        path = write_raster(tmp_path / f"{i}.tif", values, names=BAND_NAMES, nodata=0)
        paths.append({"uri": str(path), "datetime": f"2024-06-0{i + 1}"})
    catalog = tmp_path / "data_catalog.yaml"
    catalog.write_text(f"scenes: {{dates: {{method: median, scale: 0.0001, mosaic: {json.dumps(paths)}}}}}")
    pipeline = write_pipeline(tmp_path, "dates", bundle.folder, "tiling: {tile: 64, block: 1}")
    plan = prepare(pipeline, ["checks.statistics=off"], catalog=catalog)
    run(plan)
    out = tmp_path / "out"
    with rasterio.open(out / "observations.tif") as src:
        assert (src.dtypes, src.nodata, src.descriptions) == (("uint8",), 0, ("observations",))
        np.testing.assert_array_equal(src.read(1), seen)
    with rasterio.open(out / "classes.tif") as src:
        np.testing.assert_array_equal(src.read(1) == 255, seen == 0)
    item = json.loads((out / "item.json").read_text())
    assert "observations" in item["assets"]
    assert item["properties"]["datetime"] is None
    assert item["properties"]["end_datetime"] == "2024-06-03T00:00:00Z"
    assert not validate(out).failures
    assert geoseg_here("report", out).returncode == 0
    shown = geoseg_here("inspect", "dates", "--catalog", catalog).stdout
    assert "median" in shown
    assert all(f"dates: member {i}" in shown for i in (1, 2, 3))
    with rasterio.open(out / "observations.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dst:
        dst.write(np.ones((1, 160, 140), np.uint8))
    assert "nodata" in [f.what for f in validate(out).failures if f.file == "observations.tif"]


def test_a_changed_member_is_another_run_and_an_unchanged_mosaic_goes_on(tmp_path, bundle, monkeypatch):
    tiles = cut(tmp_path / "tiles", reflectance(300, 260))
    scene = f"scene={{mosaic: {tiles}}}"
    pipeline = write_pipeline(tmp_path, "none.tif", bundle.folder, "tiling: {block: 1}")
    plan = prepare(pipeline, [*QUICK, scene])

    def stop(*_):
        raise OutputError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("geoseg.runs.outputs.write_maps", stop)
        with pytest.raises(OutputError, match="killed"):
            run(plan)
    again = prepare(pipeline, [*QUICK, scene])
    assert again.fingerprint == plan.fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(predict, "predict_block", stop)
        record = run(again).record
    assert record.resumed
    assert record.tiles_predicted > 0
    values = reflectance(150, 110, seed=5)
    write_raster(tiles / "150-150.tif", values, origin=(501_500, 4_498_500), names=BAND_NAMES, scale=0.0001)
    changed = prepare(pipeline, [*QUICK, scene])
    assert changed.fingerprint != plan.fingerprint
    assert run(changed, Options(overwrite=True)).record.fingerprint == changed.fingerprint
