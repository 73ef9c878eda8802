"""Tiles against one whole-image pass, on the Sentinel-2 sample with landcover-s2.

`python -m tests.benchmarks correctness`
"""

import sys
import tempfile
from pathlib import Path

import rasterio

from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from tests.whole_image import compare, whole_image_classes

PIPELINE = Path("pipelines/landcover.yaml")
SIZES = [
    (256, 0),
    (256, 64),
    (512, 0),
    (512, 64),
    (512, 128),
    (512, 256),
    (1024, 64),
    (1024, 128),
    ("auto", "auto"),
    (1024, 256),
]


def main() -> None:
    print(
        "| tile | overlap | network px per px | differs | on land | within 64 px of the border | seam index |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    whole = whole_image_classes(prepare(PIPELINE))
    for tile, overlap in SIZES:
        sizes = [f"tiling.tile={tile}", f"tiling.overlap={overlap}", "outputs.polygons=[]"]
        with tempfile.TemporaryDirectory() as folder:
            plan = prepare(PIPELINE, sizes, Path(folder))
            run(plan)
            with rasterio.open(Path(folder) / "classes.tif") as src:
                d = compare(src.read(1), whole, plan)
        print(
            f"| {tile} ({plan.grid.rows.tile}) | {overlap} ({plan.grid.rows.overlap}) | "
            f"{plan.grid.network_pixels_per_pixel:.2f} | {100 * d.overall:.3f} % | {100 * d.land:.3f} % | "
            f"{100 * d.border:.3f} % | {d.seams:.3f} |"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
