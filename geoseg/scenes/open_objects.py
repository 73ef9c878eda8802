"""Open the labels of objects of a scene, whatever their form."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from odc.geo.geobox import GeoBox

from geoseg.config.legend import LegendDocument
from geoseg.core.errors import SceneError
from geoseg.core.legend import Remap
from geoseg.scenes.burning import VECTOR_SUFFIXES, PolygonCodes
from geoseg.scenes.coco import is_coco, open_coco
from geoseg.scenes.instance_sources import NumberedObjects, PolygonObjects
from geoseg.scenes.instances import ObjectLabels, ObjectSource, with_background
from geoseg.scenes.labels import Labels, RasterCodes, open_labels


def open_objects(
    path: Path,
    geobox: GeoBox,
    remap: Remap,
    names: Mapping[str, int],
    *,
    image: str = "",
    classes: Path | None = None,
    attribute: str | None = None,
    layer: str | None = None,
    area: Path | None = None,
) -> ObjectLabels:
    """Open the objects of a scene.

    Parameters
    ----------
    path
        Polygons, of which each feature is an object; a raster of object numbers, 0 where there is none; or
        COCO JSON.
    geobox
        The grid on which objects are burnt.
    remap
        Codes of the classes; objects without a class are of the only class, where there is one.
    names
        Code of each class name.
    image
        File name of the image in COCO JSON.
    classes
        Raster with the class of each object of a raster of numbers.
    attribute, layer
        Column of polygons with the class, and their layer.
    area
        Polygons of the part of the scene where objects were looked for; default: the whole scene.

    Raises
    ------
    SceneError
        When a file is missing or damaged, or the class of an object cannot be told.
    """
    only = remap.codes[0][0] if len(remap.codes) == 1 else None
    source: ObjectSource
    if is_coco(path):
        source = open_coco(str(path), image, geobox, names, remap)
    else:
        labels = open_labels(str(path), geobox, attribute=attribute, names=names, layer=layer, only=only)
        if isinstance(labels.codes, PolygonCodes):
            source = PolygonObjects(labels.codes, geobox, remap)
        else:
            source = _numbered(labels, classes, remap)
    looked = None
    if area is not None:
        if area.suffix.lower() not in VECTOR_SUFFIXES:
            raise SceneError(f"{area}: the area where objects are labelled is polygons")
        looked = open_labels(str(area), geobox, only=1)
    return ObjectLabels(str(path), geobox, source, with_background(remap), looked)


def class_names(legend: LegendDocument) -> dict[str, int]:
    """Return the code of each slug and title, which vector files may contain."""
    return {
        key: code
        for c, codes in zip(legend.classes, legend.remap.codes, strict=True)
        for key in (c.slug, c.title)
        for code in codes[:1]
    }


def _numbered(labels: Labels, classes: Path | None, remap: Remap) -> NumberedObjects:
    if classes is None and len(remap.codes) > 1:
        raise SceneError(
            f"{labels.path}: holds numbers of objects, not their classes; name the raster of classes with "
            "classes:, or give a legend of one class"
        )
    known = None if classes is None else open_labels(str(classes), labels.geobox)
    return NumberedObjects(with_zeros(labels), known, remap)


def with_zeros(labels: Labels) -> Labels:
    """Return a raster of numbers whose 0 means no object, even where the file declares it as nodata."""
    codes = labels.codes
    if isinstance(codes, RasterCodes) and codes.source.nodata[0] == 0:
        return replace(labels, codes=RasterCodes(replace(codes.source, nodata=(None,))))
    return labels
