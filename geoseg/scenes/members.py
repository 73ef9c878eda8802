"""The members of a mosaic: the entries of its scenes, in the order in which they give pixels."""

import glob
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoseg.config.scene import MaskEntry, SceneEntry
from geoseg.core.errors import SceneError
from geoseg.core.paths import at_home
from geoseg.scenes import sources
from geoseg.scenes.catalog import Catalog
from geoseg.scenes.listing import SIDECARS
from geoseg.scenes.products import complete, item_entries, merged, names_item
from geoseg.scenes.remote import is_remote

RASTERS = {".tif", ".tiff", ".jp2", ".img"}
"""Suffixes of the files in a folder that are members; a VRT among them most often shows the others again."""

SHARED = ("sensor", "bands", "scale", "offset", "nodata", "saturated", "mask", "level", "radiometry")
"""Keys beside `mosaic` that hold for every member."""

MemberEntry = tuple[SceneEntry, str, Path]
"""Entry of a member, its name for messages, and the folder of its relative paths."""


def members(entry: SceneEntry, name: str, base: Path, catalog: Path | str | None = None) -> list[MemberEntry]:
    """Return the members of a mosaic; the first gives a pixel that several have.

    Parameters
    ----------
    entry
        The mosaic. Its shared keys win over what a name, a path or a product says, key by key; an entry in
        the list keeps what it says itself.
    name, base
        Name of the mosaic, and folder of its relative paths.
    catalog
        The catalog with names of members; None looks in all folders where names are looked up.

    Raises
    ------
    SceneError
        When a member is missing, there is none, or one lacks the fact that orders them.
    """
    shared = {key: getattr(entry, key) for key in SHARED if key in entry.model_fields_set}
    whole, known = isinstance(entry.mosaic, str), Catalog.open(catalog)
    listed = [entry.mosaic] if isinstance(entry.mosaic, str) else entry.mosaic or ()
    found: list[MemberEntry] = []
    for place, one in enumerate(listed, start=1):
        if isinstance(one, SceneEntry):
            own = {key: getattr(one, key) for key in one.model_fields_set}
            if "mask" in own and "mask" in shared:
                own["mask"] = one.masks_over(entry)
            found.append((one.model_copy(update={**shared, **own}), f"{name}: member {place}", base))
            continue
        for text in _expand(one, base, known, whole=whole):
            found += _of_items(text, shared) or [_member(text, shared, known)]
    if not found:
        raise SceneError(f"{name}: its mosaic names no scene; see the folder or the pattern under mosaic")
    return _ordered(found, entry.order or "listed", name)


def _of_items(text: str, shared: dict[str, Any]) -> list[MemberEntry]:
    """Return the members that a search result names, its STAC items; none for any other text."""
    if not names_item(text):
        return []
    own = SceneEntry.model_validate({"uri": text, **shared})
    return [(merged(e, own), e.item or text, Path()) for e in item_entries(text) or ()]


def _expand(text: str, base: Path, catalog: Catalog, *, whole: bool) -> Iterator[str]:
    """Yield the scenes of a text: a glob, or a folder of rasters when it is the whole mosaic, or itself."""
    if text in catalog.scenes:
        yield text
        return
    place = sources.resolve(at_home(text), base)
    if is_remote(place) or Path(place).is_file():
        yield place
    elif whole and Path(place).is_dir():
        rasters = sorted(f for f in Path(place).iterdir() if f.suffix.lower() in RASTERS and f.is_file())
        if not rasters:
            raise SceneError(
                f"{place}: this folder holds no raster that could be a member; name the scenes by a glob: "
                f"{Path(place) / '*'}"
            )
        yield from map(str, rasters)
    elif glob.has_magic(place) and not Path(place).exists():
        found = sorted(glob.glob(place, recursive=True))  # noqa: PTH207 (any path, any folder)
        matches = [path for path in found if not path.endswith(SIDECARS)]
        if not matches:
            raise SceneError(f"{place}: no file or folder fits this pattern of a mosaic")
        yield from matches
    else:
        yield place


def _member(text: str, shared: dict[str, Any], catalog: Catalog) -> MemberEntry:
    """Return the member that a name, a path or a URI means, with the shared keys."""
    entry, base = catalog.find(text)
    if entry.mosaic is not None:
        raise SceneError(f"{text}: is a mosaic itself, which cannot be a member; list its scenes here")
    update = dict(shared)
    folder = Path(text).is_dir()
    if folder and any(band.uri for band in update.get("bands", {}).values()):
        update |= {"folder": text, "uri": None}
    if update.get("mask") is not None:
        given = SceneEntry(uri=text, mask=update["mask"])
        masks = tuple(_mask_of(m, text, within=update.get("folder")) for m in given.masks)
        given = given.model_copy(update={"mask": (*masks, *given.model_masks)})
        # A product that the entry names has its masks still to come: they are joined when it is read.
        update["mask"] = given.masks_over(entry)
    return entry.model_copy(update=update), text, base


def _mask_of(mask: MaskEntry, text: str, *, within: str | None) -> MaskEntry:
    """Return a mask beside `mosaic` as that of one member: a relative path names a file inside its folder."""
    if mask.uri.startswith("/") or is_remote(mask.uri) or within:
        return mask
    if not Path(text).is_dir():
        raise SceneError(
            f"{text}: the mask {mask.uri} beside mosaic is looked for in each member, and this one is no "
            "folder; give each member an entry with its own mask"
        )
    return mask.model_copy(update={"uri": f"{text}/{mask.uri}"})


def _ordered(found: list[MemberEntry], order: str, name: str) -> list[MemberEntry]:
    """Return the members in an order; those that are equal in it stay as they are listed."""
    if order == "listed":
        return found
    # A product tells its facts itself.
    found = [(complete(entry, base), member, base) for entry, member, base in found]
    key = "cloud_cover" if order == "cloud" else "datetime"
    if lacking := [member for entry, member, _ in found if getattr(entry, key) is None]:
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise SceneError(
            f"{name}: order: {order} needs the {key} of every member, and {lacking[0]} has none{more}; write "
            "it into the entry of the member, or use order: listed"
        )
    if order == "cloud":
        return sorted(found, key=lambda m: m[0].cloud_cover or 0.0)
    return sorted(found, key=_time_of, reverse=order == "newest")


def _time_of(member: MemberEntry) -> datetime:
    return member[0].datetime or datetime.min.replace(tzinfo=UTC)
