"""The notebooks in examples/, cell by cell, in one folder and in the order of their README."""

import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.provisioning import local_provisioner
from nbclient import NotebookClient

from tests import processes
from tests.conftest import ROOT

NOTEBOOKS = ("first-map", "training", "evaluation")


def fork_kernel(command, *, cwd, env, **_):
    """Start a kernel that need not import what the notebooks do; its figures are those of any kernel."""
    _, module, *arguments = command[command.index("-m") :]
    figures = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    return processes.start(module, *arguments, cwd=cwd, env={**env, **figures}, imported=processes.TRAINING)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebooks_run_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setattr(local_provisioner, "launch_kernel", fork_kernel)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    assert {p.stem for p in (ROOT / "examples").glob("*.ipynb")} == set(NOTEBOOKS)
    for name in NOTEBOOKS:
        path = shutil.copy(ROOT / f"examples/{name}.ipynb", tmp_path)
        notebook = nbformat.read(path, as_version=4)
        assert not any(cell.get("outputs") for cell in notebook.cells), f"{name} has outputs; clear them"
        client = NotebookClient(
            notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute()
        written = "".join(str(cell.get("outputs", "")) for cell in notebook.cells)
        assert "Traceback" not in written
    assert (tmp_path / "outputs/first-map/polygons.parquet").exists()
    assert (tmp_path / "outputs/training/student/bundle/geoseg.json").exists()
    assert "data:image/png;base64" in (tmp_path / "outputs/first-map/report.html").read_text()
