"""Networks: the registry, bundles on disk, and segmenters that run them."""

import os

# Before torch loads its OpenMP: threads that wait shall sleep, not spin. Where other processes shared the
# cores, spinning made small tiles about twenty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
