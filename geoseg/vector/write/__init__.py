"""Polygons to features, and features to files."""
