"""Scenes in, rasters out: windowed reads, staging and cloud-optimised GeoTIFFs."""

import os

GDAL_CACHE_MB = 96
"""What GDAL may keep of decoded internal tiles; its default is 5 % of the machine."""

# Set before any module of this room imports rasterio; a value from the environment wins.
os.environ.setdefault("GDAL_CACHEMAX", str(GDAL_CACHE_MB))
