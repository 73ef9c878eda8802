"""Nodata that a band cannot hold, such as 300 in 8 bits, or a fraction or NaN among whole numbers.

No pixel has it. In a file it is said and does no harm: programs write -9999 or NaN whatever the type is. Who
gives it in a document is mistaken about the scene, and is told so.
"""

import math
import re
import uuid
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio.shutil
from rasterio.errors import RasterioError

from geoseg.core.errors import GeosegWarning, SceneError

if TYPE_CHECKING:
    from geoseg.scenes.bands import SceneBand
    from geoseg.scenes.scene import Scene
    from geoseg.scenes.sources import SourceFile

_NODATA = re.compile(r"<NoDataValue[^>]*>([^<]+)<")
_MOST_FILES = 1000
"""Files of a virtual raster whose text is looked at."""
_BAND = re.compile(r"<VRTRasterBand\b.*?</VRTRasterBand>", re.DOTALL)


def can_hold(dtype: np.dtype[Any], number: float) -> bool:
    """Return whether a pixel of a data type can be a number.

    Examples
    --------
    >>> can_hold(np.dtype("uint8"), 255), can_hold(np.dtype("uint8"), 300), can_hold(np.dtype("int16"), 0.5)
    (True, False, False)
    """
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return math.isfinite(number) and number == int(number) and limits.min <= number <= limits.max
    if dtype.kind == "f" and math.isfinite(number):
        with np.errstate(over="ignore"):
            return bool(np.isfinite(dtype.type(number)))
    return True


def idle_nodata(dataset: Any) -> tuple[tuple[int, float], ...]:
    """Return number and nodata of the bands of an open raster that cannot hold the nodata it states.

    rasterio does not tell such a number: it is found in a virtual raster that GDAL makes of the file.
    """
    told = dataset.nodatavals
    types = [np.dtype(t) for t in dataset.dtypes]
    idle = [
        (i, n)
        for i, (t, n) in enumerate(zip(types, told, strict=True), 1)
        if n is not None
        if not can_hold(t, n)
    ]
    if None not in told or len(dataset.files) > _MOST_FILES:
        return tuple(idle)
    for i, text in enumerate(_BAND.findall(_as_virtual(dataset)), 1):
        found = _NODATA.search(text)
        if found is not None and i <= len(types) and told[i - 1] is None:
            number = _number(found[1])
            if number is not None and not can_hold(types[i - 1], number):
                idle.append((i, number))
    return tuple(sorted(idle))


def _as_virtual(dataset: Any) -> str:
    place = f"/vsimem/{uuid.uuid4().hex}.vrt"
    try:
        rasterio.shutil.copy(dataset, place, driver="VRT")
        with rasterio.open(place) as made:
            return "".join(made.tags(ns="xml:VRT").values())
    except RasterioError:
        return ""  # then the number stays unsaid
    finally:
        _forget(place)


def _forget(place: str) -> None:
    try:
        rasterio.shutil.delete(place, driver="VRT")
    except RasterioError:
        return


def _number(text: str) -> float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _text(number: float) -> str:
    return str(number).removesuffix(".0")


def check_given_nodata(
    bands: Sequence["SceneBand"], of_bands: Sequence[float | None], of_scene: float | None
) -> None:
    """Refuse nodata of a document that the band cannot hold; that of the scene, when none of its bands can.

    Raises
    ------
    SceneError
        When a number cannot be nodata.
    """
    for band, number in zip(bands, of_bands, strict=True):
        if number is not None and not can_hold(band.dtype, number):
            raise _impossible(band, number)
    others = [b for b, number in zip(bands, of_bands, strict=True) if number is None]
    if of_scene is not None and others and not any(can_hold(b.dtype, of_scene) for b in others):
        raise _impossible(others[0], of_scene)


def _impossible(band: "SceneBand", number: float) -> SceneError:
    return SceneError(
        f"{band.source.path}: band {band.index} holds {_numbers(band.dtype)}, so no pixel is nodata "
        f"{_text(number)}; correct nodata: or leave it out"
    )


def _numbers(dtype: np.dtype[Any]) -> str:
    if dtype.kind not in "iu":
        return str(dtype)
    limits = np.iinfo(dtype)
    return f"{dtype}, whole numbers from {limits.min} to {limits.max}"


def warn_of_idle_nodata(scenes: Iterable["Scene"]) -> None:
    """Warn of files that state nodata which their type cannot hold, and for which the user gave none."""
    used: dict[tuple[SourceFile, int], None] = {}
    for scene in scenes:
        used.update({(b.source, b.index): None for b in scene.bands if b.nodata is None})
        used.update({(m.source, m.index): None for m in scene.masks})
    found: dict[tuple[str, str], list[str]] = {}  # by text: a NaN equals no other
    for source, index in used:
        for band, number in source.idle_nodata:
            if band == index:
                found.setdefault((str(source.dtype(index)), _text(number)), []).append(source.path)
    for (dtype, stated), paths in found.items():
        more = f" (and {len(paths) - 1} more bands)" if len(paths) > 1 else ""
        warnings.warn(
            f"{paths[0]}{more}: states nodata {stated}, which {dtype} cannot hold, so no pixel is nodata by "
            "it; give the right number with nodata:, or take it away: gdal_edit.py -unsetnodata FILE",
            GeosegWarning,
            stacklevel=3,
        )
