"""The Dataset that `segment` returns."""

import hashlib
import json
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Literal

import dask.array
import numpy as np
import xarray
from dask.base import tokenize
from numpy.typing import NDArray
from odc.geo.xr import xr_coords

import geoseg
from geoseg.core.errors import GeosegWarning
from geoseg.core.legend import NODATA, cf_flags
from geoseg.inference.predict import Job, Network
from geoseg.models.backends.spec import library_version
from geoseg.models.bundle import Bundle
from geoseg.models.strangeness import LIMIT, MOST
from geoseg.notebook.graph import MOST_CHUNKS, lazy_planes
from geoseg.scenes.arrays import ArrayScene, Numbers
from geoseg.scenes.coordinates import crs_coordinates
from geoseg.scenes.cube import Cube
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.heads import ValueHead

Output = Literal["class", "confidence", "probability", "disagreement", "strangeness", "label", "value"]

OUTPUTS: tuple[Output, ...] = ("class", "confidence", "probability", "strangeness")

OUTPUTS_OF: dict[str, tuple[tuple[Output, ...], tuple[Output, ...]]] = {
    "multilabel": (("label", "probability", "strangeness"), ("label",)),
    "regression": (("value", "strangeness"), ("value",)),
}
"""What there is, and what is returned by default, for networks that give no class map."""

_SHARES = {
    "confidence": "probability of the chosen class",
    "disagreement": "disagreement of the networks",
}

CLASS_NAME = "class_name"
"""Dimension of the classes of `probability`; no variable may have the name of a dimension that it lacks."""


def lazy_map(
    cube: Cube,
    bundle: Bundle,
    job: Job,
    blocks: BlockGrid,
    wanted: list[Output],
    resources: dict[str, int] | None,
    *,
    turns: bool,
) -> xarray.Dataset:
    """Return what `segment` returns, lazy.

    Parameters
    ----------
    cube
        The scenes.
    bundle
        The model.
    job
        What the tasks share.
    blocks
        The blocks of each scene.
    wanted
        The variables.
    resources
        Resources of Dask that a prediction asks for.
    turns
        Whether blocks begin one after the other.
    """
    scenes = [_as_dask(scene) for scene in cube.dates]
    identity = _identity(scenes, bundle, job, blocks)
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    planes, most = lazy_planes(
        scenes if cube.origin is None else [cube.scene],
        job,
        blocks,
        fingerprint[:32],
        resources=resources,
        turns=turns,
        turned=cube.located.turned,
        outline=None if cube.origin is None else cube.origin.outline,
    )
    if most > MOST_CHUNKS:
        warnings.warn(
            f"segment: a block of {' x '.join(map(str, blocks.block(0, 0).reach.shape))} px takes {most} "
            "chunks of the data, which is slow; rechunk it first: data.chunk(y=1024, x=1024)",
            GeosegWarning,
            stacklevel=4,
        )
    classes, task = bundle.card.classes, bundle.card.task
    time = ("time",) if cube.timed else ()
    dims = (*time, *cube.located.dims)
    made: dict[str, Any] = {}
    if "class" in wanted:
        made["class"] = (dims, planes.array("class", _classes, "u1", timed=cube.timed))
    if "confidence" in wanted:
        made["confidence"] = (dims, planes.array("confidence", _confidence, "f4", timed=cube.timed))
    each = (*time, CLASS_NAME, *cube.located.dims)
    if "label" in wanted:
        flags = partial(_labels, count=len(classes))
        made["label"] = (each, planes.array("label", flags, "u1", len(classes), timed=cube.timed))
    if "probability" in wanted:
        first = len(classes) if task == "multilabel" else 2
        shares = partial(_probability, first=first, count=len(classes))
        made["probability"] = (
            each,
            planes.array("probability", shares, "f4", len(classes), timed=cube.timed),
        )
    if "disagreement" in wanted:
        made["disagreement"] = (
            dims,
            planes.array("disagreement", _disagreement, "f4", timed=cube.timed),
        )
    if "strangeness" in wanted:
        made["strangeness"] = (dims, planes.array("strangeness", _strangeness, "f4", timed=cube.timed))
    if isinstance(job.other, ValueHead) and "value" in wanted:
        values = partial(_values, head=job.other)
        made["value"] = (dims, planes.array("value", values, "f4", timed=cube.timed))
    found = xarray.Dataset(made, coords=_coordinates(cube), attrs=_attributes(cube, bundle, fingerprint))
    if {"label", "probability"} & set(wanted):
        found = found.assign_coords({CLASS_NAME: [c.slug for c in classes]})
    order = {d: s for d, s in zip(cube.located.dims, cube.located.order, strict=True) if s != slice(None)}
    return _described(found.isel(order) if order else found, bundle)


def _as_dask(scene: ArrayScene) -> ArrayScene:
    """Return a scene whose arrays are all of Dask; those in memory become one chunk each."""

    def lazy(array: Any) -> Any:
        if hasattr(array, "__dask_graph__"):
            return array
        return dask.array.from_array(array, chunks=-1, asarray=False)

    numbers = scene.numbers
    mask = None if numbers.mask is None else lazy(numbers.mask)
    return replace(scene, numbers=Numbers(tuple(map(lazy, numbers.planes)), mask))


def _identity(scenes: Sequence[ArrayScene], bundle: Bundle, job: Job, blocks: BlockGrid) -> dict[str, Any]:
    """Return what decides the bytes of the result, as plain values."""
    numbers = tokenize([a.name for s in scenes for a in s.numbers.arrays])
    scene, spec = scenes[0], job.segmenter
    return {
        "geoseg": geoseg.__version__,
        "backend": (spec.backend, library_version(spec.backend)),
        "numbers": numbers,
        "shape": scene.shape,
        "bands": [[b.common_name, b.scale, b.offset, b.nodata] for b in scene.bands],
        "model": {"name": bundle.card.name, "sha256": bundle.sha256},
        "tile": job.grid.tile_shape,
        "overlap": (job.grid.rows.overlap, job.grid.cols.overlap),
        "block": blocks.rows.size,
        "batch": job.batch,
        "device": spec.device.split(":")[0],
        "precision": spec.precision,
        "augment": spec.augment,
        "probabilities": job.probabilities,
        **({"strangeness": True} if job.strangeness else {}),
        **({"members": [_member(n) for n in job.members]} if job.members else {}),
        **({"planes": job.head.planes} if job.members else {}),
        **({} if job.thresholds is None else {"thresholds": asdict(job.thresholds)}),
    }


def _member(network: Network) -> dict[str, Any]:
    """Return what decides the answers of a network of an ensemble."""
    spec = network.segmenter
    return {
        "sha256": spec.sha256,
        "backend": (spec.backend, library_version(spec.backend)),
        "batch": network.batch,
        "device": spec.device.split(":")[0],
        "precision": spec.precision,
    }


def _classes(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(planes[0])


def _confidence(planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    return _share(planes[1])


def _strangeness(planes: NDArray[Any]) -> NDArray[np.float32]:
    return _share(planes[-1])


def _labels(planes: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    return np.asarray(planes[:count])


def _values(planes: NDArray[np.uint16], head: ValueHead) -> NDArray[np.float32]:
    return head.values(planes[0])


def _probability(planes: NDArray[np.uint8], first: int, count: int) -> NDArray[np.float32]:
    return _share(planes[first : first + count])


def _disagreement(planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    return _share(planes[-1])


def _share(percent: NDArray[Any]) -> NDArray[np.float32]:
    """Return whole per cent as the share that the map of a run has, NaN without data."""
    table = (np.arange(256) * 0.01).astype(np.float32)
    table[NODATA] = np.nan
    shares: NDArray[np.float32] = table[percent]
    return shares


def _coordinates(cube: Cube) -> dict[Hashable, Any]:
    """Return the coordinates of the data that those of the result share."""
    dims = {"time", *cube.located.dims}
    kept = {
        n: c
        for n, c in cube.template.coords.items()
        if set(c.dims) <= dims and n not in {"band", "common_name"}
    }
    stated = {c.name for c in crs_coordinates(cube.template)}
    crs = cube.located.geobox.crs
    if crs is not None and not stated:
        kept["spatial_ref"] = xr_coords(cube.located.geobox)["spatial_ref"]
    for name in stated if cube.located.stale else ():
        attrs = {k: v for k, v in kept[name].attrs.items() if k != "GeoTransform"}
        kept[name] = kept[name].copy()
        kept[name].attrs = attrs
    return {n: c.variable for n, c in kept.items()}


def _attributes(cube: Cube, bundle: Bundle, fingerprint: str) -> dict[str, Any]:
    return {
        **{str(k): v for k, v in cube.attributes.items()},
        "geoseg": geoseg.__version__,
        "model": f"{bundle.card.name} {bundle.card.version}",
        "model_sha256": bundle.sha256,
        "fingerprint": fingerprint,
    }


def _described(found: xarray.Dataset, bundle: Bundle) -> xarray.Dataset:
    """Give the variables the attributes and encodings that `.odc`, `.rio` and netCDF look for."""
    mapping = next((c.name for c in crs_coordinates(found)), None)
    for name, array in found.data_vars.items():
        if name == "class":
            array.attrs = {**cf_flags(bundle.card.classes), "nodata": NODATA}
            array.encoding["_FillValue"] = NODATA
        elif name == "label":
            flags = {"flag_values": np.array([0, 1], np.uint8), "flag_meanings": "no yes"}
            array.attrs = {"long_name": "whether a pixel has the label", **flags, "nodata": NODATA}
            array.encoding["_FillValue"] = NODATA
        elif name == "value" and (target := bundle.card.target) is not None:
            unit = {"units": target.unit} if target.unit else {}
            array.attrs = {"long_name": target.title or target.name, **unit,
                           "valid_range": [target.min, target.max]}  # fmt: skip
        elif name == "strangeness":
            array.attrs = {"long_name": "distance from the training pixels, 1 where 99 of 100 of them end",
                           "valid_range": [0.0, MOST / LIMIT]}  # fmt: skip
        else:
            what = _SHARES.get(str(name), "probability of the class")
            array.attrs = {"long_name": what, "valid_range": [0.0, 1.0]}
        if mapping is not None:
            array.encoding["grid_mapping"] = mapping
    return found
