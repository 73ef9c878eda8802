"""One legend in the style formats of desktop GIS."""
