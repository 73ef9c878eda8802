"""Classify arrays: numpy in, numpy out; Dask in, Dask out."""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import xarray

from geoseg.config.loader import checked
from geoseg.config.pipeline import Inference, Tiling
from geoseg.core.errors import BundleError, ConfigError, GeosegWarning
from geoseg.inference import checks as input_checks
from geoseg.inference.ensembles import at_work, seen_by
from geoseg.inference.heads import head_of
from geoseg.inference.plan import SLOTS, automatic_batch, automatic_block, grid_of
from geoseg.inference.predict import Job
from geoseg.inference.retry import reader
from geoseg.inference.thresholds import resolve_thresholds
from geoseg.models.bundle import Bundle
from geoseg.models.ensemble import members_of, open_models
from geoseg.models.strangeness import Gauge, gauge_of, not_measured
from geoseg.notebook.masks import RETRY
from geoseg.notebook.place import choose_place
from geoseg.notebook.result import OUTPUTS, OUTPUTS_OF, Output, lazy_map
from geoseg.scenes.arrays import sample
from geoseg.scenes.chunks import lazy_maps
from geoseg.scenes.cube import Cube, Meaning, read_cube
from geoseg.scenes.scene import Scene
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.heads import ClassHead


def segment(  # noqa: PLR0913 (each is a keyword with a default)
    data: xarray.DataArray | xarray.Dataset,
    model: str | Path | Bundle | Sequence[str | Path | Bundle],
    *,
    bands: Mapping[str, Hashable] | Sequence[Hashable] | None = None,
    scale: float | Mapping[str, float] | None = None,
    offset: float | Mapping[str, float] | None = None,
    nodata: float | None = None,
    mask: xarray.DataArray | None = None,
    gsd: float | None = None,
    tile: int | Literal["auto"] = "auto",
    overlap: int | Literal["auto"] = "auto",
    outputs: Sequence[Output] | None = None,
    device: str = "auto",
    backend: Literal["auto", "torch", "inductor", "openvino", "onnxruntime"] = "auto",
    precision: Literal["auto", "fp32", "mixed", "bf16", "fp16"] = "auto",
    augment: Literal["none", "horizontal", "flips", "d4"] = "none",
    thresholds: Mapping[str, float] | Literal["auto", "none"] = "auto",
    otherwise: str = "likeliest",
    checks: Literal["error", "warn", "off"] = "error",
    trust: bool = False,
) -> xarray.Dataset:
    """Classify the pixels of an array with a network.

    Numpy in, numpy out, computed now. Dask in, Dask out: nothing is computed but at most nine windows of
    256 px for the check of the input. The tiles are those of `geoseg.run`, whatever the chunks are, and so
    are the classes, to the byte, when the numbers are the same. Each date of a dimension `time` is
    classified on its own.

    Parameters
    ----------
    data
        A Dataset with a variable for each band, or a DataArray with a dimension of bands; dims `y` and `x`
        (or `latitude` and `longitude`) in any order, and `time` if there are dates. A variable `valid`, as
        `open_scene` gives it, is the mask.
    model
        A bundle: its name, folder or URI, or an open one. A list of bundles is an ensemble: their
        probabilities are averaged.
    bands
        The name of each band of the network to that of a variable, or to its coordinate along the dimension
        of bands; or these in the order of the network (of an ensemble: those of the first network, then what
        others see besides). Default: variables, coordinates, `long_name` and
        `common_name` tell which is which.
    scale, offset
        Physical value = number * scale + offset, for all bands or by band; default: the attributes
        `scale_factor` and `add_offset`, else 1 and 0.
    nodata
        The number of pixels without data; default: the attributes `_FillValue` or `nodata`. NaN always is.
    mask
        True or 1 where pixels are valid.
    gsd
        Ground sample distance in metres of an array without a CRS.
    tile, overlap
        Pixels of a tile and of its overlap; auto: as the model says.
    outputs
        What to return: `class`, `confidence`, `probability`, of an ensemble also `disagreement`; default: the
        first two. Of a network of labels `label` and `probability`; default: the first. Of a regression
        `value`. Of each single network also `strangeness`, where the card of the model says how its training
        pixels vary.
    device
        `auto`, `cpu`, `cuda` or `cuda:N`; with a Dask client, of its workers.
    backend, precision, augment, thresholds, otherwise
        As under `inference` in a pipeline.
    checks
        What to do when the numbers are unlike the training pixels, or the GSD does not fit.
    trust
        Import the network's code where it is a class of a package, which runs as you.

    Returns
    -------
    Dataset
        `class` (uint8, 255 without data, with the flags of the CF conventions and `flag_colors`),
        `confidence` (float32, 0 to 1, NaN without data), `probability` with a dimension `class_name`,
        `disagreement` (float32, 0 to 1: the mutual information of class and network); dims ([time], y, x)
        with the coordinates, CRS and attributes of the data. Of a network of labels `label` (uint8, 0 or 1,
        255 without data) with the dimension `class_name`; of a regression `value` (float32 in its unit, NaN
        without data). `strangeness` (float32, 0 to 2.54, NaN without data) is the distance of a pixel from
        the training pixels, 1 where 99 of 100 of them end.

    Raises
    ------
    SceneError
        When a band is missing, or the grid is uneven.
    PlanError
        When the check of the input fails, or a tile does not fit the network.
    ConfigError
        When an option has no such value.
    BundleError
        When the network finds objects, which runs alone merge.

    Examples
    --------
    >>> scene = geoseg.open_scene("sentinel2-sample")
    >>> found = geoseg.segment(scene, "landcover-s2")
    >>> found["class"].chunks is not None, found["class"].dtype
    (True, dtype('uint8'))
    """
    bundle = open_models(model, trust=trust)
    bundle.check_trust()
    if bundle.card.task == "instances":
        raise BundleError(
            f"{bundle.card.name}: finds objects, and segment gives the class of each pixel; write a pipeline "
            "and run it with `geoseg run`, or geoseg.run"
        )
    members = members_of(bundle)
    wanted = _outputs(outputs, bundle.card.task, ensemble=len(members) > 1)
    tiling = checked({"tile": tile, "overlap": overlap}, Tiling, "segment")
    inference = checked(
        {
            "device": device,
            "backend": backend,
            "precision": precision,
            "augment": augment,
            "thresholds": thresholds if isinstance(thresholds, str) else dict(thresholds),
            "otherwise": otherwise,
        },
        Inference,
        "segment",
    )
    if checks not in {"error", "warn", "off"}:
        raise ConfigError(f"checks: {checks!r} is none of error, warn, off")
    cube = read_cube(
        data, bundle.card.input_bands, bands=bands, meaning=Meaning(scale, offset, nodata, gsd), mask=mask
    )
    for note in cube.notes:
        warnings.warn(note, GeosegWarning, stacklevel=2)
    _check(cube, bundle, checks)
    grid = grid_of(cube.scene, tiling, bundle.card)
    side = automatic_block(grid)
    height, width = cube.scene.shape
    places = [
        choose_place(inference, m.bundle, height * width, lazy=cube.lazy, beside=len(members) - 1)
        for m in members
    ]
    place, bands_seen = places[0], len(bundle.card.bands)
    batches = [automatic_batch(grid, side, p.segmenter.device) for p in places]
    head = head_of(
        bundle.card,
        every="probability" in wanted,
        thresholds=resolve_thresholds(inference, bundle.card),
        members=len(members),
        disagreement="disagreement" in wanted,
    )
    job = Job(
        scene=cube.scene,
        segmenter=place.segmenter,
        legend=bundle.card.legend,
        grid=grid,
        batch=batches[0],
        probabilities="probability" in wanted,
        thresholds=resolve_thresholds(inference, bundle.card),
        retry=RETRY,
        gauge=_gauge(bundle) if "strangeness" in wanted else None,
        strangeness="strangeness" in wanted,
        other=None if isinstance(head, ClassHead) else head,
        members=()
        if len(members) == 1
        else tuple(
            at_work(m, p.segmenter, n, bands_seen) for m, p, n in zip(members, places, batches, strict=True)
        ),
    )
    found = lazy_map(cube, bundle, job, BlockGrid.of(grid, side), wanted, place.resources, turns=place.here)
    return found if cube.lazy else found.compute(scheduler="threads", num_workers=SLOTS)


def _outputs(outputs: Sequence[Output] | None, task: str, *, ensemble: bool) -> list[Output]:
    known, default = OUTPUTS_OF.get(task, (OUTPUTS, ("class", "confidence")))
    if ensemble:
        known = *known, "disagreement"
    if outputs is None:
        return list(default)
    if isinstance(outputs, str) or not outputs or set(outputs) - set(known):
        of = "" if task == "classes" else f"; the model's task is {task}"
        if not ensemble and outputs and "disagreement" in outputs:
            of = "; disagreement is of an ensemble: give a list of models"
        raise ConfigError(f"outputs: {outputs!r}; give a list of {', '.join(known)}{of}")
    return [o for o in known if o in outputs]


def _gauge(bundle: Bundle) -> Gauge:
    found = gauge_of(bundle.card)
    if found is None:
        raise ConfigError(f"outputs: strangeness: {not_measured(bundle.card)}")
    return found


def _check(cube: Cube, bundle: Bundle, level: Literal["error", "warn", "off"]) -> None:
    """Hold GSD and numbers to what the network knows, as before a run; a few windows are computed."""
    scene = cube.dates[0]
    try:
        _check_grid(scene, bundle, level)
        if level == "off":
            return
        origin = None if cube.origin is None else cube.scene.with_class_masks({})
        if cube.lazy or len(cube.dates) > 1:
            scene = replace(scene, taken=sample(cube.dates, origin, reader(RETRY)))
            if not scene.valid_sample().valid.any():
                warnings.warn(
                    f"{scene.name}: the windows looked at have no valid pixel, so its numbers were not "
                    "checked; if this is not expected, see nodata and mask",
                    GeosegWarning,
                    stacklevel=3,
                )
                return
        if origin is not None and lazy_maps(cube.scene):
            try:
                _check_numbers(scene, bundle, "error")
            except input_checks.CheckError:
                # Clouds are unlike the pixels that it knows, and it will not see them: their map is needed.
                scene = replace(scene, taken=sample(cube.dates))
            else:
                return
        _check_numbers(scene, bundle, level)
    except input_checks.CheckError as error:
        raise input_checks.CheckError(error.problem, "checks='warn'") from None


def _check_grid(scene: Scene, bundle: Bundle, level: Literal["error", "warn", "off"]) -> None:
    for card in (m.bundle.card for m in members_of(bundle)):
        if level != "off" or scene.gsd_m is not None:
            input_checks.check_gsd(scene, card, level)
        input_checks.check_level(scene, card, level)


def _check_numbers(scene: Scene, bundle: Bundle, level: Literal["error", "warn", "off"]) -> None:
    for member in members_of(bundle):
        input_checks.check_statistics(seen_by(member, scene), member.bundle.card, level)
