import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from geoseg.core.errors import OutputError
from geoseg.runs.prepare import prepare
from geoseg.runs.record import as_json, parse_record, read_record, write_record
from geoseg.runs.run import run
from geoseg.runs.validate import validate
from geoseg.storage.store import open_store
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster


@pytest.fixture(scope="module")
def finished(tmp_path_factory, bundle):
    folder = tmp_path_factory.mktemp("record")
    scene = write_raster(
        folder / "s.tif", reflectance(40, 50), scale=0.0001, names=("B02", "B03", "B04", "B08")
    )
    more = ("checks: {statistics: off}",)
    return run(prepare(write_pipeline(folder, scene, bundle.folder, *more), ["outputs.polygons=[]"]))


def content(finished):
    return json.loads((finished.folder / "run.json").read_text())


def test_the_record_is_written_and_read_the_same(finished):
    record = read_record(open_store(finished.folder))
    assert record == finished.record
    assert json.loads(as_json(record)) == content(finished)
    assert next(iter(content(finished))) == "format"
    assert record.format == "geoseg-run/1"


def test_a_record_from_before_the_format_is_read(finished):
    old = content(finished)
    del old["format"]
    assert parse_record(json.dumps(old).encode(), "run.json") == finished.record


def test_keys_of_a_later_geoseg_are_kept(finished, tmp_path):
    later = {**content(finished), "novelty": {"a": 1}}
    store = open_store(tmp_path)
    write_record(store, parse_record(json.dumps(later).encode(), "run.json"))
    assert json.loads((tmp_path / "run.json").read_text())["novelty"] == {"a": 1}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"format": "geoseg-run/2"},
            r"of the format 'geoseg-run/2', and this geoseg reads 'geoseg-run/1'",
        ),
        ({"pixels": None}, r"pixels: a mapping of keys to values, not null"),
        ({"outputs": {"classes.tif": {"bytes": 1}}}, r"has no outputs\.classes\.tif\.sha256"),
    ],
)
def test_another_format_and_wrong_values_are_refused_in_a_line(finished, change, expected):
    data = json.dumps({**content(finished), **change}).encode()
    with pytest.raises(OutputError, match=expected) as raised:
        parse_record(data, "out/run.json")
    assert str(raised.value).startswith("out/run.json: ")
    assert "\n" not in str(raised.value)


def test_a_damaged_record_is_refused(finished):
    with pytest.raises(OutputError, match=r"run\.json: "):
        parse_record(b'{"format": "geoseg-run/1"', "run.json")


@pytest.mark.parametrize("slug", ["", "a\x1b[2Jb", "../a", "nodata"])
def test_a_record_with_a_class_that_cannot_be_is_refused(finished, slug):
    data = content(finished)
    data["classes"][0]["slug"] = slug
    with pytest.raises(OutputError, match=r"out/run\.json: classes") as raised:
        parse_record(json.dumps(data).encode(), "out/run.json")
    assert str(raised.value).isprintable()


def test_secrets_of_the_command_and_of_warnings_are_written_nowhere(tmp_path, bundle, monkeypatch):
    scene = write_raster(
        tmp_path / "s.tif", reflectance(40, 50), scale=0.0001, names=("B02", "B03", "B04", "B08")
    )
    asked = [
        "run",
        "x",
        "--cluster",
        "tcp://me:5ecre7@h:1",
        "--set",
        "cluster.env.A=5ecre7",
        "https://h?code=5ecre7",
    ]
    monkeypatch.setattr(sys, "argv", ["geoseg", *asked])
    plan = prepare(write_pipeline(tmp_path, scene, bundle.folder, "checks: {statistics: off}"))
    plan = replace(plan, warnings=(*plan.warnings, "https://me:5ecre7@h/a.tif is slow"))
    done = run(plan)
    assert done.record.command.startswith(
        "geoseg run x --cluster tcp://h:1 --set 'cluster.env.A=***' https://h"
    )
    assert done.record.warnings[-1] == "https://h/a.tif is slow"
    found = [p.name for p in done.folder.rglob("*") if p.is_file() and b"5ecre7" in p.read_bytes()]
    assert found == []


def test_a_class_without_a_pixel_is_recorded_and_the_run_is_valid(tmp_path, bundle):
    flat = write_raster(tmp_path / "flat.tif", np.full((4, 64, 64), 3000, np.uint16), names=BAND_NAMES)
    pipeline = write_pipeline(tmp_path, flat, bundle.folder, "checks: {statistics: off}")
    record = run(prepare(pipeline, ["outputs.polygons=[]"])).record
    assert 0 in record.pixels.values()
    assert {*record.pixels} == {"class-1", "class-2", "class-3", "nodata"}
    assert not validate(tmp_path / "out").failures
