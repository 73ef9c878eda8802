"""Small products in the layout of their makers: random numbers, and metadata with what readers look at."""

import json
import tarfile
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from affine import Affine

from geoseg.config.scene import SceneEntry
from geoseg.core.geometry import Window
from geoseg.scenes.opening import open_scene
from tests.conftest import write_raster

UTM = "EPSG:32618"
ORIGIN = (500_000.0, 4_200_000.0)
SIDE_M = 1200


def numbers(seed, gsd, *, bands=None, low=0, high=12_000, dtype="uint16"):
    """Return numbers of the ground that all products here show, (rows, cols) or (bands, rows, cols)."""
    side = SIDE_M // gsd
    shape = (side, side) if bands is None else (bands, side, side)
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def write_jp2(path, values, gsd):
    """Write (rows, cols) or (bands, rows, cols) as lossless JPEG 2000."""
    planes = values if values.ndim == 3 else values[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", count=len(planes), height=planes.shape[1], width=planes.shape[2],
        dtype=planes.dtype, crs=UTM, transform=Affine(gsd, 0, ORIGIN[0], 0, -gsd, ORIGIN[1]),
        QUALITY=100, REVERSIBLE="YES",
    ) as dst:  # fmt: skip
        dst.write(planes)


def write_tif(path, values, gsd, **options):
    """Write (rows, cols) or (bands, rows, cols) as a GeoTIFF on the ground of all products here."""
    return write_raster(path, values, gsd=gsd, origin=ORIGIN, crs=UTM, **options)


# Sentinel-2

SAFE = "S2A_MSIL{level}_20240601T155901_N{baseline}_R097_T18SVG_20240601T222222.SAFE"
IDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
CENTRES_NM = (442.7, 492.7, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 945.1, 1373.5, 1613.7, 2202.4)
GSDS = {
    "2A": {"B01": (20, 60), "B02": (10, 20), "B03": (10,), "B04": (10,), "B08": (10,), "B8A": (20,),
           "B09": (60,), "B11": (20,), "B12": (20,), "SCL": (20, 60), "TCI": (10,), "AOT": (10,)},
    "1C": {"B01": (60,), "B02": (10,), "B8A": (20,), "B10": (60,), "B11": (20,), "TCI": (10,)},
}  # fmt: skip
"""The images that are made, and their ground sample distances."""


def write_safe(root, level="2A", baseline="05.10", *, offset=-1000, change=None):
    """Write a SAFE folder.

    Returns
    -------
    path, numbers
        The folder, and the numbers of each band at its finest resolution.
    """
    path = Path(root) / SAFE.format(level=level, baseline=baseline.replace(".", ""))
    granule = f"GRANULE/L{level}_T18SVG_A046712_20240601T160530"
    found, files = {}, []
    for band, gsds in GSDS[level].items():
        for gsd in gsds:
            folder, end = (f"R{gsd}m/", f"_{gsd}m") if level == "2A" else ("", "")
            files.append(f"{granule}/IMG_DATA/{folder}T18SVG_20240601T155901_{band}{end}")
            if band in {"TCI", "AOT"}:
                continue  # listed, and never to be opened
            values = numbers(IDS.index(band) * 100 + gsd if band in IDS else gsd, gsd)
            if band == "SCL":
                values = numbers(gsd, gsd, high=12, dtype="uint8")
            elif gsd == gsds[0]:
                values[0, :3] = 0, 65535, 1
            write_jp2(path / f"{files[-1]}.jp2", values, gsd)
            found.setdefault(band, values)
    if level == "1C" and baseline >= "04":
        clouds = numbers(7, 60, bands=3, high=2, dtype="uint8")
        write_jp2(path / granule / "QI_DATA/MSK_CLASSI_B00.jp2", clouds, 60)
        found["clouds"] = clouds
    xml = safe_metadata(level, baseline, files, offset if baseline >= "04" else None)
    (path / f"MTD_MSIL{level}.xml").write_text(xml if change is None else change(xml))
    (path / "manifest.safe").write_text("<xfdu/>")
    return path, found


def safe_metadata(level, baseline, files, offset):
    root = ET.Element(f"{{https://psd.sentinel2/Level-{level}}}Level-{level}_User_Product")
    general = ET.SubElement(root, "General_Info")
    info = ET.SubElement(general, "Product_Info")
    add(info, PRODUCT_START_TIME="2024-06-01T15:59:01.024Z", PROCESSING_BASELINE=baseline)
    add(ET.SubElement(info, "Datatake"), SPACECRAFT_NAME="Sentinel-2A")
    for file in files:
        add(ET.SubElement(info, "Granule"), IMAGE_FILE=file)
    image = ET.SubElement(general, "Product_Image_Characteristics")
    for name, value in (("NODATA", 0), ("SATURATED", 65535)):
        add(ET.SubElement(image, "Special_Values"), SPECIAL_VALUE_TEXT=name, SPECIAL_VALUE_INDEX=value)
    surface = level == "2A"
    add(image, **{"BOA_QUANTIFICATION_VALUE" if surface else "QUANTIFICATION_VALUE": 10000})
    if surface:
        add(image, AOT_QUANTIFICATION_VALUE=1000.0)
    for ident, centre in enumerate(CENTRES_NM):
        if offset is not None:
            tag = "BOA_ADD_OFFSET" if surface else "RADIO_ADD_OFFSET"
            ET.SubElement(image, tag, band_id=str(ident)).text = str(offset)
        spectrum = ET.SubElement(image, "Spectral_Information", bandId=str(ident))
        add(ET.SubElement(spectrum, "Wavelength"), MIN=centre - 10, MAX=centre + 10, CENTRAL=centre)
    add(ET.SubElement(root, "Quality_Indicators_Info"), Cloud_Coverage_Assessment=12.5)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def add(element, **texts):
    for tag, text in texts.items():
        ET.SubElement(element, tag).text = str(text)


# Landsat

LANDSAT = {
    "8": "LC08_L{level}_021039_20240602_20240611_02_T1",
    "5": "LT05_L{level}_021039_19950602_20200911_02_T1",
}
SUN_ELEVATION = 66.1


def write_landsat(root, level=2, satellite="8", *, kinds=("json", "txt", "xml"), change=None):
    """Write a product of Landsat, Collection 2; return the folder and its numbers by file name."""
    product = LANDSAT[satellite].format(level="2SP" if level == 2 else "1TP")
    path, found = Path(root) / product, {}
    bands = ("B1", "B2", "B3", "B4", "B5", "B7") if satellite == "5" else tuple(f"B{i}" for i in range(1, 8))
    thermal = "B6" if satellite == "5" else "B10"
    stems = [f"SR_{b}" for b in bands] + [f"ST_{thermal}"] if level == 2 else [*bands, thermal]
    for seed, stem in enumerate([*stems, "QA_PIXEL"]):
        values = numbers(seed, 30, low=7_000, high=40_000)
        values[0, 0] = 0
        if stem == "QA_PIXEL":
            values = numbers(seed, 30, high=256)
        write_tif(path / f"{product}_{stem}.TIF", values, 30)
        found[stem] = values
    mtl = landsat_metadata(product, level, satellite, stems)
    if change is not None:
        change(mtl)
    for kind in kinds:
        (path / f"{product}_MTL.{kind}").write_text(WRITE_MTL[kind](mtl))
    return path, found


def landsat_metadata(product, level, satellite, stems):
    contents = {
        "LANDSAT_PRODUCT_ID": product, "PROCESSING_LEVEL": "L2SP" if level == 2 else "L1TP",
        "COLLECTION_NUMBER": "02", "FILE_NAME_QUALITY_L1_PIXEL": f"{product}_QA_PIXEL.TIF",
    }  # fmt: skip
    toa = {}
    for stem in stems:
        number = stem.rpartition("B")[2]
        key = f"ST_B{number}" if stem.startswith("ST") else number
        contents[f"FILE_NAME_BAND_{key}"] = f"{product}_{stem}.TIF"
        if number not in {"6", "10"} or (number, satellite) == ("6", "8"):
            toa |= {
                f"REFLECTANCE_MULT_BAND_{number}": "2.0000E-05",
                f"REFLECTANCE_ADD_BAND_{number}": "-0.100000",
            }
        else:
            toa |= {f"RADIANCE_MULT_BAND_{number}": "3.3420E-04", f"RADIANCE_ADD_BAND_{number}": "0.10000"}
    thermal = "10" if satellite == "8" else "6"
    surface = {k: "2.75e-05" if "MULT" in k else "-0.2" for k in toa if "REFLECTANCE" in k}
    mtl = {
        "PRODUCT_CONTENTS": contents,
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": f"LANDSAT_{satellite}", "SENSOR_ID": "OLI_TIRS" if satellite == "8" else "TM",
            "DATE_ACQUIRED": "2024-06-02", "SCENE_CENTER_TIME": "16:04:05.1234567Z", "CLOUD_COVER": "21.07",
            "SUN_ELEVATION": str(SUN_ELEVATION),
        },
        f"LEVEL{level}_PROCESSING_RECORD": {"PROCESSING_SOFTWARE_VERSION": "LPGS_16.4.0"},
        "LEVEL1_RADIOMETRIC_RESCALING": toa,
    }  # fmt: skip
    if level == 2:
        mtl["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = surface
        mtl["LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"] = {
            f"TEMPERATURE_MULT_BAND_ST_B{thermal}": "0.00341802",
            f"TEMPERATURE_ADD_BAND_ST_B{thermal}": "149.0",
        }
    return mtl


def as_odl(mtl):
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for group, keys in mtl.items():
        lines += [
            f"  GROUP = {group}",
            *(f'    {k} = "{v}"' for k, v in keys.items()),
            f"  END_GROUP = {group}",
        ]
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END"])


def as_xml(mtl):
    root = ET.Element("LANDSAT_METADATA_FILE")
    for group, keys in mtl.items():
        add(ET.SubElement(root, group), **keys)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


WRITE_MTL = {"json": lambda mtl: json.dumps({"LANDSAT_METADATA_FILE": mtl}), "txt": as_odl, "xml": as_xml}


# HLS, PlanetScope, NAIP


def write_hls(root, kind="S30", *, version=".v2.0", bands=("B02", "B8A", "B11")):
    """Write a granule; return the folder and the numbers by band."""
    granule = f"HLS.{kind}.T18SVG.2024153T155901{version}"
    path, found = Path(root) / granule, {}
    for seed, band in enumerate((*bands, "SZA", "Fmask")):
        values = numbers(seed, 30, low=-50, dtype="int16")
        values[0, 0] = -9999
        if band == "Fmask":
            values = numbers(seed, 30, high=256, dtype="uint8")
            values[0, :2] = 255, 0
        write_tif(path / f"{granule}.{band}.tif", values, 30, nodata=255 if band == "Fmask" else -9999)
        found[band] = values
    return path, found


STRIP = "20240601_155901_27_2465"


def write_planet(folder, bands=8, *, name=None, strip=STRIP):
    """Write an image with its mask and metadata; return the image's numbers and the mask's."""
    path = Path(folder)
    name = name or f"{strip}_3B_AnalyticMS_SR{'_8b' if bands == 8 else ''}_clip.tif"
    image, mask = numbers(1, 30, bands=bands), numbers(2, 30, bands=8, high=2, dtype="uint8")
    image[:, 0, 0] = 0
    write_tif(path / name, image, 30)
    write_tif(path / f"{strip}_3B_udm2_clip.tif", mask, 30)
    facts = {"acquired": "2024-06-01T15:59:01.270Z", "instrument": "PSB.SD", "cloud_cover": 0.12}
    (path / f"{strip}_metadata.json").write_text(json.dumps({"id": strip, "properties": facts}))
    return image, mask


# STAC


def item(assets, *, version="1.0.0", collection="sentinel-2-l2a", ident="S2A_18SVG", **properties):
    """Return a STAC item."""
    facts = {"datetime": "2024-06-01T15:59:01.024Z", "platform": "sentinel-2a", "constellation": "sentinel-2"}
    return {
        "type": "Feature", "stac_version": version, "id": ident, "collection": collection,
        "properties": {**facts, "eo:cloud_cover": 12.5, **properties}, "geometry": None, "links": [],
        "assets": assets,
    }  # fmt: skip


def asset(href, name=None, common=None, centre=None, *, scale=None, offset=None, nodata=None, **fields):
    """Return an asset with a GeoTIFF, in the fields of version 1.0."""
    band = {"name": name, "common_name": common, "center_wavelength": centre}
    raster = {"scale": scale, "offset": offset, "nodata": nodata}
    given = {
        "eo:bands": [{k: v for k, v in band.items() if v is not None}],
        "raster:bands": [{k: v for k, v in raster.items() if v is not None}],
    }
    kind = "image/jp2" if href.endswith("jp2") else "image/tiff; application=geotiff; profile=cloud-optimized"
    return {"href": href, "type": kind, **{k: v for k, v in given.items() if v != [{}]}, **fields}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def item_10(**properties):
    scaled = {"scale": 0.0001, "offset": -0.1, "nodata": 0}
    return item(
        {
            "red": asset("./cogs/B04.tif", "red", "red", 0.6646, gsd=10, **scaled),
            "swir16": asset("cogs/B11.tif", "swir16", "swir16", 1.6137, gsd=20, **scaled),
            "scl": asset("./cogs/SCL.tif", roles=["data"]),
            "aot": asset("./cogs/AOT.tif", scale=0.001),
            "visual": asset("./cogs/TCI.tif", "red", "red", roles=["visual"]),
            "thumbnail": {"href": "./t.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
            "granule_metadata": {"href": "./m.xml", "type": "application/xml", "roles": ["metadata"]},
        },
        **{"s2:processing_baseline": "05.10", **properties},
    )


def item_11():
    def one(file, name, common, centre, gsd):
        return {
            "href": f"./cogs/{file}.tif",
            "type": "image/tiff; application=geotiff",
            "roles": ["data"],
            "nodata": 0,
            "data_type": "uint16",
            "raster:scale": 0.0001,
            "raster:offset": -0.1,
            "raster:spatial_resolution": gsd,
            "bands": [{"name": name, "eo:common_name": common, "eo:center_wavelength": centre}],
        }

    assets = {
        "B04_10m": one("B04", "B04", "red", 0.6646, 10),
        "B11_20m": one("B11", "B11", "swir16", 1.6137, 20),
        "SCL_20m": {"href": "./cogs/SCL.tif", "type": "image/tiff", "bands": [{"nodata": 0}]},
        "AOT_10m": {"href": "./cogs/AOT.tif", "type": "image/tiff", "bands": [{"data_type": "uint16"}]},
    }
    return item(assets, version="1.1.0", **{"processing:version": "05.10", "processing:level": "L2A"})


def item_pc(baseline="05.10"):
    """An item as the Planetary Computer has it: designations, no scale."""
    assets = {
        "B04": asset("./cogs/B04.tif", "B04", "red", 0.665, gsd=10),
        "B11": asset("./cogs/B11.tif", "B11", "swir16", 1.610, gsd=20),
        "SCL": asset("./cogs/SCL.tif"),
        "AOT": asset("./cogs/AOT.tif"),
        "visual": asset("./cogs/TCI.tif", "B04", "red", roles=["data"]),
        "preview": asset("./p.tif", roles=["thumbnail"]),
    }
    return item(assets, **{"s2:processing_baseline": baseline})


# Forms of one product, and what is in it


def zipped(folder, file, *, inside=True, more=()):
    """Write a folder as a zip, with its own name inside or without; `more` names further files."""
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder.parent if inside else folder))
        for name in more:
            archive.writestr(name, "more")
    return file


def tarred(folder, file, prefix=""):
    """Write the files of a folder as a tar."""
    with tarfile.open(file, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, f"{prefix}{path.name}")
    return file


def opened(uri, *bands, **keys):
    """Open some bands of a product by its path."""
    return open_scene(SceneEntry(uri=str(uri), **keys), "toy", Path(), bands or None)


def physical(uri, *bands, **keys):
    """Return the physical numbers of bands, (bands, rows, cols), and where they are valid, (rows, cols)."""
    scene = opened(uri, *bands, **keys)
    pixels = scene.read(Window.of(0, 0, *scene.shape))
    return scene.physical(pixels), pixels.valid


def of_numbers(values, scale, offset=0.0):
    """Return what numbers mean, as float32."""
    return values.astype(np.float32) * np.float32(scale) + np.float32(offset)


def finer(values, factor):
    """Return (rows, cols) with each pixel `factor` times as often along each side."""
    return values.repeat(factor, 0).repeat(factor, 1)
