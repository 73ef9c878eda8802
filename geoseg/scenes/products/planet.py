"""PlanetScope surface reflectance with four or eight bands, and the usable data mask beside it.

Facts are those of Planet's product specification: numbers are reflectance * 10000, 0 is nodata.
"""

import re

from geoseg.config.scene import BandEntry, SceneEntry
from geoseg.core.errors import SceneError
from geoseg.core.parsing import parse_json
from geoseg.scenes.products.documents import parse_xml, text_of
from geoseg.scenes.products.place import Place
from geoseg.scenes.products.quality import usable_data

_IMAGE = re.compile(
    r"(?P<strip>\d{8}_\d{6}_\w+?)_(?:3B_|\w*?ortho_)?Analytic(?:MS)?_?(?P<rest>\w*)\.tiff?", re.IGNORECASE
)
_FOUR = ("blue", "green", "red", "nir")
_EIGHT = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")


def recognise(place: Place, document: str | None) -> SceneEntry | None:
    """Return the entry of the image in a folder, or of the named one; None when there is none.

    Raises
    ------
    SceneError
        When it is radiance, or the folder holds several images.
    """
    if document is not None and _IMAGE.fullmatch(document) is None:
        return None
    names = place.names()
    images = [f for n in names if (f := _IMAGE.fullmatch(n)) and "udm" not in n.lower()]
    if document is not None:
        images = [f for f in images if f.string == document]
    if not images:
        return None
    reflectance = [f for f in images if "sr" in f["rest"].lower().split("_")]
    if not reflectance:
        raise SceneError(
            f"{place.path}/{images[0].string}: is radiance of PlanetScope; use the surface reflectance "
            "product (its name has _SR)"
        )
    if len(reflectance) > 1:
        raise SceneError(
            f"{place.path}: holds {len(reflectance)} PlanetScope images, as {reflectance[0].string}; name "
            "one, or give them as a list of scenes or a mosaic"
        )
    image = reflectance[0]
    bands = _EIGHT if "8b" in image["rest"].lower() else _FOUR
    mask = next((n for n in names if n.startswith(image["strip"]) and re.search(r"udm2.*\.tiff?$", n)), None)
    facts = _metadata(place, names, image["strip"])
    return SceneEntry(
        uri=place.at(image.string),
        bands={name: BandEntry(band=i) for i, name in enumerate(bands, start=1)},
        sensor="planetscope-8b" if bands is _EIGHT else "planetscope",
        scale=0.0001,
        offset=0.0,
        nodata=0,
        mask=None if mask is None else usable_data(place.at(mask)),
        product="planetscope-sr",
        level="surface",
        **facts,
    )


def _metadata(place: Place, names: tuple[str, ...], strip: str) -> dict[str, str]:
    """Return the time of acquisition and the instrument, as far as the metadata beside the image tell."""
    for name in (n for n in names if n.startswith(strip) and "metadata" in n.lower()):
        data = place.read(name) or b""
        if name.lower().endswith(".json"):
            try:
                facts = dict(parse_json(data).get("properties", {}))
            except (ValueError, AttributeError, TypeError):
                raise SceneError(f"{place.path}/{name}: is damaged; get it again, or delete it") from None
            found = {"datetime": facts.get("acquired"), "platform": facts.get("instrument")}
        elif name.lower().endswith(".xml"):
            root = parse_xml(data, f"{place.path}/{name}")
            found = {"datetime": text_of(root, "acquisitionDateTime", "acquisitionDate")}
        else:
            continue
        return {k: str(v) for k, v in found.items() if v}
    return {}
