"""The command line as a user meets it."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import yaml

from geoseg.core.paths import plain_path
from geoseg.evaluation.sample import POINTS
from tests import processes
from tests.conftest import BAND_NAMES, ROOT, read_manifest, reflectance, write_pipeline, write_raster


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys; from geoseg.cli.app import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'rasterio', 'dask', 'geopandas', 'numpy', 'geoseg.config', 'matplotlib'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_dry_run_needs_no_torch_for_a_bad_pipeline(tmp_path):
    code = (
        "import sys; from geoseg.cli.app import app\n"
        "try: app(['run', 'nowhere.yaml'])\n"
        "except SystemExit as end: assert end.code == 2\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, stderr=subprocess.DEVNULL)


def test_results_go_to_stdout_and_messages_to_stderr(geoseg, pipeline_file, tmp_path):
    done = geoseg("run", pipeline_file, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == read_manifest(tmp_path / "out")
    assert "[0:00] predict 0 of" in done.stderr
    assert "\x1b" not in done.stderr


def test_quiet_says_nothing_but_the_result(geoseg, pipeline_file):
    done = geoseg("run", pipeline_file, "--quiet")
    assert done.stderr == ""
    assert re.search(r"Class 1 +\d+\.\d\d % +\d+\.\d{3} km²", done.stdout)


def test_dry_run_prints_the_plan_and_writes_nothing(geoseg_here, pipeline_file, tmp_path):
    done = geoseg_here("run", pipeline_file, "--dry-run", "--json")
    assert json.loads(done.stdout)["tiles"] > 1
    text = geoseg_here("run", pipeline_file, "--dry-run").stdout
    assert re.search(r"total +\d+ MB", text)
    assert not (tmp_path / "out").exists()


def test_set_and_output_replace_values(geoseg_here, pipeline_file, tmp_path):
    other = tmp_path / "other"
    done = geoseg_here("run", pipeline_file, "--set", "outputs.probabilities=true", "--set",
                  "inference.augment=flips", "--output", other)  # fmt: skip
    assert done.returncode == 0, done.stderr
    with rasterio.open(other / "probabilities.tif") as src:
        shares, names = src.read(), src.descriptions
    assert names == ("probability of Class 1", "probability of Class 2", "probability of Class 3")
    np.testing.assert_allclose(shares.sum(axis=0), 1.0, atol=0.0151)
    with rasterio.open(other / "confidence.tif") as src:
        np.testing.assert_allclose(src.read(1), shares.max(axis=0), atol=1e-6)


def test_odd_folders_work_and_a_tilde_is_home_wherever_a_path_is_given(
    geoseg_here, bundle, tmp_path, monkeypatch
):
    """A folder with `!` is no archive; shells leave the `~` of `--output=~/maps` and of documents alone."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    write_raster(home / "s!#1/scene.tif", reflectance(64, 96), names=BAND_NAMES, scale=0.0001)
    (home / "toy").symlink_to(bundle.folder)
    (home / "data_catalog.yaml").write_text("scenes: {known: {uri: '~/s!#1/scene.tif'}}")
    document = 'name: c\nscene: known\nmodel: ~/toy\noutputs: {folder: "~/w!?/out", polygons: [gpkg, fgb]}\n'
    (home / "p.yaml").write_text(document)
    catalog = "--catalog=~/data_catalog.yaml"
    done = geoseg_here("run", "~/p.yaml", "--quiet", catalog)
    assert (done.returncode, done.stderr) == (0, "")
    assert (home / "w!?/out/polygons.fgb").exists()
    assert geoseg_here("validate", "~/w!?/out").returncode == 0
    for again in ("--output=~/w!?/out", "--set=outputs.folder=~/w!?/out"):
        refused = geoseg_here("run", "~/p.yaml", catalog, again).stderr
        assert f"{home}/w!?/out: holds a finished run" in refused.replace("\n", " ")
    class_map = home / "w!?/out/classes.tif"
    few = "--minimum", "3", "--size", "9"
    drawn = geoseg_here("sample", "--map", class_map, "--output", "~/w!?/p!1.gpkg", *few)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    with plain_path(home / "w!?/p!1.gpkg") as plain:
        assert len(pyogrio.read_dataframe(plain, layer=POINTS)) == 9
    compared = geoseg_here("evaluate", "--map", class_map, "--reference", "~/w!?/out/polygons.gpkg", "--json")
    assert json.loads(compared.stdout)["overall_accuracy"] == 1


def test_two_words_that_are_no_command_exit_2(geoseg):
    assert geoseg("mapp").returncode == 2
    assert geoseg("run", "x.yaml", "--sett", "a=b").returncode == 2


def test_inspect_tells_scene_bundle_and_run_apart(geoseg_here, pipeline_file, scene_file, bundle, tmp_path):
    scene = json.loads(geoseg_here("inspect", scene_file, "--json").stdout)
    assert (scene["width"], scene["height"], scene["gsd_m"]) == (260, 300, 10.0)
    assert [b["common_name"] for b in scene["bands"]] == list(BAND_NAMES)
    assert json.loads(geoseg_here("inspect", bundle.folder, "--json").stdout)["model"] == "toy"
    assert geoseg_here("run", pipeline_file).returncode == 0
    run = json.loads(geoseg_here("inspect", tmp_path / "out", "--json").stdout)
    assert run["state"] == "finished"
    assert set(run["outputs"]) >= {"classes.tif", "polygons.gpkg"}


def test_init_writes_a_pipeline_that_runs(geoseg_here, scene_file, bundle, tmp_path):
    path = tmp_path / "pipelines/scene.yaml"
    done = geoseg_here("init", scene_file, "--model", bundle.folder, "--output", path)
    assert done.returncode == 0, done.stderr
    assert f"then: geoseg run {path}" in done.stdout
    again = geoseg_here("init", scene_file, "--model", bundle.folder, "--output", path)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    ran = geoseg_here("run", path, "--output", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr


def test_init_says_what_it_had_to_guess(geoseg_here, bundle, tmp_path):
    scene = write_raster(tmp_path / "my scene.tif", reflectance(200, 200))
    path = tmp_path / "p.yaml"
    done = geoseg_here("init", scene, "--model", bundle.folder, "--output", path)
    assert "names no band nir; band 4 is a guess" in done.stderr
    assert "0.0001 is a guess" in done.stderr
    assert "nir: 4   # not found by name, please check" in path.read_text()
    ran = geoseg_here("run", path, "--output", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", ["20240101", "on", "x+y", "my: scene #1 (é)", "-a"])
def test_init_quotes_odd_names(tmp_path, bundle, name):
    from geoseg.cli import init
    from geoseg.config.loader import load
    from geoseg.config.pipeline import Pipeline

    scene = write_raster(tmp_path / f"{name}.tif", reflectance(40, 40), names=BAND_NAMES, scale=0.0002)
    path, notes = init.write_pipeline(str(scene), bundle.folder, tmp_path / "p.yaml", tmp_path / "none")
    pipeline = load(path, Pipeline)
    assert pipeline.scene.uri == str(scene)
    assert pipeline.scene.scale is None  # the file says it
    assert notes == []


def test_init_writes_no_credentials(tmp_path, bundle, scene_file, monkeypatch):
    from geoseg.cli import init

    monkeypatch.chdir(tmp_path)
    opened = init.resolve_scene(str(scene_file), "scene")
    monkeypatch.setattr(init, "resolve_scene", lambda *_: opened)
    url = "https://me:5ecre7@h/a.tif?code=5ec.re7&item=3"
    path, notes = init.write_pipeline(url, bundle.folder, None, tmp_path / "none")
    assert path == Path("pipelines/a.yaml")
    assert 'uri: "https://h/a.tif?item=3"' in path.read_text()
    assert "5ec" not in path.read_text()
    assert any(n.endswith("give it whole with --set scene.uri=URL") for n in notes)


def test_init_of_a_folder_names_the_file_that_is_missing(tmp_path, bundle):
    from geoseg.cli import init

    for designation in ("B02", "B03", "B04"):
        write_raster(tmp_path / f"s/x_{designation}.tif", reflectance(40, 40)[0])
    path, notes = init.write_pipeline(
        str(tmp_path / "s"), bundle.folder, tmp_path / "p.yaml", tmp_path / "none"
    )
    assert "nir: NAME-OF-THE-FILE.tif" in path.read_text()
    assert "blue: x_B02.tif   # B02" in path.read_text()
    assert any("has no file named after band nir" in n for n in notes)


def test_a_reader_that_leaves_early_is_no_error(scene_file):
    command = f"{sys.executable} -m geoseg inspect {scene_file} | true"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_doctor_names_versions_and_drivers(geoseg_here):
    facts = json.loads(geoseg_here("doctor", "--json").stdout)
    assert facts["versions"]["torch"] != "missing"
    assert facts["gdal_drivers"]["GTiff"] is True
    assert facts["gdal_drivers"]["COG"] is True
    assert facts["device"] in {"cpu", "cuda"}


def test_models_list_and_show(geoseg_here):
    rows = json.loads(geoseg_here("models", "list", "--json").stdout)
    assert "landcover-s2" in [r["name"] for r in rows]
    card = geoseg_here("models", "show", "landcover-s2").stdout
    for word in ("Tree cover", "WorldCover", "limitations", "license", "miou"):
        assert word in card


def test_catalog_list_and_show(geoseg_here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("geoseg.scenes.opening._haze", None)  # of which a list has no need
        rows = json.loads(geoseg_here("catalog", "list", "--json").stdout)
    assert [(r["name"], r["files"]) for r in rows] == [
        ("sentinel2-sample", "found"), ("landsat8-sample", "found"),
    ]  # fmt: skip
    shown = json.loads(geoseg_here("catalog", "show", "sentinel2-sample", "--json").stdout)
    assert len(shown["bands"]) == 13
    assert {b["resolution"] for b in shown["bands"]} == {10.0, 20.0, 60.0}


def test_shell_completion_is_offered(geoseg):
    env = {**os.environ, "_GEOSEG_COMPLETE": "source_bash"}
    done = subprocess.run(
        [sys.executable, "-c", "from geoseg.cli.app import app; app(prog_name='geoseg')"],
        env=env, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert "_geoseg_completion" in done.stdout


def test_a_terminal_shows_a_bar(tmp_path, bundle):
    scene = write_raster(tmp_path / "s.tif", reflectance(600, 600), names=BAND_NAMES, scale=0.0001)
    path = write_pipeline(tmp_path, scene, bundle.folder, "tiling: {block: 1}")
    master, slave = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with os.fdopen(slave, "wb") as terminal:
        process = processes.start("geoseg", "run", path, env=env, output=terminal)
    seen = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(master)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert re.search(r"predict \d+ of \d+ blocks .* \d+:\d\d, \d+:\d\d left +\d+\.\d\d Mpx/s", text)


def test_init_proposes_no_alpha_band_and_the_scale_of_the_type(geoseg_here, bundle, tmp_path):
    picture = np.concatenate([reflectance(128, 128) // 40, np.full((1, 128, 128), 255)]).astype(np.uint8)
    rgb = write_raster(tmp_path / "rgba.tif", picture[[2, 1, 0, 4]], photometric="rgb", alpha="yes")
    done = geoseg_here("init", rgb, "--model", bundle.folder, "--output", tmp_path / "rgba.yaml")
    assert "has no band that could be nir; fill in its number" in done.stderr
    bands = yaml.safe_load((tmp_path / "rgba.yaml").read_text())["scene"]["bands"]
    assert bands == {"blue": 3, "green": 2, "red": 1, "nir": "NUMBER"}
    whole = write_raster(tmp_path / "rgbn.tif", picture[:4], names=BAND_NAMES)
    done = geoseg_here("init", whole, "--model", bundle.folder, "--output", tmp_path / "rgbn.yaml")
    assert "0.00392157 is a guess (8-bit pictures), please check" in done.stderr
    assert yaml.safe_load((tmp_path / "rgbn.yaml").read_text())["scene"]["scale"] == 1 / 255
    found = json.loads(
        geoseg_here("run", tmp_path / "rgbn.yaml", "--output", tmp_path / "o", "--json").stdout
    )
    assert all(found["pixels"][f"class-{i}"] for i in (1, 2, 3))


def test_a_text_of_others_stays_in_its_line():
    from geoseg.cli.layout import as_text

    assert as_text({"platform": "a\nlevel  surface", "level": "toa"}).splitlines() == [
        "platform  a level  surface", "level     toa",
    ]  # fmt: skip
