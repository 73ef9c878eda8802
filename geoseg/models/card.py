"""The card of a bundle, `geoseg.json`: the facts about a network that a run needs before it loads it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from geoseg.config.fields import (
    GATE,
    ClassId,
    Finite,
    Gsd,
    Line,
    Name,
    Nodata,
    Offset,
    Overlap,
    Positive,
    Scale,
    Side,
    Temperature,
    Threshold,
)
from geoseg.config.loader import Document
from geoseg.config.wording import first_of
from geoseg.core.bands import Band
from geoseg.core.errors import BundleError
from geoseg.core.legend import Legend
from geoseg.core.parsing import parse_json, read_bytes
from geoseg.models.feeding import Standardise, Step
from geoseg.models.scaling import Scaling, VectorScaling

FORMAT = "geoseg-bundle/2"
"""The format that is written; format 1 is read, and lacks `NEW_KEYS`."""

NEW_KEYS = (
    "task", "detection", "target", "output", "channels", "numbers", "input_scale", "preprocess", "origin",
    "code", "thresholds", "resize", "strangeness", "calibration",
)  # fmt: skip
"""Keys of format 2: the task, how classes are chosen, how logits are scaled class by class, and how a network
that was trained elsewhere is fed and what it answers."""


class CardBand(Document):
    """One input band, in the network's order."""

    name: Name
    common_name: Name
    wavelength_um: Positive | None = None
    scale: Scale = 1.0
    """Scale of the training data, for information: a run uses the scale of its scene."""
    offset: Offset = 0.0
    nodata: Nodata | None = None
    mean: Finite
    """Mean of the training pixels in physical units (reflectance)."""
    std: Positive
    """Standard deviation of the training pixels in physical units."""


class GsdRange(Document):
    """Ground sample distances that the network was trained for, in metres."""

    min: Gsd
    max: Gsd

    @model_validator(mode="after")
    def _ordered(self) -> "GsdRange":
        if self.min > self.max:
            raise ValueError("needs min <= max")
        return self


class CardTile(Document):
    """Tile sizes, in pixels. A network that sees the whole tile (PSPNet) has `min` = `size` = `max`."""

    size: Side
    min: Side
    max: Side
    overlap: Overlap
    divisor: Side
    """The network takes tiles whose sides are multiples of this."""

    @model_validator(mode="after")
    def _consistent(self) -> "CardTile":
        if not self.min <= self.size <= self.max or 2 * self.overlap > self.size:
            raise ValueError("needs min <= size <= max and an overlap of at most half the size")
        if any(n % self.divisor for n in (self.size, self.min, self.max)):
            raise ValueError("size, min and max must be multiples of the divisor")
        return self


class CardClass(Document):
    """One class, in the network's channel order."""

    id: ClassId
    slug: str
    title: str
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class ObjectSides(Document):
    """Sides of the training objects: the longer side of each one's box, in pixels."""

    median: Positive
    p99: Positive


class CardDetection(Document):
    """How objects are found by a network of `task: instances`."""

    score_threshold: Annotated[float, Field(ge=0, le=1), GATE] = 0.5
    """Detections with a lower score are dropped; from training: the one with the best F1 on val."""
    mask_threshold: Annotated[float, Field(gt=0, lt=1), GATE] = 0.5
    """A pixel belongs to an object from this probability on."""
    per_tile: Annotated[int, Field(ge=1, le=65_535), GATE]
    """Most detections in a tile; a tile that reaches it may lack objects."""
    mask_nms: Annotated[float, Field(gt=0, le=1), GATE] | None = 0.7
    """Of two whole masks of a class in a tile that share so much of the smaller one, the worse is dropped;
    null: none is, for objects of a class that lie in each other."""
    object_px: ObjectSides
    """Sizes of the training objects: those larger than the overlap are joined from parts."""


class CardTarget(Document):
    """What a network of `task: regression` predicts: one number for each pixel."""

    name: Name
    """Name for machines: `canopy_height`."""
    title: Line = ""
    """Name for people; empty: the name."""
    unit: Line = ""
    """Unit of the values, as the user writes it: `m`; empty: a plain number."""
    min: Finite
    max: Finite
    """Range of the values of a map: values beyond it become its limits."""
    mean: Finite
    """Mean of the target in training; the network answers (value - mean) / std."""
    std: Positive

    @model_validator(mode="after")
    def _ordered(self) -> "CardTarget":
        if self.min >= self.max:
            raise ValueError("needs min < max")
        return self

    @property
    def label(self) -> str:
        """Title and unit for people: `Canopy height [m]`."""
        return (self.title or self.name) + (f" [{self.unit}]" if self.unit else "")


class CardStrangeness(Document):
    """How far the training pixels are from their mean, and how rough they are, by their covariance."""

    distance: Positive
    """Mahalanobis distance within which 99 of 100 of them are."""
    texture: Positive | None = None
    """Half the mean squared distance between neighbours, which 99 of 100 training chips keep under."""


class CardOrigin(Document):
    """Where an imported network comes from, and how near the bundle comes to it."""

    source: Line
    """The file or folder, without the folder that it lies in."""
    kind: Line
    """What the source is, in words."""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Hash of the source's weights; empty for a folder of several files."""
    compared_with: Line
    """What ran the original, or the file with its answers."""
    largest_difference: Annotated[float, Field(ge=0, le=1), GATE]
    """Largest difference of a probability from the original's."""
    batches: Annotated[int, Field(ge=1, le=1000), GATE]
    """Seeded batches, or batches of the file, that were compared."""
    scene: Line | None = None
    """Scene that was compared as well."""


Channel = Annotated[int, Field(ge=0, le=65_535), GATE]
"""Number of a channel that a network answers, from 0."""


class Card(Document):
    """The card of a bundle."""

    format: Literal["geoseg-bundle/1", "geoseg-bundle/2"] = "geoseg-bundle/2"
    name: Name
    version: Line
    title: Line
    description: str = ""
    task: Literal["classes", "instances", "regression", "multilabel"] = "classes"
    """What the network finds: the class of each pixel; single objects with a box, a mask and a score; a
    number for each pixel; or for each class on its own whether a pixel has it."""
    bands: Annotated[tuple[CardBand, ...], Field(min_length=1)]
    covariance: tuple[tuple[Finite, ...], ...] | None = None
    """Covariance of the training pixels in physical units, a row for each band; None: not measured."""
    strangeness: CardStrangeness | None = None
    """How far the training pixels are from their mean; None: not measured, and no pixel is held to them."""
    level: Literal["toa", "surface"] | None = None
    """Reflectance that it was trained on, of the atmosphere's top or of the surface; None: not stated."""
    gsd_m: GsdRange | None
    """None: the network knows photographs, whose pixels have no size on the ground."""
    tile: CardTile
    resize: tuple[Side, Side] | None = None
    """Rows and columns to which whole pictures are resized for the network; None: it takes tiles."""
    classes: tuple[CardClass, ...] = ()
    """At least two; objects and labels may be of a single class, because what is none of them has none. A
    regression has no class."""
    detection: CardDetection | None = None
    """Of `task: instances` alone."""
    target: CardTarget | None = None
    """Of `task: regression` alone."""
    ignore_index: Literal[255] = 255
    numbers: Literal["physical", "raw"] = "physical"
    """Numbers that mean and std are of: physical values (number * scale + offset of the scene), or numbers as
    they are stored, whatever scale the scene has."""
    input_scale: Positive = 1.0
    """Factor between these numbers and those that `preprocess` begins with."""
    preprocess: tuple[Step, ...] | None = None
    """Steps before the network; None: (number - mean) / std. With an empty list it is fed the numbers times
    `input_scale`."""
    output: Literal["logits", "probabilities", "sigmoid", "values"] = "logits"
    """What the network answers; `sigmoid`: one channel of logits, of the second of two classes, or one of
    each label; `values`: the standardised target of a regression."""
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)] | None = None
    """Channel of each class; others are dropped before the softmax. None: as many channels as classes."""
    origin: CardOrigin | None = None
    """Where it was imported from; None: trained here."""
    code: Annotated[str, Field(max_length=200)] | None = None
    """Class of the network, `package.module:Class`, where it is Python code of its own; None: it is not."""
    temperature: Temperature = 1.0
    """Logits are divided by it before the softmax, which calibrates the probabilities."""
    calibration: VectorScaling | None = None
    """Factor and shift of the logits of each class, instead of the temperature; None: that alone."""
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    """Probability from which a class is taken, by slug. Classes: with none the most probable one is, and a
    pipeline may say otherwise. Labels: 0.5 where none is given. Objects have a score instead."""
    memory_bytes_per_pixel: Annotated[float, Field(ge=1, le=1e12), GATE] | None = None
    """Measured working memory of a forward pass for each pixel of a batch, fp32."""
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    limitations: tuple[str, ...] = ()
    license: Line = ""
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _task_fits(self) -> "Card":
        for key, task in (("detection", "instances"), ("target", "regression")):
            if (self.task == task) != (getattr(self, key) is not None):
                raise ValueError(f"{key} goes with task: {task}, and neither without the other")
        least = {"classes": 2, "regression": 0}.get(self.task, 1)
        if len(self.classes) < least:
            raise ValueError(f"classes: at least {'two classes are' if least > 1 else 'one class is'} needed")
        if self.task == "regression" and self.classes:
            raise ValueError("classes: a regression has none")
        if (self.output == "values") != (self.task == "regression"):
            raise ValueError("output: values goes with task: regression, and neither without the other")
        if self.task == "multilabel" and self.output == "logits":
            raise ValueError("output: that of task: multilabel is sigmoid or probabilities, not logits")
        return self

    @model_validator(mode="after")
    def _covariance_fits(self) -> "Card":
        rows, bands = self.covariance, len(self.bands)
        if rows is not None and [len(row) for row in rows] != [bands] * bands:
            raise ValueError(f"covariance must be a square of the {bands} bands")
        if self.strangeness is not None and rows is None:
            raise ValueError("strangeness needs the covariance that it is measured by")
        return self

    @model_validator(mode="after")
    def _feeding_fits(self) -> "Card":
        if self.format == "geoseg-bundle/1" and (new := set(NEW_KEYS) & self.model_fields_set):
            raise ValueError(f"{min(new)} is a key of {FORMAT}, and format says {self.format}")
        if self.format == "geoseg-bundle/1" and self.gsd_m is None:
            raise ValueError(f"gsd_m: null is of {FORMAT}, and format says {self.format}")
        if self.resize is not None and self.task == "instances":
            raise ValueError("resize: networks of task: instances take tiles")
        if self.resize is not None and any(n % self.tile.divisor for n in self.resize):
            raise ValueError(f"resize must be two multiples of the divisor {self.tile.divisor}")
        for step in self.preprocess or ():
            lengths = {len(step.mean), len(step.std)} if isinstance(step, Standardise) else {len(self.bands)}
            if lengths != {len(self.bands)}:
                raise ValueError(
                    f"preprocess: standardise needs a mean and a std of each of {len(self.bands)} bands"
                )
        return self

    @model_validator(mode="after")
    def _answer_fits(self) -> "Card":
        channels, classes = self.channels, len(self.classes)
        if self.output == "probabilities" and self.temperature != 1:
            raise ValueError("temperature must be 1 where output is probabilities")
        self._check_calibration()
        if channels is not None and len(set(channels)) < len(channels):
            raise ValueError("channels names a channel twice")
        if self.task in {"regression", "multilabel"}:
            if channels is not None and len(channels) != self.outputs:
                raise ValueError(f"channels must name {self.outputs}, as many as the network's task has")
            return self
        single = self.output == "sigmoid" or (channels is not None and len(channels) == 1)
        if single and classes != 2:
            raise ValueError(f"one channel tells two classes apart, and classes has {classes}")
        if channels is not None and len(channels) != (1 if single else classes):
            raise ValueError(f"channels must name one channel of each of the {classes} classes")
        if single and self.output == "logits":
            raise ValueError("output: a single channel is sigmoid or probabilities, not logits")
        return self

    def _check_calibration(self) -> None:
        if self.calibration is None:
            return
        if self.output not in {"logits", "sigmoid"} or self.task not in {"classes", "multilabel"}:
            raise ValueError(
                f"calibration: scales logits of classes, and task is {self.task}, output {self.output}"
            )
        if self.temperature != 1:
            raise ValueError("temperature must be 1 where calibration scales the logits of each class")
        single = self.output == "sigmoid" and self.task == "classes"
        if (count := len(self.calibration.scale)) != (wanted := 1 if single else len(self.classes)):
            raise ValueError(f"calibration has {count} factors for {wanted} channel{'s' * (wanted > 1)}")

    @model_validator(mode="after")
    def _thresholds_fit(self) -> "Card":
        if self.thresholds and self.task not in {"classes", "multilabel"}:
            raise ValueError(f"thresholds: go with task: classes or multilabel, and this is {self.task}")
        if strange := set(self.thresholds) - {c.slug for c in self.classes}:
            raise ValueError(f"thresholds: there is no class {min(strange)[:60]!r}")
        return self

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[CardClass, ...]) -> tuple[CardClass, ...]:
        Legend.of(classes)
        return classes

    @property
    def legend(self) -> Legend:
        """The classes, in channel order; a regression has none."""
        return Legend.of(self.classes)

    @property
    def outputs(self) -> int:
        """Numbers that are predicted for each pixel: one of each class, one of a regression."""
        return 1 if self.task == "regression" else len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each of these numbers: slugs, or that of the target."""
        return tuple(c.slug for c in self.classes) if self.target is None else (self.target.name,)

    @property
    def limits(self) -> tuple[float, ...]:
        """The threshold of each label of `task: multilabel`, in channel order."""
        return tuple(self.thresholds.get(c.slug, 0.5) for c in self.classes)

    @property
    def answered(self) -> int:
        """Channels that the network gives at least."""
        if self.channels is not None:
            return max(self.channels) + 1
        return 1 if self.output == "sigmoid" and self.task == "classes" else self.outputs

    @property
    def scaling(self) -> Scaling:
        """What is done to logits before the softmax or the sigmoid."""
        return Scaling(self.temperature, self.calibration)

    @property
    def is_plain(self) -> bool:
        """Return whether the network takes standardised physical values and gives a logit of each class."""
        plain = self.numbers == "physical" and self.output == "logits"
        return plain and self.preprocess is None and self.channels is None

    @property
    def is_trained_here(self) -> bool:
        """Return whether the network is fed and answers as those that geoseg trains for its task."""
        answers = {"regression": "values", "multilabel": "sigmoid"}.get(self.task, "logits")
        plain = self.numbers == "physical" and self.output == answers
        return plain and self.preprocess is None and self.channels is None

    @property
    def input_bands(self) -> tuple[Band, ...]:
        """The bands, in network order."""
        return tuple(Band(b.name, b.common_name, b.wavelength_um, b.mean, b.std) for b in self.bands)


def read_card(path: Path) -> Card:
    """Read a card.

    Raises
    ------
    BundleError
        When the file is missing, is not JSON or does not follow the model.
    """
    content = None
    try:
        content = parse_json(read_bytes(path).decode())
        return Card.model_validate(content)
    except FileNotFoundError:
        raise BundleError.absent(
            f"{path}: no such file; a bundle is a folder with geoseg.json, config.json and model.safetensors"
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            key, text = first_of(error, content, Card)
            raise BundleError(f"{path}: {key[:100] or 'document'}: {text}") from None
        raise BundleError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
