"""Every command of the README, run where a new user runs it, with the output that the README shows."""

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)


def commands():
    """Yield (command, expected output) of every console block, in order."""
    for block in BLOCKS:
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
    return folder


def test_every_geoseg_command_runs_and_shows_what_the_readme_shows(checkout):
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = 0
    for command, expected in commands():
        if not command.startswith("geoseg "):
            continue
        done = subprocess.run(
            shlex.split(command), cwd=checkout, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert same(expected, done.stdout), f"{command}\n{done.stdout}"
        ran += 1
    assert ran >= 8
    for name in ("classes.tif", "confidence.tif", "polygons.gpkg", "quicklook.png", "run.json"):
        assert f"`{name}`" in README
        assert (checkout / "outputs/tour" / name).stat().st_size > 0
    # Two worker processes leave the same bytes as one.
    one, two = (checkout / f"outputs/{n}/confidence.tif" for n in ("tour", "two-workers"))
    assert one.read_bytes() == two.read_bytes()


def test_make_targets_exist_and_do_what_the_readme_says():
    targets = [c.split()[1] for c, _ in commands() if c.startswith("make ")]
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


def test_the_python_of_the_readme_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict = {}
    exec(code, names)  # noqa: S102 (the README's own code)
    assert names["array"].dims == ("band", "y", "x")
    assert names["array"].shape == (3, 1947, 1933)
    assert 0 < float(names["array"].sel(band="blue")[:100, :100].mean()) < 0.3


def test_the_yaml_of_the_readme_is_a_scene():
    import yaml

    from geoseg.config.scene import SceneEntry

    (text,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    entry = SceneEntry.model_validate(yaml.safe_load(text)["scene"])
    assert entry.bands["swir22"].band == 6
