"""Run the measurements: `python -m tests.benchmarks [NAME...]`, all of `NAMES` without a name.

`peers` and `overhead` take options (`python -m tests.benchmarks peers --help`); they install other tools and
run for long, so they run only when they are named.
"""

import importlib
import sys
from itertools import takewhile

NAMES = (
    "architectures",
    "backends",
    "correctness",
    "forward",
    "memory",
    "merging",
    "numbering",
    "polygons",
    "storage",
    "writing",
)
ON_REQUEST = (
    "baseline", "faults", "gallery", "gpu", "notebook", "nuclei", "objects", "overhead", "peers", "scale",
    "scaling", "strangeness", "training",
)  # fmt: skip

names = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
options = sys.argv[1 + len(names) :]
for name in names or NAMES:
    if name not in NAMES + ON_REQUEST:
        sys.exit(f"{name!r} is not one of {', '.join(NAMES + ON_REQUEST)}")
    sys.argv = [name, *options]
    print(f"\n## {name}\n")
    importlib.import_module(f"tests.benchmarks.{name}").main()
