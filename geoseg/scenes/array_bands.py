"""Which array of a Dataset or DataArray is which band of a network, and what its numbers mean."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray

from geoseg.core.bands import Band, SensorBand, common_name, nearest_alike, sensor_band, sensor_in, usual_band
from geoseg.core.errors import SceneError, did_you_mean, listed
from geoseg.scenes.coordinates import Array
from geoseg.scenes.lazy import VALID

TIME = "time"
"""Name of the dimension of a cube whose dates are segmented one by one."""

Bands = Mapping[str, Hashable] | Sequence[Hashable]


@dataclass(frozen=True, eq=False)
class Offered:
    """One band of an array."""

    label: Hashable
    """Name of its variable, or its coordinate along the dimension of bands."""
    texts: tuple[str, ...]
    """Its names, the surest one first; empty where it has none of a kind."""
    array: xarray.DataArray
    """The array that holds it, alone or with others."""
    place: int | None = None
    """Its place along the dimension of bands, None when the array holds no other."""

    def attribute(self, *names: str) -> Any:
        """Return the first of some attributes that the band has; of a list for all bands its own."""
        for name in names:
            value = self.array.attrs.get(name)
            if value is None:
                continue
            several = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)
            if not several:
                return value
            if self.place is not None and self.place < len(value):
                return value[self.place]
            if self.place is None and len(value) == 1:
                return value[0]
        return None


def band_dimension(array: xarray.DataArray, dims: tuple[Hashable, Hashable], name: str) -> Hashable | None:
    """Return the dimension of bands of an array, None when it has none beside rows, columns and time.

    Raises
    ------
    SceneError
        When it has several.
    """
    more = [d for d in array.dims if d not in {*dims, TIME}]
    if len(more) > 1:
        raise SceneError(
            f"{name}: has the dimensions {', '.join(map(str, more))} beside {dims[0]}, {dims[1]} and {TIME}; "
            "only one can be that of bands: choose along the others with .isel or .sel"
        )
    return more[0] if more else None


def offered_bands(data: Array, dims: tuple[Hashable, Hashable]) -> list[Offered]:
    """Return the bands of an array.

    Parameters
    ----------
    data
        A Dataset with a variable for each band, or an array with a dimension of bands.
    dims
        The dimensions of rows and columns.

    Raises
    ------
    SceneError
        When it has dimensions that are none of bands or time.
    """
    if isinstance(data, xarray.Dataset):
        arrays = [v for n, v in data.data_vars.items() if n != VALID and {*dims} <= {*v.dims}]
        if not arrays:
            raise SceneError(f"data: has no variable with the dimensions {dims[0]} and {dims[1]}")
        single = [_single(a, dims) for a in arrays]
        if len(single) > 1 or not {*single[0].dims} - {*dims, TIME}:
            for one in single:
                if band_dimension(one, dims, str(one.name)) is not None:
                    raise SceneError(
                        f"{one.name}: has a dimension of bands, and is one of {len(single)} variables; give "
                        f"data[{str(one.name)!r}] alone"
                    )
            return [Offered(a.name, _texts(a.name, a.attrs, a.coords), a) for a in single]
        data = single[0]
    along = band_dimension(data, dims, "data")
    if along is None:
        return [Offered(data.name or 0, _texts(data.name, data.attrs, data.coords), data)]
    return _along(data, along)


def _single(array: xarray.DataArray, dims: tuple[Hashable, Hashable]) -> xarray.DataArray:
    """Return an array without further dimensions of length one."""
    return array.squeeze([d for d in array.dims if d not in {*dims, TIME} and array.sizes[d] == 1], drop=True)


def _texts(name: Any, attrs: Mapping[Any, Any], coords: Any) -> tuple[str, ...]:
    common = attrs.get("common_name")
    if common is None and "common_name" in coords and coords["common_name"].ndim == 0:
        common = coords["common_name"].item()
    return tuple(v if isinstance(v, str) else "" for v in (name, attrs.get("long_name"), common))


def _along(array: xarray.DataArray, along: Hashable) -> list[Offered]:
    count = array.sizes[along]
    labels = array[along].to_numpy().tolist() if along in array.coords else list(range(count))
    kinds = [labels, array.attrs.get("long_name"), array.attrs.get("common_name")]
    if "common_name" in array.coords and array["common_name"].dims == (along,):
        kinds[2] = array["common_name"].to_numpy().tolist()
    several = [list(k) if isinstance(k, list | tuple) and len(k) == count else [""] * count for k in kinds]
    return [
        Offered(label, tuple(t if isinstance(t, str) else "" for t in texts), array, i)
        for i, (label, *texts) in enumerate(zip(labels, *several, strict=True))
    ]


def choose(
    offered: Sequence[Offered], wanted: Sequence[Band], bands: Bands | None
) -> tuple[list[Offered], list[str]]:
    """Return the band of an array for each band of a network, and notes for the user.

    Parameters
    ----------
    offered
        The bands of the array.
    wanted
        The bands of the network.
    bands
        What the user says: the name of each band of the network to the label of one of the array, or the
        labels in the order of the network.

    Raises
    ------
    SceneError
        When a band is missing, or there several times.
    """
    said = _said(bands, wanted)
    texts = [t for o in offered for t in o.texts if t]
    sensor = sensor_in(texts)
    found, notes = [], []
    for band in wanted:
        if band.common_name in said:
            found.append(_labelled(offered, said[band.common_name], band))
            continue
        one, note = _named(offered, band, sensor)
        found.append(one)
        notes += [note] if note else []
    return found, notes


def _said(bands: Bands | None, wanted: Sequence[Band]) -> dict[str, Hashable]:
    """Return what a user says of bands by the common names of those of the network."""
    names = [b.common_name for b in wanted]
    if bands is None:
        return {}
    if isinstance(bands, str):
        raise SceneError(f"bands: {bands!r} is one name; write {{{names[0]!r}: {bands!r}}}")
    if not isinstance(bands, Mapping):
        if len(bands) != len(names):
            raise SceneError(
                f"bands: {len(bands)} are named, and the network has {len(names)}: {', '.join(names)}; name "
                "them in that order"
            )
        return dict(zip(names, bands, strict=True))
    known = {b.name: b.common_name for b in wanted} | {n: n for n in names}
    said = {}
    for key, label in bands.items():
        name = known.get(key) or known.get(common_name(str(key)))
        if name is None:
            raise SceneError(
                f"bands: the network has no band {key}{did_you_mean(str(key), names)}; it has "
                f"{', '.join(names)}"
            )
        said[name] = label
    return said


def _labelled(offered: Sequence[Offered], label: Hashable, band: Band) -> Offered:
    found = [o for o in offered if o.label == label] or [o for o in offered if label in o.texts]
    if len(found) != 1:
        times = "no" if not found else f"{len(found)} bands called"
        raise SceneError(
            f"bands: {band.common_name}: data has {times} {label!r}; it has "
            f"{listed([str(o.label) for o in offered])}"
        )
    return found[0]


def _named(offered: Sequence[Offered], band: Band, sensor: str | None) -> tuple[Offered, str]:
    """Return the band that has the name of a network's, else the nearest one of its kind, with a note."""
    for kind in range(3):
        # Who has a surer name of another band is not this one.
        unnamed = [o for o in offered if not any(_is_known(t, sensor) for t in o.texts[:kind])]
        found = [o for o in unnamed if _means(o.texts[kind], band, sensor)]
        if len(found) > 1:
            labels = ", ".join(str(o.label) for o in found)
            raise SceneError(
                f"data: band {band.common_name} is there {len(found)} times ({labels}); name one: "
                f"bands={{{band.common_name!r}: ...}}"
            )
        if found:
            return found[0], ""
    spectra = [_spectrum(o, sensor) for o in offered]
    alike = nearest_alike(band.common_name, spectra)
    if len(alike) == 1:
        one, spectrum = offered[alike[0]], spectra[alike[0]]
        at = "" if spectrum is None else f", {spectrum.wavelength_um:.3g} um"
        return one, f"{band.common_name}: taking {one.label} ({_common(one, sensor)}{at})"
    have = listed([_shown(o, sensor) for o in offered])
    raise SceneError(
        f"data: has no band {band.common_name} (it has {have}); name it: bands={{{band.common_name!r}: ...}}"
    )


def _means(text: str, band: Band, sensor: str | None) -> bool:
    return bool(text) and common_name(text, sensor) == band.common_name


def _is_known(text: str, sensor: str | None) -> bool:
    return bool(text) and usual_band(common_name(text, sensor)) is not None


def _common(one: Offered, sensor: str | None) -> str:
    """Return the common name of a band of an array: that of its first name which is known, else its first."""
    names = [common_name(t, sensor) for t in one.texts if t]
    return next((n for n in names if usual_band(n)), names[0] if names else "")


def _spectrum(one: Offered, sensor: str | None) -> SensorBand | None:
    """Return where in the spectrum a band of an array lies, None when that is not known."""
    common = _common(one, sensor)
    usual = next((b for t in one.texts if t and (b := sensor_band(t, sensor))), None) or usual_band(common)
    centre = one.attribute("center_wavelength")
    if isinstance(centre, int | float | np.number) and 0 < float(centre) < 100:
        return SensorBand(common, float(centre), usual.width_um if usual else 0.0)
    return None if usual is None else SensorBand(common, usual.wavelength_um, usual.width_um)


def _shown(one: Offered, sensor: str | None) -> str:
    common = _common(one, sensor)
    return str(one.label) if common in {"", str(one.label)} else f"{one.label} ({common})"
