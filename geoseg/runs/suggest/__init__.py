"""The places of a finished run that are most worth labelling."""

from geoseg.runs.suggest.pseudo import write_pseudo_labels
from geoseg.runs.suggest.suggest import Suggestion, suggest

__all__ = ["Suggestion", "suggest", "write_pseudo_labels"]
