"""Networks: the registry, bundles on disk, and segmenters that run them."""
