"""A scene as a lazy Dataset: raw numbers that are read when they are needed."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import dask.array
import numpy as np
import xarray
from dask._task_spec import Task, TaskRef
from dask.array.core import normalize_chunks
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from geoseg.core.errors import ConfigError
from geoseg.core.geometry import Span, Window
from geoseg.scenes.bands import SceneMask
from geoseg.scenes.chunks import MapPart, held_maps, lazy_maps, map_parts, with_held_maps
from geoseg.scenes.class_masks import ClassMask
from geoseg.scenes.nodata import can_hold
from geoseg.scenes.pixels import Pixels
from geoseg.scenes.scene import Scene
from geoseg.tiling.outline import Outline

VALID = "valid"
"""Name of the variable that says where pixels are valid."""


_ORIGIN = "geoseg_origin"
"""Key under which the layers of a lazy scene have the scene and the place of their band."""


@dataclass(frozen=True)
class Origin:
    """What lazy arrays were made of."""

    scene: Scene
    place: int | None = None
    """The place of the band of an array; None of `valid`, and of several bands."""
    outline: Outline | None = None
    """The outline of the area of interest, in pixels of the scene."""


def origin_of(bands: Sequence[Any], valid: Any) -> Origin | None:
    """Return the scene that lazy arrays are the bands of, unchanged; None: they are others.

    Who knows the scene can read any window of it, and needs no chunks, which neighbours would share.

    Parameters
    ----------
    bands
        Arrays, in the order of the bands of the scene that is returned.
    valid
        The array that should be `valid` of the same scene.
    """
    found = [_origin(a) for a in (*bands, valid)]
    known = [f for f in found if f is not None]
    if len(known) < len(found) or len({id(f.scene) for f in known}) != 1:
        return None
    *places, last = [f.place for f in known]
    if None in places or last is not None:
        return None
    return replace(known[0], scene=known[0].scene.pick([p for p in places if p is not None]), place=None)


def _origin(array: Any) -> Origin | None:
    if not isinstance(array, dask.array.Array):
        return None
    layer = array.dask.layers.get(array.name)
    about = getattr(layer, "collection_annotations", None) or {}
    found: Origin | None = about.get(_ORIGIN)
    return found


def to_dataset(
    scene: Scene, chunks: int | Mapping[Hashable, int] | None = 1024, outline: Outline | None = None
) -> xarray.Dataset:
    """Return a scene as a Dataset of raw numbers, one variable for each band, and `valid`.

    Bands of one file are read together, and each pixel once, whatever variables are computed together.

    Parameters
    ----------
    scene
        The scene.
    chunks
        Rows and columns of the chunks of Dask, one number or one for each dimension; None reads all at once
        into memory.
    outline
        The outline of an area of interest in pixels of the scene; pixels outside are not valid.

    Returns
    -------
    Dataset
        Dims are those of the CRS: (y, x), or (latitude, longitude). Attributes of a band: `common_name`,
        `scale_factor`, `add_offset`, `center_wavelength` in micrometres and, where numbers are as in the
        file, `_FillValue`. `valid` is False where a band, a mask or a quality band says nodata.
    """
    dims = scene.geobox.dimensions
    sizes = _chunks(scene.shape, dims, chunks)
    lazy = _lazy(replace(scene.with_absolute_paths(), entry=None), sizes, outline)
    names = [_unlike(scene, i) for i in range(len(scene.bands))]
    variables = {
        name: (dims, array, _attributes(scene, i))
        for i, (name, array) in enumerate(zip(names, lazy.bands, strict=True))
    }
    coords: dict[Any, Any] = dict(xr_coords(scene.geobox))
    if scene.acquired is not None:
        coords["time"] = np.datetime64(scene.acquired.replace(tzinfo=None), "ns")
    about: dict[str, Any] = {"level": None if scene.haze else scene.level}
    if scene.geobox.crs is None:
        about["gsd"] = scene.declared_gsd_m
    if scene.entry is not None:
        entry = scene.entry
        about |= {"platform": entry.platform, "product": entry.product, "title": entry.title or None}
    found = xarray.Dataset(
        {**variables, VALID: (dims, lazy.valid, {"long_name": "pixels with data"})},
        coords=coords,
        attrs={"name": scene.name, **{k: v for k, v in about.items() if v is not None}},
    )
    return found.compute(scheduler="threads") if chunks is None else found


def _unlike(scene: Scene, place: int) -> str:
    """Return the name of the variable of a band: its common name, if no other band has it."""
    names = [b.common_name for b in scene.bands]
    if Counter(names)[names[place]] == 1 and names[place] != VALID:
        return names[place]
    own = scene.bands[place].name
    alone = [b.name for b in scene.bands].count(own) == 1 and own not in {*names, VALID}
    return own if alone else f"{names[place]}_{place + 1}"


def _attributes(scene: Scene, place: int) -> dict[str, Any]:
    band = scene.bands[place]
    haze = scene.haze[place] if scene.haze else 0.0
    facts: dict[str, Any] = {"long_name": band.name, "common_name": band.common_name}
    if band.declared or haze:
        facts |= {"scale_factor": band.scale, "add_offset": band.offset - haze}
    if band.wavelength_um is not None:
        facts["center_wavelength"] = band.wavelength_um
    as_stored = scene.members == (scene,) and band.source.geobox == scene.whole
    if as_stored and band.nodata is not None and can_hold(band.dtype, band.nodata):
        # Interpolated numbers may be that of nodata by chance.
        facts["_FillValue"] = band.dtype.type(band.nodata)
    return facts


def _chunks(
    shape: tuple[int, int], dims: tuple[str, str], chunks: int | Mapping[Hashable, int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(chunks, Mapping):
        if strange := [k for k in chunks if k not in dims]:
            raise ConfigError(f"chunks: the scene has no dimension {strange[0]}; it has {dims[0]}, {dims[1]}")
        wanted = tuple(chunks.get(d, -1) for d in dims)
    else:
        wanted = (1024 if chunks is None else chunks,) * 2
    if any(not isinstance(n, int | np.integer) or (n < 1 and n != -1) for n in wanted):
        raise ConfigError(
            f"chunks: {chunks!r} are no numbers of pixels; write 1024, or -1 for the whole scene"
        )
    rows, cols = normalize_chunks(wanted, shape)
    return rows, cols


@dataclass(frozen=True)
class _Lazy:
    bands: list[Any]
    """A lazy array (rows, cols) for each band."""
    valid: Any


def _lazy(
    scene: Scene, sizes: tuple[tuple[int, ...], tuple[int, ...]], outline: Outline | None = None
) -> _Lazy:
    """Return lazy arrays; each file is read by one task for each chunk, which has all its bands."""
    maps = lazy_maps(scene)
    masked = [[(m.key, m.invalid, m.dilate) for m in member.class_masks] for member in scene.members]
    facts = [m.name for m in maps], masked
    token = tokenize(
        scene.identity(), scene.window, sizes, None if outline is None else outline.edges,
        *(facts if maps else ()),
    )  # fmt: skip
    spans = [_spans(lengths) for lengths in sizes]
    windows = {(i, j): Window(spans[0][i], spans[1][j]) for i, j in product(*(range(len(n)) for n in sizes))}
    groups = scene.read_apart()
    layers: dict[str, Any] = {}
    bands: list[str] = [""] * len(scene.bands)
    for number, (places, part) in enumerate(groups):
        read = f"geoseg-read-{number}-{token}"
        bare = part.with_class_maps({})
        layers[read] = {}
        for at, window in windows.items():
            parts, keys = map_parts(part, window)
            layers[read][read, *at] = Task(
                (read, *at), _read, bare.near(window), window, parts, *(TaskRef(k) for k in keys)
            )
        for k, place in enumerate(places):
            bands[place] = band = f"geoseg-band-{place}-{token}"
            dtype = scene.bands[place].dtype
            layers[band] = {
                (band, *at): Task((band, *at), _band, TaskRef((read, *at)), k, dtype) for at in windows
            }
    reads = [f"geoseg-read-{number}-{token}" for number in range(len(groups))]
    # A mosaic has the masks of its members inside.
    found = tuple(m.with_map({}) for m in scene.class_masks)
    valid = f"geoseg-valid-{token}"
    layers[valid] = {}
    for at, window in windows.items():
        parts, keys = map_parts(scene, window) if found else ((), [])
        layers[valid][valid, *at] = Task(
            (valid, *at),
            _valid,
            (scene.whole, scene.in_whole(window)),
            (*scene.masks, *found),
            parts,
            None if outline is None else (outline.near(window), window),
            len(reads),
            *(TaskRef((r, *at)) for r in reads),
            *(TaskRef(k) for k in keys),
        )
    made = {m.name for m in maps}
    depends: dict[str, set[str]] = {name: set(made) for name in reads}
    for number, (places, _) in enumerate(groups):
        depends |= {bands[place]: {reads[number]} for place in places}
    depends[valid] = {*reads, *made}
    whole = {
        name: MaterializedLayer(
            layer,
            collection_annotations={
                _ORIGIN: Origin(scene, bands.index(name) if name in bands else None, outline)
            },
        )
        for name, layer in layers.items()
    }
    graph = HighLevelGraph.merge(*(m.dask for m in maps), HighLevelGraph(whole, depends))

    def array(name: str, dtype: Any) -> Any:
        return dask.array.Array(graph, name, sizes, dtype=dtype)

    return _Lazy([array(n, b.dtype) for n, b in zip(bands, scene.bands, strict=True)], array(valid, np.bool_))


def _spans(lengths: tuple[int, ...]) -> list[Span]:
    ends = np.cumsum(lengths).tolist()
    return [Span(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def _read(scene: Scene, window: Window, parts: tuple[MapPart, ...], *chunks: NDArray[np.uint8]) -> Pixels:
    return with_held_maps(scene, parts, chunks).read(window)


def _band(pixels: Pixels, place: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.asarray(pixels.values[place], dtype)


def _valid(
    place: tuple[GeoBox, Window],
    masks: tuple[SceneMask | ClassMask, ...],
    parts: tuple[MapPart, ...],
    area: tuple[Outline, Window] | None,
    count: int,
    *given: Any,
) -> NDArray[np.bool_]:
    """Return where a window is valid; its place is the grid of the whole scene and the window there.

    Given are the pixels of so many files, and chunks of class maps.
    """
    valid = np.logical_and.reduce([p.valid for p in given[:count]])
    maps = held_maps(parts, given[count:])
    for mask in masks:
        here = mask.with_map(maps) if isinstance(mask, ClassMask) else mask
        valid = valid & here.valid_in(*place)
    if area is not None:
        outline, window = area
        valid = valid & outline.inside(window)
    return np.asarray(valid)
