import sys
import types

import pytest

from geoseg.notebook import progress
from geoseg.runs.progress import Progress


@pytest.fixture
def cell(monkeypatch):
    """A notebook's cell that keeps what is shown in it."""
    shown = []

    class Handle:
        def update(self, content):
            shown.append(content)

    def display(content, display_id):
        assert display_id
        shown.append(content)
        return Handle()

    ipython = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(HTML=str, display=display))
    return shown


def test_in_a_notebook_a_bar_is_drawn_into_the_cell_and_goes(cell):
    with progress.progress_bar() as show:
        show(Progress("predict", 3, 10, name="<scene>"))
        show(Progress("classes.tif"))
    assert '<progress value="3" max="10">' in cell[1]
    assert "3/10 blocks" in cell[1]
    assert "&lt;scene&gt;" in cell[1]
    assert "classes.tif ..." in cell[2]
    assert cell[0] == cell[-1] == ""


def test_a_run_that_waits_for_workers_says_so():
    event = Progress("predict", 0, 4, fact={"event": "waiting"})
    assert "waiting: no worker is there" in progress.bar_html(event, "1.00 Mpx/s")


def test_where_nobody_looks_nothing_is_drawn(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_in_notebook", lambda: False)
    monkeypatch.setattr(sys, "stderr", types.SimpleNamespace(isatty=lambda: False))
    with progress.progress_bar() as show:
        show(Progress("predict", 3, 10))
    assert capsys.readouterr().out == ""
