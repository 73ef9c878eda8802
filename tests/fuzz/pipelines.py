"""Whole runs of pipelines that are valid, or nearly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from geoseg.config.pipeline import Pipeline
from tests.fuzz import world as base
from tests.fuzz.commands import command
from tests.fuzz.values import as_yaml, at, fitting, put, schema_places
from tests.fuzz.world import World

_SCHEMA = Pipeline.model_json_schema()
_KEPT = (
    ("outputs",),
    ("inference",),
    ("outputs", "folder"),
    ("scene",),
    ("scene", "uri"),
    ("scene", "folder"),
)
_KEYS = [
    (path, node)
    for path, node in schema_places(_SCHEMA)
    if path[0] in ("gsd", "tiling", "inference", "checks", "reading", "vectorize", "outputs", "scene")
    and path not in _KEPT
]


@dataclass(frozen=True)
class Whole:
    """A pipeline."""

    text: bytes


@st.composite
def _pipelines(draw: st.DrawFn) -> Whole:
    tree: Any = base.PIPELINE
    for _ in range(draw(st.integers(1, 5))):
        path, node = draw(st.sampled_from(_KEYS))
        tree = put(tree, path, draw(fitting(node, _SCHEMA)))
    if at(tree, ("inference", "backend")) == "inductor":
        tree = put(tree, ("inference", "backend"), "torch")  # compiling takes a minute
    return Whole(as_yaml(put(tree, ("outputs", "folder"), "out")))


CASES = _pipelines()
EXAMPLES: tuple[Whole, ...] = (Whole(as_yaml(base.PIPELINE)),)


def check(world: World, case: Whole) -> None:
    """Plan, run and check the run."""
    Path("case.yaml").write_bytes(case.text)
    planned = command(world, "run", "case.yaml", "--dry-run")
    if planned.exit_code == 0:
        finished = command(world, "run", "case.yaml", "-q", may_leave=["out"])
        if finished.exit_code == 0:
            report = command(world, "validate", "out")
            failures = [line for line in report.stdout.splitlines() if line.startswith("  ")]
            assert not failures, report.stdout
