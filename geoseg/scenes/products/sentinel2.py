"""Sentinel-2 products: SAFE folders of level 1C and 2A.

Facts are those of the Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD): reflectance is
(number + offset) / quantification. The offset of a band stands in the metadata from baseline 04.00 on, and is
0 where it does not; the date says nothing, because old acquisitions are processed anew.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element

from geoseg.config.scene import BandEntry, MaskEntry, SceneEntry
from geoseg.core.errors import GeosegWarning, SceneError
from geoseg.scenes.products.documents import as_cloud_cover, as_number, elements, parse_xml, text_of
from geoseg.scenes.products.place import Place
from geoseg.scenes.products.quality import scene_classification

NODATA, SATURATED = 0, 65535
_DOCUMENTS = {"MTD_MSIL2A.xml": "2A", "MTD_MSIL1C.xml": "1C"}
_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Bands in the order of their ids in the metadata."""
_NATIVE = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B01": 60, "B09": 60, "B10": 60}
"""Ground sample distance of level 1C in metres; of the other bands 20."""
_IMAGE = re.compile(r"_(B\d\d|B8A|SCL)(?:_(10|20|60)m)?$")
_OFFSET_SINCE = 4.0
"""The baseline that brought the offset, and rasters of clouds in level 1C."""
_OLD = re.compile(r"S2[A-D]_OPER_(MTD|PRD)_", re.IGNORECASE)


def usual_scaling(baseline: float) -> tuple[float, float]:
    """Return scale and offset of products of a processing baseline, for catalogs that leave out both.

    Examples
    --------
    >>> usual_scaling(2.14), usual_scaling(5.1)
    ((0.0001, 0.0), (0.0001, -0.1))
    """
    return 0.0001, -0.1 if baseline >= _OFFSET_SINCE else 0.0


@dataclass(frozen=True)
class _Image:
    """An image file that the metadata list."""

    name: str
    """Designation of its band, or SCL."""
    gsd: int
    file: str
    """Its path in the product."""


def recognise(place: Place, document: str | None) -> SceneEntry | None:
    """Return the entry of the product at a place; None when it is no Sentinel-2 product.

    Parameters
    ----------
    place
        The folder.
    document
        The file in it that was named, None when the folder was.

    Raises
    ------
    SceneError
        When its metadata are damaged, or it is of the format before December 2016.
    """
    if document is not None and document not in _DOCUMENTS:
        return None
    names = place.names()
    if any(map(_OLD.match, names)):
        raise SceneError(
            f"{place.path}: is a Sentinel-2 product of the format before December 2016, with many "
            "granules; get it again in the compact format (Collection 1)"
        )
    if document is None and not names and not _is_safe(place.path):
        return None  # behind a URL, where nothing can be listed
    wanted = [document] if document else [n for n in _DOCUMENTS if not names or n in names]
    for name in wanted:
        if (data := place.read(name)) is not None:
            return _entry(place, name, parse_xml(data, f"{place.path}/{name}"))
    if _is_safe(place.path):
        raise SceneError(
            f"{place.path}: is a SAFE folder without {' or '.join(_DOCUMENTS)}; the download is incomplete"
        )
    return None


def _is_safe(path: str) -> bool:
    return path.partition("?")[0].rstrip("/").upper().endswith(".SAFE")


def _entry(place: Place, document: str, root: Element) -> SceneEntry:
    level = _DOCUMENTS[document]
    granules = {i.file.split("/")[1] for i in _images(root) if i.file.count("/") > 1}
    if len(granules) != 1:
        raise SceneError(f"{place.path}: lists the images of {len(granules)} granules, and a scene is of one")
    best: dict[str, _Image] = {}
    for image in sorted(_images(root), key=lambda i: -i.gsd):
        best[image.name] = image
    scl = best.pop("SCL", None)
    baseline = text_of(root, "PROCESSING_BASELINE")
    scale, offsets = _scaling(root, place)
    wavelengths = _wavelengths(root)
    bands = {
        name: BandEntry(
            uri=place.at(f"{best[name].file}.jp2"),
            scale=scale,
            offset=offsets.get(i, 0.0) * scale,
            wavelength_um=wavelengths.get(i),
        )
        for i, name in enumerate(_BANDS)
        if name in best
    }
    granule = f"GRANULE/{granules.pop()}"
    if scl is None:
        masks = _opaque_clouds(place, granule, baseline) if level == "1C" else ()
    else:
        masks = (scene_classification(place.at(f"{scl.file}.jp2")),)
    return SceneEntry(
        bands=bands,
        sensor="sentinel-2",
        nodata=_special(root, "NODATA", NODATA),
        saturated=_special(root, "SATURATED", SATURATED),
        datetime=text_of(root, "PRODUCT_START_TIME"),
        mask=masks or None,
        product=f"sentinel-2-l{level.lower()}",
        level="toa" if level == "1C" else "surface",
        baseline=baseline,
        platform=text_of(root, "SPACECRAFT_NAME"),
        cloud_cover=as_cloud_cover(text_of(root, "Cloud_Coverage_Assessment")),
    )


def _images(root: Element) -> list[_Image]:
    found = []
    for element in elements(root, "IMAGE_FILE"):
        file = (element.text or "").strip()
        image = _IMAGE.search(PurePosixPath(file).name)
        if image is not None:
            name = image[1]
            found.append(_Image(name, int(image[2] or _NATIVE.get(name, 20)), file))
    return found


def _scaling(root: Element, place: Place) -> tuple[float, dict[int, float]]:
    """Return the scale, and the offsets of bands in numbers by the id of the band."""
    quantification = text_of(root, "BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    try:
        scale = 1 / float(quantification or "")
        offsets = {
            int(e.get("band_id", "")): float(e.text or "")
            for tag in ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
            for e in elements(root, tag)
        }
    except (ValueError, ZeroDivisionError):
        raise SceneError(
            f"{place.path}: its metadata give no usable quantification value or offset; get it again"
        ) from None
    return scale, offsets


def _wavelengths(root: Element) -> dict[int, float]:
    """Return the centre wavelengths in micrometres, by the id of the band."""
    found = {}
    for band in elements(root, "Spectral_Information"):
        ident, centre = band.get("bandId", ""), text_of(band, "CENTRAL")
        number = as_number(centre)
        if re.fullmatch(r"\d{1,3}", ident) and number is not None and number > 0:
            found[int(ident)] = number / 1000
    return found


def _special(root: Element, name: str, default: float) -> float:
    """Return the number that the metadata give a special meaning."""
    for element in elements(root, "Special_Values"):
        value = as_number(text_of(element, "SPECIAL_VALUE_INDEX"))
        if text_of(element, "SPECIAL_VALUE_TEXT") == name and value is not None:
            return value
    return default


def _opaque_clouds(place: Place, granule: str, baseline: str | None) -> tuple[MaskEntry, ...]:
    """Return the masks of opaque clouds and of cirrus; older baselines have them as polygons only."""
    file = f"{granule}/QI_DATA/MSK_CLASSI_B00.jp2"
    if (as_number(baseline) or 0) < _OFFSET_SINCE or not place.has(file):
        warnings.warn(
            f"{place.path}: has no raster of its clouds (baseline {baseline or 'unknown'}; they came with "
            "04.00), so they are classified as if the sky were clear",
            GeosegWarning,
            stacklevel=2,
        )
        return ()
    return tuple(MaskEntry(uri=place.at(file), band=i, invalid_values=(1,)) for i in (1, 2))
