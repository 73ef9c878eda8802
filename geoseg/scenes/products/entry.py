"""The entry of the product at a path or URI."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from geoseg.config.scene import BandEntry, MaskEntry, SceneEntry
from geoseg.core.errors import SceneError, listed
from geoseg.scenes import sources
from geoseg.scenes.products import hls, landsat, naip, planet, sentinel2, stac
from geoseg.scenes.products.place import Archive, Place, place_of
from geoseg.scenes.remote import is_remote, uri_of

READERS: tuple[Callable[[Place, str | None], SceneEntry | None], ...] = (
    sentinel2.recognise, landsat.recognise, hls.recognise, planet.recognise, naip.recognise,
)  # fmt: skip
"""Asked in this order; the first that recognises a place reads it."""

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
        if stac.names_item(uri) and (items := stac.read_items(uri)) is not None:
            if len(items) > 1:
                raise SceneError(
                    f"{uri}: holds {len(items)} items; give it as many scenes (--scenes) or as a mosaic"
                )
            return stac.entry_of(items[0], uri)
        found = place_of(uri)
        if found is None:
            return None
        place, document = found
        for recognise in READERS:
            if (entry := recognise(place, document)) is not None:
                return entry
        return _only_raster(place, uri) if isinstance(place, Archive) and document is None else None


def item_entries(uri: str) -> list[SceneEntry] | None:
    """Return an entry for each STAC item in a file or behind a URL; None when it holds no items.

    Raises
    ------
    SceneError
        When it cannot be read, or an item has no band.
    """
    with _checked(uri):
        items = stac.read_items(uri)
        return None if items is None else [stac.entry_of(item, uri) for item in items]


def merged(found: SceneEntry, own: SceneEntry) -> SceneEntry:
    """Return the entry of a product, in which the keys that a user wrote win one by one."""
    written = {k: getattr(own, k) for k in own.model_fields_set if k not in {"uri", "bands"}}
    # What a user says of the scene wins over what the product says of a band.
    plain: dict[str, object] = {k: None for k in ("scale", "offset", "nodata", "saturated") if k in written}
    bands = {n: b.model_copy(update=plain) for n, b in found.bands.items()}
    for name, band in own.bands.items():
        said = {k: getattr(band, k) for k in band.model_fields_set}
        bands[name] = bands[name].model_copy(update=said) if name in bands else band
    return found.model_copy(update={**written, "bands": bands, "folder": None})


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
        changes["mask"] = tuple(mask(m) for m in entry.masks)
    return entry.model_copy(update=changes)


def _only_raster(place: Archive, uri: str) -> SceneEntry:
    """Return the entry of the only raster in an archive.

    Raises
    ------
    SceneError
        When it holds none, or several.
    """
    rasters = [n for n in place.files() if PurePosixPath(n).suffix.lower() in _RASTERS]
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
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"])) or "scene"
        raise SceneError(
            f"{uri_of(uri)}: its metadata give {where} as {str(problem['input'])[:40]!r}: "
            f"{problem['msg'].lower()}"
        ) from None
