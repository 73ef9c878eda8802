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
from geoseg.raster.staging import Staging, crs_wkt
from geoseg.report.scene_picture import ScenePicture, scene_picture
from geoseg.runs.item import Output, make_item
from geoseg.runs.progress import Progress
from geoseg.runs.record import Totals, nodata_of
from geoseg.storage.store import FolderStore, Store
from geoseg.styles.polygons import write_polygon_style, write_web_style
from geoseg.styles.raster import (
    write_count_style,
    write_object_style,
    write_raster_styles,
    write_share_style,
)
from geoseg.vector.trace.block import MapFiles

_STYLED_BY_QML = frozenset({"parquet", "fgb", "geojson"})
"""Formats that cannot hold a style; a GeoPackage has its own, and vector tiles another kind."""


def staging_of(plan: Plan, store: Store) -> Staging:
    """Return the finished blocks of a plan."""
    more = [f"{c.slug} [%]" for c in plan.bundle.card.classes] if plan.probabilities else []
    more += ["observations"] if plan.scene.counts_observations else []
    return Staging(
        store=store.resolved(),
        fingerprint=plan.fingerprint,
        crs=crs_wkt(plan.scene.geobox.crs),
        transform=tuple(plan.scene.geobox.transform)[:6],
        bands=("class", "confidence [%]", *more),
    )


def output_names(plan: Plan, *, profile: bool = False) -> list[str]:
    """Return the names of the files that a run will write, with its profile on request."""
    outputs = plan.pipeline.outputs
    written = {
        RunFile.CLASSES: True,
        RunFile.CLASSES_METADATA: True,
        RunFile.CLASSES_QML: True,
        RunFile.CLASSES_SLD: True,
        RunFile.CONFIDENCE: outputs.confidence,
        RunFile.CONFIDENCE_QML: outputs.confidence,
        RunFile.PROBABILITIES: outputs.probabilities,
        RunFile.PROBABILITIES_QML: outputs.probabilities,
        RunFile.OBSERVATIONS: plan.scene.counts_observations,
        RunFile.OBSERVATIONS_QML: plan.scene.counts_observations,
        RunFile.INSTANCES: outputs.instances,
        RunFile.INSTANCES_QML: outputs.instances,
        **{RunFile.polygons(form): True for form in outputs.polygons},
        RunFile.POLYGONS_QML: bool(_STYLED_BY_QML & set(outputs.polygons)),
        RunFile.POLYGONS_STYLE: "pmtiles" in outputs.polygons,
        RunFile.MASK: outputs.mask is not None,
        **({RunFile.overlay(outputs.overlay): True} if outputs.overlay else {}),
        RunFile.QUICKLOOK: True,
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
    tags, shape = _tags(plan), plan.scene.shape
    files: list[Path] = []

    def cog(name: str, bands: list[MapBand], overviews: Any) -> Path:
        path: Path = staging_folder / name
        on_event(Progress(name))
        write_cog(path, staging, blocks, shape, bands, overviews, tags)
        files.append(path)
        return path

    class_map = cog(RunFile.CLASSES, [MapBand(1, "class", legend)], "MODE")
    files += write_raster_styles(class_map, legend)
    if outputs.mask:
        on_event(Progress(RunFile.MASK))
        files.append(staging_folder / RunFile.MASK)
        write_mask(files[-1], class_map)
    if outputs.confidence:
        files += write_share_style(cog(RunFile.CONFIDENCE, [MapBand(2, "confidence")], "AVERAGE"))
    if outputs.probabilities:
        titles = [f"probability of {c.title}" for c in plan.bundle.card.classes]
        bands = [MapBand(3 + i, t) for i, t in enumerate(titles)]
        files += write_share_style(cog(RunFile.PROBABILITIES, bands, "AVERAGE"))
    if plan.scene.counts_observations:
        last = len(staging.bands)
        counts = cog(RunFile.OBSERVATIONS, [MapBand(last, "observations", counts=True)], "NEAREST")
        files += write_count_style(counts, highest_value(counts))
    if outputs.polygons or outputs.instances:
        on_event(Progress("polygons"))
        # The uncompressed blocks are read faster than the finished map.
        confidence = staging_folder / "share.vrt"
        write_vrt(confidence, staging, blocks, shape, [MapBand(2, "confidence")], {})
        files += _write_vectors(plan, staging_folder, class_map, confidence, workers)
    return files


def _write_vectors(
    plan: Plan, folder: Path, class_map: Path, confidence: Path, workers: Workers
) -> list[Path]:
    """Make polygons, and the raster of objects that separates them; return their paths."""
    # pandas, pyogrio and scipy are slow to import and take memory: not before there is a map.
    from geoseg.vector.vectorize import OBJECTS, vectorize  # noqa: PLC0415

    outputs = plan.pipeline.outputs
    files = vectorize(
        MapFiles(class_map, confidence), plan.recipe, workers, folder, layer=plan.name,
        formats=outputs.polygons, provenance=_provenance(plan),
    )  # fmt: skip
    if _STYLED_BY_QML & set(outputs.polygons):
        files.append(write_polygon_style(folder / RunFile.POLYGONS_QML, plan.bundle.card.legend))
    if "pmtiles" in outputs.polygons:
        files.append(_describe_tiles(plan, folder / RunFile.PMTILES))
    if outputs.instances:
        describe(folder / OBJECTS, ["object"], _tags(plan))
        path = folder / RunFile.INSTANCES
        copy_cog(folder / OBJECTS, path, "NEAREST")
        files += [path, *write_object_style(path, highest_value(path))]
    return files


def _describe_tiles(plan: Plan, tiles: Path) -> Path:
    """Write into vector tiles what they are, and their style beside them; return the path of the style."""
    from geoseg.vector.write.pmtiles import describe_tiles, view_of  # noqa: PLC0415 (as in `_write_vectors`)

    card, view = plan.bundle.card, view_of(plan.scene.geobox)
    about = f"{shared_path(plan.scene.name)} classified by {card.name} {card.version}"
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


def write_picture(plan: Plan, staging_folder: Path, totals: Totals, picture: ScenePicture) -> Path:
    """Make the quicklook; return its path."""
    from geoseg.report.quicklook import Caption, write_quicklook  # noqa: PLC0415 (see `read_picture`)

    path = staging_folder / RunFile.QUICKLOOK
    valid = sum(totals.classes.values())
    caption = Caption(
        title=f"{plan.name}: {shared_path(plan.scene.name)}",
        subtitle=f"{plan.bundle.card.name} {plan.bundle.card.version}, geoseg {geoseg.__version__}",
        shares={i: n / valid for i, n in totals.classes.items()},
    )
    legend = plan.bundle.card.legend
    write_quicklook(path, plan.scene, picture, staging_folder / RunFile.CLASSES, legend, caption)
    return path


def write_pictures(plan: Plan, staging_folder: Path, on_event: Callable[[Progress], None]) -> list[Path]:
    """Make the picture with the map over it, when it is asked for; return its path."""
    form = plan.pipeline.outputs.overlay
    if form is None:
        return []
    from geoseg.report.overlay import write_overlay  # noqa: PLC0415 (see `read_picture`)

    path = staging_folder / RunFile.overlay(form)
    on_event(Progress(path.name))
    class_map, legend = staging_folder / RunFile.CLASSES, plan.bundle.card.legend
    write_overlay(path, plan.scene, class_map, legend, reader(plan.retry))
    return [path]


def confidence_by_class(plan: Plan, staging_folder: Path) -> dict[str, float] | None:
    """Return the mean confidence of each class from the finished blocks; None unless a mask is asked for."""
    if plan.pipeline.outputs.mask is None:
        return None
    staging = staging_of(plan, FolderStore(staging_folder))
    return mean_confidence(staging, plan.blocks, plan.bundle.card.legend)


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


def _provenance(plan: Plan) -> dict[str, Any]:
    """Return the provenance of the polygons, for the metadata of the GeoPackage."""
    return {
        "software": f"geoseg {geoseg.__version__}",
        "scene": shared_path(plan.scene.name),
        "files": [shared_path(b.source.path) for m in plan.scene.members for b in m.bands],
        "model": {
            "name": plan.bundle.card.name,
            "version": plan.bundle.card.version,
            "sha256": plan.bundle.sha256,
        },
        "fingerprint": plan.fingerprint,
        "vectorize": plan.pipeline.vectorize.model_dump(mode="json"),
    }


def _tags(plan: Plan) -> dict[str, str]:
    return {
        "TIFFTAG_SOFTWARE": f"geoseg {geoseg.__version__}",
        "GEOSEG_MODEL": f"{plan.bundle.card.name} {plan.bundle.card.version}",
        "GEOSEG_MODEL_SHA256": plan.bundle.sha256,
        "GEOSEG_SCENE": shared_path(plan.scene.name),
        "GEOSEG_FINGERPRINT": plan.fingerprint,
    }
