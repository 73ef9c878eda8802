"""A run with post-processing: every output is made from the map after it."""

import numpy as np
import pytest
import rasterio

from geoseg.core.errors import OutputError
from geoseg.raster.postprocess.filters import filtered
from geoseg.raster.postprocess.steps import Steps
from geoseg.runs.finished import open_run
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from geoseg.runs.validate import validate
from tests.conftest import read_manifest
from tests.raster.postprocess.test_postprocess import plain_sieve

SETTINGS = ("postprocess={majority: 3, closing: {class-2: 2}, sieve: 2500}", "tiling.tile=64")


def read(path):
    with rasterio.open(path) as src:
        return src.read()


@pytest.fixture
def done(pipeline_file, tmp_path):
    return run(prepare(pipeline_file, SETTINGS, output=tmp_path / "one"))


def test_all_outputs_are_of_the_map_after_it(done, pipeline_file, tmp_path):
    raw = run(prepare(pipeline_file, ["outputs.polygons=[]", "tiling.tile=64"], output=tmp_path / "raw"))
    before, (classes,) = read(tmp_path / "raw/classes.tif")[0], read(tmp_path / "one/classes.tif")
    steps = Steps(majority=3, closing=((2, 2),), sieve=25)
    assert (classes == plain_sieve(filtered(before, steps), 25)).all()
    assert (classes != before).any()
    assert (read(tmp_path / "one/confidence.tif") == read(tmp_path / "raw/confidence.tif")).all()
    record = read_manifest(tmp_path / "one")
    numbers = np.bincount(classes.ravel(), minlength=256)
    assert record["pixels"] == {f"class-{i}": numbers[i] for i in (1, 2, 3)} | {"nodata": numbers[255]}
    assert sum(record["area_m2"].values()) == (classes != 255).sum() * 100
    assert record["plan"]["postprocess"] == "majority of 3 x 3 px; closing of class-2 2 px; sieve of 25 px"
    assert raw.record.plan.postprocess is None
    assert "postprocess" not in raw.record.identity
    assert record["fingerprint"] != raw.record.fingerprint
    polygons = open_run(tmp_path / "one").polygons()
    assert polygons.area_m2.sum() == pytest.approx((classes != 255).sum() * 100)
    assert polygons.area_m2.min() >= 2500
    assert "sieve of 25 px" in (tmp_path / "one/report.html").read_text()
    assert validate(tmp_path / "one").failures == []
    assert record["memory_bytes"]["announced_per_worker"] >= raw.record.memory_bytes.announced_per_worker


def test_block_size_and_resume_change_no_byte(done, pipeline_file, tmp_path, monkeypatch):
    from geoseg.runs import outputs

    plan = prepare(pipeline_file, [*SETTINGS, "tiling.block=1"], output=tmp_path / "two")

    def full(*_):
        raise OutputError("processed.tif: cannot be written: no space left")

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_processed", full)
        with pytest.raises(OutputError, match="no space left"):
            run(plan)
    assert run(plan).record.resumed
    for name in ("classes.tif", "confidence.tif"):
        assert (read(tmp_path / "one" / name) == read(tmp_path / "two" / name)).all()
    assert validate(tmp_path / "two").failures == []
