"""The files of a run, made from finished blocks: maps, polygons, pictures, STAC item."""

import html
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import geoseg
from geoseg.core.files import output_entry, write_atomic
from geoseg.core.legend import NODATA
from geoseg.core.ordered import Workers
from geoseg.core.run_files import RunFile
from geoseg.core.sharing import shared_path
from geoseg.inference.plan import Plan
from geoseg.inference.retry import reader
from geoseg.raster.cog import MapBand, copy_cog, describe, highest_value, write_cog, write_vrt
from geoseg.raster.picture import mean_confidence, write_mask
from geoseg.raster.postprocess.passes import write_processed
from geoseg.raster.staging import Staging, crs_wkt
from geoseg.report.scene_picture import ScenePicture, scene_picture
from geoseg.runs.item import Output, make_item
from geoseg.runs.progress import Progress
from geoseg.runs.project import project_files
from geoseg.runs.record import Totals, nodata_of, recorded_values
from geoseg.storage.store import FolderStore, Store
from geoseg.styles.polygons import write_polygon_style, write_web_style
from geoseg.styles.raster import (
    write_count_style,
    write_label_style,
    write_object_style,
    write_raster_styles,
    write_share_style,
    write_strangeness_style,
    write_value_style,
)
from geoseg.tiling.blocks import Block
from geoseg.vector.trace.block import MapFiles

_STYLED_BY_QML = frozenset({"parquet", "fgb", "geojson"})
"""Formats that cannot hold a style; a GeoPackage has its own, and vector tiles another kind."""


def staging_of(plan: Plan, store: Store) -> Staging:
    """Return the finished blocks of a plan."""
    card = plan.bundle.card
    slugs = [c.slug for c in card.classes]
    first = {"regression": ["value"], "multilabel": slugs}.get(card.task, ["class", "confidence [%]"])
    more = [f"{slug} [%]" for slug in slugs] if plan.probabilities else []
    more += ["disagreement [%]"] if plan.pipeline.outputs.disagreement else []
    more += ["observations"] if plan.scene.counts_observations else []
    more += ["strangeness [%]"] if plan.strangeness else []
    return Staging(
        store=store.resolved(),
        fingerprint=plan.fingerprint,
        crs=crs_wkt(plan.scene.geobox.crs),
        transform=tuple(plan.scene.geobox.transform)[:6],
        bands=(*first, *more),
        dtype=plan.head.staged_dtype,
        suffix=".tif" if plan.detection is None else ".npz",
    )


def output_names(plan: Plan, *, profile: bool = False) -> list[str]:
    """Return the names of the files that a run will write, with its profile on request."""
    outputs, task, finds_objects = plan.pipeline.outputs, plan.bundle.card.task, plan.detection is not None
    counts = plan.scene.counts_observations and not finds_objects
    classes = task not in {"regression", "multilabel"}
    written = {
        RunFile.CLASSES: classes,
        RunFile.CLASSES_METADATA: classes,
        RunFile.CLASSES_QML: classes,
        RunFile.CLASSES_SLD: classes,
        RunFile.VALUES: task == "regression",
        RunFile.VALUES_QML: task == "regression",
        RunFile.LABELS: task == "multilabel",
        RunFile.LABELS_QML: task == "multilabel",
        RunFile.CONFIDENCE: outputs.confidence,
        RunFile.CONFIDENCE_QML: outputs.confidence,
        RunFile.PROBABILITIES: outputs.probabilities,
        RunFile.PROBABILITIES_QML: outputs.probabilities,
        RunFile.STRANGENESS: outputs.strangeness,
        RunFile.STRANGENESS_QML: outputs.strangeness,
        RunFile.DISAGREEMENT: outputs.disagreement,
        RunFile.DISAGREEMENT_QML: outputs.disagreement,
        RunFile.OBSERVATIONS: counts,
        RunFile.OBSERVATIONS_QML: counts,
        RunFile.INSTANCES: outputs.instances or finds_objects,
        RunFile.INSTANCES_QML: outputs.instances or finds_objects,
        RunFile.COCO: outputs.coco,
        **{RunFile.polygons(form): True for form in outputs.polygons},
        RunFile.POLYGONS_QML: bool(_STYLED_BY_QML & set(outputs.polygons)),
        RunFile.POLYGONS_STYLE: "pmtiles" in outputs.polygons,
        RunFile.DOUBT: outputs.doubt,
        **dict.fromkeys(project_files(plan) if outputs.project else [], True),
        RunFile.QUICKLOOK: True,
        RunFile.MASK: outputs.mask is not None,
        **({RunFile.overlay(outputs.overlay): True} if outputs.overlay else {}),
        RunFile.PAGE: True,
        RunFile.ITEM: True,
        RunFile.PROFILE: profile,
    }
    return [name for name, yes in written.items() if yes]


def write_maps(
    plan: Plan, staging_folder: Path, workers: Workers, on_event: Callable[[Progress], None]
) -> list[Path]:
    """Make maps and polygons inside the staging folder; return their paths.

    Parameters
    ----------
    plan
        The plan; all its blocks are finished.
    staging_folder
        The local folder of the blocks.
    workers
        The executor that traces polygons.
    on_event
        Called when a file is begun.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    outputs = plan.pipeline.outputs
    staging, legend = staging_of(plan, FolderStore(staging_folder)), plan.bundle.card.legend
    blocks = list(plan.blocks)
    tags, shape = tags_of(plan), plan.scene.shape
    files: list[Path] = []

    def cog(name: str, bands: list[MapBand], overviews: Any) -> Path:
        path: Path = staging_folder / name
        on_event(Progress(name))
        write_cog(path, staging, blocks, shape, bands, overviews, tags)
        files.append(path)
        return path

    card = plan.bundle.card
    if card.target is not None:
        band = MapBand(1, card.target.name, unit=card.target.unit)
        values = cog(RunFile.VALUES, [band], "AVERAGE")
        files += write_value_style(values, card.target.min, card.target.max)
    elif card.task == "multilabel":
        flags = [MapBand(i, c.slug, flags=True) for i, c in enumerate(card.classes, start=1)]
        files += write_label_style(cog(RunFile.LABELS, flags, "MODE"), card.classes[0].color)
    else:
        processed = _write_processed(plan, staging, blocks, workers, on_event) if plan.postprocess else None
        class_map = cog(RunFile.CLASSES, [MapBand(1, "class", legend, whole=processed)], "MODE")
        if processed is not None:
            processed.unlink()
        files += write_raster_styles(class_map, legend)
    for name, bands in _shares(plan, staging).items():
        files += write_share_style(cog(name, bands, "AVERAGE"))
    if plan.scene.counts_observations:
        number = staging.bands.index("observations") + 1
        counts = cog(RunFile.OBSERVATIONS, [MapBand(number, "observations", counts=True)], "NEAREST")
        files += write_count_style(counts, highest_value(counts))
    if outputs.strangeness:
        last = MapBand(len(staging.bands), "strangeness")
        files += write_strangeness_style(cog(RunFile.STRANGENESS, [last], "AVERAGE"))
    if outputs.polygons or outputs.instances:
        on_event(Progress("polygons"))
        # The uncompressed blocks are read faster than the finished map.
        confidence = staging_folder / "share.vrt"
        write_vrt(confidence, staging, blocks, shape, [MapBand(2, "confidence")], {})
        files += _write_vectors(plan, staging_folder, class_map, confidence, workers, on_event)
    return files


def _shares(plan: Plan, staging: Staging) -> dict[RunFile, list[MapBand]]:
    """Return the rasters of shares from 0 to 1 that are asked for, and their bands."""
    outputs, card, found = plan.pipeline.outputs, plan.bundle.card, dict[RunFile, list[MapBand]]()
    if outputs.confidence:
        found[RunFile.CONFIDENCE] = [MapBand(2, "confidence")]
    if outputs.probabilities:
        # After the planes of the map itself.
        first = len(card.classes) if card.task == "multilabel" else 2
        titles = [f"probability of {c.title}" for c in card.classes]
        found[RunFile.PROBABILITIES] = [MapBand(first + 1 + i, t) for i, t in enumerate(titles)]
    if outputs.disagreement:
        place = staging.bands.index("disagreement [%]") + 1
        found[RunFile.DISAGREEMENT] = [MapBand(place, "disagreement")]
    return found


def _write_processed(
    plan: Plan,
    staging: Staging,
    blocks: list[Block],
    workers: Workers,
    on_event: Callable[[Progress], None],
) -> Path:
    """Write the class map after post-processing, from which all outputs are made; return its path."""
    on_event(Progress("postprocess"))
    raw, path = staging.folder / "raw.vrt", staging.folder / "processed.tif"
    bands = [MapBand(1, "class", plan.bundle.card.legend)]
    write_vrt(raw, staging, blocks, plan.scene.shape, bands, {})
    write_processed(raw, path, plan.postprocess, workers)
    return path


def _write_vectors(
    plan: Plan,
    folder: Path,
    class_map: Path,
    confidence: Path,
    workers: Workers,
    on_event: Callable[[Progress], None],
) -> list[Path]:
    """Make polygons, and the raster of objects that separates them; return their paths."""
    # pandas, pyogrio and scipy are slow to import and take memory: not before there is a map.
    from geoseg.vector.vectorize import OBJECTS, vectorize  # noqa: PLC0415

    outputs = plan.pipeline.outputs
    files = vectorize(
        MapFiles(class_map, confidence), plan.recipe, workers, folder, layer=plan.name,
        formats=outputs.polygons, provenance=provenance_of(plan),
        on_step=lambda step, part: on_event(Progress(step, part=part)),
    )  # fmt: skip
    files += write_vector_styles(plan, folder)
    if outputs.instances:
        on_event(Progress(RunFile.INSTANCES))
        files += write_numbers(plan, folder, folder / OBJECTS)
    return files


def write_vector_styles(plan: Plan, folder: Path) -> list[Path]:
    """Write the styles that lie beside polygons, and describe vector tiles; return the paths."""
    formats, files = set(plan.pipeline.outputs.polygons), list[Path]()
    if _STYLED_BY_QML & formats:
        files.append(write_polygon_style(folder / RunFile.POLYGONS_QML, plan.bundle.card.legend))
    if "pmtiles" in formats:
        files.append(_describe_tiles(plan, folder / RunFile.PMTILES))
    return files


def write_numbers(plan: Plan, folder: Path, numbers: Path) -> list[Path]:
    """Write the raster of the numbers of objects from a temporary one, and its style; return the paths."""
    describe(numbers, ["object"], tags_of(plan))
    path: Path = folder / RunFile.INSTANCES
    copy_cog(numbers, path, "NEAREST")
    return [path, *write_object_style(path, highest_value(path))]


def _describe_tiles(plan: Plan, tiles: Path) -> Path:
    """Write into vector tiles what they are, and their style beside them; return the path of the style."""
    from geoseg.vector.write.pmtiles import describe_tiles, view_of  # noqa: PLC0415 (as in `_write_vectors`)

    card, view = plan.bundle.card, view_of(plan.scene.geobox)
    what = "classified" if plan.detection is None else "searched"
    about = f"{shared_path(plan.scene.name)} {what} by {card.name} {card.version}"
    # Viewers show it as HTML.
    source = html.escape(f"{about}, geoseg")
    describe_tiles(tiles, view, name=plan.name, description=f"{about} ({card.title})", attribution=source)
    return write_web_style(
        tiles.parent / RunFile.POLYGONS_STYLE, tiles.name, plan.name, card.legend, center=view.center,
        zoom=view.zoom, attribution=source,
    )  # fmt: skip


def read_picture(plan: Plan) -> ScenePicture:
    """Read the picture of the scene; import the libraries that draw it, too.

    Raises
    ------
    SceneError
        When a file cannot be read.
    """
    # matplotlib is slow to import: it is imported while maps are made.
    from geoseg.report import quicklook, run_page  # noqa: F401, PLC0415

    return scene_picture(plan.scene, read=reader(plan.retry))


def write_picture(
    plan: Plan, staging_folder: Path, totals: Totals, picture: ScenePicture, looked_at: int | None = None
) -> Path:
    """Make the quicklook; return its path. Shares are of the pixels with a class, or of those `looked_at`."""
    from geoseg.report.quicklook import (  # noqa: PLC0415 (see `read_picture`)
        Caption,
        write_label_quicklook,
        write_quicklook,
        write_value_quicklook,
    )

    path = staging_folder / RunFile.QUICKLOOK
    valid, card = looked_at or totals.valid, plan.bundle.card
    caption = Caption(
        title=f"{plan.name}: {shared_path(plan.scene.name)}",
        subtitle=f"{plan.bundle.card.name} {plan.bundle.card.version}, geoseg {geoseg.__version__}",
        shares={i: n / valid for i, n in totals.classes.items()},
    )
    if (values := recorded_values(plan, totals)) is not None:
        write_value_quicklook(path, plan.scene, picture, staging_folder / RunFile.VALUES, values, caption)
    elif card.task == "multilabel":
        labels = staging_folder / RunFile.LABELS
        write_label_quicklook(path, plan.scene, picture, labels, card.legend, caption)
    else:
        classes = staging_folder / RunFile.CLASSES
        write_quicklook(path, plan.scene, picture, classes, card.legend, caption)
    return path


def write_pictures(plan: Plan, staging_folder: Path, on_event: Callable[[Progress], None]) -> list[Path]:
    """Make the class map as a picture and the scene with it over it, as they are asked for; return paths."""
    files, form = list[Path](), plan.pipeline.outputs.overlay
    if plan.pipeline.outputs.mask:
        on_event(Progress(RunFile.MASK))
        files.append(staging_folder / RunFile.MASK)
        write_mask(files[-1], staging_folder / RunFile.CLASSES)
    if form is None:
        return files
    from geoseg.report.overlay import write_overlay  # noqa: PLC0415 (see `read_picture`)

    path = staging_folder / RunFile.overlay(form)
    on_event(Progress(path.name))
    class_map, legend = staging_folder / RunFile.CLASSES, plan.bundle.card.legend
    write_overlay(path, plan.scene, class_map, legend, reader(plan.retry))
    return [*files, path]


def confidence_by_class(plan: Plan, staging_folder: Path) -> dict[str, float] | None:
    """Return the mean confidence of each class on the map; None unless a mask of classes is asked for."""
    if plan.pipeline.outputs.mask is None or plan.detection is not None:
        return None
    staging = staging_of(plan, FolderStore(staging_folder))
    class_map = staging_folder / RunFile.CLASSES if plan.postprocess else None
    return mean_confidence(staging, plan.blocks, plan.bundle.card.legend, class_map)


def write_stac(plan: Plan, totals: Totals, files: list[Path], finished: datetime) -> Path:
    """Describe the run as a STAC item; return its path."""
    item = make_item(
        plan.name,
        plan.scene,
        plan.bundle,
        [Output(f, **output_entry(f)) for f in files],
        {**totals.classes, NODATA: nodata_of(plan, totals)},
        area=None if plan.aoi is None else plan.aoi.geometry,
        folder=plan.folder,
        fingerprint=plan.fingerprint,
        finished=finished,
    )
    path = files[0].parent / RunFile.ITEM
    write_atomic(path, json.dumps(item, indent=2, ensure_ascii=False).encode() + b"\n")
    return path


def provenance_of(plan: Plan) -> dict[str, Any]:
    """Return the provenance of the polygons, for the metadata of the GeoPackage."""
    return {
        "software": f"geoseg {geoseg.__version__}",
        "scene": shared_path(plan.scene.name),
        "files": [shared_path(b.source.path) for m in plan.scene.members for b in m.bands],
        "model": {
            "name": plan.bundle.card.name,
            "version": plan.bundle.card.version,
            "sha256": plan.bundle.sha256,
            **_members(plan),
        },
        "fingerprint": plan.fingerprint,
        "vectorize": _vectorize_of(plan),
    }


def _vectorize_of(plan: Plan) -> dict[str, Any]:
    """Return how the polygons were made, without what does not matter here."""
    settings = plan.pipeline.vectorize
    idle = set() if settings.attributes else {"attributes"}
    # How masks overlap is a matter of objects alone.
    idle |= {"overlap"} if plan.detection is None else set()
    return settings.model_dump(mode="json", exclude=idle)


def _members(plan: Plan) -> dict[str, Any]:
    """Return the networks of an ensemble."""
    if not plan.others:
        return {}
    bundles = [n.member.bundle for n in plan.networks]
    return {
        "members": [{"name": b.card.name, "version": b.card.version, "sha256": b.sha256} for b in bundles]
    }


def tags_of(plan: Plan) -> dict[str, str]:
    """Return the metadata of the rasters."""
    return {
        "TIFFTAG_SOFTWARE": f"geoseg {geoseg.__version__}",
        "GEOSEG_MODEL": f"{plan.bundle.card.name} {plan.bundle.card.version}",
        "GEOSEG_MODEL_SHA256": plan.bundle.sha256,
        "GEOSEG_SCENE": shared_path(plan.scene.name),
        "GEOSEG_FINGERPRINT": plan.fingerprint,
    }
