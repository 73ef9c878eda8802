"""What of a map is not to be trusted: pixels of low confidence or unlike the training pixels, outlined."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.config.run_record import RecordedDoubt
from geoseg.core.doubt import LOW, REASONS, TRUSTED, UNLIKE
from geoseg.core.geometry import windows_of
from geoseg.core.legend import NODATA
from geoseg.core.ordered import Workers
from geoseg.core.run_files import RunFile
from geoseg.inference.plan import Plan
from geoseg.models.strangeness import LIMIT
from geoseg.raster.cog import MapBand, gdal_as_output_error, write_vrt
from geoseg.runs.outputs import provenance_of, staging_of
from geoseg.runs.progress import Progress
from geoseg.scenes.gdal import check_whole
from geoseg.scenes.windows import to_rasterio
from geoseg.storage.store import FolderStore
from geoseg.vector.trace.block import MapFiles

_BLOCK = 1024
"""Rows and columns that are looked at together."""


def write_doubt(
    plan: Plan, folder: Path, workers: Workers, on_event: Callable[[Progress], None]
) -> tuple[Path, RecordedDoubt]:
    """Outline what is not to be trusted of the map in the staging folder.

    Parameters
    ----------
    plan
        The plan; all its blocks are finished, and its map is made.
    folder
        The local folder of the blocks.
    workers
        The executor that traces outlines.
    on_event
        Called when the file is begun.

    Returns
    -------
    path, doubt
        The GeoPackage, and the pixels of each reason for the record.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    # As in `outputs`: slow to import, and not needed before there is a map.
    from geoseg.vector.doubt import write_outlines  # noqa: PLC0415

    on_event(Progress(RunFile.DOUBT))
    staging, shape = staging_of(plan, FolderStore(folder)), plan.scene.shape
    bands = {"confidence": 2} if plan.bundle.card.task == "classes" else {}
    bands |= {"strangeness": staging.bands.index("strangeness [%]") + 1} if plan.strangeness else {}
    rasters: dict[str, Path] = {}
    reasons = folder / "doubt.tif"
    try:
        for name, number in bands.items():
            rasters[name] = folder / f"doubt-{name}.vrt"
            write_vrt(rasters[name], staging, list(plan.blocks), shape, [MapBand(number, name)], {})
        files = MapFiles(reasons, rasters.get("confidence"), strangeness=rasters.get("strangeness"))
        pixels = _write_reasons(files, plan.recipe.low_confidence)
        path = write_outlines(files, plan.recipe, workers, folder, provenance=provenance_of(plan))
    finally:
        for leftover in (reasons, *rasters.values()):
            leftover.unlink(missing_ok=True)
    low = plan.recipe.low_confidence if "confidence" in rasters else None
    return path, RecordedDoubt(low_confidence=low, strangeness="strangeness" in rasters, pixels=pixels)


def reasons_of(
    percent: NDArray[np.uint8] | None, levels: NDArray[np.uint8] | None, low_confidence: float
) -> NDArray[np.uint8]:
    """Return the codes of the reasons of pixels with data, see `geoseg.core.doubt`.

    Parameters
    ----------
    percent
        Confidence in whole per cent, None of a map without.
    levels
        Distance from the training pixels in per cent of their limit, None where it was not measured.
    low_confidence
        Confidence, 0 to 1, below which a pixel is doubtful.

    Examples
    --------
    >>> confidence, distance = np.array([90, 40, 90, 40], np.uint8), np.array([20, 20, 150, 150], np.uint8)
    >>> reasons_of(confidence, distance, 0.5).tolist()
    [0, 1, 2, 3]
    """
    known = percent if percent is not None else levels
    if known is None:
        raise ValueError("neither confidence nor distance is known")
    found = np.full(known.shape, TRUSTED, np.uint8)
    if percent is not None:
        # As the polygons of the classes count doubtful pixels.
        found[percent < round(100 * low_confidence)] |= LOW
    if levels is not None:
        found[levels > LIMIT] |= UNLIKE
    return found


def _write_reasons(files: MapFiles, low_confidence: float) -> dict[str, int]:
    """Write the reason of each pixel, nodata where it has no data; return the pixels of each reason."""
    known, path, counts = files.confidence or files.strangeness, files.classes, np.zeros(256, np.int64)
    with gdal_as_output_error(path):
        with rasterio.open(known) as src, rasterio.open(
            path, "w", driver="GTiff", height=src.height, width=src.width, crs=src.crs,
            transform=src.transform, count=1, dtype="uint8", nodata=NODATA, tiled=True, blockxsize=512,
            blockysize=512, compress="DEFLATE", zlevel=1, bigtiff="IF_SAFER",
        ) as dst:  # fmt: skip
            for window in windows_of(src.shape, _BLOCK):
                found = reasons_of(files.percent(window), files.levels(window), low_confidence)
                found[src.read(1, window=to_rasterio(window)) == NODATA] = NODATA
                counts += np.bincount(found.ravel(), minlength=256)
                dst.write(found, 1, window=to_rasterio(window))
        check_whole(path)
    return {c.slug: int(counts[c.id]) for c in REASONS.classes}
