"""From a Dataset or DataArray to scenes, one for each date."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray

from geoseg.config.fields import Gsd, Nodata, Offset, Scale, check_number
from geoseg.core.bands import Band, common_name
from geoseg.core.errors import SceneError, did_you_mean
from geoseg.core.geometry import Window
from geoseg.scenes.array_bands import TIME, Bands, Offered, choose, offered_bands
from geoseg.scenes.arrays import ArrayScene, Level, Numbers, array_header
from geoseg.scenes.bands import SceneBand
from geoseg.scenes.coordinates import Array, Located, locate
from geoseg.scenes.lazy import VALID, Origin, origin_of
from geoseg.scenes.scene import Scene

Given = float | Mapping[str, float] | None
"""A number for all bands, or one for each by the common name of the network's, or by its own label."""


@dataclass(frozen=True, eq=False)
class Cube:
    """The scenes of an array."""

    dates: tuple[ArrayScene, ...]
    """One scene, or one for each date."""
    located: Located
    template: xarray.DataArray
    """An array with the coordinates of the cube."""
    timed: bool
    """Whether the array has a dimension of time."""
    attributes: Mapping[Hashable, Any]
    """Those of a Dataset."""
    origin: Origin | None = None
    """The scene of which the arrays are the bands as they were opened: it can be read without them."""
    notes: tuple[str, ...] = ()
    """What the user should know."""

    @property
    def scene(self) -> Scene:
        """The scene that blocks read: that of the first date, or the one that was opened."""
        return self.dates[0] if self.origin is None else self.origin.scene

    @property
    def lazy(self) -> bool:
        """Whether any of its numbers are computed when they are needed."""
        return self.dates[0].numbers.lazy


@dataclass(frozen=True)
class Meaning:
    """What a user says of the numbers of an array, in place of its attributes."""

    scale: Given = None
    offset: Given = None
    nodata: float | None = None
    gsd: float | None = None


def read_cube(
    data: Array,
    wanted: Sequence[Band],
    *,
    bands: Bands | None = None,
    meaning: Meaning | None = None,
    mask: xarray.DataArray | None = None,
) -> Cube:
    """Return the scenes of an array; no pixel is computed.

    Parameters
    ----------
    data
        The array: dims of rows and columns in any order and, if any, of bands and time.
    wanted
        The bands of the network, in its order.
    bands
        Which bands of the array they are, see `geoseg.scenes.array_bands.choose`.
    meaning
        What its numbers mean, where the attributes do not say it or are wrong.
    mask
        Where pixels are valid; default: the variable `valid` of the Dataset, if it has one.

    Raises
    ------
    SceneError
        When a band is missing, the grid is uneven, or numbers are of a type that no scene has.
    """
    if not isinstance(data, xarray.DataArray | xarray.Dataset):
        raise SceneError(f"data: is {type(data).__name__}; give an xarray DataArray or Dataset")
    meaning = meaning or Meaning()
    located = locate(data)
    chosen, notes = choose(offered_bands(data, located.dims), wanted, bands)
    if mask is None and isinstance(data, xarray.Dataset) and VALID in data:
        mask = data[VALID]
    groups = _together(chosen)
    arrays = [_plane(offered, located) for offered in groups]
    valid = None if mask is None else _mask(mask, located, arrays[0])
    timed = any(TIME in a.dims for a in arrays)
    named = [(str(o.label), a.dtype) for o, a in zip(chosen, _of_each(groups, arrays), strict=True)]
    source = array_header("data", located.geobox, named)
    facts = _Facts(meaning, wanted, chosen)
    if meaning.gsd is not None:
        check_number(meaning.gsd, Gsd, "gsd", SceneError)
    described = tuple(
        SceneBand(
            name=str(o.label),
            common_name=w.common_name,
            source=source,
            index=i + 1,
            scale=facts.number("scale", i, 1.0),
            offset=facts.number("offset", i, 0.0),
            nodata=facts.nodata(i),
            wavelength_um=w.wavelength_um,
            declared=facts.declared(i),
        )
        for i, (w, o) in enumerate(zip(wanted, chosen, strict=True))
    )
    level = data.attrs.get("level")
    dates = tuple(
        ArrayScene(
            name=str(
                data.attrs.get("name") or (data.name if isinstance(data, xarray.DataArray) else "") or "data"
            ),
            geobox=located.geobox,
            bands=described,
            declared_gsd_m=meaning.gsd or _number(data.attrs.get("gsd")),
            numbers=_numbers(arrays, valid, t),
            held=Window.of(0, 0, *located.geobox.shape),
            stated_level=_level(level),
        )
        for t in range(_dates(arrays) if timed else 1)
    )
    attributes = data.attrs if isinstance(data, xarray.Dataset) else {}
    origin = None if timed or meaning.nodata is not None else _origin(chosen, mask, dates[0])
    return Cube(dates, located, arrays[0], timed, attributes, origin, tuple(notes))


def _origin(chosen: Sequence[Offered], mask: xarray.DataArray | None, scene: ArrayScene) -> Origin | None:
    """Return the scene that the arrays are unchanged bands of, with what is said of their numbers now."""
    origin = None if mask is None else origin_of([o.array.data for o in chosen], mask.data)
    if origin is None or origin.scene.shape != scene.shape or origin.scene.geobox.crs != scene.geobox.crs:
        return None
    bands = tuple(
        replace(b, scale=said.scale, offset=said.offset, common_name=said.common_name)
        for b, said in zip(origin.scene.bands, scene.bands, strict=True)
    )
    # Their offset includes the haze.
    whole = replace(origin.scene, bands=bands, haze=(), declared_gsd_m=scene.declared_gsd_m)
    return replace(origin, scene=whole)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float | np.number) else None


def _level(value: Any) -> Level | None:
    return value if value in {"toa", "surface"} else None


def _together(chosen: Sequence[Offered]) -> list[list[Offered]]:
    """Return neighbouring bands that lie in one array together."""
    groups: list[list[Offered]] = []
    for one in chosen:
        if groups and one.place is not None and groups[-1][-1].array is one.array:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _of_each(groups: list[list[Offered]], arrays: list[xarray.DataArray]) -> list[xarray.DataArray]:
    return [a for group, a in zip(groups, arrays, strict=True) for _ in group]


def _plane(group: list[Offered], located: Located) -> xarray.DataArray:
    """Return the bands of a group as an array with dims ([time], bands, rows, cols), north-up."""
    array = group[0].array
    along = next((d for d in array.dims if d not in {TIME, *located.dims}), None)
    if along is None:
        array, along = array.expand_dims("geoseg_band"), "geoseg_band"
    else:
        places = [o.place for o in group]
        array = array if places == list(range(array.sizes[along])) else array.isel({along: places})
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise SceneError(f"{group[0].label}: holds {array.dtype}; a network takes integers or real numbers")
    return _ordered(array, located, along)


def _ordered(array: xarray.DataArray, located: Located, *first: Hashable) -> xarray.DataArray:
    time = [TIME] if TIME in array.dims else []
    array = array.transpose(*time, *first, *located.dims)
    turns = {d: s for d, s in zip(located.dims, located.order, strict=True) if s != slice(None)}
    return array.isel(turns) if turns else array


def _mask(mask: xarray.DataArray, located: Located, like: xarray.DataArray) -> xarray.DataArray:
    """Return a mask as bool with dims ([time], rows, cols), on the grid of the bands and as they run.

    Raises
    ------
    SceneError
        When it is on another grid, or has other dimensions.
    """
    if not isinstance(mask, xarray.DataArray):
        raise SceneError(f"mask: is {type(mask).__name__}; give a DataArray with the dimensions of the data")
    mask = mask.squeeze([d for d in mask.dims if d not in {TIME, *located.dims} and mask.sizes[d] == 1])
    if mask.dtype.kind not in "biu":
        raise SceneError(f"mask: holds {mask.dtype}; give True or 1 where a pixel is valid")
    here = [d for d in mask.dims if d != TIME]
    if set(here) != set(located.dims):
        raise SceneError(f"mask: has the dimensions {', '.join(map(str, here))}; those of the data are "
                         f"{', '.join(map(str, located.dims))}")  # fmt: skip
    turns = {d: _run(mask, like, d, turned) for d, turned in zip(located.dims, located.turned, strict=True)}
    if TIME in mask.dims:
        _run(mask, like, TIME, turned=False)
    mask = mask.isel({d: s for d, s in turns.items() if s != slice(None)})
    mask = mask.transpose(*([TIME] if TIME in mask.dims else []), *located.dims)
    return mask if mask.dtype == np.bool_ else mask == 1


def _run(mask: xarray.DataArray, like: xarray.DataArray, dim: Hashable, turned: bool) -> slice:  # noqa: FBT001
    """Return the slice that makes a mask run along a dimension as the bands do, which may be turned."""
    back = slice(None, None, -1)
    same = mask.sizes[dim] == like.sizes.get(dim)
    if same and (dim not in mask.coords or dim not in like.coords):
        return back if turned else slice(None)
    if same:
        one, other = (a[dim].to_numpy() for a in (mask, like))
        exact = one.dtype.kind not in "iuf"
        for order in (slice(None), back):
            there = one[order]
            if np.array_equal(there, other) if exact else np.allclose(there, other, rtol=1e-9, atol=0):
                return order
    raise SceneError(f"mask: its {dim} is not that of the data; bring it onto the same grid")


def _dates(arrays: Sequence[xarray.DataArray]) -> int:
    return max(a.sizes[TIME] for a in arrays if TIME in a.dims)


def _numbers(arrays: Sequence[xarray.DataArray], mask: xarray.DataArray | None, date: int) -> Numbers:
    def of(array: xarray.DataArray) -> Any:
        return (array.isel({TIME: date}) if TIME in array.dims else array).data

    return Numbers(tuple(of(a) for a in arrays), None if mask is None else of(mask))


_ATTRIBUTES = {"scale": ("scale_factor", "scales"), "offset": ("add_offset", "offsets")}


@dataclass(frozen=True)
class _Facts:
    """Scale, offset and nodata of each band: what the user says, else what attributes say."""

    meaning: Meaning
    wanted: Sequence[Band]
    chosen: Sequence[Offered]

    def number(self, key: str, place: int, default: float) -> float:
        """Return the scale or offset of a band."""
        given = self._given(key, place)
        value = given if given is not None else self.chosen[place].attribute(*_ATTRIBUTES[key])
        value = default if value is None else value
        kind = Scale if key == "scale" else Offset
        value = value.item() if isinstance(value, np.generic) else value
        check_number(value, kind, f"{self.chosen[place].label}: its {key}", SceneError)
        return float(value)

    def declared(self, place: int) -> bool:
        """Return whether anything says what the numbers of a band mean."""
        names = [n for k in _ATTRIBUTES.values() for n in k]
        given = [self._given(key, place) for key in _ATTRIBUTES]
        return any(v is not None for v in (*given, self.chosen[place].attribute(*names)))

    def nodata(self, place: int) -> float | None:
        """Return the number that means nodata in a band; NaN always does."""
        one = self.chosen[place]
        value = self.meaning.nodata
        if value is None:
            value = one.attribute("_FillValue", "missing_value", "nodata", "nodatavals")
        if value is None and one.array.dtype.kind in "iu":
            value = one.array.encoding.get("_FillValue")
        if value is None:
            return None
        value = value.item() if isinstance(value, np.generic) else value
        check_number(value, Nodata, f"{one.label}: its nodata", SceneError)
        return float(value)

    def _given(self, key: str, place: int) -> float | None:
        given = getattr(self.meaning, key)
        if not isinstance(given, Mapping):
            return None if given is None else float(given)
        band, label = self.wanted[place], self.chosen[place].label
        names = {w.common_name for w in self.wanted} | {w.name for w in self.wanted}
        labels = {o.label for o in self.chosen}
        for name in given:
            if name not in names | labels and common_name(str(name)) not in names:
                raise SceneError(
                    f"{key}: the network has no band {name}{did_you_mean(str(name), map(str, names))}; it "
                    f"has {', '.join(w.common_name for w in self.wanted)}"
                )
        return next(
            (
                v
                for n, v in given.items()
                if n in {band.common_name, label} or common_name(str(n)) == band.common_name
            ),
            None,
        )
