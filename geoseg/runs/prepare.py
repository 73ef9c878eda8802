"""From a pipeline document to plans: all checks that need no computing."""

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.config import lookup
from geoseg.config.cluster import Local
from geoseg.config.loader import load
from geoseg.config.lookup import Shelf
from geoseg.config.pipeline import EACH, Level, Pipeline
from geoseg.config.scene import SceneEntry
from geoseg.core.errors import ConfigError, GeosegWarning
from geoseg.core.notices import collect_warnings
from geoseg.core.paths import at_home
from geoseg.inference import checks
from geoseg.inference.ensembles import seen_by
from geoseg.inference.heads import fitting_outputs
from geoseg.inference.mask_pass import mask_passes
from geoseg.inference.masks import ModelMask, check_masks, model_masks
from geoseg.inference.memory_checks import check_device_memory, check_memory, fit_passes
from geoseg.inference.plan import Execution, Plan, make_plan
from geoseg.inference.precision import choose_precision, sample_of
from geoseg.inference.retry import ONCE, RetryPolicy
from geoseg.models.bundle import Bundle
from geoseg.models.ensemble import Member, members_of, open_models
from geoseg.runs.folder import finished_identity
from geoseg.scenes.aoi import Aoi, resolve_aoi
from geoseg.scenes.catalog import resolve_scene
from geoseg.scenes.listing import ListedScene, list_scenes
from geoseg.scenes.mosaic import Mosaic
from geoseg.scenes.scene import Scene
from geoseg.storage.store import is_uri, open_store, within
from geoseg.vector.write.antimeridian import longitude_to_cut_around, web_cut


@dataclass(frozen=True)
class Batch:
    """A pipeline and its scenes, one or many, which are not opened yet."""

    pipeline: Pipeline
    bundle: Bundle
    scenes: tuple[ListedScene, ...]
    folder: Path | str
    """The run folder of one scene; for many scenes, the folder of their run folders. A path or a URI."""
    many: bool
    """Whether the pipeline has a list of scenes, even one with a single entry."""
    catalog: Path | None = None

    def folder_of(self, scene: ListedScene) -> Path | str:
        """Return the run folder of a scene, or its URI."""
        return within(self.folder, scene.name) if self.many else self.folder

    def plan(self, scene: ListedScene) -> Plan:
        """Check the input of one scene and plan its run; nothing is written.

        Raises
        ------
        GeosegError
            When the run cannot work; see the subclasses.
        """
        folder = self.folder_of(scene)
        changes = {"name": scene.name, "scene": scene.scene, "scenes": None}
        found = (finished_identity(folder) or {}) if self.many else {}
        pipeline = self.pipeline.model_copy(update=changes)
        return plan_scene(pipeline, self.bundle, folder, self.catalog, checked=found.get("scene"))


def read_batch(
    path: Path | str,
    changes: Sequence[str] | Mapping[str, Any] = (),
    output: Path | str | None = None,
    catalog: Path | str | None = None,
    scenes: str | Sequence[str] | None = None,
    *,
    trust: bool = False,
) -> Batch:
    """Read a pipeline, its bundle and the list of its scenes.

    Parameters
    ----------
    path
        The pipeline: a file, or a name (see `geoseg.config.lookup`).
    changes
        Values to replace: `key=value` texts, or a mapping of (dotted) keys to values.
    output
        Run folder or URI instead of the pipeline's.
    catalog
        The data catalog; None looks in all folders where names are looked up.
    scenes
        The scenes, instead of the pipeline's.
    trust
        Whether the network may be code that is not geoseg's.

    Raises
    ------
    ConfigError
        When the pipeline or the list of scenes is not valid.
    BundleError
        When the bundle cannot be used.
    """
    pipeline = load(lookup.locate(Shelf.PIPELINES, path), Pipeline, changes)
    folder = output or pipeline.outputs.folder
    folder = folder if is_uri(folder) else at_home(Path(folder))
    catalog = None if catalog is None else at_home(Path(catalog))
    source = scenes or pipeline.scenes
    if source is not None:
        template = pipeline.scene if isinstance(pipeline.scene, SceneEntry) else None
        listed = tuple(list_scenes(source, template, catalog))
    elif isinstance(pipeline.scene, SceneEntry) and pipeline.scene.uri == EACH:
        raise ConfigError(
            f"{path}: scene: a scene needs a uri or bands with a uri each; without them it says what holds "
            "for each of scenes:, or of --scenes"
        )
    elif pipeline.scene is not None:
        listed = (ListedScene(pipeline.name, pipeline.scene),)
    else:
        raise ConfigError(f"{pipeline.name}: the pipeline has no scene")
    bundle = open_models(pipeline.model, trust=trust)
    bundle.check_trust()
    return Batch(pipeline, bundle, listed, folder, source is not None, catalog)


def prepare(
    path: Path | str,
    changes: Sequence[str] | Mapping[str, Any] = (),
    output: Path | str | None = None,
    catalog: Path | str | None = None,
    *,
    trust: bool = False,
) -> Plan:
    """Read a pipeline for one scene, check all its input and plan the run; nothing is written.

    Parameters
    ----------
    path
        The pipeline: a file, or a name (see `geoseg.config.lookup`).
    changes
        Values to replace: `key=value` texts, or a mapping of (dotted) keys to values.
    output
        Run folder or URI instead of the pipeline's.
    catalog
        The data catalog; None looks in all folders where names are looked up.
    trust
        Whether the network may be code that is not geoseg's.

    Raises
    ------
    GeosegError
        When the run cannot work; see the subclasses.
    """
    batch = read_batch(path, changes, output, catalog, trust=trust)
    if batch.many:
        raise ConfigError(f"{path}: is for many scenes; a plan is for one: name it with scene=")
    return batch.plan(batch.scenes[0])


def plan_scene(
    pipeline: Pipeline,
    bundle: Bundle,
    folder: Path | str,
    catalog: Path | None = None,
    checked: Mapping[str, Any] | None = None,
) -> Plan:
    """Check all input of a pipeline with one scene and plan the run; nothing is written.

    Parameters
    ----------
    pipeline
        The document.
    bundle
        Its bundle, opened.
    folder
        The run folder, or its URI.
    catalog
        The data catalog; None looks in all folders where names are looked up.
    checked
        Identity of a scene whose pixels were checked before; a scene of this identity is not sampled again,
        unless it has masks from models.

    Raises
    ------
    GeosegError
        When the run cannot work; see the subclasses.
    """
    if pipeline.scene is None:
        raise ConfigError(f"{pipeline.name}: the pipeline has no scene")
    scene_entry, pipeline = pipeline.scene, fitting_outputs(pipeline, bundle.card)
    with collect_warnings() as notices:
        bands = [b.common_name for b in bundle.card.bands]
        gsd = None if pipeline.gsd == "auto" else pipeline.gsd
        scene = resolve_scene(scene_entry, pipeline.name, bands, gsd, catalog)
        aoi = None if pipeline.area is None else resolve_aoi(pipeline.area, scene)
        masks = model_masks(scene)
        looked_at = scene if aoi is None else scene.cut(aoi.looked_at(scene))
        scene = scene if aoi is None else scene.cut(aoi.window)
        members = members_of(bundle)
        for member in members:
            seen, card = seen_by(member, scene), member.bundle.card
            checks.check_gsd(seen, card, pipeline.checks.gsd)
            checks.check_level(seen, card, pipeline.checks.statistics)
        _warn_of_thresholds(pipeline, bundle)
        again = None
        if checked is None or masks or json.loads(json.dumps(scene.identity())) != checked:
            # A file on a disk that cannot be read now is told at once.
            retry = RetryPolicy(pipeline.reading.tries, pipeline.reading.wait) if scene.remote else ONCE
            checks.check_quality(looked_at, retry)
            again = _check_numbers(pipeline, looked_at, bundle, masks, retry)
        plan, asks_workers = _place(pipeline, scene, aoi, bundle, folder, masks)
        if pipeline.outputs.polygons:
            # Fail now when polygons cannot be shown so.
            longitude_to_cut_around(scene.geobox, plan.recipe.rules.crs)
        if "pmtiles" in pipeline.outputs.polygons:
            web_cut(scene.geobox, plan.recipe.rules.crs)
    open_store(folder).check()  # fail now when nothing can be written there
    return replace(
        plan,
        warnings=tuple(dict.fromkeys([*notices, *([] if again is None else [again])])),
        ask_workers_for_memory=asks_workers,
        check_masked=again is not None,
    )


def _warn_of_thresholds(pipeline: Pipeline, bundle: Bundle) -> None:
    """Warn when the cards of an ensemble have thresholds, and not all the same."""
    own = [m.bundle.card.name for m in members_of(bundle) if m.bundle.card.thresholds]
    if own and not bundle.card.thresholds and pipeline.inference.thresholds == "auto":
        warnings.warn(
            f"the thresholds of {own[0]} were found for that network alone and are not applied to the "
            "ensemble; give its own as inference.thresholds",
            GeosegWarning,
            stacklevel=2,
        )


def _check_numbers(
    pipeline: Pipeline, scene: Scene, bundle: Bundle, masks: Sequence[ModelMask], retry: RetryPolicy
) -> str | None:
    """Hold numbers to what the networks know; return what is to be looked at again without what is masked."""
    level, members = pipeline.checks.statistics, members_of(bundle)
    if not masks:
        for member in members:
            seen, card = seen_by(member, scene), member.bundle.card
            checks.check_statistics(seen, card, level, retry, pipeline.checks.strangeness)
        return None
    looked_at = None if isinstance(scene, Mosaic) else (scene.whole, scene.window)
    check_masks(masks, level, pipeline.checks.gsd, retry, looked_at)
    try:
        # Clouds are unlike the pixels that the network of the map knows, and it will not see them.
        first: Level = "off" if level == "off" else "error"
        for member in members:
            seen, card = seen_by(member, scene), member.bundle.card
            checks.check_statistics(seen, card, first, retry, pipeline.checks.strangeness)
    except checks.CheckError as error:
        return f"{error.problem}; looked at again without what is masked"
    return None


def _place(
    pipeline: Pipeline,
    scene: Scene,
    aoi: Aoi | None,
    bundle: Bundle,
    folder: Path | str,
    masks: Sequence[ModelMask],
) -> tuple[Plan, bool]:
    """Plan a run on its cluster and check the memory; return whether the workers must be asked for theirs."""
    # Slow to import, so the scene is checked first.
    from geoseg.inference.clusters import resolve_cluster  # noqa: PLC0415
    from geoseg.inference.clusters.capacity import capacity_of  # noqa: PLC0415
    from geoseg.models.backends.auto import (  # noqa: PLC0415
        device_for,
        forward_passes,
        resolve_backend,
        resolve_precision,
    )
    from geoseg.models.backends.openvino_model import is_kept  # noqa: PLC0415

    asked, members = pipeline.inference, members_of(bundle)
    devices = [device_for(m.bundle, asked.device) for m in members]
    # Of an ensemble a network may have to run on the CPU while the others run on a GPU.
    capacity = capacity_of(resolve_cluster(pipeline.cluster), next((d for d in devices if d != "cpu"), "cpu"))
    retry = RetryPolicy(pipeline.reading.tries, pipeline.reading.wait)

    def run_of(member: Member, wanted: str) -> Execution:
        one, seen = member.bundle, seen_by(member, scene)
        device = "cpu" if wanted == "cpu" else capacity.device
        precision, kept = resolve_precision(asked.precision, device), is_kept(one)
        backend = resolve_backend(asked.backend, one, device, precision)
        precision = choose_precision(
            asked.precision, precision, backend, one, scene.shape[0] * scene.shape[1],
            here=isinstance(capacity.cluster, Local), sample=lambda: sample_of(seen, retry),
        )  # fmt: skip
        return Execution(
            cluster=capacity.cluster,
            device=device,
            backend=backend,
            precision=precision,
            workers=capacity.workers,
            passes=(
                capacity.passes if device == capacity.device else forward_passes(device, capacity.workers)
            ),
            converts=backend == "openvino" and not kept,
        )

    execution, *others = (run_of(m, d) for m, d in zip(members, devices, strict=True))

    def beside(other: Bundle) -> Execution:
        """Return how the network of a mask runs: on the device of that of the map, a graph on the CPU.

        Always in fp32 by the backend of its own, as where a scene is opened, which knows no pipeline.
        """
        device = "cpu" if other.is_graph else capacity.device
        precision = resolve_precision("fp32", device)
        backend = resolve_backend("auto", other, device, precision)
        converts = backend == "openvino" and not is_kept(other)
        passes = execution.passes if device == capacity.device else forward_passes(device, capacity.workers)
        return replace(
            execution, device=device, backend=backend, precision=precision, passes=passes, converts=converts
        )

    level = pipeline.checks.memory
    available = sys.maxsize if capacity.memory is None else capacity.memory
    plan = make_plan(pipeline, scene, bundle, folder, execution, aoi, others)
    plan = fit_passes(replace(plan, masks=mask_passes(plan, masks, beside)), available)
    problem = check_memory(plan, pipeline.tiling, available, capacity.origin) or capacity.problem_here(
        plan.memory
    )
    if problem is not None:
        checks.report_problem(level, problem, "memory")
    small = check_device_memory(plan, capacity.device_memory)
    if small is not None and level != "off":
        checks.report_problem("warn", small, "memory")
    return plan, capacity.memory is None and level == "error"
