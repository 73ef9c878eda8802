"""Why a pixel of a map is not to be trusted."""

from geoseg.core.legend import Legend, LegendClass

TRUSTED = 0
"""Code of pixels without doubt."""
LOW, UNLIKE = 1, 2
"""Codes of the reasons; of both, their sum."""

REASONS = Legend(
    (
        LegendClass(LOW, "low_confidence", "low confidence", "#e08214"),
        LegendClass(UNLIKE, "unlike", "unlike the training data", "#7b3294"),
        LegendClass(LOW + UNLIKE, "both", "both", "#d7191c"),
    )
)
"""The reasons with their codes. Their titles are what the column `reason` says."""

DOUBT_LAYER = "doubt"
"""Name of the layer of outlines."""
REASON = "reason"
"""Column of the outlines with the reason."""
