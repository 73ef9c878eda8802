"""A pipeline document, checked and planned: what can be known before anything is computed."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.config.cluster import Cluster
from geoseg.config.loader import load
from geoseg.config.pipeline import Pipeline
from geoseg.core.errors import ConfigError
from geoseg.core.notices import collect_warnings
from geoseg.inference import checks
from geoseg.inference.plan import Plan, check_device_memory, check_memory, fewer_passes, make_plan
from geoseg.inference.retry import RetryPolicy
from geoseg.models.bundle import Bundle, open_bundle
from geoseg.raster.area import pixel_area_m2
from geoseg.scenes.catalog import CATALOG, resolve_scene
from geoseg.scenes.scene import Scene
from geoseg.storage.store import is_uri, open_store
from geoseg.vector.recipe import Recipe, resolve_recipe


@dataclass(frozen=True)
class Prepared:
    """A pipeline whose input was checked: ready to run."""

    pipeline: Pipeline
    cluster: Cluster
    plan: Plan
    folder: Path | str
    """Where the run is kept: a folder, or a URI."""
    warnings: tuple[str, ...]
    """What was noticed and did not stop the run."""
    recipe: Recipe
    """What has an id of its own."""
    unchecked_memory: int | None = None
    """Bytes that each worker takes, when its machine must be asked whether it has them."""

    @property
    def retry(self) -> RetryPolicy:
        """How long to go on with a scene that cannot be read."""
        reading = self.pipeline.reading
        return RetryPolicy(reading.tries, reading.wait, nodata=reading.failed == "nodata")


def prepare(
    path: Path, overrides: Sequence[str] = (), output: Path | str | None = None, catalog: Path = CATALOG
) -> Prepared:
    """Read a pipeline, check all its input and plan the run; nothing is written.

    Parameters
    ----------
    path
        The pipeline file.
    overrides
        `key=value` assignments.
    output
        Run folder or URI instead of the pipeline's.
    catalog
        The data catalog.

    Raises
    ------
    GeosegError
        When the run cannot work; see the subclasses.
    """
    pipeline = load(path, Pipeline, overrides)
    if pipeline.scenes is not None:
        raise ConfigError(f"{path}: has scenes, not one scene; run it with geoseg.runs.batch")
    return prepare_pipeline(pipeline, output or pipeline.outputs.folder, catalog)


def prepare_pipeline(
    pipeline: Pipeline,
    folder: Path | str,
    catalog: Path = CATALOG,
    bundle: Bundle | None = None,
    checked: Mapping[str, Any] | None = None,
) -> Prepared:
    """Check all input of a pipeline with one scene and plan the run; nothing is written.

    Parameters
    ----------
    pipeline
        The document.
    folder
        The run folder, or the URI of a place in an object store.
    catalog
        The data catalog.
    bundle
        The pipeline's bundle, when it is open already.
    checked
        Identity of a scene whose pixels were looked at before; the same scene is not looked at again.

    Raises
    ------
    GeosegError
        When the run cannot work; see the subclasses.
    """
    if pipeline.scene is None:
        raise ConfigError(f"{pipeline.name}: the pipeline has no scene")
    bundle = bundle or open_bundle(pipeline.model)
    gsd = None if pipeline.gsd == "auto" else pipeline.gsd
    with collect_warnings() as notices:
        names = [b.common_name for b in bundle.card.bands]
        scene = resolve_scene(pipeline.scene, pipeline.name, names, gsd, catalog)
        recipe = _recipe(pipeline, scene, bundle)
        checks.check_gsd(scene, bundle.card, pipeline.checks.gsd)
        if checked is None or json.loads(json.dumps(scene.identity())) != checked:
            checks.check_statistics(scene, bundle.card, pipeline.checks.statistics)
        # Everything cheap has been checked; these take seconds to import.
        from geoseg.inference.clusters import resolve_cluster  # noqa: PLC0415
        from geoseg.inference.clusters.shape import shape_of  # noqa: PLC0415
        from geoseg.models.backends.resolve import resolve_backend, resolve_precision  # noqa: PLC0415

        shape = shape_of(resolve_cluster(pipeline.cluster), pipeline.inference.device)
        precision = resolve_precision(pipeline.inference.precision, shape.device)
        plan = make_plan(
            pipeline,
            scene,
            bundle,
            device=shape.device,
            backend=resolve_backend(pipeline.inference.backend, bundle, shape.device, precision),
            precision=precision,
            workers=shape.workers,
            passes=shape.passes,
        )
        available = sys.maxsize if shape.memory is None else shape.memory
        plan = fewer_passes(plan, available)
        problem = check_memory(plan, pipeline.tiling, available, shape.origin) or shape.problem_here(
            plan.memory
        )
        if problem is not None:
            checks.report_problem(pipeline.checks.memory, problem, "memory")
        small = check_device_memory(plan, shape.device_memory)
        if small is not None and pipeline.checks.memory != "off":
            checks.report_problem("warn", small, "memory")
    open_store(folder)  # a place that cannot be written is told now
    ask = shape.memory is None and pipeline.checks.memory == "error"
    return Prepared(
        pipeline, shape.cluster, plan, folder if is_uri(folder) else Path(folder), tuple(notices), recipe,
        unchecked_memory=plan.memory.total if ask else None,
    )  # fmt: skip


def _recipe(pipeline: Pipeline, scene: Scene, bundle: Bundle) -> Recipe:
    areas = pixel_area_m2(scene.geobox)
    gsd, pixel = (None, None) if areas is None else (scene.gsd_m, float(areas[len(areas) // 2]))
    placed = {"geojson", "pmtiles"}.intersection(pipeline.outputs.polygons)
    if areas is None and placed:
        raise ConfigError(
            f"outputs.polygons: {' and '.join(sorted(placed))} need a place on the earth, but the scene has "
            "no CRS; write gpkg"
        )
    return resolve_recipe(pipeline.vectorize, bundle.card.legend, gsd, pixel)
