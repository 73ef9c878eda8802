"""`data_catalog.yaml`: scenes and labelled data (chips, labelled scenes, Cityscapes folders) by name."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from geoseg.config.fields import Finite, Gsd, Line, Nodata, Offset, Positive, Scale
from geoseg.config.legend import LegendDocument
from geoseg.config.loader import Document
from geoseg.config.scene import SceneEntry

FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")
"""A name in a pattern."""

CLASS = "class"
"""The name that stands in a pattern of labels for the slug of each class."""

Part = Literal["train", "val", "test"]


class _Dataset(Document):
    """The keys of every kind of labelled data."""

    title: str = ""
    description: str = ""
    license: str = ""
    source: str = ""
    folder: str | None = None
    """Folder of every relative path of this entry; `data` of a training replaces it."""


class ChipsEntry(_Dataset):
    """A folder of small rasters with one label raster each."""

    kind: Literal["chips"]
    images: str = "images/*.tif"
    """Glob pattern of the images, in which a name in braces stands for any text without a slash, as in
    `{part}/{stem}.png`. A {part} is train, val or test (or training, validation, testing); other images are
    left out."""
    labels: str = "labels/{stem}.tif"
    """Label of an image, by the names in `images`; without one, {stem} is its file name without the suffix. A
    raster of codes, or a picture in the colours of the legend. Of instances: a raster of object numbers or
    polygons of each image, or COCO JSON of all. Of several labels {class} may stand for the slug of each."""
    classes: str | None = None
    """Of instances in rasters of object numbers: raster of classes of an image, a pattern like `labels`."""
    parts: str | None = None
    """Text files that list the images of each part, such as `ImageSets/Segmentation/{part}.txt`."""
    group: str | None = None
    """Group of an image by the names in `images`, such as `{city}`."""
    groups: str | None = None
    """JSON file of image stem -> group. Chips of one group overlap or touch and stay in one part."""
    unlabelled: Literal["error", "skip"] = "error"
    """What to do with images that have no label."""
    palettes: Literal["codes", "colors"] = "codes"
    """What the numbers in palette masks are: codes, or only numbers of colours, which mean the classes."""
    unknown_colors: Literal["error", "ignore"] = "error"
    """What to do with colours in labels that the legend lacks; ignored pixels count as unlabelled."""
    bands: tuple[str, ...] = ()
    """Band names in the order of the files; default: the names in the files."""
    scale: Scale | None = None
    """Physical value = number * scale + offset."""
    offset: Offset | None = None
    nodata: Nodata | None = None
    valid_range: tuple[Finite, Finite] | None = None
    """Physical values outside are nodata."""
    gsd: Gsd | None = None
    """Ground sample distance in metres, for chips without a CRS."""

    @model_validator(mode="after")
    def _names_agree(self) -> "ChipsEntry":
        known = {*FIELD.findall(self.images), "stem"}
        for key in ("images", "labels", "classes", "group", "parts"):
            text = getattr(self, key) or ""
            if set("{}") & set(FIELD.sub("", text)):
                raise ValueError(f"{key}: braces hold one name of letters, such as {{stem}}")
            more = {CLASS} if key == "labels" else set()
            if key in {"labels", "classes", "group"} and (missing := set(FIELD.findall(text)) - known - more):
                raise ValueError(
                    f"{key}: images has no {{{min(missing)}}}; it has {', '.join(sorted(known))}"
                )
        if self.parts is not None and FIELD.findall(self.parts) != ["part"]:
            raise ValueError("parts: write {part} where the lists of train, val and test differ")
        if self.group is not None and self.groups is not None:
            raise ValueError("group and groups both say which chips belong together; write one of them")
        return self


class LabelledScene(Document):
    """A scene and its labels."""

    scene: str | SceneEntry
    """A name in the catalog, a path, or an entry."""
    labels: str
    """A raster or a vector file; of instances: polygons, a raster of object numbers, or COCO JSON."""
    classes: str | None = None
    """Of instances in a raster of object numbers: the raster of their classes."""
    area: str | None = None
    """Of instances: polygons of the part of the scene where all objects are labelled; default: all of it."""
    attribute: str | None = None
    """Column of a vector file that holds the class: its code, slug or title."""
    layer: str | None = None
    group: str | None = None
    """Scenes of one group stay in one part; default: a group of its own."""
    part: Part | None = None
    """The part of the scene, when `split.by` is `given`."""


class ScenesEntry(_Dataset):
    """Scenes of any size with labels."""

    kind: Literal["scenes"]
    scenes: Annotated[tuple[LabelledScene, ...], Field(min_length=1)]


class CityscapesEntry(_Dataset):
    """A folder in the layout of Cityscapes (Cordts et al. 2016): leftImg8bit/PART/CITY, gtFine/PART/CITY."""

    kind: Literal["cityscapes"]


class PlacesEntry(_Dataset):
    """Places of a scene that `geoseg suggest` chose and somebody labelled; each place is a group."""

    kind: Literal["places"]
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """The GeoPackages: a chip lies in a square, its labels are the polygons of the layer `labels`."""
    scene: str | SceneEntry | None = None
    """The scene, with more bands for example; default: what the run saw, as each file says."""


DatasetEntry = Annotated[
    ChipsEntry | ScenesEntry | CityscapesEntry | PlacesEntry, Field(discriminator="kind")
]


def _texts(value: Any) -> Any:
    """Return the codes among the keys of a mapping as texts."""
    if not isinstance(value, dict):
        return value
    return {str(k) if type(k) is int else k: v for k, v in value.items()}


class DatasetUse(Document):
    """One of the data sets of a training that has several."""

    dataset: str | DatasetEntry
    """A name in the data catalog, or an entry as the catalog has it."""
    name: Annotated[str, Field(pattern=r"^\w[\w .-]*$", max_length=100)] | None = None
    """Name in tables, and before those of its scenes and groups; default: that in the catalog."""
    data: str | None = None
    """Folder of the data set, instead of the one in its entry."""
    legend: str | LegendDocument | None = None
    """The classes of its labels, as `legend` of the training; those with the same slug are the same."""
    classes: Annotated[
        dict[Line, Line], BeforeValidator(_texts, json_schema_input_type=dict[str | int, str])
    ] = Field(default_factory=dict)
    """Class of the training, by slug, or `ignore`, for each code of its labels, slug of its own legend, or
    text in polygons. Without it and `legend` the codes are those of the training's legend."""
    weight: Positive = 1.0
    """Share of the training chips that are drawn from it, against the weights of the others."""


class CatalogDocument(Document):
    """`data_catalog.yaml`."""

    scenes: dict[str, SceneEntry] = Field(default_factory=dict)
    datasets: dict[str, DatasetEntry] = Field(default_factory=dict)
