"""Products by their path alone: SAFE folders, Landsat's MTL, HLS, PlanetScope, NAIP, STAC items.

A reader recognises a product and returns the entry that a user would have written by hand. Nothing below it
knows of products.
"""

from geoseg.scenes.products import stac
from geoseg.scenes.products.entry import complete, item_entries, merged

__all__ = ["complete", "item_entries", "merged", "stac"]
