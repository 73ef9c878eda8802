"""Bands of sensors: designations, common names, and where in the spectrum they lie.

Common names are those of the STAC Electro-Optical extension, except that the two short-wave infrared bands
may also be called `swir1` and `swir2`, as analysts do.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SensorBand:
    """One band of a sensor."""

    common_name: str
    wavelength_um: float
    """Centre wavelength in micrometres."""
    width_um: float
    """Full width at half maximum in micrometres."""


def _table(bands: dict[str, tuple[str, float, float]]) -> dict[str, SensorBand]:
    return {designation: SensorBand(*band) for designation, band in bands.items()}


# Nominal wavelengths; those of the three satellites differ by some nanometres, and product metadata has them.
_SENTINEL2 = _table({
    "B01": ("coastal", 0.443, 0.020), "B02": ("blue", 0.490, 0.065), "B03": ("green", 0.560, 0.035),
    "B04": ("red", 0.665, 0.030), "B05": ("rededge071", 0.704, 0.014), "B06": ("rededge075", 0.740, 0.014),
    "B07": ("rededge078", 0.783, 0.019), "B08": ("nir", 0.842, 0.105), "B8A": ("nir08", 0.865, 0.021),
    "B09": ("nir09", 0.945, 0.019), "B10": ("cirrus", 1.375, 0.029), "B11": ("swir16", 1.610, 0.090),
    "B12": ("swir22", 2.190, 0.174),
})  # fmt: skip
_OLI = _table({
    "B1": ("coastal", 0.443, 0.016), "B2": ("blue", 0.482, 0.060), "B3": ("green", 0.561, 0.057),
    "B4": ("red", 0.655, 0.037), "B5": ("nir08", 0.865, 0.028), "B6": ("swir16", 1.609, 0.085),
    "B7": ("swir22", 2.201, 0.187), "B8": ("pan", 0.590, 0.172), "B9": ("cirrus", 1.373, 0.020),
    "B10": ("lwir11", 10.895, 0.590), "B11": ("lwir12", 12.005, 1.010),
})  # fmt: skip
_TM = _table({
    "B1": ("blue", 0.485, 0.070), "B2": ("green", 0.560, 0.080), "B3": ("red", 0.660, 0.060),
    "B4": ("nir", 0.830, 0.140), "B5": ("swir16", 1.650, 0.200), "B6": ("lwir", 11.450, 2.100),
    "B7": ("swir22", 2.215, 0.270),
})  # fmt: skip
_ETM = {**_TM, **_table({"B8": ("pan", 0.710, 0.380)})}
_SUPERDOVE = _table({
    "coastal_blue": ("coastal", 0.443, 0.020), "blue": ("blue", 0.490, 0.050),
    "green_i": ("green05", 0.531, 0.036), "green": ("green", 0.565, 0.036),
    "yellow": ("yellow", 0.610, 0.020), "red": ("red", 0.665, 0.031),
    "rededge": ("rededge071", 0.705, 0.015), "nir": ("nir08", 0.865, 0.040),
})  # fmt: skip
_DOVE = _table({
    "blue": ("blue", 0.485, 0.060), "green": ("green", 0.545, 0.090), "red": ("red", 0.630, 0.080),
    "nir": ("nir", 0.820, 0.080),
})  # fmt: skip
_NAIP = _table({
    "red": ("red", 0.650, 0.080), "green": ("green", 0.560, 0.080), "blue": ("blue", 0.470, 0.090),
    "nir": ("nir", 0.830, 0.100),
})  # fmt: skip


def _zero_padded(bands: dict[str, SensorBand]) -> dict[str, SensorBand]:
    return {f"B{int(k[1:]):02}" if k[1:].isdigit() else k: band for k, band in bands.items()}


def _surface(bands: dict[str, SensorBand]) -> dict[str, SensorBand]:
    return {**bands, **{f"SR_{k}": band for k, band in bands.items()}, "ST_B10": _OLI["B10"]}


SENSORS: dict[str, dict[str, SensorBand]] = {
    "sentinel-2": {**_SENTINEL2, **{k.replace("B0", "B"): band for k, band in _SENTINEL2.items()}},
    "landsat-4": _surface(_TM),
    "landsat-5": _surface(_TM),
    "landsat-7": _surface(_ETM),
    "landsat-8": _surface(_OLI),
    "landsat-9": _surface(_OLI),
    "hls-s30": _SENTINEL2,
    "hls-l30": _zero_padded(_OLI),
    "planetscope": _DOVE,
    "planetscope-8b": _SUPERDOVE,
    "naip": _NAIP,
}
"""Bands of each sensor by designation."""

_ALIASES = {"swir1": "swir16", "swir2": "swir22", "rededge1": "rededge071", "rededge2": "rededge075",
            "rededge3": "rededge078", "near infrared": "nir", "near-infrared": "nir"}  # fmt: skip

_KNOWN = {
    band.common_name: band
    for table in (_NAIP, _SUPERDOVE, _OLI, _SENTINEL2)  # those of Sentinel-2 win
    for band in table.values()
}
WAVELENGTH_UM: dict[str, float] = {
    name: band.wavelength_um for name, band in _KNOWN.items() if not name.startswith(("lwir", "pan"))
}
"""Centre wavelength of optical bands by common name in micrometres: of Sentinel-2, where it has the band."""


def common_name(name: str, sensor: str | None = None) -> str:
    """Return the common name of a band, or `name` in lower case when it is not known.

    Parameters
    ----------
    name
        A common name (`blue`), an alias (`swir1`) or a designation (`B02`, `SR_B4`).
    sensor
        A key of `SENSORS`. Without it only designations that mean one thing on every sensor are translated:
        `B02` and `B8A` are Sentinel-2's and `SR_B4` Landsat 8's, but `B5` could be either.
    """
    band = sensor_band(name, sensor)
    label = name.strip().lower()
    return _ALIASES.get(label, label) if band is None else band.common_name


def sensor_band(name: str, sensor: str | None = None) -> SensorBand | None:
    """Return the band of a sensor that a designation means; None when it is no designation.

    Parameters
    ----------
    name, sensor
        As in `common_name`.
    """
    label = name.strip()
    if sensor is not None:
        bands = SENSORS[sensor]
        return bands.get(label.upper()) or bands.get(label.lower())
    if label.upper() in _SENTINEL2 and (label[1] == "0" or label.upper() == "B8A"):
        return _SENTINEL2[label.upper()]
    return SENSORS["landsat-8"].get(label.upper()) if label.upper().startswith("SR_") else None


def usual_band(common: str) -> SensorBand | None:
    """Return what bands of a common name are like where the sensor is not known."""
    return _KNOWN.get(common)


def same_kind(one: str, other: str) -> bool:
    """Return whether two common names may be names of one band: both near infrared, or both red edge."""
    return one == other or any(one in kind and other in kind for kind in _KINDS)


_KINDS = ({"nir", "nir08"}, {"rededge", "rededge071", "rededge075", "rededge078"})


def overlap(one: SensorBand, other: SensorBand) -> bool:
    """Return whether the centres of two bands differ by at most half the width of the wider one."""
    apart = abs(one.wavelength_um - other.wavelength_um)
    return apart <= max(one.width_um, other.width_um) / 2 + 1e-9


def nearest_alike(wanted: str, offered: Sequence[SensorBand | None]) -> list[int]:
    """Return the places of the offered bands of the same kind that overlap a wanted one and lie nearest.

    Parameters
    ----------
    wanted
        A common name.
    offered
        The bands; None where it is not known where they lie in the spectrum.

    Examples
    --------
    >>> nearest_alike("nir", [usual_band("red"), None, usual_band("nir08")])
    [2]
    """
    usual = usual_band(wanted)
    if usual is None:
        return []
    apart = {
        i: abs(band.wavelength_um - usual.wavelength_um)
        for i, band in enumerate(offered)
        if band is not None and same_kind(wanted, band.common_name) and overlap(usual, band)
    }
    return [i for i, distance in apart.items() if distance == min(apart.values())]


def may_be(wanted: str, offered: str) -> bool:
    """Return whether a band of one common name can stand for one of another, as far as names tell.

    Examples
    --------
    >>> may_be("nir", "nir08"), may_be("rededge071", "rededge078")
    (True, False)
    """
    one, other = usual_band(wanted), usual_band(offered)
    if one is None or other is None:
        return wanted == offered
    return same_kind(wanted, offered) and overlap(one, other)


def named_by_wavelength(common: str, wavelength_um: float | None) -> str:
    """Return the common name of the band of that kind at a wavelength: the red edge has three.

    Catalogs written before version 2 of the Electro-Optical extension call all of them `rededge`.
    """
    if common != "rededge" or wavelength_um is None:
        return common
    near = min(
        ("rededge071", "rededge075", "rededge078"), key=lambda n: abs(WAVELENGTH_UM[n] - wavelength_um)
    )
    return near if abs(WAVELENGTH_UM[near] - wavelength_um) <= _KNOWN[near].width_um else common


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
