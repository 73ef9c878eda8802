"""Landsat 4 to 9, Collection 2, levels 1 and 2: folders and tars.

Facts are those of the USGS guides to Landsat Collection 2 (LSDS-1328, LSDS-1618, LSDS-1619): surface
reflectance of level 2 is number * MULT + ADD; of level 1 that is divided by the sine of the sun's elevation.
Level-2 files hold the keys of level 1 once more, with other numbers, in a group of their own.
"""

import math
import re

from geoseg.config.scene import BandEntry, SceneEntry
from geoseg.core.errors import SceneError
from geoseg.scenes.products.documents import Groups, parse_mtl
from geoseg.scenes.products.place import Place
from geoseg.scenes.products.quality import pixel_quality

_MTL = re.compile(r".*_MTL\.(json|txt|xml)", re.IGNORECASE)
_ORDER = (".json", ".txt", ".xml")
_BAND_FILE = re.compile(r"FILE_NAME_BAND_(\d+)")
_SATELLITES = {f"LANDSAT_{i}": f"landsat-{i}" for i in (4, 5, 7, 8, 9)}
_BEFORE = "is of Landsat {what}, which was retired; get the same scene of Collection 2 (USGS EarthExplorer)"


def recognise(place: Place, document: str | None) -> SceneEntry | None:
    """Return the entry of the product at a place; None when it is no Landsat product.

    Parameters
    ----------
    place
        The folder.
    document
        The file in it that was named, None when the folder was.

    Raises
    ------
    SceneError
        When its metadata are damaged, or it is older than Collection 2.
    """
    if document is not None:
        found = [document] if _MTL.fullmatch(document) else []
    else:
        found = [n for n in place.names() if _MTL.fullmatch(n)]
    if not found:
        return None
    ids = {n.rpartition("_MTL.")[0] for n in found}
    if len(ids) > 1:
        raise SceneError(f"{place.path}: holds {len(ids)} Landsat products; name the *_MTL.json of one")
    name = min(found, key=lambda n: next(i for i, end in enumerate(_ORDER) if n.lower().endswith(end)))
    where = f"{place.path}/{name}"
    data = place.read(name)
    if data is None:
        raise SceneError(f"{where}: no such file")
    return _entry(place, where, parse_mtl(data, name, where))


def _entry(place: Place, where: str, mtl: Groups) -> SceneEntry:
    contents, image = _group(mtl, "PRODUCT_CONTENTS"), _group(mtl, "IMAGE_ATTRIBUTES")
    if not contents or not image:
        older = "Collection 1" if "PRODUCT_METADATA" in mtl else "no known collection"
        raise SceneError(f"{where}: {_BEFORE.format(what=older)}")
    if contents.get("COLLECTION_NUMBER", "02") != "02":
        raise SceneError(f"{where}: {_BEFORE.format(what='Collection ' + contents['COLLECTION_NUMBER'])}")
    sensor = _SATELLITES.get(image.get("SPACECRAFT_ID", ""))
    if sensor is None or image.get("SENSOR_ID") == "MSS":
        what = f"{image.get('SPACECRAFT_ID')} {image.get('SENSOR_ID')}"
        raise SceneError(f"{where}: is of {what}; geoseg reads TM, ETM+ and OLI of Landsat 4 to 9")
    level = 2 if contents.get("PROCESSING_LEVEL", "").startswith("L2") else 1
    bands = _reflectance(place, where, mtl, level) | (_temperature(place, mtl, sensor) if level == 2 else {})
    quality = contents.get("FILE_NAME_QUALITY_L1_PIXEL")
    day, time = image.get("DATE_ACQUIRED"), image.get("SCENE_CENTER_TIME")
    return SceneEntry(
        bands=bands,
        sensor=sensor,
        nodata=0,
        datetime=f"{day}T{_to_microseconds(time)}" if day and time else None,
        mask=None if quality is None else pixel_quality(place.at(quality)),
        product=f"landsat-c2-l{level}",
        level="surface" if level == 2 else "toa",
        baseline=_group(mtl, f"LEVEL{level}_PROCESSING_RECORD").get("PROCESSING_SOFTWARE_VERSION"),
        platform=image["SPACECRAFT_ID"].replace("_", " ").title(),
        cloud_cover=_cloud_cover(image.get("CLOUD_COVER")),
    )


def _reflectance(place: Place, where: str, mtl: Groups, level: int) -> dict[str, BandEntry]:
    name = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS" if level == 2 else "LEVEL1_RADIOMETRIC_RESCALING"
    scaling, contents = _group(mtl, name), _group(mtl, "PRODUCT_CONTENTS")
    sine = 1.0 if level == 2 else _sine_of_elevation(where, mtl)
    bands = {}
    for key, file in contents.items():
        band = _BAND_FILE.fullmatch(key)
        if band is None or f"REFLECTANCE_MULT_BAND_{band[1]}" not in scaling:
            continue  # a thermal band
        factor, summand = (
            _number(where, scaling, f"REFLECTANCE_{k}_BAND_{band[1]}") for k in ("MULT", "ADD")
        )
        bands[f"B{band[1]}"] = BandEntry(uri=place.at(file), scale=factor / sine, offset=summand / sine)
    if not bands:
        raise SceneError(
            f"{where}: names no band with reflectance (group {name}); a thermal product has none"
        )
    return bands


def _temperature(place: Place, mtl: Groups, sensor: str) -> dict[str, BandEntry]:
    """Return the band of surface temperature in kelvin."""
    number = "10" if sensor in {"landsat-8", "landsat-9"} else "6"
    file = _group(mtl, "PRODUCT_CONTENTS").get(f"FILE_NAME_BAND_ST_B{number}")
    scaling = _group(mtl, "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS")
    if file is None:
        return {}
    factor, summand = (
        float(scaling.get(f"TEMPERATURE_{k}_BAND_ST_B{number}", d))
        for k, d in (("MULT", 0.00341802), ("ADD", 149.0))
    )
    common = "lwir11" if number == "10" else "lwir"
    return {f"ST_B{number}": BandEntry(uri=place.at(file), scale=factor, offset=summand, common_name=common)}


def _group(mtl: Groups, name: str) -> dict[str, str]:
    found = mtl.get(name, {})
    return found if isinstance(found, dict) else {}


def _sine_of_elevation(where: str, mtl: Groups) -> float:
    elevation = _number(where, _group(mtl, "IMAGE_ATTRIBUTES"), "SUN_ELEVATION")
    if not 0 < elevation <= 90:
        raise SceneError(
            f"{where}: the sun stands at {elevation:g} degrees, so there is no reflectance by day"
        )
    return math.sin(math.radians(elevation))


def _number(where: str, group: dict[str, str], key: str) -> float:
    try:
        return float(group[key])
    except (KeyError, ValueError):
        raise SceneError(f"{where}: has no number {key}; get the product again") from None


def _to_microseconds(time: str) -> str:
    """Return a time with at most six digits after the point, which is what a datetime holds."""
    return re.sub(r"(\.\d{6})\d+", r"\1", time)


def _cloud_cover(text: str | None) -> float | None:
    # -1 means that it was not looked at.
    return None if text is None or float(text) < 0 else float(text)
