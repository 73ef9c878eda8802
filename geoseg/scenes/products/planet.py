"""PlanetScope surface reflectance with four or eight bands, and the usable data mask beside it.

Facts are those of Planet's product specification: numbers are reflectance * 10000, 0 is nodata.
"""

import re
from typing import Any

from geoseg.config.scene import BandEntry, SceneEntry
from geoseg.core.errors import SceneError
from geoseg.core.parsing import parse_json
from geoseg.scenes import sources
from geoseg.scenes.products.documents import as_cloud_cover, as_number, parse_xml, text_of
from geoseg.scenes.products.place import Place
from geoseg.scenes.products.quality import usable_data

_IMAGE = re.compile(
    r"(?P<strip>\d{8}_\d{6}_\w+?)_(?:3B_|\w*?ortho_)?Analytic(?:MS)?_?(?P<rest>\w*)\.tiff?", re.IGNORECASE
)
_MASK = re.compile(r"udm2.*\.tiff?$", re.IGNORECASE)
_BANDS = {
    4: ("blue", "green", "red", "nir"),
    8: ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),
}


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
    images = [f for f in map(_IMAGE.fullmatch, names) if f and "udm" not in f.string.lower()]
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
    uri = place.at(image.string)
    count = len(sources.inspect(uri).names)
    if count not in _BANDS:
        raise SceneError(
            f"{uri}: has {count} bands, and surface reflectance of PlanetScope has four or eight"
        )
    bands = _BANDS[count]
    mask = next((n for n in names if n.startswith(f"{image['strip']}_") and _MASK.search(n)), None)
    facts = _metadata(place, names, image["strip"])
    return SceneEntry(
        uri=uri,
        bands={name: BandEntry(band=i) for i, name in enumerate(bands, start=1)},
        sensor="planetscope-8b" if count == 8 else "planetscope",
        scale=0.0001,
        offset=0.0,
        nodata=0,
        mask=None if mask is None else usable_data(place.at(mask)),
        product="planetscope-sr",
        level="surface",
        **facts,
    )


def _metadata(place: Place, names: tuple[str, ...], strip: str) -> dict[str, Any]:
    """Return time, instrument and cloud cover, as far as the metadata beside the image tell."""
    for name in (n for n in names if n.startswith(f"{strip}_") and "metadata" in n.lower()):
        data = place.read(name) or b""
        if name.lower().endswith(".json"):
            try:
                facts = dict(parse_json(data).get("properties", {}))
            except (ValueError, AttributeError, TypeError):
                raise SceneError(f"{place.path}/{name}: is damaged; get it again, or delete it") from None
            share = as_number(facts.get("cloud_cover"))
            found = {
                "datetime": facts.get("acquired"),
                "platform": facts.get("instrument") and str(facts["instrument"]),
                "cloud_cover": as_cloud_cover(share and share * 100),
            }
        elif name.lower().endswith(".xml"):
            root = parse_xml(data, f"{place.path}/{name}")
            found = {"datetime": text_of(root, "acquisitionDateTime", "acquisitionDate")}
        else:
            continue
        return {k: v for k, v in found.items() if v is not None}
    return {}
