"""Products by their path alone: SAFE folders, Landsat's MTL, HLS, PlanetScope, NAIP, STAC items.

A reader recognises a product and returns the entry that a user would have written by hand. Nothing below it
knows of products.
"""

from geoseg.scenes.products.entry import complete, item_entries, merged
from geoseg.scenes.products.items import names_item

__all__ = ["complete", "item_entries", "merged", "names_item"]
