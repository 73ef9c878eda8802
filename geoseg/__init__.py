"""geoseg: satellite and aerial scenes of any size to class maps and polygons."""

__version__ = "0.1.0"
