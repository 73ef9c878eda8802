"""Rasters out: staged blocks, cloud-optimised GeoTIFFs and the areas of their classes."""
