"""Open a scene from its catalog entry: find the files, name the bands, choose the grid."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.config.fields import Offset, Scale, check_number
from geoseg.config.scene import BandEntry, MaskEntry, SceneEntry
from geoseg.core.bands import (
    SensorBand,
    common_name,
    designation_in,
    nearest_alike,
    sensor_band,
    sensor_in,
    usual_band,
)
from geoseg.core.errors import GeosegWarning, SceneError, did_you_mean, listed
from geoseg.core.secrets import redact
from geoseg.scenes import grid, radiometry, sources
from geoseg.scenes.bands import SceneBand, SceneMask
from geoseg.scenes.nodata import check_given_nodata
from geoseg.scenes.products import complete
from geoseg.scenes.products.entry import place_in
from geoseg.scenes.products.place import Folder, is_missing
from geoseg.scenes.scene import Scene, part_at
from geoseg.scenes.sources import SourceFile
from geoseg.scenes.versions import same_file

_DECLARED = True
_ZARR = (".zgroup", ".zarray", ".zmetadata", "zarr.json")
_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt", ".img")


@dataclass(frozen=True)
class _Candidate:
    """A band of an entry whose file is not open yet."""

    name: str
    common_name: str
    path: str
    entry: BandEntry
    spectrum: SensorBand | None
    """Where in the spectrum it lies, None when that is not known."""


def open_scene(
    entry: SceneEntry,
    name: str,
    base: Path,
    bands: Sequence[str] | None = None,
    gsd: float | None = None,
    catalog: Path | str | None = None,
) -> Scene:
    """Open a scene.

    Parameters
    ----------
    entry
        Its files, and how their numbers become physical units.
    name
        Its name, for messages.
    base
        Folder of relative paths.
    bands
        Common names of the bands, in the order wanted; None takes all.
    gsd
        Ground sample distance of the grid in metres; default: the entry's, else the finest file's.
    catalog
        The catalog with names of the members of a mosaic; None looks where names are looked up.

    Raises
    ------
    SceneError
        When a file or a band is missing, or the bands do not cover the same ground.
    """
    if entry.mosaic is None:
        entry = complete(entry, base)
    if entry.mosaic is not None:
        from geoseg.scenes.mosaic import open_mosaic  # noqa: PLC0415 (which opens its members here)

        return open_mosaic(entry, name, base, bands, gsd, catalog)
    offered = _offered(entry, base)
    chosen = offered if bands is None else [_find(offered, b, name, entry) for b in bands]
    opened = tuple(_band(c, entry) for c in chosen)
    check_given_nodata(opened, [c.entry.nodata for c in chosen], entry.nodata)
    masks = tuple(_mask(m, entry, base) for m in entry.masks)
    opened, masks = _as_data(opened, masks, {(c.path, c.entry.band) for c in offered if entry.bands})
    geobox = grid.common_grid([b.source for b in opened], gsd or entry.gsd)
    for mask in masks:
        grid.common_grid([opened[0].source, mask.source], None)
    scene = Scene(
        redact(name), geobox, opened, masks, declared_gsd_m=gsd or entry.gsd, acquired=entry.datetime,
        entry=entry, base=base,
    )  # fmt: skip
    dark = entry.radiometry.dark_object
    return scene if dark is None else replace(scene, haze=_haze(scene, dark.atmosphere))


def reopen_scene(identity: Mapping[str, Any]) -> tuple[Scene, bool]:
    """Open a scene again from its `Scene.identity`.

    Returns
    -------
    scene
        The scene on the same grid; its bands have their common names and no wavelength.
    changed
        Whether one of its files has changed since.

    Raises
    ------
    SceneError
        When a file is missing or cannot be opened.
    """
    scene = _reopened(identity)
    return scene, json.loads(json.dumps(scene.identity()["files"])) != identity["files"]


def _reopened(identity: Mapping[str, Any]) -> Scene:
    if "members" in identity:
        from geoseg.scenes.mosaic import reassemble  # noqa: PLC0415 (which opens its members here)

        whole = {"crs": identity["crs"]}
        return reassemble(identity, [_reopened({**whole, **member}) for member in identity["members"]])
    alpha = {path: tuple(numbers) for path, *numbers in identity["alpha"]}

    def source(path: str) -> SourceFile:
        return replace(sources.inspect(path), alpha=alpha.get(path, ()))

    bands = tuple(
        SceneBand(name, name, source(path), index, scale, offset, nodata, None, _DECLARED, *saturated)
        for name, path, index, scale, offset, nodata, *saturated in identity["bands"]
    )
    masks = [] if identity["mask"] is None else [identity["mask"], *identity.get("masks", [])]
    return Scene(
        identity["name"],
        GeoBox(tuple(identity["shape"]), Affine(*identity["transform"]), identity["crs"]),
        bands,
        tuple(SceneMask(source(m[0]), m[1], tuple(m[2]), tuple(m[3])) for m in masks),
        tuple(identity["haze"]),
        part=part_at(identity.get("part"), identity["crs"]),
    )


def _offered(entry: SceneEntry, base: Path) -> list[_Candidate]:
    """List the bands of an entry; open a file only when its bands have no names in the entry."""
    if entry.bands:
        places = {n: place_in(b.uri or entry.uri or "", entry, base) for n, b in entry.bands.items()}
        return _candidates([(n, places[n], b) for n, b in entry.bands.items()], entry.sensor)
    place = place_in(entry.uri or "", entry, base)
    if Path(place).is_dir():
        files = [f for f in Folder(place).names() if f.lower().endswith(_SUFFIXES)]
        named = [(designation_in(Path(f).stem), str(Path(place, f))) for f in files]
        found = [(n, f, BandEntry(uri=f)) for n, f in named if n]
        if not found and any((Path(place) / n).exists() for n in _ZARR):
            raise SceneError(
                f"{place}: is a zarr store, and no folder of bands; name its arrays as GDAL does "
                f"(bands: {{red: 'ZARR:\"{place}\":/red'}}), or write it to GeoTIFF with rioxarray"
            )
        if not found:
            raise SceneError(
                f"{place}: no file in this folder is named after a band, like scene_B02.tif; "
                "list the files under bands: in data_catalog.yaml"
            )
        return _candidates(found, entry.sensor)
    source = sources.inspect(place)
    _refuse_palette(source, 1)
    numbered = [(source.names[i - 1] or f"band {i}", place, BandEntry(band=i)) for i in source.data_bands]
    return _candidates(numbered, entry.sensor)


def _candidates(bands: Sequence[tuple[str, str, BandEntry]], sensor: str | None) -> list[_Candidate]:
    """Return bands with their common names; without a sensor, that which their names alone can mean."""
    meant = sensor or sensor_in(name for name, *_ in bands)
    return [_candidate(name, place, entry, meant) for name, place, entry in bands]


def _candidate(name: str, place: str, entry: BandEntry, sensor: str | None) -> _Candidate:
    common = entry.common_name or common_name(name, sensor)
    usual = sensor_band(name, sensor) or usual_band(common)
    centre = entry.wavelength_um or (usual and usual.wavelength_um)
    width = entry.width_um or (usual and usual.width_um)
    spectrum = SensorBand(common, centre, width or 0.0) if centre else None
    return _Candidate(name, common, place, entry, spectrum)


def _find(offered: list[_Candidate], band: str, scene: str, entry: SceneEntry) -> _Candidate:
    """Return the band with a common name, else the nearest one of the same kind that overlaps it."""
    name = common_name(band)
    found = [c for c in offered if c.common_name == name] or _alike(offered, name)
    if not found:
        named = [c.name if c.name == c.common_name else f"{c.name} ({c.common_name})" for c in offered]
        have = listed(dict.fromkeys(named))
        if entry.item is not None:
            raise SceneError(f"{scene}: item {entry.item} has no asset for {name}; it has {have}")
        raise SceneError(
            f"{scene}: no band {name}{did_you_mean(name, [c.common_name for c in offered])}; it has {have}. "
            f"If it is there under another name, say so: bands: {{{name}: <file or band number>}}"
        )
    if len(found) > 1:
        places = listed([f"{c.path} band {c.entry.band}" for c in found], 4)
        raise SceneError(
            f"{scene}: band {name} is there {len(found)} times ({places}); list one under bands:"
        )
    if found[0].common_name != name and found[0].spectrum is not None:
        warnings.warn(
            f"{scene}: {name}: taking {found[0].name} ({found[0].common_name}, "
            f"{found[0].spectrum.wavelength_um:.3g} um)",
            GeosegWarning,
            stacklevel=2,
        )
    return replace(found[0], common_name=name)


def _alike(offered: list[_Candidate], name: str) -> list[_Candidate]:
    return [offered[i] for i in nearest_alike(name, [c.spectrum for c in offered])]


def _as_data(
    bands: tuple[SceneBand, ...], masks: tuple[SceneMask, ...], named: set[tuple[str, int]]
) -> tuple[tuple[SceneBand, ...], tuple[SceneMask, ...]]:
    """Return bands and quality bands whose files have no alpha bands that are data of the scene.

    Who names a band says that it is data, whatever GDAL calls it, and whether a network wants it or not.
    """
    given = named | {(b.source.place, b.index) for b in bands} | {(m.source.place, m.index) for m in masks}
    data = {(same_file(place), index) for place, index in given}

    def without(source: SourceFile) -> SourceFile:
        here = same_file(source.place)
        return replace(source, alpha=tuple(i for i in source.alpha if (here, i) not in data))

    opened = tuple(replace(b, source=without(b.source)) for b in bands)
    return opened, tuple(replace(m, source=without(m.source)) for m in masks)


def _band(candidate: _Candidate, entry: SceneEntry) -> SceneBand:
    """Open the file of a band; values of the entry win over values in the file."""
    source, here = _source(candidate.path, candidate.name, entry), candidate.entry
    _check_band(source, here.band)
    _refuse_palette(source, here.band)
    if source.dtype(here.band).kind == "c":
        raise SceneError(
            f"{source.path}: complex numbers ({source.dtype(here.band)}) cannot be classified; export "
            "amplitudes first"
        )

    def first(*values: float | None) -> float | None:
        return next((v for v in values if v is not None), None)

    in_file = source.scales[here.band - 1], source.offsets[here.band - 1]
    in_file_declared = in_file != (1.0, 0.0)
    if here.scale is None and entry.scale is None:
        check_number(
            in_file[0], Scale, f"{source.path}: the scale in the file, of band {here.band},", SceneError
        )
    if here.offset is None and entry.offset is None:
        check_number(
            in_file[1], Offset, f"{source.path}: the offset in the file, of band {here.band},", SceneError
        )
    scale = first(here.scale, entry.scale, in_file[0] if in_file_declared else None)
    offset = first(here.offset, entry.offset, in_file[1] if in_file_declared else None)
    return SceneBand(
        name=candidate.name,
        common_name=candidate.common_name,
        source=source,
        index=here.band,
        scale=1.0 if scale is None else scale,
        offset=0.0 if offset is None else offset,
        nodata=first(here.nodata, entry.nodata, source.nodata[here.band - 1]),
        wavelength_um=None if candidate.spectrum is None else candidate.spectrum.wavelength_um,
        declared=scale is not None or offset is not None,
        saturated=first(here.saturated, entry.saturated),
    )


def _refuse_palette(source: SourceFile, band: int) -> None:
    if band in source.palettes:
        raise SceneError(
            f"{source.path}: is a palette image, whose values are numbers of colours; convert it to RGB: "
            f"gdal_translate -expand rgb {source.path} rgb.tif"
        )


def _source(path: str, name: str, entry: SceneEntry) -> SourceFile:
    """Open a file; a product that lists a file which is not there was not downloaded whole."""
    if entry.product is not None and is_missing(path):
        raise SceneError(
            f"{path}: is listed in the metadata of the product as {name} but not there; "
            "the download is incomplete"
        )
    return sources.inspect(path)


def _check_band(source: SourceFile, number: int) -> None:
    if number > len(source.names):
        raise SceneError(f"{source.path}: has no band {number}, only {len(source.names)}")


def _mask(mask: MaskEntry, entry: SceneEntry, base: Path) -> SceneMask:
    source = _source(place_in(mask.uri, entry, base), "a quality band", entry)
    _check_band(source, mask.band)
    dtype = source.dtype(mask.band)
    if dtype.kind == "c" or (mask.invalid_bits and dtype.kind not in "iu"):
        raise SceneError(f"{source.path}: holds {dtype}, which has no bits; use invalid_values")
    groups = [(b,) if isinstance(b, int) else b for b in mask.invalid_bits]
    _check_fits(source, dtype, mask.invalid_values, groups)
    return SceneMask(source, mask.band, mask.invalid_values, tuple(sum(1 << b for b in g) for g in groups))


def _check_fits(
    source: SourceFile, dtype: np.dtype[Any], values: Sequence[int], groups: Sequence[Sequence[int]]
) -> None:
    """Refuse bits and values of which the quality band can have none: all clouds would count as clear."""
    if dtype.kind not in "iu":
        return
    limits, bits = np.iinfo(dtype), 8 * dtype.itemsize
    possible = [v for v in values if limits.min <= v <= limits.max]
    if not possible and not any(max(group) < bits for group in groups):
        asked = [f"bit {b}" for group in groups for b in group] + [f"value {v}" for v in values]
        raise SceneError(
            f"{source.path}: holds {dtype}, which never has {listed(asked, 4)}, so nothing would be masked; "
            "is it the quality band, and was it converted to another type?"
        )


def _haze(scene: Scene, atmosphere: str) -> tuple[float, ...]:
    wavelengths = [b.wavelength_um for b in scene.bands]
    unknown = [b.name for b, w in zip(scene.bands, wavelengths, strict=True) if w is None]
    if unknown:
        raise SceneError(
            f"{scene.name}: dark-object subtraction needs the wavelength of band {', '.join(unknown)}; "
            "say wavelength_um under bands:"
        )
    pixels = scene.valid_sample()
    if not pixels.valid.any():
        return (0.0,) * len(scene.bands)
    # One band after the other: together they are three times as large as the sample.
    bands = (
        band[pixels.valid].astype(np.float32) * gain + bias
        for band, gain, bias in zip(pixels.values, scene.gain, scene.bias, strict=True)
    )
    return radiometry.haze(bands, [w for w in wavelengths if w is not None], atmosphere)
