"""Run notebooks in this process, cell by cell, as Jupyter does: a kernel would import everything again."""

import ast
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from geoseg.cli.app import app


def code_cells(path: Path) -> list[str]:
    """Return the source of the cells with code, none of which may hold an output."""
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert not any(c["outputs"] for c in cells), f"{path.name} has outputs; clear them"
    return ["".join(c["source"]) for c in cells]


def execute(path: Path) -> dict[str, Any]:
    """Run a notebook in the current folder; return its variables, and what it showed as `shown`."""
    names: dict[str, Any] = {"__name__": "__main__"}
    shown: list[str] = []
    for number, source in enumerate(code_cells(path)):
        if source.startswith("!"):
            for line in source.splitlines():
                _command(line.removeprefix("!").format(**names))
            continue
        where = f"{path.name}, code cell {number}"
        tree = ast.parse(source, where)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, where, "exec"), names)  # noqa: S102
        if last is not None:
            value = eval(compile(ast.Expression(last.value), where, "eval"), names)  # noqa: S307
            html = getattr(value, "_repr_html_", None)
            shown.append(repr(value) if html is None else html())
    return {**names, "shown": shown}


def _command(line: str) -> None:
    words = shlex.split(line)
    if words[0] != "geoseg":
        subprocess.run(words, check=True)
        return
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, f"{line}\n{done.output}\n{done.stderr}"
