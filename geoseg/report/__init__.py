"""Pages and pictures that are made from records: `report.html`, `training.html`, the quicklook."""

PAGE = "report.html"
"""File name of the page of a run."""
