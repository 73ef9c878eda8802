"""The files of a run folder."""

from enum import StrEnum


class RunFile(StrEnum):
    """Name of a file in a run folder.

    Examples
    --------
    >>> from pathlib import Path
    >>> (Path("outputs/landcover") / RunFile.CLASSES).as_posix()
    'outputs/landcover/classes.tif'
    """

    CLASSES = "classes.tif"
    CLASSES_METADATA = "classes.tif.aux.xml"
    CLASSES_QML = "classes.qml"
    CLASSES_SLD = "classes.sld"
    CONFIDENCE = "confidence.tif"
    CONFIDENCE_QML = "confidence.qml"
    STRANGENESS = "strangeness.tif"
    STRANGENESS_QML = "strangeness.qml"
    PROBABILITIES = "probabilities.tif"
    PROBABILITIES_QML = "probabilities.qml"
    DISAGREEMENT = "disagreement.tif"
    DISAGREEMENT_QML = "disagreement.qml"
    OBSERVATIONS = "observations.tif"
    OBSERVATIONS_QML = "observations.qml"
    INSTANCES = "instances.tif"
    INSTANCES_QML = "instances.qml"
    COCO = "objects.coco.json"
    GEOPACKAGE = "polygons.gpkg"
    GEOPARQUET = "polygons.parquet"
    FLATGEOBUF = "polygons.fgb"
    GEOJSON = "polygons.geojson"
    PMTILES = "polygons.pmtiles"
    DOUBT = "doubt.gpkg"
    POLYGONS_QML = "polygons.qml"
    POLYGONS_STYLE = "polygons.style.json"
    VALUES = "values.tif"
    VALUES_QML = "values.qml"
    LABELS = "labels.tif"
    LABELS_QML = "labels.qml"
    MASK = "mask.png"
    OVERLAY_PNG = "overlay.png"
    OVERLAY_JPG = "overlay.jpg"
    PROJECT = "run.qgz"
    SCENE_VRT = "scene.vrt"
    QUICKLOOK = "quicklook.png"
    ITEM = "item.json"
    PAGE = "report.html"
    EVENTS = "events.jsonl"
    PROFILE = "profile.json"
    RECORD = "run.json"

    @classmethod
    def overlay(cls, form: str) -> "RunFile":
        """Return the picture with the map over it in a format, by its suffix: `png` or `jpg`."""
        return cls(f"overlay.{form}")

    @classmethod
    def polygons(cls, form: str) -> "RunFile":
        """Return the file of polygons in a format, by its suffix: `gpkg`, `parquet`, `fgb`, ..."""
        return cls(f"polygons.{form}")
