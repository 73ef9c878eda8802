"""Rasters: GeoTIFFs and virtual rasters with strange headers, and damaged files."""

import math
import struct
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from affine import Affine
from hypothesis import reject
from hypothesis import strategies as st
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from tests.conftest import BAND_NAMES, reflectance
from tests.fuzz.commands import command
from tests.fuzz.values import DAMAGES, Damage, damaged
from tests.fuzz.world import World

_NUMBERS = st.sampled_from(
    [
        0.0,
        1.0,
        0.0001,
        10.0,
        -10.0,
        255.0,
        65_535.0,
        -9999.0,
        1e-300,
        1e-12,
        1e12,
        1e30,
        1e300,
        1.7e308,
        math.nan,
        math.inf,
        -math.inf,
    ]
)
_CRS = (
    "EPSG:32633", "EPSG:4326", "EPSG:3857", "EPSG:4978", "EPSG:3995", "EPSG:2056", "EPSG:7415", "EPSG:27700",
    "+proj=geos +h=35785831 +lon_0=0 +a=6378169 +b=6356583.8", "+proj=ortho +lat_0=90",
    "+proj=longlat +a=3396190 +b=3376200",
    "+proj=utm +zone=33 +units=us-ft",
    "+proj=ob_tran +o_proj=longlat +o_lat_p=30 +lon_0=5 +to_meter=0.0174532925199433",
    'LOCAL_CS["site",UNIT["metre",1]]', None,
)  # fmt: skip
_TRANSFORMS = (
    (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_500_000.0), (0.0001, 0.0, 15.0, 0.0, -0.0001, 40.0), (0.1, 0.0,
    179.9, 0.0, -0.1, 89.0),
    (5.0, 0.0, -180.0, 0.0, -2.25, 90.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (10.0, 0.0, 0.0, 0.0, 10.0, 0.0),
    (10.0, 1e-9, 0.0, 1e-9, -10.0, 0.0), (10.0, 3.0, 0.0, 3.0, -10.0, 0.0), (0.0, 10.0, 0.0, 10.0, 0.0, 0.0),
    (1e-300, 0.0, 0.0, 0.0, -1e-300, 0.0), (1e300, 0.0, 0.0, 0.0, -1e300, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0,
    0.0),
    (math.nan, 0.0, 0.0, 0.0, -10.0, 0.0), (10.0, 0.0, math.inf, 0.0, -10.0, 0.0), (1e5, 0.0, -2e7, 0.0,
    -1e5, 2e7),
    (5_000.0, 0.0, -5_500_000.0, 0.0, -5_000.0, 5_500_000.0), (-10.0, 0.0, 500_000.0, 0.0, -10.0,
    4_500_000.0),
)  # fmt: skip


@dataclass(frozen=True)
class Raster:
    """A raster file."""

    dtype: str = "uint16"
    shape: tuple[int, int, int] = (4, 80, 72)
    names: tuple[str, ...] = BAND_NAMES
    transform: tuple[float, ...] = _TRANSFORMS[0]
    crs: str | None = "EPSG:32633"
    nodata: float | None = None
    scales: tuple[float, ...] = (0.0001,)
    offsets: tuple[float, ...] = (0.0,)
    colors: tuple[str, ...] = ()
    mask: str = ""
    """A mask inside or outside of the file."""
    fill: float | None = None
    """Value of a part of the pixels."""
    options: tuple[tuple[str, Any], ...] = ()
    tags: tuple[tuple[int, int, int, int], ...] = ()
    """Entries of the TIFF directory: their number, and type, count and value that are written there."""
    damage: Damage = ()
    text: str | None = None
    """Content of a virtual raster over the file, see `_vrt`."""
    run: bool = False


def _several(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, min_size=1, max_size=4).map(tuple)


_HEADERS = st.builds(
    Raster,
    dtype=st.sampled_from(["uint16", "uint8", "int8", "int16", "int32", "uint32", "int64", "uint64",
    "float32", "float64", "complex64"]),
    shape=st.tuples(st.integers(1, 6), st.sampled_from([1, 2, 33, 80, 700]), st.sampled_from([1, 3, 72,
    130])),
    names=_several(st.sampled_from([*BAND_NAMES, "", "nir", "B8A", "B04", "SCL", "QA_PIXEL", "a\x1b[2Jb",
    "</x>", "n" * 3000, "é"])),
    transform=st.sampled_from(_TRANSFORMS),
    crs=st.sampled_from(_CRS),
    nodata=st.one_of(st.none(), _NUMBERS),
    scales=_several(st.one_of(st.just(0.0001), _NUMBERS)),
    offsets=_several(st.one_of(st.just(0.0), _NUMBERS)),
    colors=st.lists(st.sampled_from(["undefined", "gray", "palette", "red", "alpha", "hue", "black"]),
    max_size=6).map(tuple),
    mask=st.sampled_from(["", "", "inside", "beside"]),
    fill=st.one_of(st.none(), _NUMBERS),
    options=st.sampled_from(
        [
            (), (("tiled", True), ("blockxsize", 16), ("blockysize", 16)), (("compress", "deflate"),),
            (("compress", "lzw"),),
            (("interleave", "pixel"),), (("nbits", 12),), (("SPARSE_OK", True),), (("BIGTIFF", "YES"),),
            (("ENDIANNESS", "BIG"),),
            (("photometric", "CIELAB"),), (("photometric", "MINISWHITE"),), (("driver", "PNG"),),
            (("driver", "ENVI"),),
            (("driver", "HFA"),), (("driver", "COG"),),
        ]
    ),
    run=st.booleans(),
)  # fmt: skip
_TAGS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 20), st.sampled_from([0, 1, 2, 4, 2**16, 2**31,
    2**32 - 1]), st.sampled_from([0, 1, 2, 3, 4, 5, 8, 72, 2**16, 2**31, 2**32 - 1])),
    min_size=1,
    max_size=3,
).map(tuple)  # fmt: skip
_PARTS = (
    'rasterXSize="72"', "<GeoTransform>", "500000, 10, 0", "EPSG:32633", 'dataType="UInt16"',
    "<Scale>0.0001</Scale>", "<Description>nir",
    "<SourceBand>4</SourceBand>", '<SourceFilename relativeToVRT="1">under.tif', 'xSize="72"',
    'ySize="80"', "<SimpleSource>",
    "</VRTRasterBand>", "</VRTDataset>", 'relativeToVRT="1"', 'band="2"',
)  # fmt: skip
_NEW = (
    "", "<", "&lt;", "&x;", "<x/>", 'rasterXSize="2147483647"', 'rasterXSize="0"', 'rasterXSize="-1"',
    "nan, inf, 0", "EPSG:4978", "GARBAGE",
    'dataType="CFloat64"', 'dataType="Nonsense"', "<Scale>nan</Scale>", "<Scale>1e999</Scale>",
    "<Offset>inf</Offset>", "<SourceBand>0</SourceBand>",
    "<SourceBand>99</SourceBand>", "<SourceBand>mask</SourceBand>",
    '<SourceFilename relativeToVRT="1">case.vrt', "<SourceFilename>missing.tif",
    "<SourceFilename>/dev/zero", "<SourceFilename>pipe", "<NoDataValue>nan</NoDataValue>",
    "<NoDataValue>x</NoDataValue>", "<ColorInterp>Alpha</ColorInterp>",
    "<ColorInterp>Palette</ColorInterp><ColorTable/>",
    "<MaskBand><VRTRasterBand dataType='Byte'/></MaskBand>", "<GCPList/>", "<HideNoDataValue>1",
    "<ComplexSource><LUT>0:0,1:nan</LUT>", 'xSize="1e300"', 'xSize="-5"',
    "<Metadata><MDI key='AREA_OR_POINT'>Point</MDI></Metadata>",
    "<!DOCTYPE x [<!ENTITY x 'xx'>]>", '<VRTRasterBand subClass="VRTRawRasterBand">',
    '<VRTRasterBand subClass="VRTDerivedRasterBand"><PixelFunctionType>expression</PixelFunctionType>',
)  # fmt: skip


def _vrt() -> str:
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{i}"><Description>{escape(name)}</Description>'
        "<Scale>0.0001</Scale><SimpleSource>"
        f'<SourceFilename relativeToVRT="1">under.tif</SourceFilename><SourceBand>{i}</SourceBand>'
        '<SrcRect xOff="0" yOff="0" xSize="72" ySize="80"/><DstRect xOff="0" yOff="0" xSize="72" ySize="80"/>'
        "</SimpleSource></VRTRasterBand>"
        for i, name in enumerate(BAND_NAMES, start=1)
    )
    return (
        '<VRTDataset rasterXSize="72" rasterYSize="80"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>500000, 10, 0, 4500000, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )


@st.composite
def _virtual(draw: st.DrawFn) -> Raster:
    text = _vrt()
    for _ in range(draw(st.integers(1, 3))):
        old, new = draw(st.sampled_from(_PARTS)), draw(st.sampled_from(_NEW))
        text = text.replace(
            old, draw(st.sampled_from([new, old + new, new + old])), draw(st.sampled_from([-1, 1]))
        )
    return Raster(text=text, run=draw(st.booleans()))


_VALID = st.sampled_from(
    [
        Raster(),
        Raster(options=(("compress", "deflate"), ("tiled", True), ("blockxsize", 16), ("blockysize", 16))),
    ]
)
CASES = st.one_of(
    _HEADERS,
    _virtual(),
    st.builds(lambda r, tags, run: replace(r, tags=tags, run=run), _VALID, _TAGS, st.booleans()),
    st.builds(lambda r, damage, run: replace(r, damage=damage, run=run), _VALID, DAMAGES, st.booleans()),
    st.builds(lambda r, damage: replace(r, damage=damage), _virtual(), DAMAGES),
)
EXAMPLES: tuple[Raster, ...] = (
    Raster(run=True),
    Raster(text=_vrt()),
    # GDAL warned on stderr, and quoted what is no UTF-8.
    Raster(tags=((4, 0, 2**31, 1),)),
    Raster(text=_vrt(), damage=(("flip", 0.85, b"\xfc\x15\x85"),)),
)


def check(world: World, case: Raster) -> None:
    """Look at the raster, write a pipeline for it, plan and make a map of it, compare a map with it."""
    file = write(case)
    words = ["run", "base.yaml", "--set", f"scene={file}"]
    command(world, "inspect", file)
    command(world, "init", file, "--model", "toy", "--output", "new.yaml", may_leave=["new.yaml"])
    planned = command(world, *words, "--dry-run")
    if not case.run:
        command(world, "evaluate", "--map", file, "--reference", "labels.tif", "--legend", "toy")
        command(world, "evaluate", "--map", "labels.tif", "--reference", file, "--legend", "landcover-6")
    elif planned.exit_code == 0:
        finished = command(world, *words, "-q", may_leave=["out"])
        if finished.exit_code == 0:
            report = command(world, "validate", "out")
            assert report.exit_code == 0, report.stdout


def write(case: Raster) -> str:
    """Write the raster, and what lies under it; return the name of the file."""
    options = dict(case.options)
    driver = options.pop("driver", "GTiff")
    file = Path({"PNG": "case.png", "ENVI": "case.img", "HFA": "case.img"}.get(driver, "case.tif"))
    bands, rows, cols = case.shape
    kind = np.dtype(case.dtype)
    with np.errstate(all="ignore"):
        values = reflectance(rows, cols, bands=bands).astype(kind)
        if case.fill is not None:
            values[:, : rows // 2 + 1] = np.array(case.fill).astype(kind)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=case.mask == "inside"),
            rasterio.open(
                file, "w", driver=driver, count=bands, height=rows, width=cols, dtype=kind, crs=case.crs,
                transform=Affine(*case.transform), nodata=case.nodata, **options,
            ) as dst,
        ):  # fmt: skip
            dst.write(values)
            if driver == "GTiff":
                dst.descriptions = (case.names * bands)[:bands]
                dst.scales, dst.offsets = (case.scales * bands)[:bands], (case.offsets * bands)[:bands]
                if case.colors:
                    dst.colorinterp = [ColorInterp[c] for c in (case.colors * bands)[:bands]]
                if case.mask:
                    dst.write_mask(np.indices((rows, cols)).sum(0) % 3 > 0)
    except (RasterioError, CPLE_BaseError, ValueError, TypeError, OverflowError, AttributeError):
        reject()  # a file that cannot be written
    if case.text is not None:
        file = file.rename("under.tif")
        file = Path("case.vrt")
        file.write_text(case.text)
    data = file.read_bytes()
    data = damaged(with_tags(data, case.tags), case.damage)
    file.write_bytes(data)
    return str(file)


def with_tags(data: bytes, tags: tuple[tuple[int, int, int, int], ...]) -> bytes:
    """Return a TIFF file with other entries in its first directory."""
    if not tags:
        return data
    start = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[start : start + 2])[0]
    changed = bytearray(data)
    for number, kind, length, value in tags:
        place = start + 2 + 12 * (number % count)
        struct.pack_into("<HII", changed, place + 2, kind, length, value)
    return bytes(changed)
