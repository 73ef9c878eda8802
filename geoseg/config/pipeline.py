"""`pipelines/*.yaml`: a scene, a model, and how to make the map."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from geoseg.config.area import Area, Bbox
from geoseg.config.cluster import Cluster
from geoseg.config.fields import GATE, Auto, Count, Gsd, NonNegative, Overlap, Share, Side, Threshold, Tries
from geoseg.config.lengths import Length
from geoseg.config.loader import Document
from geoseg.config.scene import SceneEntry

# YAML 1.1 reads a bare `off` as false.
Level = Annotated[
    Literal["error", "warn", "off"],
    BeforeValidator(
        lambda value: "off" if value is False else value,
        json_schema_input_type=Literal["error", "warn", "off", False],
    ),
]


class Tiling(Document):
    """Sizes of tiles and blocks."""

    tile: Auto | Side = "auto"
    """Tile side in pixels; auto: as the bundle's card says."""
    overlap: Auto | Overlap = "auto"
    """Pixels that neighbouring tiles share; auto: as the bundle's card says."""
    block: Auto | Side = "auto"
    """Tiles along the side of a block, the work of one task."""


class Inference(Document):
    """How the network runs."""

    device: Annotated[
        str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", examples=["auto", "cpu", "cuda", "cuda:0"])
    ] = "auto"
    backend: Literal["auto", "torch", "inductor", "openvino", "onnxruntime"] = "auto"
    """What runs the network; auto: OpenVINO on a CPU where it can, else torch, or
    onnxruntime for an ONNX graph. inductor: torch.compile."""
    precision: Literal["auto", "fp32", "mixed", "bf16", "fp16"] = "auto"
    """auto: mixed for large scenes where it keeps the classes, else fp32. mixed: first layers in fp32, others
    in bf16, where at most 0.1 % of the classes change; bf16 changes more; fp16 needs a GPU."""
    batch: Auto | Count = "auto"
    """Tiles in one forward pass."""
    augment: Literal["none", "horizontal", "flips", "d4"] = "none"
    """Test-time augmentation: mean over the picture and its mirror image, over the 4 flips, or over the 8
    symmetries of the square."""
    thresholds: Auto | Literal["none"] | dict[str, Threshold] = "auto"
    """Probability from which a class is taken, by slug, whatever others have; of several, the largest
    multiple of its threshold counts. auto: as the bundle's card says; none: the most probable class."""
    otherwise: str = "likeliest"
    """What a pixel becomes that reaches no threshold: `likeliest`, the most probable class without a
    threshold (of all, when each has one); `nodata`; or the slug of a class."""


class Objects(Document):
    """How objects that tiles report are merged, of a model that finds objects."""

    reach: Literal["territory", "tile"] = "territory"
    """Which of its detections a tile reports: those that reach into its territory, of which it sees more than
    its neighbours, or all."""
    match: Annotated[float, Field(gt=0, le=1), GATE] = 0.4
    """Two detections are one object when their masks have at least this IoU where both tiles look."""


class Strangeness(Document):
    """Shares of pixels unlike the training pixels, see `outputs.strangeness`."""

    warn: Share = 0.1
    """Share of a sample of the scene, or of the whole map, from which on it is told."""
    stop: Share = 0.5
    """Share of a sample of the scene from which on `statistics` fails."""


class Checks(Document):
    """What to do when a check before the run fails."""

    statistics: Level = "error"
    """Band values far from the pixels that the network was trained on."""
    strangeness: Strangeness = Strangeness()
    gsd: Level = "error"
    """Ground sample distance outside the network's range by more than 25 %."""
    memory: Level = "error"
    """The plan needs more memory than is available."""


class Reading(Document):
    """What to do when a scene cannot be read: networks and shared disks may fail for a while."""

    tries: Tries = 4
    """Attempts to read a block before it counts as unreadable."""
    wait: NonNegative = 0.5
    """Seconds before the second attempt, about; each further wait is three times longer, up to a minute."""
    failed: Literal["error", "nodata"] = "error"
    """An unreadable block stops the run, or becomes nodata together with the pixels that it shares with its
    neighbours."""


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("the side must be odd, such as 3 or 5, so that there is a pixel in the middle")
    return value


Radius = Annotated[int, Field(ge=1, le=100), GATE]
"""Radius of a disc in pixels."""


class PostProcess(Document):
    """What is done to the class map before anything else is made from it, in this order."""

    majority: Annotated[int, Field(ge=3, le=99), AfterValidator(_odd), GATE] | None = None
    """Side in pixels of a square: a pixel takes the class that is more frequent there than any other."""
    closing: dict[str, Radius] = Field(default_factory=dict)
    """Slugs of classes, and radii in pixels: gaps too narrow for such a disc are filled. A class takes no
    pixel of one that is named before it."""
    sieve: Length = 0.0
    """Minimum mapping unit: smaller regions take the class of the neighbour with the longest border."""


class Instances(Document):
    """How classes are divided into objects, each with its own id."""

    method: Literal["components", "watershed"]
    """`components`: each connected region is an object; `watershed`: regions are also cut at their necks."""
    classes: tuple[str, ...] = ()
    """Slugs of the classes that are divided; none: all but `boundary`."""
    minimum_distance: NonNegative = 0
    """Smallest distance in metres between the centres of two objects of a watershed."""
    depth: Auto | NonNegative = "auto"
    """Metres by which the edge is nearer at a neck than at the centres of both parts; auto: one pixel."""
    boundary: str | None = None
    """Slug of a class that separates objects; its pixels then join the nearest of them."""

    @model_validator(mode="after")
    def _fits(self) -> "Instances":
        if self.method == "components" and (self.minimum_distance or self.depth != "auto"):
            raise ValueError("minimum_distance and depth belong to method watershed")
        if self.boundary is not None and self.boundary in self.classes:
            raise ValueError(f"{self.boundary!r} cannot be the boundary and have objects")
        return self


class Vectorize(Document):
    """How polygons are made."""

    minimum_area: Length = 0.0
    """Minimum mapping unit: smaller regions join the neighbour with the longest common border."""
    simplify: Length = 0.0
    """Tolerance; neighbours keep their common edges. 0 keeps the edges of the pixels."""
    method: Literal["visvalingam", "douglas-peucker"] = "visvalingam"
    """Criterion of simplification: the area or the distance that a vertex contributes."""
    smooth: Length = 0.0
    """Corners are rounded over this length of both sides."""
    rectangles: tuple[str, ...] = ()
    """Slugs of classes, like buildings, whose free-standing objects get outlines with right angles."""
    dissolve: bool = False
    """One multipolygon for each class."""
    leave_out: tuple[str, ...] = ()
    """Slugs of classes without polygons."""
    minimum_confidence: Share = 0
    """Polygons with a lower mean confidence are left out."""
    low_confidence: Share = 0.5
    """Pixels below it are counted in `low_confidence_share`, and outlined by `outputs.doubt`."""
    attributes: tuple[Literal["class_color"], ...] = ()
    """Further columns: `class_color`, the colour of the class as `#rrggbb`, by which web maps and notebooks
    draw polygons."""
    crs: str | None = None
    """CRS of the polygons, as PROJ reads it (`EPSG:4326`); default: that of the scene."""
    instances: Annotated[
        Instances | None,
        BeforeValidator(
            lambda value: {"method": value} if isinstance(value, str) else value,
            json_schema_input_type=Instances | Literal["components", "watershed"] | None,
        ),
    ] = None
    """Objects; the name of a method means all classes. Not for a model that finds objects itself."""
    overlap: Literal["paint", "keep"] = "paint"
    """Of a model that finds objects: polygons of what is seen of each object, which do not overlap, or of
    each object's whole mask."""

    @model_validator(mode="after")
    def _fits(self) -> "Vectorize":
        if self.dissolve and self.instances is not None:
            raise ValueError("dissolve puts together what instances part; ask for one of them")
        if self.overlap == "keep" and self.rectangles:
            raise ValueError("rectangles need polygons that do not overlap: overlap: paint")
        return self


class Outputs(Document):
    """The outputs and their folder."""

    folder: Annotated[str, Field(min_length=1)]
    """The run folder: a path, or a URI in an object store like `s3://bucket/prefix`."""
    confidence: bool = True
    strangeness: bool = False
    """Write how far each pixel is from the training pixels of the network: 1 is as far as one in a hundred of
    them."""
    doubt: bool = False
    """Write outlines of what is not to be trusted: pixels with a confidence below `vectorize.low_confidence`,
    and pixels unlike the training pixels, where the bundle says how these vary."""
    probabilities: bool = False
    disagreement: bool = False
    """Write by how much the networks of an ensemble disagree: the mutual information of class and network."""
    polygons: tuple[Literal["gpkg", "parquet", "fgb", "geojson", "pmtiles"], ...] = ("gpkg",)
    instances: bool = False
    """Write the ids of the objects of `vectorize.instances` as a raster; a model that finds objects always
    does."""
    coco: bool = False
    """Write the objects of a model that finds objects as COCO results, with their whole masks."""
    mask: Literal["png"] | None = None
    """Write the class map as a picture, too, in the colours of the legend (mode P). Of many scenes, a folder
    `masks` has all of them by the names of the scenes' files, and `results.csv` a row for each class."""
    overlay: Literal["png", "jpg"] | None = None
    """Write the scene with the map over it; of many scenes, also into the folder `overlays`."""
    project: bool = True
    """Write a project of QGIS that opens the scene, where it is local, and the maps in their styles."""


EACH = "*"
"""The `uri` of an entry under `scene` that names no file: each of the scenes."""


class Pipeline(Document):
    """A pipeline file."""

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$", examples=["landcover-2024"])]
    scene: str | SceneEntry | None = None
    """A name in the data catalog, a path, a URI, or an entry as the catalog has it."""
    scenes: str | tuple[str, ...] | None = None
    """Many scenes instead: a glob, a list or a table of them, see `geoseg.scenes.listing`. What an entry
    under `scene` says of bands, scale and nodata then holds for each."""
    model: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """A bundle: a folder, or a URI in an object store. A list of bundles is an ensemble, whose probabilities
    are averaged."""
    gsd: Auto | Gsd = "auto"
    """Ground sample distance of the map in metres; auto: that of the scene."""
    aoi: Area | None = None
    """Area of interest, outside of which nothing is mapped: a file of polygons (`parcels.gpkg`,
    `parcels.gpkg|layer=NAME`), WKT or a GeoJSON geometry in longitude and latitude, or a box as `bbox`."""
    bbox: Bbox | None = None
    """A box as area of interest: west, south, east, north in degrees."""
    tiling: Tiling = Tiling()
    inference: Inference = Inference()
    objects: Objects = Objects()
    checks: Checks = Checks()
    reading: Reading = Reading()
    postprocess: PostProcess = PostProcess()
    vectorize: Vectorize = Vectorize()
    outputs: Outputs
    cluster: str | Cluster = "local"
    """`local`, the name of a file in configs/clusters, the address of a scheduler, or the content of such a
    file."""

    @model_validator(mode="before")
    @classmethod
    def _entry_of_each(cls, data: Any) -> Any:
        """Mark an entry that names no file: it holds for each of many scenes, which a command may list."""
        scene = data.get("scene") if isinstance(data, dict) else None
        if not isinstance(scene, dict) or {"uri", "folder", "mosaic"} & scene.keys():
            return data
        bands = scene.get("bands")
        values = bands.values() if isinstance(bands, dict) else ()
        if any(isinstance(b, str) or (isinstance(b, dict) and "uri" in b) for b in values):
            return data
        return {**data, "scene": {**scene, "uri": EACH}}

    @model_validator(mode="after")
    def _has_a_scene(self) -> "Pipeline":
        if self.scene is None and self.scenes is None:
            raise ValueError("a pipeline needs a scene, or scenes")
        return self

    @property
    def area(self) -> Area | None:
        """The area of interest, None when all of the scene is mapped."""
        return self.bbox if self.aoi is None else self.aoi

    @model_validator(mode="after")
    def _has_one_area(self) -> "Pipeline":
        if self.aoi is not None and self.bbox is not None:
            raise ValueError("aoi and bbox both say what is mapped; write one of them")
        return self
