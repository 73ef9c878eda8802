"""Cloud-optimised GeoTIFFs from finished blocks.

A VRT mosaics the blocks, and GDAL's COG driver copies from it, internal tile by internal tile: memory does
not grow with the map.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError  # errors of rasterio.shutil.copy reach Python as these
from rasterio.errors import RasterioError

from geoseg.core.errors import one_line
from geoseg.core.files import as_output_error, unusable_place
from geoseg.core.geometry import Window
from geoseg.core.legend import NODATA, Legend
from geoseg.raster.overviews import write_overviews
from geoseg.raster.staging import Staging
from geoseg.tiling.blocks import Block

_GDAL_TYPES = {"uint8": "Byte", "float32": "Float32"}

TILE = 512
"""Side of the internal tiles of a map in pixels; a map of one tile has no overview."""


@dataclass(frozen=True)
class MapBand:
    """One band of a map, taken from a band of the staged blocks."""

    staged: int
    """Band of the blocks, from 1."""
    description: str
    legend: Legend | None = None
    """Class names and colours of a class band (uint8). Without a legend, the staged per cent become a share
    from 0 to 1 (float32), which GIS and scripts read without knowing a scale."""
    counts: bool = False
    """Whether it holds numbers of things (uint8), 0 as nodata, and neither classes nor shares."""
    whole: Path | None = None
    """A raster of the whole map beside the blocks, from which the band is taken instead."""
    flags: bool = False
    """Whether it holds 1 where something is and 0 where it is not (uint8), 255 as nodata."""
    unit: str | None = None
    """Unit of numbers (float32, NaN as nodata) that are staged as they are."""

    @property
    def shares(self) -> bool:
        """Whether the staged per cent become a share."""
        return self.legend is None and not self.counts and not self.flags and self.unit is None

    @property
    def dtype(self) -> str:
        """Type of the band, as GDAL names it."""
        return "Float32" if self.shares or self.unit is not None else "Byte"

    @property
    def nodata(self) -> str:
        """Number of pixels without data."""
        return "nan" if self.unit is not None else str(0 if self.counts else NODATA)


def write_cog(
    path: Path,
    staging: Staging,
    blocks: Iterable[Block],
    shape: tuple[int, int],
    bands: list[MapBand],
    overviews: Literal["MODE", "AVERAGE", "NEAREST"],
    tags: dict[str, str],
) -> None:
    """Write a cloud-optimised GeoTIFF; it appears by rename.

    Parameters
    ----------
    path
        The file to make.
    staging, blocks
        The finished blocks, which cover the map.
    shape
        Height and width of the map.
    bands
        Bands of the map.
    overviews
        Resampling of the overviews: mode for classes, average for shares, nearest for counts.
    tags
        Metadata of the file.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    vrt = staging.folder / f"{path.stem}.vrt"
    write_vrt(vrt, staging, blocks, shape, bands, tags)
    try:
        if overviews == "MODE" and len(bands) == 1:
            with gdal_as_output_error(path):
                made = write_overviews(vrt, TILE)
            _add_overviews(vrt, made)
        copy_cog(vrt, path, overviews, floating=all(b.unit is not None for b in bands))
    finally:
        for leftover in vrt.parent.glob(f"{vrt.stem}.*.tif"):
            leftover.unlink()


def write_vrt(
    path: Path,
    staging: Staging,
    blocks: Iterable[Block],
    shape: tuple[int, int],
    bands: list[MapBand],
    tags: dict[str, str],
) -> None:
    """Write a GDAL VRT in the staging folder that mosaics finished blocks; parameters as in `write_cog`.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with as_output_error(path):
        path.write_bytes(ET.tostring(_vrt(staging, blocks, shape, bands, tags)))


def describe(raster: Path, names: list[str], tags: dict[str, str]) -> None:
    """Write the names of bands and the metadata of a file into a raster.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with gdal_as_output_error(raster), rasterio.open(raster, "r+") as dst:
        dst.descriptions = names
        dst.update_tags(**tags)


def copy_cog(
    source: Path, path: Path, overviews: Literal["MODE", "AVERAGE", "NEAREST"], *, floating: bool = False
) -> None:
    """Copy a raster to a cloud-optimised GeoTIFF; it appears by rename.

    Parameters
    ----------
    source
        The raster. Temporary files lie beside it.
    path
        The file to make.
    overviews
        Resampling of the overviews: mode for classes, average for numbers, nearest for ids.
    floating
        Whether all pixels are measurements, which are predicted before they are compressed, and whose
        statistics are stored.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    options = {"predictor": "FLOATING_POINT", "statistics": "YES"} if floating else {}
    temporary = source.with_name(f".{path.name}.tmp.tif")
    try:
        with gdal_as_output_error(path):
            rasterio.shutil.copy(
                str(source), str(temporary), driver="COG", compress="DEFLATE", blocksize=TILE,
                bigtiff="IF_SAFER", overview_resampling=overviews, overview_compress="DEFLATE",
                num_threads="ALL_CPUS", **options,
            )  # fmt: skip
        with as_output_error(path), temporary.open("rb") as written:
            os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        # GDAL leaves temporary files beside this one when it fails.
        for leftover in source.parent.glob(f"{temporary.name}*"):
            leftover.unlink(missing_ok=True)


def highest_value(path: Path) -> int:
    """Return the highest value in the first band of a raster of whole numbers, window by window."""
    with rasterio.open(path) as src:
        return max(int(src.read(1, window=window).max()) for _, window in src.block_windows(1))


@contextlib.contextmanager
def gdal_as_output_error(path: Path) -> Iterator[None]:
    """Turn errors of GDAL into an `OutputError` that says in one line why a file cannot be written."""
    messages: list[str] = []
    try:
        with _libtiff_messages(messages), rasterio.Env(GDAL_NUM_THREADS=str(os.cpu_count() or 1)):
            yield
    except (RasterioError, CPLE_BaseError) as error:
        reason = messages[0] if messages else one_line(error.__cause__ or error)
        raise unusable_place(path, reason) from error


@contextlib.contextmanager
def _libtiff_messages(messages: list[str]) -> Iterator[None]:
    """Collect the messages that libtiff prints to standard error when a write fails: only they say why."""
    keep = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(keep, 2)
            os.close(keep)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                function, _, message = line.partition(":")
                if function == "_tiffWriteProc":
                    messages.append(message.strip(" ."))
                else:
                    os.write(2, f"{line}\n".encode())


def _vrt(
    staging: Staging,
    blocks: Iterable[Block],
    shape: tuple[int, int],
    bands: list[MapBand],
    tags: dict[str, str],
) -> ET.Element:
    """Describe the map as a GDAL VRT (gdal.org/drivers/raster/vrt.html)."""
    root = ET.Element("VRTDataset", rasterXSize=str(shape[1]), rasterYSize=str(shape[0]))
    if staging.crs is not None:
        ET.SubElement(root, "SRS").text = staging.crs
    a, b, c, d, e, f = staging.transform
    ET.SubElement(root, "GeoTransform").text = ", ".join(repr(float(v)) for v in (c, a, b, f, d, e))
    metadata = ET.SubElement(root, "Metadata")
    for key, value in tags.items():
        ET.SubElement(metadata, "MDI", key=key).text = value
    elements = [_vrt_band(root, i, band) for i, band in enumerate(bands, start=1)]
    for element, band in zip(elements, bands, strict=True):
        if band.whole is not None:
            _vrt_source(element, band.whole.name, band, Window.of(0, 0, *shape), side=TILE)
    for block in blocks:
        for element, band in zip(elements, bands, strict=True):
            if band.whole is None:
                _vrt_source(element, Path(staging.path(block)).name, band, block.core, staging.dtype)
    return root


def _add_overviews(vrt: Path, overviews: Iterable[Path]) -> None:
    """Add overviews to the only band of a VRT; GDAL takes them instead of making its own."""
    root = ET.fromstring(vrt.read_bytes())  # noqa: S314 (written above)
    (band,) = root.iter("VRTRasterBand")
    for path in overviews:
        overview = ET.SubElement(band, "Overview")
        ET.SubElement(overview, "SourceFilename", relativeToVRT="1").text = path.name
        ET.SubElement(overview, "SourceBand").text = "1"
    vrt.write_bytes(ET.tostring(root))


def _vrt_band(root: ET.Element, number: int, band: MapBand) -> ET.Element:
    element = ET.SubElement(root, "VRTRasterBand", dataType=band.dtype, band=str(number))
    ET.SubElement(element, "Description").text = band.description
    ET.SubElement(element, "NoDataValue").text = band.nodata
    if band.unit:
        ET.SubElement(element, "UnitType").text = band.unit
    ET.SubElement(element, "ColorInterp").text = "Palette" if band.legend else "Gray"
    if band.legend:
        colors = {i: c.rgb for i, c in band.legend.by_id().items()}
        table = ET.SubElement(element, "ColorTable")
        for value in range(256):
            r, g, b = colors.get(value, (0, 0, 0))
            ET.SubElement(
                table, "Entry", c1=str(r), c2=str(g), c3=str(b), c4="255" if value in colors else "0"
            )
    return element


def _vrt_source(
    element: ET.Element, file: str, band: MapBand, window: Window, dtype: str = "uint8", side: int = 256
) -> None:
    height, width = (str(n) for n in window.shape)
    source = ET.SubElement(element, "ComplexSource" if band.shares else "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = file
    ET.SubElement(source, "SourceBand").text = str(band.staged)
    # With its properties stated, GDAL opens a block only when its pixels are needed.
    ET.SubElement(
        source, "SourceProperties", RasterXSize=width, RasterYSize=height, DataType=_GDAL_TYPES[dtype],
        BlockXSize=str(side), BlockYSize=str(side),
    )  # fmt: skip
    ET.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=width, ySize=height)
    ET.SubElement(
        source, "DstRect", xOff=str(window.cols.start), yOff=str(window.rows.start),
        xSize=width, ySize=height,
    )  # fmt: skip
    if band.shares:
        ET.SubElement(source, "ScaleOffset").text = "0"
        ET.SubElement(source, "ScaleRatio").text = "0.01"
        ET.SubElement(source, "NODATA").text = str(NODATA)
