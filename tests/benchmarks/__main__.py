"""Run the measurements: `python -m tests.benchmarks [NAME...]`, all of `NAMES` without a name."""

import importlib
import sys

NAMES = ("architectures", "backends", "correctness", "forward", "memory", "objects", "polygons", "storage")

for name in sys.argv[1:] or NAMES:
    if name not in NAMES:
        sys.exit(f"{name!r} is not one of {', '.join(NAMES)}")
    print(f"\n## {name}\n")
    importlib.import_module(f"tests.benchmarks.{name}").main()
