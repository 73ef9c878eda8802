"""Time and memory of numbering objects on square maps: many blobs, and one region as large as the map.

`python -m tests.benchmarks numbering`
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from tests.conftest import ROOT, write_raster

SIDES = (1024, 4096, 16384)
CODE = """
import json, sys, time
from pathlib import Path
import geoseg.scenes
from geoseg.vector.recipe import Components, Watershed
from geoseg.vector.shape.instances import write_instances
how = {"classes": frozenset([1]), "method": {"components": Components, "watershed": Watershed}[sys.argv[2]]()}
warm, path = (Path(p) for p in (sys.argv[3], sys.argv[1]))
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000
write_instances(warm, path.with_name("ids.tif"), **how)
before, start = peak(), time.process_time()
count = len(write_instances(path, path.with_name("ids.tif"), **how)) - 1
print(json.dumps([count, time.process_time() - start, before, peak()]))
"""


def main() -> None:
    print("| map | method | objects | CPU seconds | peak memory | before |")
    print("| --- | --- | --- | --- | --- | --- |")
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(1024, 1024)), 3, mode="wrap")
    blobs = (noise > 0.09).astype(np.uint8)
    options = {"tiled": True, "compress": "deflate", "nodata": 255}
    with tempfile.TemporaryDirectory() as name:
        warm = write_raster(Path(name) / "warm.tif", blobs[:64, :64])
        maps = {f"blobs {s}": np.tile(blobs, (s // 1024,) * 2) for s in SIDES}
        maps["one region 4096"] = np.ones((4096, 4096), np.uint8)
        for title, values in maps.items():
            path = write_raster(Path(name) / "map.tif", values, **options)
            for method in ("components", "watershed"):
                command = [sys.executable, "-c", CODE, str(path), method, str(warm)]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
                count, seconds, before, peak = json.loads(done.stdout)
                print(f"| {title} | {method} | {count} | {seconds:.1f} | {peak:.0f} MB | {before:.0f} MB |")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
