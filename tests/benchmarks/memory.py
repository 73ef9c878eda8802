"""Announced and measured memory of square scenes, with a network that costs nothing.

`python -m tests.benchmarks memory`
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import BAND_NAMES, ROOT, make_bundle, reflectance, write_pipeline, write_raster
from tests.scenes import repeat

SIDES = (2048, 4096, 8192, 16384, 32768)


def main() -> None:
    print("| side | announced | measured | seconds | of it predict |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tile = {"size": 1024, "min": 256, "max": 1024, "overlap": 128, "divisor": 32}
        bundle = make_bundle(folder / "bundle", tile=tile)
        small = write_raster(folder / "small.tif", reflectance(2048, 2048), names=BAND_NAMES, tiled=True)
        for side in SIDES:
            pipeline = write_pipeline(folder, repeat(small, side, scale=0.0001), bundle.folder)
            free = [sys.executable, "-m", "tests.inference.free", "run", str(pipeline), "--json", "--quiet"]
            command = [*free, "--output", str(folder / str(side)), "--set", "outputs.polygons=[]"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            manifest = json.loads(done.stdout)
            memory, seconds = manifest["memory_bytes"], manifest["seconds"]
            print(
                f"| {side} | {memory['announced_per_worker'] / 1e6:.0f} MB | "
                f"{memory['peak_of_this_process'] / 1e6:.0f} MB | {seconds['total']:.1f} | "
                f"{seconds['predict']:.1f} |"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
