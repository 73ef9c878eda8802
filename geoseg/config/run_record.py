"""`run.json`: what a finished run says of itself."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from geoseg.core.legend import Legend

FORMAT: Literal["geoseg-run/1"] = "geoseg-run/1"
"""A reader takes files of this format, and keeps keys that it does not know."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class RecordedClass(_Part):
    """A class of the map."""

    id: int
    slug: str
    title: str
    color: str
    """`#rrggbb`."""


class RecordedValues(_Part):
    """What a map of numbers holds: a regression."""

    name: str
    title: str
    unit: str
    min: float
    max: float
    """Range of the network's card: values beyond it were brought to its limits."""
    step: float
    """Difference of two values that are next to each other."""
    mean: float
    std: float
    least: float
    most: float
    """Least and largest value of the map."""
    at_min: int
    at_max: int
    """Pixels in the first and in the last bin of the histogram."""
    histogram: list[int]
    """Pixels in bins of equal width from `min` to `max`."""


class RecordedMember(_Part):
    """A network of an ensemble."""

    model: str
    """Name and version."""
    architecture: str
    bands: list[str]
    """Common names of the bands that it sees, in its order."""
    device: str
    backend: str
    precision: str
    sha256: str
    """Hash of its bundle."""


class RecordedPlan(_Part):
    """What was decided before the run; lengths in pixels, rows before columns."""

    name: str
    scene: str
    width: int
    height: int
    gsd_m: float | None
    bands: list[str]
    model: str
    architecture: str
    members: list[RecordedMember] | None = None
    """The networks of an ensemble; None of a single network."""
    device: str
    backend: str
    precision: str
    """Of an ensemble, device, backend and precision are those of its first network."""
    tile: tuple[int, int]
    overlap: tuple[int, int]
    tiles: int
    batch: int
    blocks: int
    thresholds: str | None = None
    """From which probability classes are taken, in words; None: the most probable class is."""
    postprocess: str | None = None
    """What was done to the class map first, in words; None: nothing."""
    network_pixels_per_pixel: float
    workers: int
    forward_passes_at_once: int
    memory_per_worker_bytes: dict[str, int]
    fingerprint: str


class RecordedStrangeness(_Part):
    """How many pixels are unlike those that the network was trained on."""

    unlike: int
    """Pixels farther from the mean of the training pixels than 99 of 100 of them, by the covariance of the
    bands."""
    measured: int
    """Pixels that were measured: all that have a class, a number or labels, or of objects all with data."""
    share: float
    """Unlike of the measured ones, 0 to 1."""


class RecordedDoubt(_Part):
    """Pixels that are not to be trusted, before small regions join others and edges are simplified."""

    low_confidence: float | None
    """Confidence, 0 to 1, below which a pixel is doubtful; None of a map without confidence."""
    strangeness: bool
    """Whether pixels were held to the training pixels."""
    pixels: dict[str, int]
    """By reason: `low_confidence`, `unlike` the training data, or `both`."""


class RecordedArea(_Part):
    """The area of interest: the pixels outside of it are nodata."""

    source: str
    """What was given: a file, a box, or the begin of a text."""
    sha256: str
    """Hash of the area in pixels of the scene."""
    pixels: int
    """Pixels of the map whose centre is inside."""
    wkt: str | None
    """In longitude and latitude, as far as the scene reaches; None when it is long."""


class RecordedMask(_Part):
    """What another network masked before the map was made."""

    model: str
    """Name and version."""
    sha256: str
    """Hash of its bundle."""
    invalid: list[str]
    """Slugs of the classes that are nodata."""
    dilate: int
    """Pixels by which they were widened."""
    pixels: dict[str, int]
    """Pixels of its own map by slug, before they were widened, and `nodata`."""


class Trouble(_Part):
    """What went wrong and did not stop the run."""

    read_again: int
    """Tries to read a block that failed."""
    unread_blocks: dict[str, str]
    """Why a block could not be read, by its name."""
    smaller_batches: dict[str, int]
    """Tiles at once that the device could take, by block."""


class RunSeconds(_Part):
    """How long the steps took."""

    predict: float
    outputs: float
    total: float
    tasks: dict[str, float]
    """Sums over all blocks, by step."""


class RunMemory(_Part):
    """Memory in bytes."""

    announced_per_worker: int
    peak_of_this_process: int


class Reading(_Part):
    """What was read over the network, by all processes together."""

    requests: int
    bytes: int


class RecordedObjects(_Part):
    """The objects that a network found."""

    count: int
    by_class: dict[str, int]
    """By slug, 0 of a class without an object."""
    detections: int
    """What all tiles reported; most objects are reported by several."""
    joined: int
    """Objects that were joined from parts, because no tile saw all of them."""
    hidden: int
    """Objects that others hide whole; they are left out."""
    at_edge: int
    """Objects that touch nodata or the frame of the map."""
    full_tiles: int
    """Tiles with as many detections as the network gives: they may lack objects."""
    looked_at: int
    """Valid pixels, those without an object included."""
    looked_at_m2: float | None
    """Their area; None without a CRS."""
    scores: list[int]
    """Objects by score, in twenty steps of 0.05."""
    pixels: list[int]
    """Pixels of the smallest object, the quarter, the median, the three quarters and the largest; empty
    without objects."""


class RecordedModel(_Part):
    """The network: what its card says of its accuracy and its limits."""

    name: str
    version: str
    title: str
    metrics: dict[str, Any]
    """Scores of the card, without confusion matrix and other parts of the data; empty without scores."""
    limitations: list[str]


class OutputFile(_Part):
    """Size and checksum of a file."""

    bytes: int
    sha256: str


class RunRecord(_Part):
    """Content of `run.json`."""

    format: Literal["geoseg-run/1"] = FORMAT
    name: str
    finished: str
    """Time in UTC, ISO 8601."""
    command: str
    fingerprint: str
    """Sha256 over the identity as canonical JSON."""
    identity: dict[str, Any]
    """All that decides the bytes of the map; free, because the fingerprint covers it as it stands."""
    plan: RecordedPlan
    pipeline: dict[str, Any]
    """The document, without credentials."""
    scene: dict[str, Any] | None = None
    """The entry of the scene: as it was written, or as the metadata of its product gave it."""
    resumed: bool
    tiles_predicted: int
    """Tiles of the blocks that own pixels of the map; an area of interest may need others too."""
    tiles_skipped: int
    """Tiles of these blocks without one valid pixel."""
    trouble: Trouble
    task: str = "classes"
    """What the network predicts, as in its card."""
    classes: list[RecordedClass]
    """None of a map of numbers."""
    values: RecordedValues | None = None
    """Of a regression."""
    pixels: dict[str, int]
    """By slug, 0 of a class that the map has not, and `nodata`; of a map of numbers `values` and `nodata`. A
    pixel may have several labels."""
    area_m2: dict[str, float] | None
    """By slug; None without a CRS."""
    strangeness: RecordedStrangeness | None = None
    """None where the card of the network does not say how its training pixels vary."""
    doubt: RecordedDoubt | None = None
    """None where no outlines were asked for."""
    objects: RecordedObjects | None = None
    """Of a network that finds objects; `pixels` are then those of objects, all others are `nodata`."""
    seconds: RunSeconds
    reading: Reading | None = None
    """None when all files of the scene lie on a disk."""
    memory_bytes: RunMemory
    machine: dict[str, str]
    versions: dict[str, str]
    warnings: list[str]
    outputs: dict[str, OutputFile]
    """By file name."""
    aoi: RecordedArea | None = None
    """The area of interest; None when all of the scene was mapped."""
    masks: list[RecordedMask] | None = None
    """What other networks masked; None without masks from models."""
    mean_confidence: dict[str, float] | None = None
    """By slug, 0 to 1, of the classes that the map has; None unless a mask was asked for."""
    model: RecordedModel | None = None
    """None of runs of older versions."""
    acquired: tuple[str, str] | None = None
    """First and last time at which the scene was taken, ISO 8601; None when it is not known."""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: list[RecordedClass]) -> list[RecordedClass]:
        Legend.of(classes)
        return classes

    @model_validator(mode="after")
    def _task_fits(self) -> "RunRecord":
        if (self.task == "regression") != (self.values is not None):
            raise ValueError("values go with the task regression")
        if not self.classes and self.values is None:
            raise ValueError("classes: at least one is needed")
        return self
