"""Rasters out: staged blocks, cloud-optimised GeoTIFFs and what is counted in them."""
