"""Pages and pictures that are made from records: `report.html`, `training.html`, the quicklook."""
