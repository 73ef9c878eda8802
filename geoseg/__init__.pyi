from geoseg.core import errors as errors
from geoseg.notebook.evaluate import evaluate as evaluate
from geoseg.notebook.evaluate import validate as validate
from geoseg.notebook.open import open_bundle as open_bundle
from geoseg.notebook.open import open_scene as open_scene
from geoseg.notebook.run import plan as plan
from geoseg.notebook.run import run as run
from geoseg.notebook.segment import segment as segment
from geoseg.notebook.train import train as train
from geoseg.notebook.vectorize import vectorize as vectorize
from geoseg.runs.finished import open_run as open_run

__version__: str
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
