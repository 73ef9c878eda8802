"""Harmonized Landsat Sentinel-2 (HLS) v2.0: folders of S30 and L30 granules.

Facts are those of the LP DAAC's HLS v2.0 user guide.
"""

import re
from datetime import UTC, datetime

from geoseg.config.scene import BandEntry, SceneEntry
from geoseg.core.bands import SENSORS
from geoseg.core.errors import SceneError
from geoseg.scenes.products.place import Place
from geoseg.scenes.products.quality import fmask

_FILE = re.compile(
    r"(?P<granule>HLS\.(?P<kind>[SL]30)\.T\w{5}\.(?P<time>\d{7}T\d{6})(?:\.v(?P<version>\d+\.\d+))?)"
    r"\.(?P<band>\w+)\.tiff?",
    re.IGNORECASE,
)
NODATA = -9999
REFLECTANCE = (0.0001, 0.0)
TEMPERATURE = (0.01, 0.0)
"""Scale and offset of brightness temperature in degrees Celsius."""


def recognise(place: Place, document: str | None) -> SceneEntry | None:
    """Return the entry of the granule in a folder; None when it holds none.

    Raises
    ------
    SceneError
        When the folder holds several granules.
    """
    if document is not None:
        return None
    files = [found for found in map(_FILE.fullmatch, place.names()) if found]
    sensor = f"hls-{files[0]['kind'].lower()}" if files else ""
    bands = {
        f["band"].upper(): _band(place.at(f.string), SENSORS[sensor][f["band"].upper()].common_name)
        for f in files
        if f["band"].upper() in SENSORS[sensor]
    }
    if not bands:
        return None
    granules = sorted({f["granule"] for f in files})
    if len(granules) > 1:
        raise SceneError(
            f"{place.path}: holds {len(granules)} HLS granules, as {granules[0]}; give each a "
            "folder of its own"
        )
    kind, time = files[0]["kind"].upper(), files[0]["time"]
    quality = next((f.string for f in files if f["band"].lower() == "fmask"), None)
    return SceneEntry(
        bands=bands,
        sensor=sensor,
        nodata=NODATA,
        datetime=_time(place, time),
        mask=None if quality is None else fmask(place.at(quality)),
        product=sensor,
        level="surface",
        baseline=files[0]["version"],
        platform="Sentinel-2" if kind == "S30" else "Landsat 8 or 9",
    )


def _band(uri: str, common_name: str) -> BandEntry:
    scale, offset = TEMPERATURE if common_name.startswith("lwir") else REFLECTANCE
    return BandEntry(uri=uri, scale=scale, offset=offset)


def _time(place: Place, text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%jT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise SceneError(
            f"{place.path}: its files are named after the time {text}, which there is not"
        ) from None
