"""The kinds of input that are tried, and the settings of a short and of a long trial."""

from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings

from tests.fuzz import bundles, documents, pipelines, rasters, run_folders, scene_lists
from tests.fuzz.commands import in_work_folder
from tests.fuzz.world import World

TARGETS = {
    m.__name__.rpartition(".")[2]: m
    for m in (documents, bundles, rasters, scene_lists, run_folders, pipelines)
}
"""Modules with CASES (a strategy), EXAMPLES (cases that are always tried) and check(world, case)."""


def settings_of(examples: int, *, derandomize: bool) -> settings:
    """Return the settings of a trial with so many cases; a random one keeps its failures in `.hypothesis`."""
    return settings(
        max_examples=max(examples, 1),
        derandomize=derandomize,
        **({"database": None} if derandomize else {}),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, *([Phase.reuse, Phase.generate, Phase.shrink] if examples else [])],
        print_blob=True,
        report_multiple_bugs=False,
    )


def trial(
    target: str, world: World, how: settings, before: Callable[[Any], None] | None = None
) -> Callable[[], None]:
    """Return a function that tries the cases of a target; `before` is called with each."""
    module = TARGETS[target]

    def one(case: Any) -> None:
        if before is not None:
            before(case)
        with in_work_folder(world):
            module.check(world, case)

    for case in module.EXAMPLES:
        one = hypothesis.example(case)(one)
    function: Callable[[], None] = how(hypothesis.given(module.CASES)(one))
    return function
