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
)
from geoseg.config.loader import Document
from geoseg.core.bands import Band
from geoseg.core.errors import BundleError
from geoseg.core.legend import Legend
from geoseg.core.parsing import parse_json, read_bytes

FORMAT = "geoseg-bundle/1"


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


class Card(Document):
    """The card of a bundle."""

    format: Literal["geoseg-bundle/1"] = "geoseg-bundle/1"
    name: Name
    version: Line
    title: Line
    description: str = ""
    bands: Annotated[tuple[CardBand, ...], Field(min_length=1)]
    covariance: tuple[tuple[Finite, ...], ...] | None = None
    """Covariance of the training pixels in physical units, a row for each band; None: not measured."""
    level: Literal["toa", "surface"] | None = None
    """Reflectance that it was trained on, of the atmosphere's top or of the surface; None: not stated."""
    gsd_m: GsdRange
    tile: CardTile
    classes: Annotated[tuple[CardClass, ...], Field(min_length=2)]
    ignore_index: Literal[255] = 255
    temperature: Temperature = 1.0
    """Logits are divided by it before the softmax, which calibrates the probabilities."""
    memory_bytes_per_pixel: Annotated[float, Field(ge=1, le=1e12), GATE] | None = None
    """Measured working memory of a forward pass for each pixel of a batch, fp32."""
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    limitations: tuple[str, ...] = ()
    license: Line = ""
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _covariance_fits(self) -> "Card":
        rows, bands = self.covariance, len(self.bands)
        if rows is not None and [len(row) for row in rows] != [bands] * bands:
            raise ValueError(f"covariance must be a square of the {bands} bands")
        return self

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[CardClass, ...]) -> tuple[CardClass, ...]:
        Legend.of(classes)
        return classes

    @property
    def legend(self) -> Legend:
        """The classes, in channel order."""
        return Legend.of(self.classes)

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
    try:
        return Card.model_validate(parse_json(read_bytes(path).decode()))
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file; a bundle is a folder with geoseg.json, config.json and "
                          "model.safetensors") from None  # fmt: skip
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"]) or "document"
            raise BundleError(f"{path}: {key[:100]}: {first['msg'].removeprefix('Value error, ')}") from None
        raise BundleError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
