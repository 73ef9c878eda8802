"""Boundaries of a class map, block by block, to rings and polygons."""
