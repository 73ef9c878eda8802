"""`data_catalog.yaml`: scenes and labelled data by name."""

from pydantic import Field

from geoseg.config.dataset import DatasetEntry
from geoseg.config.loader import Document
from geoseg.config.scene import SceneEntry


class CatalogDocument(Document):
    """`data_catalog.yaml`."""

    scenes: dict[str, SceneEntry] = Field(default_factory=dict)
    datasets: dict[str, DatasetEntry] = Field(default_factory=dict)
