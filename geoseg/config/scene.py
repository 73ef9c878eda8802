"""A scene, as `data_catalog.yaml` and pipelines describe it."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from geoseg.config.fields import (
    GATE,
    BandNumber,
    ClassId,
    Code,
    Gsd,
    Nodata,
    Offset,
    Percent,
    Positive,
    Scale,
    Time,
)
from geoseg.config.loader import Document
from geoseg.core.bands import SENSORS
from geoseg.core.errors import did_you_mean

Bit = Annotated[int, Field(ge=0, le=31), GATE]
BitGroup = Bit | Annotated[tuple[Bit, ...], Field(min_length=1)]


class BandEntry(Document):
    """The file of one band, and how its numbers become physical units."""

    uri: str | None = None
    """File of the band; default: the scene's `uri`."""
    band: BandNumber = 1
    """Number of the band in its file, from 1."""
    scale: Scale | None = None
    """Reflectance = number * scale + offset; default: the scene's, then the file's."""
    offset: Offset | None = None
    nodata: Nodata | None = None
    saturated: Nodata | None = None
    """The number of pixels whose signal was too strong to be measured; they are nodata, too."""
    common_name: str | None = None
    """Common name (`swir16`); default: what the band's own name means."""
    wavelength_um: Positive | None = None
    """Centre wavelength in micrometres."""
    width_um: Positive | None = None
    """Full width at half maximum in micrometres."""


class MaskEntry(Document):
    """A quality band that marks pixels which are not classified."""

    uri: str
    band: BandNumber = 1
    invalid_values: tuple[Code, ...] = ()
    """Pixels with one of these values are nodata."""
    invalid_bits: tuple[BitGroup, ...] = ()
    """Pixels with one of these bits set are nodata; a list of bits means all of them together."""

    @model_validator(mode="after")
    def _says_something(self) -> "MaskEntry":
        if not self.invalid_values and not self.invalid_bits:
            raise ValueError("a mask needs invalid_values or invalid_bits")
        return self


class ModelMaskEntry(Document):
    """Another network's map of the scene, of which some classes mark pixels that are not classified."""

    model: Annotated[str, Field(min_length=1)]
    """A bundle that finds clouds, for example: its name, a folder, or a URI in an object store."""
    invalid: Annotated[tuple[str | ClassId, ...], Field(min_length=1)]
    """Pixels of these classes of the bundle, by slug or id, are nodata."""
    dilate: Annotated[int, Field(ge=0, le=256), GATE] = 0
    """Pixels of that map by which these classes are widened: what lies no further from one is nodata."""
    gsd: Gsd | None = None
    """Ground sample distance in metres at which the network looks at the scene; default: that of the scene,
    or the nearest one in the range of the bundle."""
    alone: bool = False
    """Leave out the quality bands that a product itself has; by default both hold."""


class DarkObject(Document):
    """Dark-object subtraction (Chavez 1988), see `geoseg.scenes.radiometry`."""

    atmosphere: Literal["very-clear", "clear", "moderate", "hazy", "very-hazy"] = "clear"
    """Relative scattering model: the power of the wavelength with which haze falls off."""


class Radiometry(Document):
    """Radiometric steps that are applied to a scene before the network sees it."""

    dark_object: DarkObject | None = None

    @field_validator("dark_object", mode="before", json_schema_input_type=bool | DarkObject | None)
    @classmethod
    def _true_means_default(cls, value: object) -> object:
        return {} if value is True else None if value is False else value


def _kind_of_mask(value: Any) -> str:
    # No key of a mask: messages take these names out of the places that they tell.
    from_model = "model" in value if isinstance(value, dict) else isinstance(value, ModelMaskEntry)
    return "mask from a model" if from_model else "quality band"


AnyMask = Annotated[
    Annotated[MaskEntry, Tag("quality band")] | Annotated[ModelMaskEntry, Tag("mask from a model")],
    Discriminator(_kind_of_mask),
]
"""What marks pixels that are not classified."""


class SceneEntry(Document):
    """One scene: a file with many bands, one file for each band, or a mosaic of other scenes."""

    title: str = ""
    description: str = ""
    license: str = ""
    source: str = ""
    uri: str | None = None
    """A raster file, or a folder with one file for each band."""
    folder: str | None = None
    """Folder of every relative `uri` of this entry."""
    sensor: str | None = None
    """Translates band designations (`B5`) to common names: `sentinel-2`, `landsat-4` to `landsat-9`,
    `hls-s30`, `hls-l30`, `planetscope`, `planetscope-8b`, `naip`."""
    bands: dict[str, BandEntry] = Field(default_factory=dict)
    """Bands by name; default: the names in the files. A text is a file, a number a band number."""
    scale: Scale | None = None
    offset: Offset | None = None
    nodata: Nodata | None = None
    """A pixel is nodata when any of its bands has this value."""
    gsd: Gsd | None = None
    """Ground sample distance of the grid in metres; default: that of the finest band in use."""
    saturated: Nodata | None = None
    """A pixel is nodata, too, when one of its bands has this value: its signal was too strong."""
    datetime: Time | None = None
    """Time of acquisition, in UTC unless it has another zone; part of the STAC item."""
    mask: AnyMask | tuple[AnyMask, ...] | None = None
    """A quality band, a mask from a model, or several of them: a pixel is nodata where one says so. A mask
    from a model joins the quality bands of a product; a quality band replaces them."""
    product: str | None = None
    """Kind of the product, as `sentinel-2-l2a`."""
    level: Literal["toa", "surface"] | None = None
    """Whether its numbers are reflectance at the top of the atmosphere or at the surface."""
    baseline: str | None = None
    """Processing baseline of the product."""
    platform: str | None = None
    """Satellite or aircraft."""
    cloud_cover: Percent | None = None
    """Cloud cover of the product in percent."""
    item: str | None = None
    """Id of its STAC item."""
    radiometry: Radiometry = Radiometry()
    mosaic: Annotated[str, Field(min_length=1)] | tuple["str | SceneEntry", ...] | None = None
    """The scenes that this one is made of: a folder of rasters, a glob, or a list of anything that a scene
    can be. Bands, sensor, scale, offset, nodata, mask and radiometry beside it hold for each of them; `gsd`
    is that of the mosaic."""
    order: Literal["newest", "oldest", "cloud", "listed"] | None = None
    """Which member gives a pixel that several have: the newest or oldest by `datetime`, that with the least
    `cloud_cover`, or the one that is listed first (default; files of a folder or glob by name)."""
    crs: Annotated[str, Field(pattern=r"^(auto|EPSG:\d{4,6})$", examples=["auto", "EPSG:32618"])] | None = (
        None
    )
    """CRS of the mosaic; default, `auto`: that of the most area of its members."""
    method: Literal["first", "median"] | None = None
    """What a pixel is made of: the first valid member in the order (default), or the median of all valid
    ones, band by band."""

    @field_validator("sensor")
    @classmethod
    def _known_sensor(cls, value: str | None) -> str | None:
        if value is not None and value not in SENSORS:
            raise PydanticCustomError(
                "sensor",
                f"{value[:60]!r} is not known{did_you_mean(value, SENSORS)}; known: {', '.join(SENSORS)}",
            )
        return value

    @property
    def masks(self) -> tuple[MaskEntry, ...]:
        """Its quality bands."""
        return tuple(m for m in self._all_masks if isinstance(m, MaskEntry))

    @property
    def model_masks(self) -> tuple[ModelMaskEntry, ...]:
        """Its masks from models."""
        return tuple(m for m in self._all_masks if isinstance(m, ModelMaskEntry))

    @property
    def _all_masks(self) -> tuple[MaskEntry | ModelMaskEntry, ...]:
        return () if self.mask is None else self.mask if isinstance(self.mask, tuple) else (self.mask,)

    def masks_over(self, lower: "SceneEntry") -> tuple[MaskEntry | ModelMaskEntry, ...] | None:
        """Return the masks that hold where this entry stands over another one: each kind replaces its own.

        So a mask from a model joins the quality bands of a product. An entry that says it has none has none.
        """
        if not self._all_masks:
            return None
        alone = any(m.alone for m in self.model_masks)
        bands = self.masks or (() if alone else lower.masks)
        return (*bands, *(self.model_masks or lower.model_masks))

    @field_validator("bands", mode="before", json_schema_input_type=dict[str, BandEntry | str | BandNumber])
    @classmethod
    def _short_forms(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        for name, v in value.items():
            if isinstance(v, bool):
                raise PydanticCustomError("band", f"{name}: write a file or the number of a band")
        return {
            name: {"uri": v} if isinstance(v, str) else {"band": v} if isinstance(v, int) else v
            for name, v in value.items()
        }

    @model_validator(mode="after")
    def _fits_a_mosaic(self) -> "SceneEntry":
        if self.mosaic is None:
            if alone := [k for k in ("order", "crs", "method") if getattr(self, k) is not None]:
                raise ValueError(f"{alone[0]} is of a mosaic; name its scenes under mosaic")
            return self
        if not self.mosaic:
            raise ValueError("a mosaic needs at least one scene")
        if both := [k for k in ("uri", "folder") if getattr(self, k) is not None]:
            raise ValueError(f"{both[0]} and mosaic are two scenes; name all of them under mosaic")
        if any(isinstance(m, SceneEntry) and m.mosaic is not None for m in self.mosaic):
            raise ValueError("a mosaic of mosaics is not made; list the scenes of all in one")
        if self.method == "median" and self.order is not None:
            raise ValueError("order has no meaning for a median; leave it out")
        return self

    @model_validator(mode="after")
    def _has_files(self) -> "SceneEntry":
        if self.mosaic is not None:
            return self
        if self.uri is None and not self.bands:
            raise ValueError("a scene needs a uri or bands with a uri each")
        for name, band in self.bands.items():
            if band.uri is None and self.uri is None:
                raise ValueError(f"band {name} has no uri and neither has the scene")
        return self
