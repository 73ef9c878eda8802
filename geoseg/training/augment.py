"""Augmentation of training chips, as transforms of torchvision (v2).

A sample is a dict of `image`, (B, rows, cols), physical units, and of masks: `label` (channels, 255 ignored;
numbers, NaN ignored; or 0 and 1 of each class, (C, rows, cols)) and `valid`, (rows, cols). Geometric
transforms change image and masks alike, masks by nearest neighbour; radiometric ones change the image only.
Samples of objects have `masks` (n, rows, cols) instead of a label, and vectors of facts (n,), which pass
through: `pixels`, the size of each whole object, grows with the zoom. All values are plain tensors, since the
dispatch on torchvision's tensor classes takes longer than most transforms. All randomness comes from torch's
generator, which the caller seeds for each chip.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from geoseg.config.training import Augmentation
from geoseg.core.errors import ConfigError
from geoseg.core.geometry import Size, sides
from geoseg.core.legend import IGNORE, Legend
from geoseg.models.symmetries import SYMMETRIES, turn

_ENLARGED = 1.3
"""A chip with a larger zoom factor counts as enlarged."""


def make_augmentation(
    entry: Augmentation,
    size: Size,
    legend: Legend,
    means: Tensor,
    wavelengths: Sequence[float | None],
    enlarged: v2.Transform | None = None,
    *,
    pictures: bool = False,
) -> v2.Transform:
    """Return the augmentation of a training.

    Parameters
    ----------
    entry
        Kinds and strengths of the changes.
    size
        Side of the resulting chips in pixels, or rows and columns.
    legend
        The classes, for the grain of each.
    means
        Mean of each band in physical units, shape (B,).
    wavelengths
        Centre wavelength of each band in micrometres; None is treated as the first known wavelength.
    enlarged
        Transform of enlarged chips, applied before the grain.
    pictures
        Whether the chips are of photographs, in which up and down differ.

    Raises
    ------
    ConfigError
        When chips that are no squares are to be turned, or the legend lacks a class that is named.
    """
    zoom = Zoom(size, *entry.scale, entry.scale_probability, _grain(entry, legend), enlarged)
    steps: list[v2.Transform] = [zoom]
    flips, turns = resolve_turns(entry, sides(size), pictures=pictures)
    if flips or turns:
        steps.append(Turn(flips, turns))
    if entry.blur:
        steps.append(Blur(entry.blur))
    steps.append(Light(entry, wavelengths))
    if entry.band_dropout:
        steps.append(BandDropout(entry.band_dropout, means))
    return v2.Compose(steps)


Flips = bool | Literal["horizontal"]


def resolve_turns(entry: Augmentation, shape: tuple[int, int], *, pictures: bool) -> tuple[Flips, bool]:
    """Return the flips and turns that `auto` means: photographs are mirrored left and right only.

    Raises
    ------
    ConfigError
        When chips that are no squares are to be turned.
    """
    square = shape[0] == shape[1]
    if entry.turns is True and not square:
        raise ConfigError(
            f"augmentation.turns: chips of {shape[0]} x {shape[1]} px cannot be turned by right angles; "
            "leave it out"
        )
    flips: Flips = ("horizontal" if pictures else True) if entry.flips == "auto" else entry.flips
    return flips, (square and not pictures) if entry.turns == "auto" else entry.turns


def uniform(low: float, high: float) -> float:
    """Return a uniform random number from torch's generator."""
    return low + (high - low) * float(torch.rand(()))


class IgnoreContradicted(v2.Transform):
    """Ignore labels that the image contradicts, since maps of a year serve as labels of a day.

    `snow`: the normalised difference snow index of green and short-wave infrared is above 0.4, and near
    infrared above 0.11, which excludes water (Hall, Riggs, Salomonson 1995). `dry`: labelled as water, but
    brighter in near and short-wave infrared than in green, unlike water (McFeeters 1996; Xu 2006).
    `flooded`: labelled as land, but dark in near and nearly black in short-wave infrared.

    Parameters
    ----------
    kinds
        Which of these kinds.
    names
        Common names of the bands in the order of the image.
    water
        Channel of the class water; None when the legend has no such class.

    Raises
    ------
    ConfigError
        When `green`, `nir` or `swir16` is not among the bands, or water is needed and missing.
    """

    def __init__(self, kinds: Sequence[str], names: Sequence[str | None], water: int | None) -> None:
        super().__init__()
        if missing := [n for n in ("green", "nir", "swir16") if n not in names]:
            known = ", ".join(map(str, names))
            raise ConfigError(f"chips.ignore: needs the band {missing[0]}; bands are {known}")
        if water is None and {"dry", "flooded"} & set(kinds):
            raise ConfigError("chips.ignore: dry and flooded need a class with the slug water in the legend")
        self.kinds, self.water = kinds, water
        self.green, self.nir, self.swir = (list(names).index(n) for n in ("green", "nir", "swir16"))

    def forward(self, *inputs: Any) -> Any:
        """Return the changed sample."""
        sample: dict[str, Tensor] = inputs[0]
        label = sample["label"]
        green, nir, swir = (sample["image"][i] for i in (self.green, self.nir, self.swir))
        wrong = torch.zeros_like(label, dtype=torch.bool)
        if "snow" in self.kinds:
            # green - swir > 0.4 (green + swir), without a division by zero
            wrong |= (green - swir > 0.4 * (green + swir)) & (nir > 0.11)
        if "dry" in self.kinds:
            wrong |= (label == self.water) & (nir > green) & (swir > green)
        if "flooded" in self.kinds:
            wrong |= (label != self.water) & (nir < 0.12) & (swir < 0.03) & (green > 1.5 * swir)
        return {**sample, "label": label.masked_fill(wrong, IGNORE)}


class Turn(v2.Transform):
    """Random flip, rotation by right angles, or both; all results are equally likely."""

    def __init__(self, flips: Flips, turns: bool) -> None:  # noqa: FBT001
        super().__init__()
        if flips:
            self.kinds = SYMMETRIES["d4" if turns else "horizontal" if flips == "horizontal" else "flips"]
        else:
            self.kinds = [(k, False) for k in range(4 if turns else 1)]

    def forward(self, *inputs: Any) -> Any:
        """Return the changed sample."""
        kind = self.kinds[int(torch.randint(len(self.kinds), ()))]
        return {k: turn(v, *kind) if v.ndim > 1 else v for k, v in inputs[0].items()}


class Zoom(v2.Transform):
    """Cut a random rectangle, resize it to the chip, and add grain to enlarged chips.

    Parameters
    ----------
    size
        Side of the resulting chip in pixels, or rows and columns.
    low, high
        Range of the zoom factor, uniform on a logarithmic scale; factor 2 cuts half the side.
    probability
        Probability of a factor other than 1.
    grain
        Standard deviation of the grain as a share of the value, for each channel and, last, for unlabelled
        pixels, shape (C + 1,); None for no grain.
    enlarged
        Transform of enlarged chips, applied before the grain.
    """

    def __init__(
        self, size: Size, low: float, high: float, probability: float, grain: Tensor | None,
        enlarged: v2.Transform | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.shape, self.low, self.high, self.probability, self.grain = (
            sides(size), low, high, probability, grain,
        )  # fmt: skip
        self.enlarged = enlarged

    def forward(self, *inputs: Any) -> Any:
        """Return the changed sample."""
        sample: dict[str, Tensor] = inputs[0]
        height, width = sample["image"].shape[-2:]
        zoom = 1.0
        if (self.low, self.high) != (1.0, 1.0) and uniform(0, 1) < self.probability:
            zoom = math.exp(uniform(math.log(self.low), math.log(self.high)))
        shape = [
            max(1, min(round(n / zoom), most)) for n, most in zip(self.shape, (height, width), strict=True)
        ]
        top, left = (int(torch.randint(n - m + 1, ())) for n, m in zip((height, width), shape, strict=True))
        rows, cols = slice(top, top + shape[0]), slice(left, left + shape[1])
        cut = {
            k: _resized(v[..., rows, cols], self.shape, smooth=k == "image") if v.ndim > 1 else v
            for k, v in sample.items()
        }
        if "pixels" in cut:
            cut["pixels"] = cut["pixels"] * (math.prod(self.shape) / math.prod(shape))
        if self.enlarged is not None and zoom > _ENLARGED:
            cut = self.enlarged(cut)
        if self.grain is not None and zoom > _ENLARGED:
            cut["image"] = _with_grain(cut["image"], cut["label"], self.grain)
        return cut


def _with_grain(image: Tensor, label: Tensor, grain: Tensor) -> Tensor:
    """Return the image with smooth noise of the strength of each pixel's class."""
    size = tuple(image.shape[-2:])
    strength = grain[label.long().clamp(max=len(grain) - 1)] * uniform(0, 1.2)
    pixels = int(torch.randint(1, 4, ()))
    coarse = torch.randn(1, 1, *(math.ceil(n / pixels) for n in size))
    noise = F.interpolate(coarse, size=size, mode="bicubic")[0, 0]
    return image * (1 + noise * strength).clamp(0.4, 1.8)


def _resized(part: Tensor, shape: tuple[int, int], *, smooth: bool) -> Tensor:
    """Return an image (B, rows, cols), mask (rows, cols) or masks (n, rows, cols) of another shape."""
    before = tuple(part.shape[-2:])
    if before == shape:
        return part
    if not smooth:
        if not part.numel():
            return part.new_zeros((*part.shape[:-2], *shape))
        if part.ndim == 2:
            return F.interpolate(part[None, None], shape, mode="nearest")[0, 0]
        # Outlines of objects and labels must not lie half a pixel beside the image.
        return F.interpolate(part[None], shape, mode="nearest-exact")[0]
    # Only shrinking aliases; anti-aliasing takes twice as long.
    return F.interpolate(part[None], shape, mode="bilinear", antialias=before > shape)[0]


def _grain(entry: Augmentation, legend: Legend) -> Tensor | None:
    """Return the grain of each class and, last, their mean, for unlabelled pixels.

    Raises
    ------
    ConfigError
        When the legend has no such class.
    """
    if not entry.texture:
        return None
    slugs = [c.slug for c in legend.classes]
    if unknown := sorted(set(entry.texture) - set(slugs)):
        raise ConfigError(
            f"augmentation.texture: no class has the slug {unknown[0]}; the legend has {', '.join(slugs)}"
        )
    values = [entry.texture.get(slug, 0.0) for slug in slugs]
    return torch.tensor([*values, sum(values) / len(values)])


class Blur(v2.Transform):
    """Slight Gaussian blur with a given probability."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, *inputs: Any) -> Any:
        """Return the changed sample."""
        sample: dict[str, Tensor] = inputs[0]
        if uniform(0, 1) >= self.probability:
            return sample
        return {**sample, "image": functional.gaussian_blur(sample["image"], [3, 3], [uniform(0.3, 0.8)])}


class Light(v2.Transform):
    """Brightness, gain of each band, low sun, haze and noise."""

    def __init__(self, entry: Augmentation, wavelengths: Sequence[float | None]) -> None:
        super().__init__()
        self.entry = entry
        first = next((w for w in wavelengths if w is not None), 1.0)
        # Path radiance falls off with a power of the wavelength (Chavez 1988).
        self.ratio = torch.tensor([first / (w or first) for w in wavelengths])

    def forward(self, *inputs: Any) -> Any:
        """Return the changed sample."""
        sample: dict[str, Tensor] = inputs[0]
        e, bands = self.entry, len(self.ratio)
        gain = uniform(1 - e.brightness, 1 + e.brightness)
        if uniform(0, 1) < 0.25:
            gain *= 1 - e.low_sun * uniform(0, 1)
        gains = gain * (1 + e.band_gain * (2 * torch.rand(bands) - 1))
        haze = uniform(*e.haze) * self.ratio ** uniform(1.0, 4.0)
        image = torch.addcmul(haze[:, None, None], sample["image"], gains[:, None, None])
        if e.noise:
            image.add_(torch.randn(image.shape), alpha=e.noise * uniform(0, 1))
        return {**sample, "image": image}


class BandDropout(v2.Transform):
    """Replace random bands by their mean, but never all bands."""

    def __init__(self, probability: float, means: Tensor) -> None:
        super().__init__()
        self.probability, self.means = probability, means.float()

    def forward(self, *inputs: Any) -> Any:
        """Return the changed sample."""
        sample: dict[str, Tensor] = inputs[0]
        dropped = torch.rand(len(self.means)) < self.probability
        if dropped.all():
            dropped[int(torch.randint(len(dropped), ()))] = False
        image = torch.where(dropped[:, None, None], self.means[:, None, None], sample["image"])
        return {**sample, "image": image}


def as_sample(values: Tensor, channels: Tensor, means: Tensor) -> dict[str, Tensor]:
    """Return a sample; invalid pixels (NaN) take the band mean, so that resizing does not spread them.

    Parameters
    ----------
    values
        Physical values, NaN where invalid, shape (B, rows, cols).
    channels
        Channels of the classes, 255 where ignored, shape (rows, cols), uint8; or other labels.
    means
        Mean of each band, shape (B,).
    """
    valid = ~torch.isnan(values[0])
    filled = torch.where(valid, values, means[:, None, None])
    return {"image": filled, "label": channels, "valid": valid.to(torch.uint8)}


def as_input(sample: dict[str, Tensor], mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Return the network's input: normalised image (B, rows, cols), and labels as int64 or float32."""
    image = standardised(sample, mean, std)
    label = sample["label"].masked_fill(sample["valid"] == 0, no_label(sample["label"]))
    return image, label if label.is_floating_point() else label.long()


def standardised(sample: dict[str, Tensor], mean: Tensor, std: Tensor) -> Tensor:
    """Return the normalised image (B, rows, cols); invalid pixels are 0, the mean of their band."""
    image = (sample["image"] - mean[:, None, None]).div_(std[:, None, None])
    return image.masked_fill_(sample["valid"] == 0, 0.0)


def no_label(labels: Tensor) -> float:
    """Return what stands for no label: NaN in numbers, 255 elsewhere."""
    return math.nan if labels.is_floating_point() else IGNORE
