"""Networks: the registry, bundles on disk, and the backends that run them."""
