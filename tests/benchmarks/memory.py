"""Announced and measured memory of square scenes, class map and confidence.

`python -m tests.benchmarks memory [--real] [--sides 4096,8192]`: with a network that costs nothing or, with
`--real`, with `landcover-s2` on a repeated part of the sample scene.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.peers.compare import CACHE, SMALL
from tests.benchmarks.peers.scene import pipeline_file, scene_file
from tests.conftest import BAND_NAMES, ROOT, make_bundle, reflectance, write_pipeline, write_raster
from tests.make_scenes import repeat


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--sides", default="2048,4096,8192,16384,32768")
    options = parser.parse_args()
    print("| side | announced | measured | seconds | of it predict |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = folder / "small.tif"
        if options.real:
            shutil.copy(scene_file(CACHE, SMALL), small)
        else:
            tile = {"size": 1024, "min": 256, "max": 1024, "overlap": 128, "divisor": 32}
            bundle = make_bundle(folder / "bundle", tile=tile).folder
            write_raster(small, reflectance(2048, 2048), names=BAND_NAMES, tiled=True)
        program = "geoseg" if options.real else "tests.inference.free"
        for side in map(int, options.sides.split(",")):
            if options.real:
                pipeline = pipeline_file(repeat(small, side))
            else:
                pipeline = write_pipeline(folder, repeat(small, side, scale=0.0001), bundle)
            command = [sys.executable, "-m", program, "run", str(pipeline), "--json", "--quiet"]
            command += ["--output", str(folder / str(side))]
            command += ["--set", "outputs.polygons=[]", "--set", "outputs.confidence=true"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            manifest = json.loads(done.stdout)
            memory, seconds = manifest["memory_bytes"], manifest["seconds"]
            print(
                f"| {side} | {memory['announced_per_worker'] / 1e6:.0f} MB | "
                f"{memory['peak_of_this_process'] / 1e6:.0f} MB | {seconds['total']:.1f} | "
                f"{seconds['predict']:.1f} |"
            )
            sys.stdout.flush()
            shutil.rmtree(folder / str(side))


if __name__ == "__main__":
    main()
