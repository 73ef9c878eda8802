"""geoseg: satellite and aerial scenes of any size to class maps and polygons.

The names below are public; each is loaded when it is first used, so that `import geoseg` is quick.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_FUNCTIONS = {
    "open_scene": "geoseg.notebook.open",
    "open_bundle": "geoseg.notebook.open",
    "segment": "geoseg.notebook.segment",
    "vectorize": "geoseg.notebook.vectorize",
    "open_run": "geoseg.runs.finished",
    "plan": "geoseg.notebook.run",
    "run": "geoseg.notebook.run",
    "train": "geoseg.notebook.train",
    "evaluate": "geoseg.notebook.evaluate",
    "validate": "geoseg.notebook.evaluate",
}

__all__ = [
    "errors",
    "evaluate",
    "open_bundle",
    "open_run",
    "open_scene",
    "plan",
    "run",
    "segment",
    "train",
    "validate",
    "vectorize",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        found: Any = import_module("geoseg.core.errors")
    elif name in _FUNCTIONS:
        found = getattr(import_module(_FUNCTIONS[name]), name)
    else:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
