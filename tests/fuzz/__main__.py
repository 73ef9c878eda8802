"""Try hostile input for some minutes: `python -m tests.fuzz --minutes 10 [--seed 1] [documents rasters ...]`.

Each kind of input is tried in a process of its own. A failure is printed with its case, which can be repeated
with the same seed,
and is tried first by the next trial; put it into EXAMPLES of its module once it is mended.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.fuzz.targets import TARGETS, settings_of, trial

ROUND = 50
"""Cases between two looks at the clock."""


def main() -> int:
    """Try all targets, or those that are named; return how many failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="default: all")
    parser.add_argument("--minutes", type=float, default=5, help="time for all targets together")
    parser.add_argument("--seed", type=int, default=None, help="of the cases; default: a new one")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    seed = random.randrange(2**31) if given.seed is None else given.seed
    targets = given.targets or list(TARGETS)
    if given.here:
        try_here(targets[0], given.minutes * 60, seed)
        return 0
    failed = []
    for target in targets:
        minutes = given.minutes / len(targets)
        print(f"{target}: {minutes:.1f} min, seed {seed}", flush=True)
        words = ["--here", target, "--minutes", str(minutes), "--seed", str(seed)]
        with tempfile.TemporaryDirectory(prefix="geoseg-fuzz-") as folder:
            note = Path(folder) / "case.txt"
            code = subprocess.run(
                [sys.executable, "-m", "tests.fuzz", *words], check=False, stdin=subprocess.DEVNULL,
                env={**os.environ, "GEOSEG_FUZZ_FOLDER": folder, "PYTHONFAULTHANDLER": "1"},
            ).returncode  # fmt: skip
            if code:
                failed.append(target)
                last = note.read_text() if note.exists() else "none"
                print(f"{target}: FAILED (exit code {code}); last case: {last}", flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "nothing was found")
    return len(failed)


def try_here(target: str, seconds: float, seed: int) -> None:
    """Try cases of one target in this process until the time is over, or one fails."""
    from geoseg.models.backends import openvino_model
    from tests import conversions
    from tests.fuzz.commands import limit_memory
    from tests.fuzz.world import World

    folder = Path(os.environ["GEOSEG_FUZZ_FOLDER"])
    os.environ["GEOSEG_CACHE"] = str(folder / "cache")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_model, "subprocess", conversions)
        world = World(folder / "world")
        begin, cases = time.monotonic(), 0
        limit_memory()

        def note(case: Any) -> None:
            nonlocal cases
            cases += 1
            (folder / "case.txt").write_text(repr(case))

        while time.monotonic() - begin < seconds:
            # A seed for each round, so that a round can be repeated.
            hypothesis.seed(seed)(trial(target, world, settings_of(ROUND, derandomize=False), note))()
            seed += 1
        print(f"{target}: {cases} cases in {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
