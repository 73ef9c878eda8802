"""The project of a run for QGIS: scene, maps and polygons as layers."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from odc.geo.crs import CRS

from geoseg.core.doubt import DOUBT_LAYER, REASON, REASONS
from geoseg.core.run_files import RunFile
from geoseg.core.sharing import shared_path
from geoseg.inference.plan import Plan
from geoseg.report.scene_picture import ScenePicture
from geoseg.runs.scene_layer import SceneLayer, relative_path, scene_layers, stretch_of, write_scene_vrt
from geoseg.styles.polygons import CLASS_ID
from geoseg.styles.project import Layer, Reference, write_project
from geoseg.styles.qml import categorised, composed, hatched

_POLYGONS = (RunFile.GEOPACKAGE, RunFile.FLATGEOBUF, RunFile.GEOPARQUET, RunFile.GEOJSON)
"""Files of polygons, the one that QGIS reads best first. All hold the same features."""

_MAPS = {RunFile.CLASSES: "Classes", RunFile.VALUES: "Values", RunFile.LABELS: "Labels"}
_RASTERS = {
    RunFile.OBSERVATIONS: "Observations",
    RunFile.INSTANCES: "Objects",
    RunFile.DISAGREEMENT: "Disagreement",
    RunFile.PROBABILITIES: "Probabilities",
    RunFile.STRANGENESS: "Unlike the training",
    RunFile.CONFIDENCE: "Confidence",
    **_MAPS,
}
"""Rasters of a run, the topmost first, and the names of their layers."""


def write_run_project(plan: Plan, folder: Path, files: Iterable[Path], picture: ScenePicture) -> list[Path]:
    """Write the project of a run, and a VRT of its scene where the bands lie in several files.

    Parameters
    ----------
    plan
        The plan.
    folder
        The local folder where outputs are made.
    files
        The outputs so far.
    picture
        The picture of the scene, for its contrast.

    Returns
    -------
    list
        The paths of the files.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    written: list[Path] = []
    scenes = scene_layers(plan.scene, plan.folder)
    if needs_vrt(scenes):
        written.append(write_scene_vrt(folder / RunFile.SCENE_VRT, scenes[0], Path(plan.folder)))
    box = plan.scene.geobox.boundingbox
    layers = [
        *_outputs(plan, folder, {p.name for p in files}),
        *_scenes(scenes, Path(plan.folder), picture),
    ]
    title = f"{plan.name}: {shared_path(plan.scene.name)}"
    extent = (box.left, box.bottom, box.right, box.top)
    write_project(folder / RunFile.PROJECT, title, layers, _reference(plan.scene.geobox.crs), extent)
    return [*written, folder / RunFile.PROJECT]


def needs_vrt(scenes: list[SceneLayer]) -> bool:
    """Return whether the scene is a layer whose bands lie in several files."""
    return len(scenes) == 1 and not scenes[0].is_one_file


def project_files(plan: Plan) -> list[RunFile]:
    """Return the names of the files that `write_run_project` will write."""
    vrt = [RunFile.SCENE_VRT] if needs_vrt(scene_layers(plan.scene, plan.folder)) else []
    return [*vrt, RunFile.PROJECT]


def _outputs(plan: Plan, folder: Path, names: set[str]) -> Iterator[Layer]:
    """Yield a layer for the outlines of doubt, for the polygons and for each raster."""
    crs, objects = plan.scene.geobox.crs, plan.detection is not None
    polygons = next((f for f in _POLYGONS if f in names), None)
    of_layer = plan.recipe.rules.crs or crs
    if RunFile.DOUBT in names:
        place = f"./{RunFile.DOUBT}|layername={DOUBT_LAYER}"
        yield Layer("Do not trust", place, _reference(of_layer), hatched(REASONS, REASON), "polygons")
    if polygons is not None:
        own = CRS("EPSG:4326") if polygons == RunFile.GEOJSON else of_layer
        # Elsewhere the name of the file is that of the layer.
        inside = f"|layername={plan.name}" if polygons == RunFile.GEOPACKAGE else ""
        style = categorised(plan.bundle.card.legend, CLASS_ID)
        # A raster of the same colours is drawn faster, and in full however many polygons there are.
        yield Layer("Polygons", f"./{polygons}{inside}", _reference(own), style, "polygons", shown=objects)
    for name, title in _RASTERS.items():
        if name in names:
            style = ET.parse((folder / name).with_suffix(".qml")).getroot()  # noqa: S314 (written before)
            yield Layer(title, f"./{name}", _reference(crs), style, shown=name in _MAPS)


def _scenes(scenes: list[SceneLayer], folder: Path, picture: ScenePicture) -> Iterator[Layer]:
    for scene in scenes:
        joined = not scene.is_one_file
        source = f"./{RunFile.SCENE_VRT}" if joined else relative_path(scene.bands[0].source.path, folder)
        numbers = (1, 2, 3) if joined else tuple(b.index for b in scene.bands)
        style = composed(numbers, stretch_of(picture), [b.nodata for b in scene.bands])
        place = source if source.startswith(".") else f"./{source}"
        yield Layer(scene.name, place, _reference(scene.geobox.crs), style)


def _reference(crs: CRS | None) -> Reference:
    if crs is None:
        return Reference("")
    authority = crs.proj.to_authority(min_confidence=100)
    return Reference(crs.to_wkt(), ":".join(authority or ()), bool(crs.geographic))
