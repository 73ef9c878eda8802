"""The composition root: from a pipeline document to a finished run folder."""

import json
import os
import platform
import resource
import shlex
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psutil

import geoseg
from geoseg.catalog import CATALOG, resolve_scene
from geoseg.config.loader import load
from geoseg.config.pipeline import Cluster, Pipeline
from geoseg.core.errors import ConfigError, GeosegWarning, SceneError
from geoseg.core.files import output_entry, write_atomic
from geoseg.core.legend import NODATA
from geoseg.inference import checks
from geoseg.inference.plan import Plan, check_memory, fewer_passes, make_plan
from geoseg.models.bundle import Bundle, open_bundle
from geoseg.raster.area import class_areas_m2, pixel_area_m2
from geoseg.raster.scene import Scene
from geoseg.vector.recipe import Recipe, resolve_recipe

if TYPE_CHECKING:
    from geoseg.report.scene_picture import ScenePicture

_VERSIONED = ("torch", "segmentation-models-pytorch", "rasterio", "dask", "numpy", "shapely", "geopandas")


@dataclass(frozen=True)
class Prepared:
    """A pipeline whose input was checked: ready to run."""

    pipeline: Pipeline
    cluster: Cluster
    plan: Plan
    folder: Path
    warnings: tuple[str, ...]
    """What was noticed and did not stop the run."""
    recipe: Recipe
    """What has an id of its own."""


@dataclass(frozen=True)
class Progress:
    """Event: what the run is doing."""

    stage: str
    """`predict`, or the name of the file that is being written."""
    done: int = 0
    """Blocks finished."""
    total: int = 0
    pixels: int = 0
    """Pixels of the scene in the block just finished."""


@dataclass(frozen=True)
class Result:
    """A finished run."""

    folder: Path
    manifest: dict[str, Any]


def prepare(
    path: Path, overrides: Sequence[str] = (), output: Path | None = None, catalog: Path = CATALOG
) -> Prepared:
    """Read a pipeline, check all its input and plan the run; nothing is written.

    Parameters
    ----------
    path
        The pipeline file.
    overrides
        `key=value` assignments.
    output
        Run folder instead of the pipeline's.
    catalog
        The data catalog.

    Raises
    ------
    GeosegError
        When the run cannot work; see the subclasses.
    """
    pipeline = load(path, Pipeline, overrides)
    bundle = open_bundle(Path(pipeline.model))
    gsd = None if pipeline.gsd == "auto" else pipeline.gsd
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", GeosegWarning)
        wanted = [b.common_name for b in bundle.card.bands]
        scene = resolve_scene(pipeline.scene, pipeline.name, wanted, gsd, catalog)
        recipe = _recipe(pipeline, scene, bundle)
        checks.check_gsd(scene, bundle.card, pipeline.checks.gsd)
        checks.check_statistics(scene, bundle.card, pipeline.checks.statistics)
        # Everything cheap has been checked; torch takes seconds to import.
        from geoseg.inference.clusters import resolve_cluster  # noqa: PLC0415
        from geoseg.models.segmenter import (  # noqa: PLC0415
            forward_passes,
            resolve_device,
            resolve_precision,
        )

        cluster = resolve_cluster(pipeline.cluster)
        device = resolve_device(pipeline.inference.device)
        plan = make_plan(
            pipeline,
            scene,
            bundle,
            device=device,
            precision=resolve_precision(pipeline.inference.precision, device),
            workers=cluster.workers,
            passes=forward_passes(device, cluster.workers),
        )
        available = _available_memory()
        plan = fewer_passes(plan, available)
        problem = check_memory(plan, pipeline.tiling, available)
        if problem is not None:
            checks.complain(pipeline.checks.memory, problem, "memory")
    noticed = tuple(str(w.message) for w in caught)
    return Prepared(pipeline, cluster, plan, output or Path(pipeline.outputs.folder), noticed, recipe)


def _recipe(pipeline: Pipeline, scene: Scene, bundle: Bundle) -> Recipe:
    areas = pixel_area_m2(scene.geobox)
    gsd, pixel = (None, None) if areas is None else (scene.gsd_m, float(areas[len(areas) // 2]))
    if areas is None and "geojson" in pipeline.outputs.polygons:
        raise ConfigError(
            "outputs.polygons: geojson is in longitude and latitude, but the scene has no CRS; write gpkg"
        )
    return resolve_recipe(pipeline.vectorize, bundle.card.legend, gsd, pixel)


def _available_memory() -> int:
    """Return the free memory in bytes: the machine's, or what a container's limit (cgroup v2) leaves."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free
    return max(0, min(free, limit - used))


def run(
    prepared: Prepared,
    *,
    overwrite: bool = False,
    on_event: Callable[[Progress], None] = lambda _: None,
) -> Result:
    """Run a prepared pipeline: predict, stitch, vectorise, publish.

    A run that was interrupted at any moment is resumed from its finished blocks and ends with the same bytes.

    Parameters
    ----------
    prepared
        The checked pipeline.
    overwrite
        Replace a finished run, or the unfinished run of another plan.
    on_event
        Called with what the run is doing.

    Raises
    ------
    GeosegError
        When the run failed; finished blocks are kept.
    """
    from geoseg.inference.manifest import open_run_folder  # noqa: PLC0415
    from geoseg.report.run_page import PAGE, RunRecord, write_run_page  # noqa: PLC0415
    from geoseg.report.scene_picture import scene_picture  # noqa: PLC0415

    plan, start = prepared.plan, perf_counter()
    names = _output_names(prepared.pipeline)
    with open_run_folder(prepared.folder, plan.identity(), names, overwrite=overwrite) as folder:
        counts = _predict(prepared, folder.staging, on_event)
        predicted = perf_counter()
        totals = _add_up(counts.values())
        if not totals["classes"]:
            raise SceneError(
                f"{plan.scene.name}: every pixel is nodata, NaN or masked; check nodata and mask of the scene"
            )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", GeosegWarning)
            files = _write_outputs(prepared, folder.staging, on_event)
        picture = scene_picture(plan.scene)
        on_event(Progress("quicklook.png"))
        files.append(_write_quicklook(prepared, folder.staging, totals, picture))
        finished = datetime.now(UTC).replace(microsecond=0)
        files.append(_write_item(prepared, totals, files, finished))
        facts = {
            "warnings": [*prepared.warnings, *(str(w.message) for w in caught)],
            "finished": finished.isoformat(),
            "resumed": folder.resumed,
            "seconds": {
                "predict": round(predicted - start, 3),
                "outputs": round(perf_counter() - predicted, 3),
                "total": round(perf_counter() - start, 3),
            },
        }
        manifest = _manifest(prepared, totals, files, facts)
        on_event(Progress(PAGE))
        page = folder.staging / PAGE
        write_run_page(page, RunRecord(manifest, folder.staging, picture))
        files.append(page)
        # The page tells what was known before it; the manifest counts it in.
        manifest["outputs"][PAGE] = output_entry(page)
        manifest["seconds"]["outputs"] = round(perf_counter() - predicted, 3)
        manifest["seconds"]["total"] = round(perf_counter() - start, 3)
        manifest["memory_bytes"]["peak_of_this_process"] = _peak_bytes()
        folder.publish(files, manifest)
    return Result(prepared.folder, manifest)


def _predict(
    prepared: Prepared, staging_folder: Path, on_event: Callable[[Progress], None]
) -> dict[tuple[int, int], dict[str, Any]]:
    """Bring all blocks into staging; return the counts of each."""
    from geoseg.inference.clusters import connect  # noqa: PLC0415
    from geoseg.inference.driver import BlockDone, run_blocks  # noqa: PLC0415
    from geoseg.inference.predict import Job  # noqa: PLC0415
    from geoseg.models.segmenter import SegmenterSpec  # noqa: PLC0415

    plan = prepared.plan
    blocks = plan.blocks
    staging = _staging(plan, staging_folder)
    counts = {(b.row, b.col): c for b in blocks if (c := staging.counts(b)) is not None}
    on_event(Progress("predict", len(counts), blocks.count))
    if len(counts) == blocks.count:
        return counts
    spec = SegmenterSpec(
        folder=plan.bundle.folder.resolve(),
        sha256=plan.bundle.sha256,
        device=plan.device,
        precision=plan.precision,
        augment=plan.augment,
        passes=plan.passes,
    )
    job = Job(plan.scene, spec, plan.bundle.card.legend, plan.grid, plan.batch, plan.probabilities, staging)

    def on_block(event: BlockDone) -> None:
        counts[event.block.row, event.block.col] = event.counts
        height, width = event.block.core.shape
        on_event(Progress("predict", event.done, event.total, height * width))

    with connect(prepared.cluster) as client:
        run_blocks(client, job, blocks, counts.copy(), on_block)
    return counts


def _staging(plan: Plan, folder: Path) -> Any:
    from geoseg.raster.staging import Staging, crs_wkt  # noqa: PLC0415

    slugs = [f"{c.slug} [%]" for c in plan.bundle.card.classes] if plan.probabilities else []
    return Staging(
        folder=folder.resolve(),
        fingerprint=plan.fingerprint,
        crs=crs_wkt(plan.scene.geobox.crs),
        transform=tuple(plan.scene.geobox.transform)[:6],
        bands=("class", "confidence [%]", *slugs),
    )


def _add_up(counts: Any) -> dict[str, Any]:
    """Sum the counts of all blocks."""
    classes: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for block in counts:
        classes.update(block["classes"])
        seconds.update(block["seconds"])
        numbers.update({k: block[k] for k in ("tiles", "skipped", "nodata")})
    return {
        "classes": {k: classes[k] for k in sorted(classes, key=int)},
        "seconds": {k: round(v, 3) for k, v in seconds.items()},
        **{k: numbers[k] for k in ("tiles", "skipped", "nodata")},
    }


def _output_names(pipeline: Pipeline) -> list[str]:
    """Name the files that a run will leave."""
    wanted = {
        "classes.tif": True,
        "classes.tif.aux.xml": True,
        "classes.qml": True,
        "classes.sld": True,
        "confidence.tif": pipeline.outputs.confidence,
        "confidence.qml": pipeline.outputs.confidence,
        "probabilities.tif": pipeline.outputs.probabilities,
        "instances.tif": pipeline.outputs.instances,
        "polygons.gpkg": "gpkg" in pipeline.outputs.polygons,
        "quicklook.png": True,
        "report.html": True,
        "item.json": True,
    }
    return [name for name, yes in wanted.items() if yes]


def _write_outputs(
    prepared: Prepared, staging_folder: Path, on_event: Callable[[Progress], None]
) -> list[Path]:
    """Make maps and polygons inside the staging folder; return their paths."""
    from geoseg.raster.cog import MapBand, write_cog, write_vrt  # noqa: PLC0415
    from geoseg.vector.style import write_confidence_style, write_raster_styles  # noqa: PLC0415

    plan, outputs = prepared.plan, prepared.pipeline.outputs
    staging, blocks, legend = _staging(plan, staging_folder), list(plan.blocks), plan.bundle.card.legend
    tags, shape = _tags(plan), plan.scene.shape
    files: list[Path] = []

    def cog(name: str, bands: list[MapBand], overviews: Any) -> Path:
        path: Path = staging_folder / name
        on_event(Progress(name))
        write_cog(path, staging, blocks, shape, bands, overviews, tags)
        files.append(path)
        return path

    class_map = cog("classes.tif", [MapBand(1, "class", legend)], "MODE")
    files += write_raster_styles(class_map, legend)
    if outputs.confidence:
        files += write_confidence_style(cog("confidence.tif", [MapBand(2, "confidence")], "AVERAGE"))
    if outputs.probabilities:
        titles = [f"probability of {c.slug}" for c in plan.bundle.card.classes]
        bands = [MapBand(3 + i, t) for i, t in enumerate(titles)]
        cog("probabilities.tif", bands, "AVERAGE")
    if outputs.polygons or outputs.instances:
        on_event(Progress("polygons"))
        # The blocks are read faster than the map made of them.
        confidence = staging_folder / "share.vrt"
        write_vrt(confidence, staging, blocks, shape, [MapBand(2, "confidence")], {})
        files += _write_vectors(prepared, staging_folder, class_map, confidence)
    return files


def _write_quicklook(
    prepared: Prepared, staging_folder: Path, totals: dict[str, Any], picture: "ScenePicture"
) -> Path:
    from geoseg.report.quicklook import Caption, write_quicklook  # noqa: PLC0415

    plan, path = prepared.plan, staging_folder / "quicklook.png"
    valid = sum(totals["classes"].values())
    caption = Caption(
        title=f"{plan.name}: {plan.scene.name}",
        subtitle=f"{plan.bundle.card.name} {plan.bundle.card.version}, geoseg {geoseg.__version__}",
        shares={int(i): n / valid for i, n in totals["classes"].items()},
    )
    legend = plan.bundle.card.legend
    write_quicklook(path, plan.scene, picture, staging_folder / "classes.tif", legend, caption)
    return path


def _write_vectors(prepared: Prepared, folder: Path, class_map: Path, confidence: Path) -> list[Path]:
    """Make polygons, and the raster of objects that they were parted by; return their paths."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    from geoseg.raster.cog import copy_cog  # noqa: PLC0415
    from geoseg.vector.blocks import MapFiles  # noqa: PLC0415
    from geoseg.vector.schedule import Workers  # noqa: PLC0415
    from geoseg.vector.vectorize import OBJECTS, vectorize  # noqa: PLC0415

    plan, outputs = prepared.plan, prepared.pipeline.outputs
    maps = MapFiles(class_map, confidence)
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as executor:
        files = vectorize(
            maps, prepared.recipe, Workers(executor, 2 * threads), folder, layer=plan.name,
            formats=outputs.polygons, provenance=_provenance(prepared),
        )  # fmt: skip
    if outputs.instances:
        copy_cog(folder / OBJECTS, folder / "instances.tif", "NEAREST")
        files.append(folder / "instances.tif")
    return files


def _provenance(prepared: Prepared) -> dict[str, Any]:
    """Return where the polygons come from, for the GeoPackage's metadata."""
    plan = prepared.plan
    return {
        "software": f"geoseg {geoseg.__version__}",
        "scene": plan.scene.name,
        "files": [b.source.path for b in plan.scene.bands],
        "model": {
            "name": plan.bundle.card.name,
            "version": plan.bundle.card.version,
            "sha256": plan.bundle.sha256,
        },
        "fingerprint": plan.fingerprint,
        "vectorize": prepared.pipeline.vectorize.model_dump(mode="json"),
    }


def _write_item(prepared: Prepared, totals: dict[str, Any], files: list[Path], finished: datetime) -> Path:
    from geoseg.stac import ITEM, Output, make_item  # noqa: PLC0415

    plan = prepared.plan
    item = make_item(
        plan.name,
        plan.scene,
        plan.bundle,
        [Output(f, **output_entry(f)) for f in files],
        {int(i): n for i, n in totals["classes"].items()} | {NODATA: totals["nodata"]},
        fingerprint=plan.fingerprint,
        finished=finished,
    )
    path = files[0].with_name(ITEM)
    write_atomic(path, json.dumps(item, indent=2, ensure_ascii=False).encode() + b"\n")
    return path


def _tags(plan: Plan) -> dict[str, str]:
    return {
        "TIFFTAG_SOFTWARE": f"geoseg {geoseg.__version__}",
        "GEOSEG_MODEL": f"{plan.bundle.card.name} {plan.bundle.card.version}",
        "GEOSEG_MODEL_SHA256": plan.bundle.sha256,
        "GEOSEG_SCENE": plan.scene.name,
        "GEOSEG_FINGERPRINT": plan.fingerprint,
    }


def _manifest(
    prepared: Prepared, totals: dict[str, Any], files: list[Path], facts: dict[str, Any]
) -> dict[str, Any]:
    """Return the content of `run.json`."""
    plan, legend = prepared.plan, prepared.plan.bundle.card.legend
    class_map = next(f for f in files if f.name == "classes.tif")
    slugs = {str(i): c.slug for i, c in legend.by_id().items()}
    seconds = {**facts["seconds"], "tasks": totals["seconds"]}
    summary = plan.summary()
    return {
        "name": plan.name,
        "finished": facts["finished"],
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "fingerprint": plan.fingerprint,
        "identity": plan.identity(),
        "plan": summary,
        "pipeline": prepared.pipeline.model_dump(mode="json"),
        "resumed": facts["resumed"],
        "tiles_predicted": totals["tiles"],
        "tiles_skipped": totals["skipped"],
        "classes": [asdict(c) for c in legend.by_id().values()],
        "pixels": {**{slugs[i]: n for i, n in totals["classes"].items()}, "nodata": totals["nodata"]},
        "area_m2": class_areas_m2(class_map, plan.scene.geobox, legend),
        "seconds": seconds,
        "memory_bytes": {
            "announced_per_worker": plan.memory.total,
            "peak_of_this_process": _peak_bytes(),
        },
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "versions": {"geoseg": geoseg.__version__, **{p: version(p) for p in _VERSIONED}},
        "warnings": facts["warnings"],
        "outputs": {f.name: output_entry(f) for f in files},
    }


def _peak_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: there a process inherits the peak of the one that started it.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
