"""Scenes in: files, catalogs and labels, read in windows on one grid."""

import os

GDAL_CACHE_MB = 96
"""What GDAL may keep of decoded internal tiles; its default is 5 % of the machine."""

DATASETS = 32
"""Files of a VRT that GDAL keeps open; its default is 100, and each takes memory."""

# Set before any module of this room imports rasterio; values from the environment win.
os.environ.setdefault("GDAL_CACHEMAX", str(GDAL_CACHE_MB))
os.environ.setdefault("GDAL_MAX_DATASET_POOL_SIZE", str(DATASETS))
