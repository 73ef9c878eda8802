"""From a class map to polygons and objects: traced, shaped, written."""
