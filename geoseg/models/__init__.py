"""Networks: the registry, bundles on disk, and segmenters that run them."""

import os

# Before torch loads its OpenMP: threads that wait shall sleep, not spin. Where other processes share the
# cores, spinning made small tiles twenty times slower; alone on the machine nothing was lost.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
