"""Open scenes and bundles."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.config.area import Area
from geoseg.config.loader import Document, checked
from geoseg.config.scene import AnyMask, SceneEntry
from geoseg.core.errors import ConfigError
from geoseg.core.paths import at_home
from geoseg.models.bundle import Bundle
from geoseg.models.bundle import open_bundle as open_bundle_folder
from geoseg.scenes.catalog import find_entry
from geoseg.scenes.opening import open_scene as open_entry
from geoseg.scenes.products import stac

if TYPE_CHECKING:
    import pystac
    import xarray

    Source = str | Path | Mapping[str, Any] | pystac.Item


def open_scene(
    source: "Source | Sequence[Source]",
    *,
    bands: Sequence[str] | None = None,
    gsd: float | None = None,
    mask: "bool | Mapping[str, Any] | Sequence[Mapping[str, Any]]" = True,
    aoi: Any = None,
    chunks: int | Mapping[Hashable, int] | None = 1024,
    catalog: str | Path | None = None,
) -> "xarray.Dataset":
    """Open a scene as a lazy Dataset of raw numbers; only headers are read.

    Parameters
    ----------
    source
        A name in the catalog, a file, a folder, a product or a URI; an entry as `scene:` of a pipeline has
        it; a STAC item of pystac, or one as a mapping. Several of them are a mosaic, the first on top.
    bands
        Common names of the bands (`red`, `nir`, `swir16`), in the order asked for; None takes all.
    gsd
        Ground sample distance of the grid in metres; None takes that of the finest band.
    mask
        Whether `valid` is False, too, where the quality band of the scene says so. Or what masks it, as
        `mask:` of an entry has it: `{"model": "clouds", "invalid": ["cloud"]}` masks what another network
        finds, beside the quality band of a product. Its map is computed when it is needed; a sample of the
        scene is read now.
    aoi
        An area of interest: a file of polygons, WKT, a GeoJSON geometry or one of shapely in longitude and
        latitude, or a box (west, south, east, north). The Dataset is cut to its bounds, and pixels outside
        of it are not `valid`.
    chunks
        Pixels along the sides of a chunk; a number for each dimension; or None, to read all of it now.
    catalog
        The catalog file; None looks in the current folder, the user's, and in what ships with geoseg.

    Returns
    -------
    Dataset
        A variable for each band by its common name, and `valid`; dims (y, x), or (latitude, longitude). The
        attributes `scale_factor` and `add_offset` make reflectance of the numbers, as `xarray.decode_cf`
        does; `.odc` and `.rio` find the CRS.

    Raises
    ------
    ConfigError
        When the name is in no catalog, or an entry is not as it should be.
    SceneError
        When a file or a band is missing, or the bands do not cover the same area.

    Examples
    --------
    >>> scene = geoseg.open_scene("sentinel2-sample", bands=["red", "nir"])
    >>> scene.sizes
    Frozen({'y': 1947, 'x': 1933})
    >>> scene.red.dtype, scene.red.attrs["scale_factor"]
    (dtype('uint16'), 0.0001)
    >>> reflectance = xarray.decode_cf(scene).where(scene.valid)
    """
    from geoseg.scenes.lazy import to_dataset  # noqa: PLC0415 (xarray is slow to import)

    catalog = None if catalog is None else Path(catalog)
    entry, name, base = _entry(source, catalog)
    if mask is not True:
        entry = entry.model_copy(update={"mask": _masks(mask, entry)})
    scene = open_entry(entry, name, base, bands, gsd, catalog)
    if scene.model_masks:
        from geoseg.notebook.masks import masked_lazily  # noqa: PLC0415 (as xarray)

        scene = masked_lazily(scene)
    if aoi is None:
        return to_dataset(scene, chunks)
    from geoseg.scenes.aoi import resolve_aoi  # noqa: PLC0415

    part = resolve_aoi(_area(aoi), scene)
    return to_dataset(scene.cut(part.window), chunks, part.outline)


def _masks(mask: Any, entry: SceneEntry) -> tuple[Any, ...] | None:
    """Return the masks of a scene that is opened with these, as documents have them."""
    if mask is False:
        return None
    given = checked({"mask": mask if isinstance(mask, Mapping) else list(mask)}, _MaskDocument, "open_scene")
    return SceneEntry(uri="*", mask=given.mask).masks_over(entry)


def _area(aoi: Any) -> Area:
    """Return an area of interest as documents have it."""
    if hasattr(aoi, "wkt") and hasattr(aoi, "geom_type"):
        aoi = aoi.wkt
    elif isinstance(aoi, Path):
        aoi = str(aoi)
    found = checked({"aoi": aoi}, _AreaDocument, "open_scene").aoi
    return str(at_home(found)) if isinstance(found, str) else found


class _AreaDocument(Document):
    aoi: Area


class _MaskDocument(Document):
    mask: AnyMask | tuple[AnyMask, ...]


def _entry(source: Any, catalog: Path | None) -> tuple[SceneEntry, str, Path]:
    """Return the entry that a source means, its name, and the folder of its relative paths."""
    if isinstance(source, str | Path):
        entry, base = find_entry(str(source), catalog)
        return entry, str(source), base
    if isinstance(source, SceneEntry):
        return source, source.item or source.uri or "scene", Path()
    if hasattr(source, "to_dict") and hasattr(source, "assets"):
        return stac.entry_of(source.to_dict(), source.get_self_href() or ""), str(source.id), Path()
    if isinstance(source, Mapping):
        if "assets" in source:
            return stac.entry_of(dict(source), ""), str(source.get("id", "item")), Path()
        return checked(source, SceneEntry, "open_scene"), str(source.get("uri", "scene")), Path()
    if isinstance(source, Sequence) and source:
        members = tuple(
            str(one) if isinstance(one, str | Path) else _entry(one, catalog)[0] for one in source
        )
        return SceneEntry(mosaic=members), "mosaic", Path()
    raise ConfigError(
        f"open_scene: {type(source).__name__} is no scene; give a name, a path, an entry, or a STAC item, or "
        "several of them"
    )


def open_bundle(model: str | Path, *, trust: bool = False) -> Bundle:
    """Open a model bundle and verify that its files belong together.

    Parameters
    ----------
    model
        A name, a folder, or a URI.
    trust
        Whether its network may be Python code of a package, which runs as you; opening alone runs none.

    Raises
    ------
    BundleError
        When there is no such bundle, or a file is damaged or contradicts another.

    Examples
    --------
    >>> bundle = geoseg.open_bundle("landcover-s2")
    >>> [c.slug for c in bundle.card.classes]
    ['tree', 'grass-shrub', 'crop', 'built', 'bare', 'water']
    """
    return open_bundle_folder(str(model), trust=trust)
