"""`configs/training/*.yaml`: the labelled data, the network, how it is trained and measured."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from geoseg.config.cluster import Cluster, Local
from geoseg.config.dataset import DatasetEntry, DatasetUse
from geoseg.config.fields import (
    GATE,
    Auto,
    Below1,
    Count,
    Finite,
    Gsd,
    Line,
    Name,
    NonNegative,
    Overlap,
    Positive,
    Share,
    Side,
    Temperature,
    Whole,
)
from geoseg.config.legend import LegendDocument
from geoseg.config.loader import Document

Range = tuple[Finite, Finite]

_DETECTOR = "MaskRCNN"
"""The architecture that finds objects."""


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
    overlap: Share = 0.0
    """For `place`: the share of the smaller scene's land that two scenes must both show to be one place; 0:
    to touch is enough. Where most scenes touch another, nearly all of them become one place."""
    parts: str | None = None
    """For `given`: a JSON file of part -> list of scene names, instead of what the data say."""
    folds: Annotated[int, Field(ge=2, le=1000), GATE] | None = None
    """Number of parts of which each is tested once, by networks that trained on the others (k-fold
    cross-validation); `test` is then not used. None: one division."""
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
        test = self.test if self.folds is None else 1 / self.folds
        if self.val + test >= 1:
            raise ValueError("val and test together must leave a share to train")
        if self.folds is not None and (self.by == "given" or self.parts is not None):
            raise ValueError("folds are drawn by group, place, file or block, not by given or from parts")
        if self.overlap and self.by != "place":
            raise ValueError("overlap goes with by: place")
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

    kind: Literal[
        "cross-entropy", "focal", "dice", "jaccard", "tversky", "lovasz", "contrastive", "bce", "mse",
        "huber", "mae",
    ]  # fmt: skip
    """Of classes the first seven; of labels `bce` (binary cross-entropy), `focal`, `dice`, `jaccard` and
    `tversky`; of a regression `mse`, `huber` and `mae`."""
    weight: Positive = 1.0
    """Factor in the sum."""
    class_weights: Literal["none", "inverse", "sqrt", "effective"] = "none"
    """Of cross-entropy and focal: by class frequency f as 1/f, 1/sqrt(f), or effective numbers. Of bce the
    weight of pixels that have a label, against those that have it not: the ratio of these numbers."""
    delta: Positive = 1.0
    """Of huber: the error from which on it counts linearly, in standard deviations of the target."""
    label_smoothing: Below1 = 0.0
    """Of cross-entropy."""
    gamma: NonNegative = 2.0
    """Of focal: how strongly easy pixels are weighted down."""
    alpha: NonNegative = 0.5
    """Of tversky: weight of false positives."""
    beta: NonNegative = 0.5
    """Of tversky: weight of false negatives."""
    temperature: Temperature = 0.1
    """Of contrastive: divisor of the products of vectors; smaller ones weigh the nearest rivals more."""
    dim: Annotated[int, Field(ge=1, le=4096), GATE] = 256
    """Of contrastive: numbers of the vector that a pixel is projected to, in the training only."""
    samples: Annotated[int, Field(ge=2, le=65_536), GATE] = 1024
    """Of contrastive: pixels that are compared in a pass, as many of each class."""


def _weights_in_words(term: LossTerm) -> str:
    return " without class weights" if term.class_weights == "none" else f", weights {term.class_weights}"


class TargetEntry(Document):
    """The numbers that a regression predicts."""

    name: Name
    """Name for machines: `canopy_height`."""
    title: Line = ""
    unit: Line = ""
    """Unit of the numbers, such as `m`."""
    min: Finite | None = None
    max: Finite | None = None
    """Range of the values of maps; default: that of the training data."""

    @model_validator(mode="after")
    def _ordered(self) -> "TargetEntry":
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError("needs min < max")
        return self


LOSSES = {
    "classes": ("cross-entropy", "focal", "dice", "jaccard", "tversky", "lovasz", "contrastive"),
    "multilabel": ("bce", "focal", "dice", "jaccard", "tversky"),
    "regression": ("mse", "huber", "mae"),
}
"""Losses of each task; the first one is the default."""


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


class Stop(Document):
    """When a training ends before its last epoch."""

    monitor: Literal["miou", "accuracy", "loss"] = "miou"
    """Figure on val that must get better: a higher mIoU or overall accuracy, or a lower loss. Where there is
    no mIoU, it is what the best epoch is chosen by: of objects the mask AP, of numbers the RMSE."""
    patience: Count
    """Epochs without a better figure after which the training ends."""
    min_delta: NonNegative = 0.0
    """By how much a better figure must differ from the best one before."""


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
    """Stop after this many epochs without a higher mIoU on val; short for `stop: {patience: N}`."""
    stop: Stop | None = None
    """Early stopping; the bundle has the weights of the epoch with the highest mIoU on val in any case."""

    loggers: tuple[Literal["csv", "tensorboard", "wandb", "mlflow"], ...] | None = None
    """Where the figures of epochs go besides `metrics.csv`; default: TensorBoard where it is installed."""

    @model_validator(mode="after")
    def _one_stop(self) -> "Fit":
        if self.patience is not None and self.stop is not None:
            raise ValueError("patience and stop both say when to stop; write stop: {patience: ...}")
        return self

    @property
    def stopping(self) -> Stop | None:
        """When the training ends early, None: not."""
        return self.stop if self.patience is None else Stop(patience=self.patience)

    @property
    def stop_in_words(self) -> str:
        """When the training ends, for messages."""
        if (stop := self.stopping) is None:
            return f"after {self.epochs} epochs"
        return f"after {stop.patience} epochs without a better {stop.monitor} on val"


class Measurement(Document):
    """How the trained network is measured."""

    augment: Literal["none", "horizontal", "flips", "d4"] = "none"
    """Test-time augmentation for the figures on test."""
    calibrate: Literal[True, False, "temperature", "vector", "auto", "none"] = True
    """How logits are scaled so that confidence is right on val. true or temperature: all divided by one
    number. vector: a factor and a shift for each class. auto: vector where it is better by cross-validation
    over the places of val, or over the folds; false or none: not at all."""
    thresholds: Literal["none", "f1"] = "none"
    """f1: the card gets a threshold for each class: the probability from which its F1 on val is highest."""

    @property
    def calibration(self) -> Literal["none", "temperature", "vector", "auto"]:
        """How logits are scaled, by name."""
        if isinstance(self.calibrate, bool):
            return "temperature" if self.calibrate else "none"
        return self.calibrate


class DetectionEntry(Document):
    """How objects are learned and found, for `task: instances`."""

    min_pixels: Count = 20
    """Smallest part of an object in a chip that is trained on."""
    min_share: Share = 0.15
    """Least share of an object that lies in a chip that is trained on."""
    anchors: Auto | Annotated[tuple[Positive, ...], Field(min_length=5, max_length=5)] = "auto"
    """Sides of the boxes that the network starts from, in pixels, at each level of its pyramid; auto: from
    the sizes of the training objects."""
    per_tile: Auto | Annotated[int, Field(ge=1, le=65_535), GATE] = "auto"
    """Most detections in a tile; auto: half as many again as in the densest chip, for a tile of its size."""
    mask_nms: Annotated[float, Field(gt=0, le=1), GATE] | None = 0.7
    """Of two whole masks of a class in a tile that share so much of the smaller one, the worse is dropped;
    null: none is, for objects of a class that lie in each other."""
    score_threshold: Auto | Share = "auto"
    """Least score of a detection; auto: the one with the best F1 on val."""


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

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$", examples=["landcover-2024"])]
    version: Line = "0.1.0"
    title: Line = ""
    description: str = ""
    license: Line = ""
    limitations: tuple[str, ...] = ()
    dataset: str | DatasetEntry | None = None
    """A name in the data catalog, or an entry as the catalog has it."""
    datasets: tuple[DatasetUse, ...] = ()
    """Several data sets instead of `dataset`, each with its own labels, scale and GSD."""
    data: str | None = None
    """Folder of the data set, instead of the one in its entry."""
    task: Literal["classes", "instances", "regression", "multilabel"] = "classes"
    """What the network learns: the class of each pixel; single objects with a box, a mask and a score; a
    number for each pixel; or for each class on its own whether a pixel has it."""
    target: TargetEntry | None = None
    """Of a regression: what its numbers are."""
    bands: tuple[str, ...] = ()
    """Common names of the input bands, in the network's order; default: all bands of the first scene."""
    legend: str | LegendDocument | None = None
    """A name in configs/legends, a file, or a legend; a regression has none."""
    gsd: GsdEntry | Literal["none"] | None = None
    """Default: the range of the training data. none: pixels have no size on the ground, as in photographs."""
    tile: TileEntry | None = None
    """Default: from the network and the chips."""
    seed: Whole = 0
    seeds: Annotated[int, Field(ge=1, le=1000), GATE] = 1
    """Trainings with other random numbers: the seeds `seed`, `seed` + 1, ..., in each fold."""
    final: Literal["all", "best", "soup"] | None = None
    """The bundle of folds or seeds. all: one more training, on all data but those of val. best: the network
    with the best figure on val. soup: the mean of the weights of networks that start from the same ones and
    differ in their seeds, if it is not worse on val. Default: all with folds, else best."""
    cluster: str | Cluster = Local()
    """Where the trainings of folds and seeds run: as in a pipeline. Workers of kind local train side by side;
    a single one trains in this process."""
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
    detection: DetectionEntry = DetectionEntry()
    """Of `task: instances`."""
    output: Annotated[str, Field(min_length=1)]
    """Folder of the training."""

    @model_validator(mode="before")
    @classmethod
    def _default_loss(cls, data: Any) -> Any:
        """Give each task its own default loss."""
        if not isinstance(data, dict) or "loss" in data or data.get("task") not in LOSSES:
            return data
        return {**data, "loss": [{"kind": LOSSES[data["task"]][0]}]}

    @model_validator(mode="after")
    def _has_data(self) -> "Training":
        if (self.dataset is None) == (not self.datasets):
            raise ValueError("say which labelled data to train on: dataset: NAME, or a list under datasets")
        if self.datasets and self.data is not None:
            raise ValueError("data goes with dataset; write data: FOLDER in an entry of datasets")
        if self.task in {"regression", "multilabel"} and any(u.legend or u.classes for u in self.datasets):
            raise ValueError(f"datasets: legend and classes map codes, which labels of {self.task} are not")
        if self.chips.sampler == "grid" and any("weight" in u.model_fields_set for u in self.datasets):
            raise ValueError("datasets: weight goes with chips.sampler: random; grid takes each chip once")
        return self

    @model_validator(mode="after")
    def _has_a_main_loss(self) -> "Training":
        kinds = [term.kind for term in self.loss]
        if kinds.count("contrastive") > 1 or set(kinds) == {"contrastive"}:
            raise ValueError("loss: contrastive goes once and beside another loss, such as cross-entropy")
        return self

    @model_validator(mode="after")
    def _fits_the_task(self) -> "Training":
        if (self.task == "regression") != (self.target is not None):
            raise ValueError("target goes with task: regression, and neither without the other")
        if (self.task == "regression") != (self.legend is None):
            need = "a regression has none" if self.legend is not None else "say which classes there are"
            raise ValueError(f"legend: {need}")
        # Objects have their own losses.
        known = LOSSES.get(self.task, ())
        for term in self.loss if known else ():
            if term.kind not in known:
                raise ValueError(f"loss: {term.kind} is none of task {self.task}; it has {', '.join(known)}")
        if self.task == "classes":
            return self
        for key, given in (
            ("chips.ignore", self.chips.ignore), ("augmentation.texture", self.augmentation.texture),
            ("chips.whole", self.task == "instances" and self.chips.whole),
            ("chips.resize", self.task == "instances" and self.chips.resize is not None),
            ("measure.calibrate: vector", self.measure.calibrate == "vector"),
            ("measure.calibrate: auto", self.measure.calibrate == "auto"),
            ("measure.thresholds", self.measure.thresholds != "none" and self.task != "multilabel"),
            ("fit.stop.monitor: accuracy", self.fit.stop is not None and self.fit.stop.monitor == "accuracy"),
        ):  # fmt: skip
            if given:
                raise ValueError(f"{key} is for task: classes, one class of each pixel: leave it out")
        if self.task == "regression" and self.chips.balance:
            raise ValueError("chips.balance: a regression has no classes")
        return self

    @model_validator(mode="after")
    def _repeats_fit(self) -> "Training":
        if not self.repeats:
            if self.final is not None:
                raise ValueError("final goes with split.folds or seeds; a single training has one network")
            return self
        if self.task == "instances":
            raise ValueError(
                "split.folds and seeds are not for task: instances, whose average precision cannot be pooled "
                "over places; train once for each split.seed"
            )
        if self.fit.devices not in ("auto", 1):
            raise ValueError(
                "fit.devices: each training of folds and seeds has one device; leave it out, and let workers "
                "of the cluster train side by side: cluster: {kind: local, workers: 2}"
            )
        if self.final == "soup" and (self.seeds < 2 or not (self.split.val or self.split.by == "given")):
            raise ValueError("final: soup needs seeds: 2 or more, and a part val that decides about it")
        return self

    @property
    def repeats(self) -> bool:
        """Whether there are several trainings: folds, seeds or both."""
        return self.split.folds is not None or self.seeds > 1

    @property
    def final_kind(self) -> Literal["all", "best", "soup"]:
        """What the bundle of several trainings is made of."""
        return self.final or ("best" if self.split.folds is None else "all")

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

    @property
    def loss_in_words(self) -> str:
        """The losses that are added, for messages."""
        if self.task == "instances":
            return "of boxes, classes and masks"
        weighted = {"cross-entropy", "focal", "bce"}
        return " + ".join(
            ("" if term.weight == 1 else f"{term.weight:g} ")
            + term.kind
            + (_weights_in_words(term) if term.kind in weighted else "")
            for term in self.loss
        )

    @model_validator(mode="before")
    @classmethod
    def _network_of_task(cls, values: Any) -> Any:
        """Take the network that finds objects where none is named."""
        if isinstance(values, dict) and values.get("task") == "instances" and "network" not in values:
            transfer = values.get("transfer")
            if not (isinstance(transfer, dict) and transfer.get("bundle")):
                return {**values, "network": {"architecture": _DETECTOR}}
        return values

    @model_validator(mode="after")
    def _task_fits(self) -> "Training":
        finds = self.network.architecture == _DETECTOR
        if self.task != "instances" and (finds or "detection" in self.model_fields_set):
            key = f"network.architecture: {_DETECTOR}" if finds else "detection"
            raise ValueError(f"{key} finds objects; say task: instances")
        if self.task != "instances":
            return self
        if not finds and not self.keeps_network:
            raise ValueError(
                f"network.architecture: {self.network.architecture} gives classes; task: instances needs "
                f"{_DETECTOR}"
            )
        for key, given in (
            ("loss", "loss" in self.model_fields_set), ("measure.augment", self.measure.augment != "none"),
        ):  # fmt: skip
            if given:
                raise ValueError(f"{key} is for task: classes; objects have their own losses: leave it out")
        return self

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
