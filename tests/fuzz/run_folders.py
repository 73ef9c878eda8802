"""Run folders that somebody changed: finished ones, and ones that are to be resumed."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.commands import command
from tests.fuzz.values import DAMAGES, Damage, damaged, places, put
from tests.fuzz.world import World


@dataclass(frozen=True)
class Tampered:
    """A change to one file of a run folder."""

    finished: bool
    number: int
    """Of the file, among those that are there."""
    how: str = ""
    """Put in its place: nothing, a folder, a pipe, a link, or the next file; empty: it is changed."""
    damage: Damage = ()


@dataclass(frozen=True)
class Edited:
    """A JSON file of a run folder with values changed."""

    finished: bool
    name: str
    places: tuple[int, ...]
    values: tuple[str, ...]
    """JSON texts."""


_VALUES = st.sampled_from(
    ["null", "true", "0", "-1", "1e300", "1" * 30, "NaN", "Infinity", '""', '"x"', '"../../x"',
    '"/etc/passwd"', '"\\ud800"', '"\\u0000"', "[]", "{}", "[1]",
     '{"x": 1}', '"2024"', '"' + "a" * 5000 + '"', "[" * 90 + "]" * 90, '"EPSG:4978"', "[[1, 2]]",
     '"<script>"', '"\\u001b[2J"']
)  # fmt: skip
CASES = st.one_of(
    st.builds(Tampered, st.booleans(), st.integers(0, 40), st.sampled_from(["gone", "folder", "pipe",
    "loop", "empty", "next"])),
    st.builds(Tampered, st.booleans(), st.integers(0, 40), damage=DAMAGES),
    st.integers(1, 3).flatmap(
        lambda n: st.builds(
            Edited, st.booleans(), st.sampled_from(["run.json", "item.json", "plan.json", "events.jsonl",
            "marker"]),
            st.tuples(*[st.integers(0, 5000)] * n), st.tuples(*[_VALUES] * n),
        )
    ),
)  # fmt: skip
EXAMPLES: tuple[Tampered | Edited, ...] = (
    # It was waited for without end.
    Tampered(finished=True, number=0, how="pipe"),
)


def check(world: World, case: Tampered | Edited) -> None:
    """Change the folder; look at it, check it, make its page, and run into it again."""
    shutil.copytree(world.run if case.finished else world.staged, "out")
    files = sorted(p for p in Path("out").rglob("*") if p.is_file())
    if isinstance(case, Tampered):
        _tamper(files[case.number % len(files)], files[(case.number + 1) % len(files)], case)
    elif not _edit(files, case):
        return
    command(world, "inspect", "out", may_leave=["out"])
    command(world, "validate", "out")
    if case.finished:
        command(world, "report", "out", may_leave=["out"])
    command(world, "run", "base.yaml", "-q", may_leave=["out"])
    done = command(world, "run", "base.yaml", "-q", "--overwrite", may_leave=["out"])
    if done.exit_code == 0:
        report = command(world, "validate", "out")
        assert report.exit_code == 0, report.stdout


def _tamper(file: Path, other: Path, case: Tampered) -> None:
    if not case.how:
        file.write_bytes(damaged(file.read_bytes(), case.damage))
        return
    data = other.read_bytes()
    file.unlink()
    match case.how:
        case "folder":
            (file / "inside").mkdir(parents=True)
        case "pipe":
            os.mkfifo(file)
        case "loop":
            file.symlink_to(file.name)
        case "empty":
            file.touch()
        case "next":
            file.write_bytes(data)


def _edit(files: list[Path], case: Edited) -> bool:
    markers = [
        p for p in files if p.suffix == ".json" and p.parent.name == "staging" and p.name != "plan.json"
    ]
    wanted = markers if case.name == "marker" else [p for p in files if p.name == case.name]
    if not wanted:
        return False
    lines = wanted[0].read_text().splitlines() if case.name.endswith("l") else [wanted[0].read_text()]
    tree: Any = [json.loads(line) for line in lines]
    for place, value in zip(case.places, case.values, strict=True):
        paths = list(places(tree))
        tree = put(tree, paths[place % len(paths)], json.loads(value))
    tree = tree if isinstance(tree, list) else [tree]
    wanted[0].write_text("\n".join(map(json.dumps, tree)))
    return True
