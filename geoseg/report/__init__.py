"""What people look at first."""

PAGE = "report.html"
"""The page of a run."""
