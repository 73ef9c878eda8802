"""The wheel in an environment of its own and an empty folder: nothing of the checkout is needed."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from tests.conftest import ROOT


def keep_kernels(package):
    """Copy what numba has compiled of the checkout, which it takes for modules of the same age."""
    for kept in (ROOT / "geoseg").rglob("__pycache__/*.nb[ci]"):
        module = kept.parent.parent / f"{kept.name.partition('.')[0]}.py"
        installed = package / module.relative_to(ROOT / "geoseg")
        if not installed.exists() or installed.read_bytes() != module.read_bytes():
            continue  # compiled before the module was moved or changed
        os.utime(installed, ns=(module.stat().st_atime_ns, module.stat().st_mtime_ns))
        (installed.parent / "__pycache__").mkdir(exist_ok=True)
        shutil.copy(kept, installed.parent / "__pycache__")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the folder with the commands of a new environment that has the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(ROOT)]
    subprocess.run([*build, "--wheel-dir", str(folder)], check=True, cwd=folder)
    (wheel,) = folder.glob("geoseg-*.whl")
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    # Dependencies are those of this environment: only geoseg itself is installed anew. A path file inside
    # another environment's folder is not followed, so an editable geoseg is not found through it.
    (site,) = (environment / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--ignore-installed", str(wheel)], check=True)
    keep_kernels(site / "geoseg")
    return environment / "bin", wheel


@pytest.fixture
def geoseg(installed, tmp_path):
    commands, _ = installed
    home = tmp_path / "home"
    empty = tmp_path / "empty"
    empty.mkdir()

    def call(*arguments, check=True):
        clean = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "GEOSEG_HOME"}}
        done = subprocess.run(
            [commands / "geoseg", *map(str, arguments)], cwd=empty, env={**clean, "GEOSEG_HOME": str(home)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stderr
        return done

    call.empty, call.home = empty, home
    return call


def test_the_wheel_has_the_documents_and_nothing_of_the_tests(installed):
    names = set(zipfile.ZipFile(installed[1]).namelist())
    assert {
        "geoseg_documents/data_catalog.yaml", "geoseg_documents/pipelines/landcover.yaml",
        "geoseg_documents/configs/models/landcover-s2/model.safetensors", "geoseg/py.typed",
        "geoseg_documents/configs/legends/landcover-6.yaml", "geoseg_documents/configs/clusters/slurm.yaml",
        "geoseg/report/templates/run.html.j2", "geoseg/__init__.pyi",
    } <= names  # fmt: skip
    assert not [n for n in names if n.startswith(("tests", "docs"))]


def test_names_are_found_in_an_empty_folder(geoseg):
    assert "landcover-s2" in geoseg("models", "list").stdout
    listed = json.loads(geoseg("catalog", "list", "--json").stdout)
    sample = next(row for row in listed if row["name"] == "sentinel2-sample")
    assert sample["files"] == "found"
    assert "geoseg_documents" in sample["catalog"]
    shown = json.loads(geoseg("inspect", "landcover-s2", "--json").stdout)
    assert "geoseg_documents" in shown["folder"]


def test_the_sample_runs_in_an_empty_folder_and_is_valid(geoseg):
    # A part of it; tests/runs/test_sample.py maps all.
    geoseg("run", "landcover", "--quiet", "--set", "bbox=[-75.66, 37.64, -75.60, 37.69]")
    folder = geoseg.empty / "outputs/landcover"
    assert (folder / "classes.tif").exists()
    assert json.loads(geoseg("validate", folder, "--json").stdout)["valid"]
    assert sorted(p.name for p in geoseg.empty.iterdir()) == ["outputs"]


def test_a_pipeline_of_ones_own_is_written_and_planned(geoseg):
    geoseg("init", "sentinel2-sample", "--model", "landcover-s2", "--output", "mine.yaml")
    planned = json.loads(geoseg("run", "mine.yaml", "--dry-run", "--json").stdout)
    assert planned["model"] == "landcover-s2"


def test_an_unknown_name_says_where_was_looked(geoseg):
    done = geoseg("run", "landcovr", check=False)
    assert done.returncode == 2
    assert "did you mean 'landcover'" in done.stderr
    assert str(geoseg.home) in done.stderr
