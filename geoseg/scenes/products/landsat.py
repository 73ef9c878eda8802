"""Landsat 4 to 9, Collection 2, levels 1 and 2: folders and tars.

Facts are those of the USGS guides to Landsat Collection 2 (LSDS-1328, LSDS-1618, LSDS-1619): surface
reflectance of level 2 is number * MULT + ADD; of level 1 that is divided by the sine of the sun's elevation.
Level-2 files hold the keys of level 1 once more, with other numbers, in a group of their own.
"""

import math
import re

from geoseg.config.scene import BandEntry, SceneEntry
from geoseg.core.errors import SceneError
from geoseg.scenes.products.documents import Groups, as_cloud_cover, as_number, parse_mtl
from geoseg.scenes.products.place import Place
from geoseg.scenes.products.quality import pixel_quality

NODATA = 0
REFLECTANCE = (2.75e-5, -0.2)
"""Scale and offset of surface reflectance of level 2, the same in all of Collection 2."""
TEMPERATURE = (0.00341802, 149.0)
"""Those of surface temperature in kelvin."""
_MTL = ("_mtl.json", "_mtl.txt", "_mtl.xml")
"""How the names of metadata files end, the best first."""
_BAND_FILE = re.compile(r"FILE_NAME_BAND_(\d+)")
_FILE = re.compile(
    r"(?P<product>L[COTE]0(?P<satellite>[45789])_(?:L[12]\w\w|CU|AK|HI)_\d{6}_(?P<day>\d{8})_\d{8}_02"
    r"(?:_(?:T[12]|RT))?)_(?P<what>(?:S[RT]_)?B\d+|QA_PIXEL)\.tiff?",
    re.IGNORECASE,
)
"""Files of Collection 2: scenes, and tiles of the United States (CU, AK, HI), which have no *_MTL at all."""
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
    if document is not None and not document.lower().endswith(_MTL):
        return None
    found = [document] if document else [n for n in place.names() if n.lower().endswith(_MTL)]
    if not found:
        return _without_metadata(place)
    ids = {n.rpartition(".")[0].upper() for n in found}
    if len(ids) > 1:
        raise SceneError(f"{place.path}: holds {len(ids)} Landsat products; name the *_MTL.json of one")
    name = min(found, key=lambda n: next(i for i, end in enumerate(_MTL) if n.lower().endswith(end)))
    where = f"{place.path}/{name}"
    data = place.read(name)
    if data is None:
        raise SceneError.absent(f"{where}: no such file")
    return _entry(place, where, parse_mtl(data, name, where))


def _without_metadata(place: Place) -> SceneEntry | None:
    """Return the entry of a folder without metadata: names tell the sensor, and level 2 has fixed scales."""
    files = [found for found in map(_FILE.fullmatch, place.names()) if found]
    by_name = {f["what"].upper(): place.at(f.string) for f in files}
    products = {f["product"].upper() for f in files}
    quality = by_name.pop("QA_PIXEL", None)
    if not by_name:
        return None
    if len(products) > 1:
        raise SceneError(
            f"{place.path}: holds {len(products)} Landsat products; give each a folder of its own"
        )
    satellite, day = files[0]["satellite"], files[0]["day"]
    level = 2 if any(name.startswith("S") for name in by_name) else 1
    scalings = {"SR": REFLECTANCE, "ST": TEMPERATURE}
    bands = {}
    for name, uri in by_name.items():
        scale, offset = scalings.get(name[:2], (None, None))
        common = "lwir" if name == "ST_B6" else None
        bands[name] = BandEntry(uri=uri, scale=scale, offset=offset, common_name=common)
    return SceneEntry(
        bands=bands,
        sensor=f"landsat-{satellite}",
        nodata=NODATA,
        datetime=f"{day[:4]}-{day[4:6]}-{day[6:]}",
        mask=None if quality is None else pixel_quality(quality),
        product=f"landsat-c2-l{level}",
        level="surface" if level == 2 else "toa",
        platform=f"Landsat {satellite}",
    )


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
        nodata=NODATA,
        datetime=f"{day}T{_to_microseconds(time)}" if day and time else None,
        mask=None if quality is None else pixel_quality(place.at(quality)),
        product=f"landsat-c2-l{level}",
        level="surface" if level == 2 else "toa",
        baseline=_group(mtl, f"LEVEL{level}_PROCESSING_RECORD").get("PROCESSING_SOFTWARE_VERSION"),
        platform=image["SPACECRAFT_ID"].replace("_", " ").title(),
        cloud_cover=as_cloud_cover(image.get("CLOUD_COVER")),
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
    told = (as_number(scaling.get(f"TEMPERATURE_{k}_BAND_ST_B{number}")) for k in ("MULT", "ADD"))
    factor, summand = (usual if n is None else n for n, usual in zip(told, TEMPERATURE, strict=True))
    common = "lwir11" if number == "10" else "lwir"
    return {f"ST_B{number}": BandEntry(uri=place.at(file), scale=factor, offset=summand, common_name=common)}


def _group(mtl: Groups, name: str) -> dict[str, str]:
    found = mtl.get(name)
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def _sine_of_elevation(where: str, mtl: Groups) -> float:
    elevation = _number(where, _group(mtl, "IMAGE_ATTRIBUTES"), "SUN_ELEVATION")
    if not 0 < elevation <= 90:
        raise SceneError(
            f"{where}: the sun stands at {elevation:g} degrees, so there is no reflectance by day"
        )
    return math.sin(math.radians(elevation))


def _number(where: str, group: dict[str, str], key: str) -> float:
    number = as_number(group.get(key))
    if number is None:
        raise SceneError(f"{where}: has no number {key}; get the product again")
    return number


def _to_microseconds(time: str) -> str:
    """Return a time with at most six digits after the point, which is what a datetime holds."""
    return re.sub(r"(\.\d{6})\d+", r"\1", time)
