"""One legend in the formats of desktop GIS."""
