"""The entry of the product at a path or URI."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from geoseg.config.scene import BandEntry, MaskEntry, SceneEntry
from geoseg.config.wording import first_of
from geoseg.core.bands import common_name
from geoseg.core.errors import SceneError, listed
from geoseg.scenes import sources
from geoseg.scenes.products import hls, items, landsat, naip, planet, sentinel2, stac
from geoseg.scenes.products.place import Archive, Place, place_of
from geoseg.scenes.remote import is_remote, uri_of

READERS: tuple[Callable[[Place, str | None], SceneEntry | None], ...] = (
    sentinel2.recognise, landsat.recognise, hls.recognise, planet.recognise, naip.recognise,
)  # fmt: skip
"""Asked in this order; the first that recognises a place reads it."""

_LEVELS = 3
"""Folders inside each other in which orders are delivered: files/PSScene/ID."""
_MOST_FOLDERS = 300
_RASTERS = (".tif", ".tiff", ".jp2", ".img", ".vrt", ".dat", ".png", ".jpg", ".jpeg", ".webp")


def complete(entry: SceneEntry, base: Path) -> SceneEntry:
    """Return an entry with what the product at its `uri` says of itself.

    Keys of the entry win one by one, those of a band over those of the same band of the product.

    Parameters
    ----------
    entry
        The entry, as a user wrote it.
    base
        Folder of its relative paths.

    Returns
    -------
    SceneEntry
        The entry itself when its `uri` is no product.

    Raises
    ------
    SceneError
        When a product is there that is damaged, incomplete or of a kind that cannot be read.
    """
    if entry.uri is None:
        return entry
    # The files of the product are looked up in `base` once more when they are opened.
    base = base if base == Path() else base.absolute()
    uri = place_in(entry.uri, entry, base)
    found = read_product(uri)
    return entry if found is None else merged(found, _with_absolute_places(entry, base))


def read_product(uri: str) -> SceneEntry | None:
    """Return the entry of the product at a path or URI; None when no reader knows it.

    Raises
    ------
    SceneError
        As in `complete`.
    """
    with _checked(uri):
        if items.names_item(uri) and (found := items.read_items(uri)) is not None:
            if len(found) > 1:
                raise SceneError(
                    f"{uri}: holds {len(found)} items; give it as many scenes (--scenes) or as a mosaic"
                )
            return stac.entry_of(found[0], uri)
        place = place_of(uri)
        if place is None:
            return None
        entry = _recognised(*place)
        if entry is None and place[1] is None:
            entry = _only_product(place[0])
            if entry is None and isinstance(place[0], Archive):
                return _only_raster(place[0], uri)
        return entry


def item_entries(uri: str) -> list[SceneEntry] | None:
    """Return an entry for each STAC item in a file or behind a URL; None when it holds no items.

    Raises
    ------
    SceneError
        When it cannot be read, or an item has no band.
    """
    with _checked(uri):
        found = items.read_items(uri)
        return None if found is None else [stac.entry_of(item, uri) for item in found]


def merged(found: SceneEntry, own: SceneEntry) -> SceneEntry:
    """Return the entry of a product, in which the keys that a user wrote win one by one."""
    written = {k: getattr(own, k) for k in own.model_fields_set if k not in {"uri", "bands"}}
    if "mask" in written:
        written["mask"] = own.masks_over(found)
    # What a user says of the scene wins over what the product says of a band.
    plain: dict[str, object] = {k: None for k in ("scale", "offset", "nodata", "saturated") if k in written}
    bands = {n: b.model_copy(update=plain) for n, b in found.bands.items()}
    sensor = own.sensor or found.sensor
    for name, band in own.bands.items():
        said = {k: getattr(band, k) for k in band.model_fields_set}
        same = _same_band(bands, name, band, sensor)
        bands[same or name] = band if same is None else bands[same].model_copy(update=said)
    return found.model_copy(update={**written, "bands": bands, "folder": None})


def _same_band(bands: Mapping[str, BandEntry], name: str, band: BandEntry, sensor: str | None) -> str | None:
    """Return the band of a product that a user means by its name or its common name; None for a new one."""
    common = band.common_name or common_name(name, sensor)
    alike = [n for n, b in bands.items() if (b.common_name or common_name(n, sensor)) == common]
    return name if name in bands else next(iter(alike), None)


def place_in(uri: str, entry: SceneEntry, base: Path) -> str:
    """Return the path or URI of a file of an entry, inside the folder of the entry if it has one."""
    if entry.folder is None:
        return sources.resolve(uri, base)
    folder = sources.resolve(entry.folder, base)
    if not is_remote(folder):
        return sources.resolve(uri, Path(folder))
    absolute = "://" in uri or uri.startswith("/")
    return sources.resolve(uri if absolute else f"{folder}/{uri}", base)


def _with_absolute_places(entry: SceneEntry, base: Path) -> SceneEntry:
    """Return an entry whose bands and masks do not depend on its folder."""

    def band(b: BandEntry) -> BandEntry:
        return b if b.uri is None else b.model_copy(update={"uri": place_in(b.uri, entry, base)})

    def mask(m: MaskEntry) -> MaskEntry:
        return m.model_copy(update={"uri": place_in(m.uri, entry, base)})

    changes: dict[str, object] = {"bands": {n: band(b) for n, b in entry.bands.items()}}
    if entry.masks:
        changes["mask"] = (*(mask(m) for m in entry.masks), *entry.model_masks)
    return entry.model_copy(update=changes)


def _recognised(place: Place, document: str | None) -> SceneEntry | None:
    found = (recognise(place, document) for recognise in READERS)
    return next((entry for entry in found if entry is not None), None)


def _only_product(place: Place) -> SceneEntry | None:
    """Return the entry of the only product in the folders of a folder; None when there is none.

    Raises
    ------
    SceneError
        When there are several.
    """
    found: dict[str, SceneEntry] = {}
    waiting = [(place, 0)]
    for folder, depth in waiting:  # grows while it is read
        entry = _recognised(folder, None) if depth else None
        if entry is not None:
            found[folder.path] = entry
        elif depth < _LEVELS and not any(_is_raster(n) for n in folder.names()):
            waiting += [(folder.child(n), depth + 1) for n in folder.folders()]
        if len(waiting) > _MOST_FOLDERS:
            return None
    if len(found) > 1:
        raise SceneError(
            f"{place.path}: holds {len(found)} products, name one: {listed(list(found), 3)}; or give them as "
            "many scenes (--scenes) or as a mosaic"
        )
    return next(iter(found.values()), None)


def _is_raster(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _RASTERS


def _only_raster(place: Archive, uri: str) -> SceneEntry:
    """Return the entry of the only raster in an archive.

    Raises
    ------
    SceneError
        When it holds none, or several.
    """
    rasters = [n for n in place.files() if _is_raster(n)]
    if len(rasters) == 1:
        return SceneEntry(uri=place.at(rasters[0]))
    if not rasters:
        raise SceneError(f"{uri}: holds no product that is known, and no raster")
    raise SceneError(
        f"{uri}: is no product that is known; it holds {len(rasters)} rasters, name one: "
        f"{listed([place.at(r) for r in rasters], 2)}"
    )


@contextlib.contextmanager
def _checked(uri: str) -> Iterator[None]:
    """Turn a value of metadata that no entry may have into one line."""
    try:
        yield
    except ValidationError as error:
        where, text = first_of(error)
        raise SceneError(f"{uri_of(uri)}: {where or 'scene'} in its metadata: {text}") from None
