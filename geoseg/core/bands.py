"""Band names: sensor designations and aliases to common names.

Common names are those of the STAC Electro-Optical extension, except that the two short-wave infrared bands
may also be called `swir1` and `swir2`, as analysts do.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SENTINEL2 = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge071", "B06": "rededge075",
    "B07": "rededge078", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16",
    "B12": "swir22",
}  # fmt: skip
_LANDSAT8 = {
    "B1": "coastal", "B2": "blue", "B3": "green", "B4": "red", "B5": "nir", "B6": "swir16", "B7": "swir22",
    "B8": "pan", "B9": "cirrus", "B10": "lwir11", "B11": "lwir12",
}  # fmt: skip

SENSORS: dict[str, dict[str, str]] = {
    "sentinel-2": {**_SENTINEL2, **{k.replace("B0", "B"): v for k, v in _SENTINEL2.items()}},
    "landsat-8": {**_LANDSAT8, **{f"SR_{k}": v for k, v in _LANDSAT8.items()}},
}

_ALIASES = {"swir1": "swir16", "swir2": "swir22", "rededge1": "rededge071", "rededge2": "rededge075",
            "rededge3": "rededge078", "near infrared": "nir", "near-infrared": "nir"}  # fmt: skip

# Centre wavelengths in micrometres (Sentinel-2A MSI; Landsat 8 OLI differs by less than the band width).
WAVELENGTH_UM: dict[str, float] = {
    "coastal": 0.443, "blue": 0.490, "green": 0.560, "red": 0.665, "rededge071": 0.704, "rededge075": 0.740,
    "rededge078": 0.783, "nir": 0.842, "nir08": 0.865, "nir09": 0.945, "cirrus": 1.375, "swir16": 1.610,
    "swir22": 2.190,
}  # fmt: skip


def common_name(name: str, sensor: str | None = None) -> str:
    """Return the common name of a band, or `name` in lower case when it is not known.

    Parameters
    ----------
    name
        A common name (`blue`), an alias (`swir1`) or a designation (`B02`, `SR_B4`).
    sensor
        A key of `SENSORS`. Without it only designations that mean one thing on every sensor are translated:
        `B02` and `B8A` are Sentinel-2's and `SR_B4` Landsat's, but `B5` could be either.
    """
    label = name.strip()
    if sensor is not None and label.upper() in SENSORS[sensor]:
        return SENSORS[sensor][label.upper()]
    if sensor is None:
        if label.upper() in _SENTINEL2 and (label[1] == "0" or label.upper() == "B8A"):
            return _SENTINEL2[label.upper()]
        if label.upper().startswith("SR_"):
            return SENSORS["landsat-8"].get(label.upper(), label.lower())
    return _ALIASES.get(label.lower(), label.lower())


def sensor_in(names: Iterable[str]) -> str | None:
    """Return the sensor that alone has such bands: B8A, or a number with a zero, is Sentinel-2's."""
    own = {"B8A", *(f"B0{i}" for i in range(1, 10))}
    return "sentinel-2" if own & {n.strip().upper() for n in names} else None


def designation_in(stem: str) -> str | None:
    """Return the band designation in a file name's stem (`T18SVG_B8A_20m` gives `B8A`), else None."""
    found = re.findall(r"(?:^|[_\-.])((?:SR_)?B(?:\d{1,2}|8A))(?=$|[_\-.])", stem, flags=re.IGNORECASE)
    return str(found[-1]).upper() if found else None


@dataclass(frozen=True, slots=True)
class Band:
    """One band as a network expects it."""

    name: str
    """Name within its bundle, for messages (`swir1`)."""
    common_name: str
    """Name that scenes are searched for (`swir16`)."""
    wavelength_um: float | None
    """Centre wavelength in micrometres."""
    mean: float
    """Mean of the training pixels, in physical units (reflectance)."""
    std: float
    """Standard deviation of the training pixels, in physical units."""
