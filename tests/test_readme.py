"""Every command of README and docs/training.md, run where a new user runs it, with the output shown there."""

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests import processes
from tests.conftest import ROOT
from tests.scenes.products.makers import write_safe

README = (ROOT / "README.md").read_text()
TRAINING = (ROOT / "docs/training.md").read_text()


def commands(text):
    """Yield (command, expected output) of every console block, in order."""
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            yield command, expected


def same(expected: str, shown: str) -> bool:
    """Compare like doctest with `...`; numbers may differ, since other processors round otherwise."""
    want, got = (re.sub(r"\d+(\.\d+)?", "0", text) for text in (expected, shown))
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(want, got, options)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What a checkout offers to `geoseg`, in a folder of its own."""
    folder = tmp_path_factory.mktemp("readme") / "geoseg"
    folder.mkdir()
    for name in ("pipelines", "configs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "data_catalog.yaml", folder)
    # A product that a reader has of their own.
    write_safe(folder)
    return folder


def follow(text, checkout, imported=""):
    """Run every command of geoseg, the first one by the executable of this environment; return how many.

    `imported` is what the others need not import again; the first one is run like them where it is given.
    """
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BROWSER": "true",  # `geoseg view` finds a browser that opens nothing
    }
    ran = 0
    for command, expected in commands(text):
        if not command.startswith("geoseg "):
            continue
        words = shlex.split(command)
        if ran or imported:
            done = processes.run(*words, cwd=checkout, env=env, imported=imported)
        else:
            done = subprocess.run(words, cwd=checkout, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert same(expected, done.stdout), f"{command}\n{done.stdout}"
        ran += 1
    return ran


@pytest.fixture(scope="module")
def toured(checkout):
    """The checkout after the tour of the README."""
    assert follow(README, checkout) >= 8
    return checkout


def test_the_tour_leaves_the_files_that_the_readme_names(toured):
    maps, looks = ("classes.tif", "confidence.tif", "polygons.gpkg"), ("quicklook.png", "report.html")
    for name in (*maps, *looks, "run.json"):
        assert f"`{name}`" in README
        assert (toured / "outputs/tour" / name).stat().st_size > 0
    # Two worker processes leave the same bytes as one.
    one, two = (toured / f"outputs/{n}/confidence.tif" for n in ("tour", "two-workers"))
    assert one.read_bytes() == two.read_bytes()


def test_the_walk_from_labels_to_a_map(toured):
    ((path, text),) = re.findall(r"Save this as `(\S+)`:\n\n```yaml\n(.*?)```", TRAINING, flags=re.DOTALL)
    # An eighth of the chips: the commands and the form of what they say are the same.
    assert "per_epoch: 128" in text
    (toured / path).write_text(text.replace("per_epoch: 128", "per_epoch: 16"))
    assert follow(TRAINING, toured, processes.TRAINING) == 4
    assert (toured / "outputs/training/try/training.html").stat().st_size > 0
    with rasterio.open(toured / "outputs/forest/classes.tif") as map_:
        assert set(np.unique(map_.read(1))) == {1, 2, 3}


def test_make_targets_exist_and_do_what_the_readme_says():
    targets = [c.split()[1] for c, _ in commands(README) if c.startswith("make ")]
    assert targets == ["run", "test"]
    for target in [*targets, "lint", "bench", "help"]:
        done = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    plan = subprocess.run(["make", "--dry-run", "run"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "geoseg run pipelines/landcover.yaml" in plan.stdout


def test_the_checks_of_the_promises_exist():
    for path in re.findall(r"pytest ((?:tests/[\w/.]+ ?)+)`", README):
        for part in path.split():
            assert (ROOT / part).exists(), part


def test_the_python_of_the_readme_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(code, names)  # noqa: S102 (the README's own code)
    assert names["run"].classes().shape == (1947, 1933)
    assert (tmp_path / "outputs/from-python/report.html").exists()
    assert set(names["reflectance"].data_vars) == {"red", "green", "blue", "valid"}
    assert names["found"]["class"].chunks is not None
    assert names["reflectance"].red.shape == names["found"]["class"].shape == (1947, 1933)
    assert 0 < float(names["reflectance"].blue[:100, :100].mean()) < 0.3


def test_the_yaml_of_the_readme_is_a_scene():
    import yaml

    from geoseg.config.scene import SceneEntry

    (text,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    entry = SceneEntry.model_validate(yaml.safe_load(text)["scene"])
    assert entry.bands["swir22"].band == 6
