"""Polygons and the styles that desktop GIS read."""
