import os
import subprocess
import sys

import pytest

from geoseg.cli import completion
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    (tmp_path / "sea.tif").touch()
    (tmp_path / "seen").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOSEG_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("complete", "begun", "expected"),
    [
        (completion.scenes, "se", ["sentinel2-sample", "sea.tif", "seen/"]),
        (completion.catalog_names, "se", ["sentinel2-sample"]),
        (completion.things, "landcover-s", ["landcover-s2"]),
        (completion.bundles, "land", ["landcover-s2"]),
        (completion.pipelines, "", ["landcover"]),
        (completion.trainings, "landcover", ["landcover-s2"]),
        (completion.clusters, "wo", ["workstation"]),
        (completion.legends, "landcover-", ["landcover-6"]),
        (completion.pipeline_keys, "tiling.", ["tiling.block=", "tiling.overlap=", "tiling.tile="]),
        (completion.pipeline_keys, "checks.gsd=", [f"checks.gsd={v}" for v in ("error", "off", "warn")]),
        (completion.pipeline_keys, "outputs.confidence=t", ["outputs.confidence=true"]),
        (completion.training_keys, "fit.ep", ["fit.epochs="]),
        (completion.scenes, "nothing", []),
    ],
)
def test_what_was_begun_is_completed(complete, begun, expected):
    assert complete(begun) == expected


def test_every_key_of_a_pipeline_is_known():
    from geoseg.config.pipeline import Pipeline

    keys = {key.partition("=")[0].partition(".")[0] for key in completion.pipeline_keys("")}
    assert keys == set(Pipeline.model_fields)


def test_a_catalog_that_cannot_be_read_completes_nothing(tmp_path):
    (tmp_path / "data_catalog.yaml").write_text("scenes: [")
    assert completion.catalog_names("se") == ["sentinel2-sample"]  # which ships with geoseg


def test_a_shell_is_answered_without_heavy_imports():
    code = (
        "import sys; from geoseg.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'rasterio', 'dask'} & set(sys.modules)"
    )
    env = {**os.environ, "_GEOSEG_COMPLETE": "complete_bash", "COMP_WORDS": "geoseg inspect sen",
           "COMP_CWORD": "2", "PYTHONPATH": str(ROOT)}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "sentinel2-sample\n"
