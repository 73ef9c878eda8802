"""STAC items, versions 1.0 and 1.1.

The fields of 1.0 (`eo:bands`, `raster:bands`) and of 1.1 (`bands`, `raster:scale`) are read side by side,
because libraries that raise the version of an item leave its fields where they were.
"""

import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from geoseg.config.scene import BandEntry, MaskEntry, SceneEntry
from geoseg.core.bands import SENSORS, common_name, named_by_wavelength
from geoseg.core.errors import GeosegWarning, SceneError
from geoseg.scenes.products import quality
from geoseg.scenes.products.documents import as_cloud_cover, as_number
from geoseg.scenes.products.families import Family, family_of
from geoseg.scenes.products.items import RASTERS, Item, resolve_link

_PICTURES = {
    "visual", "thumbnail", "overview", "preview", "rendered_preview", "tci", "true_color", "metadata",
}  # fmt: skip
"""Assets and roles that are pictures of a scene, or no pixels."""
_MASKS = {
    "scl": quality.scene_classification, "qa_pixel": quality.pixel_quality, "fmask": quality.fmask,
    "udm2": quality.usable_data,
}  # fmt: skip
"""Quality bands by how the key of their asset, or the name of its file, ends."""
_MASK_NAME = re.compile(rf"(?:.*[._-])?({'|'.join(_MASKS)})", re.IGNORECASE)
_KEY_END = re.compile(r"(?:[-_](?:\d+m|jp2|cog)|\.(?:tiff?|jp2))$", re.IGNORECASE)
_KNOWN_NAMES = {band.common_name for table in SENSORS.values() for band in table.values()}

_Rank = tuple[bool, float, bool, str]


@dataclass(frozen=True)
class _Asset:
    """An asset with a raster."""

    key: str
    fields: Mapping[str, Any]
    href: str
    bands: list[Mapping[str, Any]]
    """What it tells of its bands."""
    raster: list[Mapping[str, Any]]
    """What it tells of their numbers."""

    @property
    def label(self) -> str:
        """Return the key without resolution and format."""
        return _plain(self.key)

    @property
    def is_jp2(self) -> bool:
        """Return whether it is JPEG 2000, which is slower to read than a GeoTIFF."""
        return _path(self.href).lower().endswith(".jp2") or "jp2" in str(self.fields.get("type"))

    @property
    def gsd(self) -> float:
        """Return the size of a pixel; infinity when it is not known."""
        transform, in_key = self.fields.get("proj:transform"), re.search(r"_(\d+)m\b", self.key)
        sizes = (
            self.fields.get("gsd"), self.fields.get("raster:spatial_resolution"),
            *(r.get("spatial_resolution", r.get("raster:spatial_resolution")) for r in self.raster),
            transform[0] if isinstance(transform, list) and transform else None, in_key and in_key[1],
        )  # fmt: skip
        return next((n for s in sizes if (n := as_number(s)) and n > 0), math.inf)

    @property
    def mask(self) -> str | None:
        """Return the kind of quality band that it is; None when it is none."""
        stem = PurePosixPath(_path(self.href)).stem
        found = _MASK_NAME.fullmatch(self.label) or _MASK_NAME.fullmatch(_plain(stem))
        return found and found[1].lower()

    @property
    def rank(self) -> _Rank:
        """Return what is taken first: single bands, fine ones, GeoTIFF."""
        return len(self.bands) > 1, self.gsd, self.is_jp2, self.key


def entry_of(item: Item, base: str) -> SceneEntry:
    """Return the entry of an item.

    Parameters
    ----------
    item
        The item as JSON has it.
    base
        Path or URL of its file; relative links of assets start there.

    Raises
    ------
    SceneError
        When it has no band.
    """
    properties = _mapping(item.get("properties"))
    ident = str(item.get("id") or "without an id")
    family = family_of(item, properties)
    assets = list(_assets(item, properties))
    bands: dict[str, tuple[_Rank, str, BandEntry]] = {}
    for asset in assets:
        for name, entry in _bands(asset, family, base) if asset.mask is None else ():
            common = entry.common_name or name
            if common not in bands or asset.rank < bands[common][0]:
                bands[common] = asset.rank, name, entry
    if not bands:
        raise SceneError(f"{base}: item {ident} has no asset with a band of a raster")
    ordered = sorted(bands.items(), key=lambda b: b[1][2].wavelength_um or math.inf)
    chosen = {name: entry for _, (_, name, entry) in ordered}
    if len(chosen) < len(bands):  # two names alike: the common names differ
        chosen = {common: entry for common, (_, _, entry) in ordered}
    _warn_of_missing_scale(ident, chosen)
    baseline = _first(properties.get("s2:processing_baseline"), properties.get("processing:version"))
    return SceneEntry(
        bands=chosen,
        datetime=properties.get("datetime") or properties.get("start_datetime"),
        mask=_mask(assets, base),
        saturated=family.saturated,
        product=str(item["collection"]) if item.get("collection") else None,
        level=family.level,
        baseline=None if baseline is None else str(baseline),
        platform=str(properties["platform"]) if properties.get("platform") else None,
        cloud_cover=as_cloud_cover(properties.get("eo:cloud_cover")),
        item=ident,
    )


def _assets(item: Item, properties: Mapping[str, Any]) -> Iterator[_Asset]:
    """Yield the assets with pixels that are no pictures."""
    # Early items list their bands once, and assets have their places in that list.
    common = _list(properties.get("eo:bands"))
    for key, value in item["assets"].items():
        fields = _mapping(value)
        href, roles = fields.get("href"), fields.get("roles")
        said = {str(r).lower() for r in roles} if isinstance(roles, list) else set()
        if not isinstance(href, str) or _plain(key).lower() in _PICTURES or said & _PICTURES:
            continue
        kind = str(fields.get("type")).lower()
        suffix = PurePosixPath(_path(href)).suffix.lower()
        if suffix == ".vrt" or (suffix not in RASTERS and not re.search("tiff|jp2", kind)):
            continue
        bands = _list(fields.get("bands")) or _list(fields.get("eo:bands"), common)
        yield _Asset(
            key, fields, href, bands, _list(fields.get("raster:bands")) or _list(fields.get("bands"))
        )


def _bands(asset: _Asset, family: Family, base: str) -> Iterator[tuple[str, BandEntry]]:
    """Yield the names and entries of the bands of an asset; none of angles, aerosol or water vapour."""
    for number, band in enumerate(asset.bands or [{}], start=1):
        told = band.get("name")
        name = told if isinstance(told, str) and told else asset.label
        centre = as_number(_first(band.get("eo:center_wavelength"), band.get("center_wavelength")))
        width = as_number(_first(band.get("eo:full_width_half_max"), band.get("full_width_half_max")))
        centre = centre if centre and centre > 0 else None
        common = _common_name(band, name, asset.label, centre, family.sensor)
        if not told and common not in _KNOWN_NAMES:
            continue
        here = asset.raster[number - 1] if number <= len(asset.raster) else {}
        scale, offset = _scaling(here, asset, common, family)
        nodata = _first(here.get("nodata"), asset.fields.get("nodata"), family.nodata)
        yield (
            name,
            BandEntry(
                uri=resolve_link(asset.href, base),
                band=number,
                scale=scale,
                offset=offset,
                nodata=None if _is_nan(nodata) else nodata,
                common_name=common,
                wavelength_um=centre,
                width_um=width if width and width > 0 else None,
            ),
        )


def _common_name(
    band: Mapping[str, Any], name: str, label: str, centre: float | None, sensor: str | None
) -> str:
    """Return the common name of a band: as it is told, else as its designation or the asset's means."""
    told = _first(band.get("eo:common_name"), band.get("common_name"))
    by_name = common_name(name, sensor)
    if by_name not in _KNOWN_NAMES:
        by_label = common_name(label, sensor)
        by_name = by_label if by_label in _KNOWN_NAMES and not band.get("name") else by_name
    if not isinstance(told, str) or not told:
        return by_name
    common = named_by_wavelength(told, centre)
    return by_name if common == "rededge" and by_name.startswith(common) else common


def _scaling(
    band: Mapping[str, Any], asset: _Asset, common: str, family: Family
) -> tuple[float | None, float | None]:
    """Return scale and offset of a band, None where neither the item nor its family tells them.

    Some catalogs took the offset of Sentinel-2 off the numbers of their GeoTIFFs, say so with a flag, and
    still list the offset. Others list neither.
    """
    scale = _first(band.get("scale"), band.get("raster:scale"), asset.fields.get("raster:scale"))
    offset = _first(band.get("offset"), band.get("raster:offset"), asset.fields.get("raster:offset"))
    if family.offset_applied and not asset.is_jp2:
        return (0.0001 if scale is None else scale), 0.0
    if scale is None and offset is None:
        return family.scaling(common)
    return scale, offset


def _warn_of_missing_scale(ident: str, bands: Mapping[str, BandEntry]) -> None:
    silent = [n for n, b in bands.items() if b.scale is None and b.offset is None]
    if silent:
        warnings.warn(
            f"item {ident}: tells no scale of {', '.join(silent[:3])}; what the files say counts, else 1",
            GeosegWarning,
            stacklevel=2,
        )


def _mask(assets: list[_Asset], base: str) -> MaskEntry | None:
    found = min(((a.rank, a.mask, a.href) for a in assets if a.mask is not None), default=None)
    return None if found is None else _MASKS[found[1]](resolve_link(found[2], base))


def _plain(key: str) -> str:
    """Return the key of an asset, or the stem of a file, without resolution and format.

    Examples
    --------
    >>> _plain("B02_10m"), _plain("red-jp2"), _plain("SR_B4.TIF")
    ('B02', 'red', 'SR_B4')
    """
    return _KEY_END.sub("", key)


def _path(href: str) -> str:
    return href.partition("?")[0].partition("#")[0] if "://" in href else href


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any, places: list[Mapping[str, Any]] | None = None) -> list[Mapping[str, Any]]:
    """Return the mappings of a list, and those at `places` that it names by number."""
    known = dict(enumerate(places or []))
    values = [known.get(v, v) if isinstance(v, int) else v for v in value] if isinstance(value, list) else []
    return [v for v in values if isinstance(v, dict)]


def _first(*values: Any) -> Any:
    return next((v for v in values if v is not None), None)


def _is_nan(value: Any) -> bool:
    """Return whether a number is NaN, which is nodata in any case; JSON has it as a text."""
    return str(value).lower() == "nan"
