"""`configs/legends/*.yaml`: the classes of a map and their codes in label data."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from geoseg.config import lookup
from geoseg.config.fields import ClassId, Code
from geoseg.config.loader import Document, load
from geoseg.config.lookup import Shelf
from geoseg.core.legend import Legend, Remap


class ClassEntry(Document):
    """One class."""

    id: ClassId
    """Pixel value in class maps."""
    slug: Annotated[str, Field(min_length=1)]
    title: str
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$", examples=["#2b7bba"])]
    codes: tuple[Code, ...] | None = None
    """Values of this class in label rasters; default: its id."""


class LegendDocument(Document):
    """The classes in the channel order of the network."""

    classes: Annotated[tuple[ClassEntry, ...], Field(min_length=1)]
    """At least two where each pixel has one of them; of objects or labels one may be enough."""
    ignore: tuple[Code, ...] = ()
    """Label values that neither train nor count in figures."""

    @model_validator(mode="after")
    def _consistent(self) -> "LegendDocument":
        _ = self.legend, self.remap
        return self

    @property
    def legend(self) -> Legend:
        """The classes."""
        return Legend.of(self.classes)

    @property
    def remap(self) -> Remap:
        """Label codes to channels."""
        return Remap(tuple((c.id,) if c.codes is None else c.codes for c in self.classes), self.ignore)


NO_CLASSES = LegendDocument.model_construct(classes=(), ignore=())
"""The legend of a training that has no classes."""


def resolve_legend(legend: str | LegendDocument, overrides: Sequence[str] = ()) -> LegendDocument:
    """Return the legend that a document means: written there, a file, or a name in `configs/legends`.

    Raises
    ------
    ConfigError
        When there is no such legend, or it contradicts itself.
    """
    if isinstance(legend, LegendDocument):
        return legend
    return load(lookup.locate(Shelf.LEGENDS, legend), LegendDocument, overrides)
