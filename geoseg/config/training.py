"""`configs/training/*.yaml`: the labelled data, the network, how it is trained and measured."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from geoseg.config.dataset import DatasetEntry
from geoseg.config.fields import (
    GATE,
    Auto,
    Below1,
    Count,
    Finite,
    Gsd,
    Line,
    NonNegative,
    Overlap,
    Positive,
    Share,
    Side,
    Whole,
)
from geoseg.config.legend import LegendDocument
from geoseg.config.loader import Document

Range = tuple[Finite, Finite]


class Network(Document):
    """The network: an architecture of the registry and the arguments of its constructor."""

    architecture: str = "Unet"
    arguments: dict[str, Any] = Field(default_factory=dict)
    """As segmentation_models_pytorch names them: encoder_name, decoder_channels, ..."""


class Transfer(Document):
    """The initial weights, and how fast they may change."""

    encoder_weights: str | None = None
    """A local file, `imagenet` or another name of smp or timm, or `torchgeo:NAME`; none: random."""
    bundle: str | None = None
    """A bundle folder to fine-tune: all weights that fit, instead of `encoder_weights`."""
    stem: Literal["repeat", "bands"] = "repeat"
    """Kernels of the first layer: their mean repeated, or mapped by band name."""
    freeze_epochs: Whole = 0
    """Epochs in which the encoder is frozen, batch-norm statistics included."""
    encoder_rate: Positive = 1.0
    """Learning rate of the encoder as a multiple of the decoder's."""
    layer_decay: Annotated[float, Field(gt=0, le=1), GATE] = 1.0
    """Factor between the learning rates of an encoder stage and of the stage after it."""


class Split(Document):
    """How labelled data are divided into train, val and test."""

    by: Literal["group", "place", "file", "block", "given"] = "group"
    """Groups of scenes; places: groups, and scenes that overlap, touch or show the same land; single scenes;
    square blocks of each scene; or as the data say."""
    parts: str | None = None
    """For `given`: a JSON file of part -> list of scene names, instead of what the data say."""
    val: Share = 0.15
    test: Share = 0.15
    block: Count = 1024
    """Side of a block in pixels."""
    buffer: Whole = 64
    """Pixels between blocks that belong to no part."""
    tries: Annotated[int, Field(ge=1, le=1_000_000), GATE] = 2000
    """Random divisions to try; the one whose parts have the most similar class shares is used."""
    seed: Whole = 0

    @model_validator(mode="after")
    def _leaves_something(self) -> "Split":
        if self.val + self.test >= 1:
            raise ValueError("val and test together must leave a share to train")
        return self


class Chips(Document):
    """The training samples that are cut from the labelled data."""

    size: Annotated[int, Field(ge=16, le=65_536), GATE] = 256
    """Side in pixels."""
    resize: tuple[Side, Side] | None = None
    """Rows and columns to which whole pictures are resized, in training as in every run."""
    whole: bool = False
    """Whole pictures; smaller ones are filled up to the largest. `chips: whole` means the same."""
    sampler: Literal["random", "grid"] = "random"
    """Chips at random positions, or side by side."""
    per_epoch: Auto | Count = "auto"
    """Chips in an epoch; auto: as many as cover the training data once."""
    balance: Share = 0.0
    """0: every labelled pixel counts alike; 1: every class counts alike."""
    ignore: tuple[Literal["snow", "dry", "flooded"], ...] = ()
    """Labels that the image contradicts on its day, and that are not trained on: those under snow; those of
    class `water` where the bed is dry; and, in enlarged chips, which show too little of the surroundings of a
    flooded field, those of land under water. Val and test keep all labels."""
    cache: Auto | bool = "auto"
    """Keep all data in memory; auto: when they are smaller than 1 GB."""

    @model_validator(mode="after")
    def _one_size(self) -> "Chips":
        given = [k for k, yes in (("resize", self.resize), ("whole", self.whole)) if yes]
        if given and "size" in self.model_fields_set:
            given.append("size")
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both say how large chips are; write one of them")
        return self


class Augmentation(Document):
    """Random changes to training chips; 0 or off turns a change off."""

    flips: Literal["auto", "horizontal"] | bool = "auto"
    """Mirror images; auto: `horizontal`, left and right, of photographs, and of scenes up and down, too."""
    turns: Literal["auto"] | bool = "auto"
    """By right angles; auto: of scenes, and not of photographs."""
    scale: Range = (1.0, 1.0)
    """Smallest and largest zoom; 2 makes objects twice as large."""
    scale_probability: Share = 0.75
    brightness: Share = 0.0
    """Largest deviation from 1 of a factor for all bands."""
    low_sun: Share = 0.0
    """With probability 1/4 all bands are multiplied by a factor from 1 - low_sun to 1."""
    band_gain: Share = 0.0
    """Largest deviation from 1 of a factor for each band."""
    haze: Range = (0.0, 0.0)
    """Added path radiance in the first band, in physical units, falling off with the wavelength."""
    noise: NonNegative = 0.0
    """Largest standard deviation of pixel noise, in physical units."""
    texture: dict[str, NonNegative] = Field(default_factory=dict)
    """Grain in enlarged chips by class slug, as a share of the value: detail of a finer sensor."""
    blur: Share = 0.0
    """Probability of a slight Gaussian blur."""
    band_dropout: Share = 0.0
    """Probability for each band to be replaced by its mean."""

    @model_validator(mode="after")
    def _ordered(self) -> "Augmentation":
        for name in ("scale", "haze"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} needs its smaller value first")
        if self.scale[0] <= 0:
            raise ValueError("scale must be positive")
        return self


class LossTerm(Document):
    """One loss; the sum of all terms is minimised."""

    kind: Literal["cross-entropy", "focal", "dice", "jaccard", "tversky", "lovasz"]
    weight: Positive = 1.0
    """Factor in the sum."""
    class_weights: Literal["none", "inverse", "sqrt", "effective"] = "none"
    """Of cross-entropy and focal: by class frequency f as 1/f, 1/sqrt(f), or effective numbers."""
    label_smoothing: Below1 = 0.0
    """Of cross-entropy."""
    gamma: NonNegative = 2.0
    """Of focal: how strongly easy pixels are weighted down."""
    alpha: NonNegative = 0.5
    """Of tversky: weight of false positives."""
    beta: NonNegative = 0.5
    """Of tversky: weight of false negatives."""


class Optimizer(Document):
    """The optimiser and its learning rate."""

    kind: Literal["adamw", "adam", "sgd"] = "adamw"
    rate: Positive = 1e-3
    """Peak learning rate of decoder and head."""
    weight_decay: NonNegative = 0.01
    """Weight decay of convolutions and linear layers; norms and biases have none."""
    momentum: Below1 = 0.9
    """Of sgd."""
    schedule: Literal["cosine", "one-cycle", "constant"] = "cosine"
    warmup: Below1 = 0.05
    """Share of all steps in which the rate rises."""
    clip: NonNegative = 5.0
    """Largest norm of the gradient; 0: any."""


class Fit(Document):
    """Epochs, batches, precision and devices."""

    epochs: Annotated[int, Field(ge=1, le=1_000_000), GATE] = 50
    batch: Side = 16
    """Chips whose gradients make one step."""
    accumulate: Side = 1
    """Forward passes into which a batch is cut; their gradients are added."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 on GPUs that support it, else fp32; weights stay fp32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Auto | Count = "auto"
    """GPUs, or processes on a CPU; auto: all GPUs, one process on a CPU."""
    workers: Annotated[int, Field(ge=0, le=1024), GATE] = 0
    """Processes that read and augment chips; 0: the training process does."""
    average: Below1 = 0.0
    """Decay of an exponential moving average of the weights, which replaces them in the bundle; 0: none."""
    patience: Count | None = None
    """Stop after this many epochs without a higher mIoU on val."""


class Measurement(Document):
    """How the trained network is measured."""

    augment: Literal["none", "horizontal", "flips", "d4"] = "none"
    """Test-time augmentation for the figures on test."""
    calibrate: bool = True
    """Fit the temperature on val."""


class TileEntry(Document):
    """Tile sizes for the card, in pixels."""

    size: Side
    min: Side
    max: Side
    overlap: Overlap


class GsdEntry(Document):
    """Ground sample distances that the bundle is meant for, in metres."""

    min: Gsd
    max: Gsd


class Training(Document):
    """A training file."""

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    version: Line = "0.1.0"
    title: Line = ""
    description: str = ""
    license: Line = ""
    limitations: tuple[str, ...] = ()
    dataset: str | DatasetEntry
    """A name in the data catalog, or an entry as the catalog has it."""
    data: str | None = None
    """Folder of the data set, instead of the one in its entry."""
    bands: tuple[str, ...] = ()
    """Common names of the input bands, in the network's order; default: all bands of the first scene."""
    legend: str | LegendDocument
    """A name in configs/legends, a file, or a legend."""
    gsd: GsdEntry | Literal["none"] | None = None
    """Default: the range of the training data. none: pixels have no size on the ground, as in photographs."""
    tile: TileEntry | None = None
    """Default: from the network and the chips."""
    seed: Whole = 0
    split: Split = Split()
    chips: Annotated[
        Chips,
        BeforeValidator(
            lambda value: {"whole": True} if value == "whole" else value,
            json_schema_input_type=Chips | Literal["whole"],
        ),
    ] = Chips()
    augmentation: Augmentation = Augmentation()
    network: Network = Network()
    transfer: Transfer = Transfer()
    loss: Annotated[tuple[LossTerm, ...], Field(min_length=1)] = (LossTerm(kind="cross-entropy"),)
    optimizer: Optimizer = Optimizer()
    fit: Fit = Fit()
    measure: Measurement = Measurement()
    output: Annotated[str, Field(min_length=1)]
    """Folder of the training."""

    @property
    def keeps_network(self) -> bool:
        """Whether the network is that of the bundle that the training starts from."""
        return self.transfer.bundle is not None and "network" not in self.model_fields_set

    @property
    def network_in_words(self) -> str:
        """The network, for messages."""
        if self.keeps_network:
            return f"that of {self.transfer.bundle}"
        return f"{self.network.architecture} {self.network.arguments}"

    @model_validator(mode="after")
    def _no_two_starts(self) -> "Training":
        if self.transfer.bundle and self.transfer.encoder_weights:
            raise ValueError("transfer: give a bundle or encoder_weights, not both")
        return self

    @model_validator(mode="after")
    def _no_tiles_of_resized(self) -> "Training":
        if self.tile is not None and self.chips.resize is not None:
            raise ValueError("tile: chips.resize takes whole pictures, which have no tiles; leave tile out")
        return self
