"""Labels from a run itself: the class of confident pixels, nothing elsewhere."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from geoseg.core.errors import ConfigError, OutputError, one_line
from geoseg.core.files import give_usual_mode
from geoseg.core.geometry import windows_of
from geoseg.core.legend import NODATA, Legend
from geoseg.core.run_files import RunFile
from geoseg.runs.record import read_record
from geoseg.scenes.windows import to_rasterio
from geoseg.storage.store import open_store
from geoseg.storage.workspace import local_copy

_WINDOW = 1024


@dataclass(frozen=True)
class PseudoLabels:
    """Labels that were written."""

    path: Path
    threshold: float
    shares: dict[str, float]
    """Share of the pixels of each class of the map that became labels, by slug."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"path": str(self.path), "threshold": self.threshold, "shares": self.shares}

    def to_text(self) -> str:
        """Return the result for people."""
        listed = ", ".join(f"{slug} {100 * share:.1f} %" for slug, share in self.shares.items())
        return (
            f"{self.path}: pixels of a confidence of at least {self.threshold:g}, of those of each class: "
            f"{listed}\nthey repeat what the network knows, mistakes too: measure on labels that people made"
        )


def write_pseudo_labels(place: Path | str, output: Path, threshold: float) -> PseudoLabels:
    """Write the class ids of the confident pixels of a run as labels, 255 elsewhere.

    Parameters
    ----------
    place
        The run folder, or its URI.
    output
        The GeoTIFF to write.
    threshold
        Confidence from which on a pixel becomes a label, above 0, at most 1.

    Raises
    ------
    OutputError
        When there is no finished run, or the file cannot be written.
    ConfigError
        When the run has no class map, or no confidence.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"--pseudo: {threshold:g} is no confidence; give a number above 0, up to 1")
    store = open_store(place)
    record = read_record(store)
    if record.task != "classes" or RunFile.CONFIDENCE not in record.outputs:
        raise ConfigError(
            f"{place}: labels need a class map and its confidence; run it with outputs.confidence: true"
        )
    legend = Legend.of(record.classes)
    kept, mapped = np.zeros(256, np.int64), np.zeros(256, np.int64)
    temporary = output.with_name(f".pseudo.{os.getpid()}.tif")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with (
            local_copy(store) as folder,
            rasterio.open(folder / RunFile.CLASSES) as classes,
            rasterio.open(folder / RunFile.CONFIDENCE) as confidence,
            rasterio.open(
                temporary, "w", driver="GTiff", height=classes.height, width=classes.width, count=1,
                dtype="uint8", crs=classes.crs, transform=classes.transform, nodata=NODATA, tiled=True,
                blockxsize=256, blockysize=256, compress="deflate", BIGTIFF="IF_SAFER",
            ) as dst,
        ):  # fmt: skip
            dst.write_colormap(1, {i: (*c.rgb, 255) for i, c in legend.by_id().items()})
            dst.update_tags(GEOSEG_FINGERPRINT=record.fingerprint, GEOSEG_THRESHOLD=f"{threshold:g}")
            dst.set_band_description(1, "class")
            for window in windows_of(classes.shape, _WINDOW):
                here = to_rasterio(window)
                ids, share = classes.read(1, window=here), confidence.read(1, window=here)
                # Confidence is written in whole per cent.
                sure = (ids != NODATA) & (np.rint(share * 100) >= np.rint(threshold * 100))
                mapped += np.bincount(ids.ravel(), minlength=256)
                kept += np.bincount(ids[sure], minlength=256)
                dst.write(np.where(sure, ids, np.uint8(NODATA)), 1, window=here)
        give_usual_mode(temporary)
        temporary.replace(output)
    except (RasterioError, OSError) as error:
        raise OutputError(f"{output}: cannot be written: {one_line(error)}") from error
    finally:
        with contextlib.suppress(OSError):  # nothing is left where nothing can be written
            temporary.unlink()
    by_id = legend.by_id()
    shares = {c.slug: round(float(kept[i] / mapped[i]), 4) for i, c in by_id.items() if mapped[i]}
    return PseudoLabels(output, threshold, shares)
