"""`data_catalog.yaml`: scenes and labelled data (chips, labelled scenes, Cityscapes folders) by name."""

from typing import Annotated, Literal

from pydantic import Field

from geoseg.config.fields import Finite, Gsd, Nodata, Offset, Scale
from geoseg.config.loader import Document
from geoseg.config.scene import SceneEntry

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
    """Glob pattern of the images."""
    labels: str = "labels/{stem}.tif"
    """Label raster of an image; {stem} is the image's file name without its suffix. Of instances: a raster of
    object numbers or polygons of each image, or COCO JSON of all."""
    classes: str | None = None
    """Of instances in rasters of object numbers: raster of classes of an image, a pattern like `labels`."""
    groups: str | None = None
    """JSON file of image stem -> group. Chips of one group overlap or touch and stay in one part."""
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


DatasetEntry = Annotated[ChipsEntry | ScenesEntry | CityscapesEntry, Field(discriminator="kind")]


class CatalogDocument(Document):
    """`data_catalog.yaml`."""

    scenes: dict[str, SceneEntry] = Field(default_factory=dict)
    datasets: dict[str, DatasetEntry] = Field(default_factory=dict)
