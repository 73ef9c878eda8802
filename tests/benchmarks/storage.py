"""Maps from blocks in S3: opened by GDAL one by one, or brought to a local folder first.

`python -m tests.benchmarks storage`
"""

import os
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from geoseg.core.legend import Legend, LegendClass
from geoseg.raster.cog import MapBand, copy_cog, write_cog, write_vrt
from geoseg.raster.staging import Staging, crs_wkt
from geoseg.scenes.gdal import prepare_gdal
from geoseg.storage.store import FolderStore, open_store
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid
from tests.s3 import BUCKET, serve

_SIDE = 4096
_LEGEND = Legend(tuple(LegendClass(i, f"c{i}", f"C {i}", f"#0000{i}0") for i in range(6)))


def main() -> None:
    """Make a class map both ways; print seconds and requests for each block."""
    with tempfile.TemporaryDirectory() as name, serve(Path(name)) as server:
        folder = Path(name)
        os.environ.update(server.environment)
        axis = TileAxis(_SIDE, 512, 128)
        blocks = list(BlockGrid.of(TileGrid(axis, axis), 2))
        transform = (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_500_000.0)
        staging = Staging(
            open_store(f"s3://{BUCKET}/staging"),
            "f",
            crs_wkt("EPSG:32633"),
            transform,
            ("class", "confidence"),
        )
        rng, start = np.random.default_rng(0), perf_counter()
        for block in blocks:
            height, width = block.core.shape
            coarse = rng.integers(0, 6, (2, height // 16 + 1, width // 16 + 1), dtype=np.uint8)
            staging.write(block, coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width], {})
        _say(server, "write", blocks, start, 0)
        shape, bands = (_SIDE, _SIDE), [MapBand(1, "class", _LEGEND)]

        since, start = len(server.log.read_text()), perf_counter()
        staging.copy_to(folder, blocks)
        local = Staging(FolderStore(folder), "f", staging.crs, transform, staging.bands)
        write_cog(folder / "brought.tif", local, blocks, shape, bands, "MODE", {})
        _say(server, "brought", blocks, start, since)

        far = folder / "far.vrt"
        write_vrt(far, local, blocks, shape, bands, {})
        text = far.read_text().replace('relativeToVRT="1">', f'relativeToVRT="0">/vsis3/{BUCKET}/staging/')
        far.write_text(text)
        since, start = len(server.log.read_text()), perf_counter()
        prepare_gdal(f"s3://{BUCKET}/staging/x")
        copy_cog(far, folder / "far.tif", "MODE")
        _say(server, "by GDAL", blocks, start, since)
        same = (folder / "far.tif").read_bytes() == (folder / "brought.tif").read_bytes()
        print("the same bytes" if same else "other bytes")


def _say(server, what, blocks, start, since) -> None:
    asked = server.requests("/staging", since)
    each = ", ".join(f"{n / len(blocks):.2f} {method}" for method, n in sorted(asked.items()))
    print(f"{what:<10}{perf_counter() - start:6.2f} s   {len(blocks)} blocks, each {each}")
