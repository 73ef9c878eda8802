"""Aerial images of the United States' National Agriculture Imagery Program (NAIP).

Quarter quadrangles with red, green, blue and near infrared as 8-bit display numbers, which are no
reflectance: they stay as they are, and a network must have been trained on such numbers.
"""

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

from geoseg.config.scene import BandEntry, SceneEntry
from geoseg.scenes import sources
from geoseg.scenes.products.place import Place

_FILE = re.compile(
    r"m_\d{7}_[ns][ew]_\d{2}_\w+?_(?P<day>(?:19|20)\d{2}[01]\d[0-3]\d)(?:_\d{8})?\.tiff?", re.IGNORECASE
)
_VIRTUAL = (".vrt", ".gti")
_BANDS = ("red", "green", "blue", "nir")


def is_tile(name: str) -> bool:
    """Return whether a file is named as a tile of NAIP."""
    return _FILE.fullmatch(name) is not None


def recognise(place: Place, document: str | None) -> SceneEntry | None:
    """Return the entry of the named tile or of the tiles in a folder, a mosaic; None when there is none."""
    if document is None:
        tiles = list(filter(_FILE.fullmatch, place.names()))
        if len(tiles) > 1:
            return SceneEntry(mosaic=tuple(place.at(n) for n in tiles), product="naip", platform="aircraft")
        document = tiles[0] if tiles else ""
    found = _FILE.fullmatch(document)
    if found is None and not document.lower().endswith(_VIRTUAL):
        return None
    uri = place.at(document)
    header = sources.inspect(uri)
    if found is None and not _shows_tiles(header):
        return None
    if len(header.names) != len(_BANDS) or set(header.dtypes) != {"uint8"}:
        return None
    # Names in the file win: tiles that were processed may have other bands.
    names = [own or usual for own, usual in zip(header.names, _BANDS, strict=True)]
    if len({n.lower() for n in names}) != len(names):
        names = list(_BANDS)
    return SceneEntry(
        uri=uri,
        bands={name: BandEntry(band=i) for i, name in enumerate(names, start=1)},
        sensor="naip",
        datetime=None if found is None else datetime.strptime(found["day"], "%Y%m%d").replace(tzinfo=UTC),
        product="naip",
        platform="aircraft",
    )


def _shows_tiles(header: sources.SourceFile) -> bool:
    """Return whether a virtual raster or a tile index is one of tiles alone."""
    tiles = [p for p in header.parts if p.path.lower().endswith((".tif", ".tiff"))]
    return bool(tiles) and all(is_tile(PurePosixPath(t.path).name) for t in tiles)
