import sys
import types

import pytest

from geoseg.notebook import progress
from geoseg.runs.progress import Progress, Work


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
        show(Progress("predict", 3, 10, name="s", work=Work(total=1)))
        show(Progress("<classes>.tif", name="s", work=Work(0, 1)))
    assert cell[1].startswith('<div><progress value="0.000" max="1"></progress> predict 3 of 10 blocks, 0:0')
    assert "&lt;classes&gt;.tif, 0:0" in cell[2]
    assert cell[0] == cell[-1] == ""


def test_a_run_that_waits_for_workers_says_so(cell):
    with progress.progress_bar() as show:
        show(Progress("predict", 0, 4, fact={"event": "waiting", "time": 0.0}))
    assert "waiting: no worker is there" in cell[1]


def test_where_nobody_looks_nothing_is_drawn(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_in_notebook", lambda: False)
    monkeypatch.setattr(sys, "stderr", types.SimpleNamespace(isatty=lambda: False))
    with progress.progress_bar() as show:
        show(Progress("predict", 3, 10))
    assert capsys.readouterr().out == ""
