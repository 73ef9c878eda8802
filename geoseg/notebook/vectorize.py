"""Polygons of a class map that is an array."""

import os
import re
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config.loader import checked
from geoseg.config.pipeline import Vectorize
from geoseg.core.errors import SceneError
from geoseg.core.geometry import Span, Window
from geoseg.core.legend import NODATA, Legend, LegendClass
from geoseg.core.ordered import Workers

if TYPE_CHECKING:
    import geopandas
    import xarray
    from odc.geo.geobox import GeoBox

_COLORS = (
    "#1b7837", "#f2cf63", "#2b7bba", "#d7301f", "#b8a99a", "#7b3294", "#66c2a5", "#fc8d62", "#8da0cb",
    "#e78ac3", "#a6d854", "#a6761d",
)  # fmt: skip
"""Colours of classes whose map has none, in turn."""


def vectorize(classes: "xarray.Dataset | xarray.DataArray", **settings: Any) -> "geopandas.GeoDataFrame":
    """Return the polygons of a class map.

    They are those that a run writes of the same map, without gaps or overlaps. A lazy map is computed block
    by block, and never whole in memory.

    Parameters
    ----------
    classes
        What `geoseg.segment` returns, or an array of class ids whose attributes `flag_values` and
        `flag_meanings` (CF conventions) name the classes; dims (y, x), one date. With a variable
        `confidence`, polygons have its statistics.
    **settings
        The keys of `vectorize` in a pipeline: `minimum_area`, `simplify`, `smooth`, `dissolve`, ...

    Returns
    -------
    GeoDataFrame
        Class, area, perimeter, confidence and geometry of each polygon, in the CRS of the map.

    Raises
    ------
    SceneError
        When the array has no flags, several dates, or values that no flag names.
    ConfigError
        When there is no such setting.

    Examples
    --------
    >>> run = geoseg.open_run("outputs/example")
    >>> polygons = geoseg.vectorize(run.classes(), minimum_area=1000, simplify="1 px")
    >>> polygons.columns[:3].to_list()
    ['class_id', 'class_name', 'area_m2']
    """
    # pandas and GDAL's vectors are slow to import: not before they are needed.
    import geopandas  # noqa: PLC0415

    from geoseg.raster.area import pixel_area_m2  # noqa: PLC0415
    from geoseg.scenes.grid import gsd_m  # noqa: PLC0415
    from geoseg.vector.recipe import resolve_recipe  # noqa: PLC0415
    from geoseg.vector.trace.block import MapFiles  # noqa: PLC0415
    from geoseg.vector.vectorize import vectorize as vectorize_files  # noqa: PLC0415

    found = _map_of(classes)
    wanted = checked(settings, Vectorize, "vectorize")
    areas = pixel_area_m2(found.geobox)
    gsd, pixel = (None, None) if areas is None else (gsd_m(found.geobox), float(areas[len(areas) // 2]))
    recipe = resolve_recipe(wanted, found.legend, gsd, pixel)
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder, ThreadPoolExecutor(threads) as pool:
        here = Path(folder)
        files = MapFiles(here / "classes.tif", None if found.confidence is None else here / "confidence.tif")
        _write(found, files.classes, files.confidence)
        (package,) = vectorize_files(
            files,
            recipe,
            Workers(pool, 2 * threads),
            here,
            layer="polygons",
            formats=("gpkg",),
            provenance={},
        )
        return geopandas.read_file(package, layer="polygons")


@dataclass(frozen=True)
class _Map:
    """A class map as arrays, north-up."""

    classes: Any
    """Class ids, shape (rows, cols); of numpy or Dask."""
    confidence: Any | None
    """0 to 1, same shape."""
    nodata: tuple[float, ...]
    """Values without a class."""
    geobox: "GeoBox"
    legend: Legend


def _map_of(classes: "xarray.Dataset | xarray.DataArray") -> _Map:
    import xarray  # noqa: PLC0415

    from geoseg.scenes.coordinates import locate  # noqa: PLC0415

    confidence = None
    if isinstance(classes, xarray.Dataset):
        confidence = classes.get("confidence")
        named = [n for n, v in classes.data_vars.items() if "flag_values" in v.attrs]
        if "class" not in classes and len(named) != 1:
            raise SceneError(
                "vectorize: the Dataset has no variable class; give one with flags: data['name']"
            )
        classes = classes["class" if "class" in classes else named[0]]
    elif not isinstance(classes, xarray.DataArray):
        raise SceneError(
            f"vectorize: {type(classes).__name__} is no map; give an xarray Dataset or DataArray"
        )
    located = locate(classes, "vectorize")
    more = [d for d in classes.dims if d not in located.dims and classes.sizes[d] != 1]
    if more:
        raise SceneError(f"vectorize: the map has several {more[0]}; choose one: .isel({more[0]}=0)")
    if classes.dtype.kind not in "iuf":
        raise SceneError(
            f"vectorize: the map holds {classes.dtype}; class ids are whole numbers from 0 to 254"
        )

    def plane(array: "xarray.DataArray") -> Any:
        array = array.squeeze([d for d in array.dims if d not in located.dims]).transpose(*located.dims)
        return array.isel(dict(zip(located.dims, located.order, strict=True))).data

    attrs = {**classes.encoding, **classes.attrs}
    nodata = {
        float(attrs[k]) for k in ("_FillValue", "missing_value", "nodata") if np.ndim(attrs.get(k, [0])) == 0
    }
    return _Map(
        plane(classes), None if confidence is None else plane(confidence),
        tuple(nodata or {float(NODATA)}), located.geobox, _legend(classes.attrs),
    )  # fmt: skip


def _legend(attrs: Any) -> Legend:
    """Return the legend that the flags of an array describe."""
    if "flag_values" not in attrs or "flag_meanings" not in attrs:
        raise SceneError(
            "vectorize: the map has no attributes flag_values and flag_meanings; set them: "
            "classes.attrs.update(flag_values=[1, 2], flag_meanings='forest water')"
        )
    values = np.ravel(attrs["flag_values"]).tolist()
    slugs = str(attrs["flag_meanings"]).split()
    if len(values) != len(slugs):
        raise SceneError(
            f"vectorize: {len(values)} flag_values have {len(slugs)} flag_meanings; they must agree"
        )
    colors = re.findall(r"#[0-9a-fA-F]{6}", str(attrs.get("flag_colors", "")))
    if len(colors) != len(values):
        colors = [_COLORS[i % len(_COLORS)] for i in range(len(values))]
    titles = str(attrs.get("flag_titles", "")).split("; ")
    if len(titles) != len(values):
        titles = [s.replace("_", " ") for s in slugs]
    # Of many maps 255, or another value, means nodata and has a flag all the same.
    rows = [r for r in zip(values, slugs, titles, colors, strict=True) if 0 <= r[0] < NODATA]
    if not rows:
        raise SceneError("vectorize: flag_values: names no class from 0 to 254")
    try:
        return Legend(tuple(LegendClass(int(i), slug, title, color) for i, slug, title, color in rows))
    except ValueError as error:
        raise SceneError(f"vectorize: flag_meanings: {error}") from None


class _Raster:
    """A tiled GeoTIFF that threads write part by part."""

    def __init__(self, path: Path, geobox: "GeoBox", dtype: str) -> None:
        import rasterio  # noqa: PLC0415

        from geoseg.raster.staging import crs_wkt  # noqa: PLC0415

        self._lock = threading.Lock()
        self._dst = rasterio.open(
            path, "w", driver="GTiff", height=geobox.shape.y, width=geobox.shape.x, count=1, dtype=dtype,
            crs=crs_wkt(geobox.crs), transform=geobox.transform, tiled=True, blockxsize=256, blockysize=256,
            compress="zstd", zstd_level=1, nodata=NODATA, bigtiff="if_safer",
        )  # fmt: skip

    def write(self, window: Window, values: NDArray[Any]) -> None:
        """Write a part."""
        from geoseg.scenes.windows import to_rasterio  # noqa: PLC0415

        with self._lock:
            self._dst.write(values, 1, window=to_rasterio(window))

    def close(self) -> None:
        """Write what is left."""
        self._dst.close()


class _Target:
    """What Dask stores chunks of a map in."""

    def __init__(self, raster: _Raster, convert: Any) -> None:
        self.raster, self.convert = raster, convert

    def __setitem__(self, key: tuple[slice, slice], values: NDArray[Any]) -> None:
        rows, cols = (Span(s.start, s.stop) for s in key)
        self.raster.write(Window(rows, cols), self.convert(np.asarray(values)))


def _write(found: _Map, classes: Path, confidence: Path | None) -> None:
    """Write a map and its confidence as files; what is lazy is computed once, both together."""
    known = np.array([c.id for c in found.legend.classes])

    def ids(values: NDArray[Any]) -> NDArray[np.uint8]:
        none = np.isin(values, found.nodata) | ~np.isfinite(values)
        strange = np.unique(values[~none & ~np.isin(values, known)])
        if len(strange):
            raise SceneError(f"vectorize: the map has the value {strange[0]:g}, which no flag names")
        return np.where(none, NODATA, np.where(none, 0, values)).astype(np.uint8)

    def shares(values: NDArray[Any]) -> NDArray[np.float32]:
        return np.nan_to_num(np.asarray(values, np.float32), nan=0.0)

    planes = [(found.classes, _Target(_Raster(classes, found.geobox, "uint8"), ids))]
    if confidence is not None:
        planes.append((found.confidence, _Target(_Raster(confidence, found.geobox, "float32"), shares)))
    try:
        _store(planes)
    finally:
        for _, target in planes:
            target.raster.close()


def _store(planes: list[tuple[Any, _Target]]) -> None:
    lazy = [(a, t) for a, t in planes if hasattr(a, "__dask_graph__")]
    for array, target in planes:
        if not hasattr(array, "__dask_graph__"):
            for rows in _spans(array.shape[0]):
                target[rows, slice(0, array.shape[1])] = array[rows]
    if not lazy:
        return
    from geoseg.notebook.place import active_client  # noqa: PLC0415

    client = active_client()
    if client is None:
        import dask.array  # noqa: PLC0415

        # In threads of this process, which has the files open.
        dask.array.store([a for a, _ in lazy], [t for _, t in lazy], lock=False, scheduler="threads")
        return
    _fetch(client, lazy)


def _fetch(client: Any, lazy: list[tuple[Any, _Target]]) -> None:
    """Store what the workers of a client compute, chunk by chunk."""
    from dask.array.core import slices_from_chunks  # noqa: PLC0415
    from distributed import as_completed  # noqa: PLC0415

    places: dict[Any, tuple[_Target, Any]] = {}
    persisted = client.persist([a for a, _ in lazy])
    from distributed import futures_of  # noqa: PLC0415

    for (_, target), array in zip(lazy, persisted, strict=True):
        where = dict(zip(_keys(array), slices_from_chunks(array.chunks), strict=True))
        places |= {key: (target, part) for key, part in where.items()}
    futures = [f for f in futures_of(persisted) if f.key in places]
    del persisted
    for future, values in as_completed(futures, with_results=True):
        target, part = places[future.key]
        target[part] = values
        future.release()


def _keys(array: Any) -> list[Any]:
    from dask.core import flatten  # noqa: PLC0415

    return list(flatten(array.__dask_keys__()))


def _spans(length: int) -> list[slice]:
    return [slice(i, min(i + 1024, length)) for i in range(0, length, 1024)]
