"""Find scenes and labelled data by their name in `data_catalog.yaml`, by path or by URI."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from geoseg.config import lookup
from geoseg.config.dataset import CatalogDocument, DatasetEntry
from geoseg.config.loader import load
from geoseg.config.scene import SceneEntry
from geoseg.core.errors import ConfigError, SceneError, did_you_mean
from geoseg.core.paths import at_home
from geoseg.scenes.nodata import warn_of_idle_nodata
from geoseg.scenes.opening import open_scene
from geoseg.scenes.remote import is_remote
from geoseg.scenes.scene import Scene
from geoseg.scenes.versions import names_dataset

CATALOG = "data_catalog.yaml"
"""The file of a catalog."""


@dataclass(frozen=True)
class Catalog:
    """Scenes and labelled data by name; of several files the first that has a name wins."""

    files: tuple[Path, ...]

    @classmethod
    def open(cls, path: Path | str | None = None) -> "Catalog":
        """Return the catalog in a file, or those of all folders where names are looked up."""
        if path is not None:
            return cls((at_home(Path(path)),))
        return cls(tuple(f for folder in lookup.folders() if (f := folder / CATALOG).exists()))

    @cached_property
    def scenes(self) -> dict[str, tuple[SceneEntry, Path]]:
        """Entries by name, each with the file that has it.

        Raises
        ------
        ConfigError
            When a file does not follow the catalog's model.
        """
        return {n: (e, path) for path, found in reversed(self._documents) for n, e in found.scenes.items()}

    @cached_property
    def datasets(self) -> dict[str, tuple[DatasetEntry, Path]]:
        """Labelled data by name, each with the file that has it.

        Raises
        ------
        ConfigError
            When a file does not follow the catalog's model.
        """
        return {n: (e, path) for path, found in reversed(self._documents) for n, e in found.datasets.items()}

    @cached_property
    def _documents(self) -> list[tuple[Path, CatalogDocument]]:
        return [(path, load(path, CatalogDocument)) for path in self.files if path.exists()]

    def find(self, scene: str) -> tuple[SceneEntry, Path]:
        """Return the entry of a scene given by name, path or URI, see `find_entry`."""
        scene = at_home(scene)
        if scene in self.scenes:
            entry, path = self.scenes[scene]
            return entry, path.parent
        if is_remote(scene) or names_dataset(scene) or _exists(scene):
            return SceneEntry(uri=scene), Path()
        if "/" in scene or Path(scene).suffix:
            raise SceneError.absent(f"{scene}: no such file or folder")
        raise ConfigError(
            f"scene {scene!r} is not in {self}, and no file of that name is here"
            f"{did_you_mean(scene, self.scenes) or '; see: geoseg catalog list'}"
        )

    def __str__(self) -> str:
        return ", ".join(map(str, self.files)) or f"a {CATALOG}"


def find_dataset(dataset: str | DatasetEntry, catalog: Path | str | None = None) -> tuple[DatasetEntry, Path]:
    """Return the entry of labelled data, and the folder of its relative paths.

    Raises
    ------
    ConfigError
        When the name is not in the catalog.
    """
    if not isinstance(dataset, str):
        return dataset, Path()
    opened = Catalog.open(catalog)
    if dataset not in opened.datasets:
        known = opened.datasets
        raise ConfigError(
            f"dataset {dataset!r} is not under datasets: in {opened}{did_you_mean(dataset, known)}; known: "
            f"{', '.join(known) or 'none'}"
        )
    entry, path = opened.datasets[dataset]
    return entry, path.parent


def find_entry(scene: str, catalog: Path | str | None = None) -> tuple[SceneEntry, Path]:
    """Return the entry of a scene given by name, path or URI, and the folder of its relative paths.

    Raises
    ------
    ConfigError
        When it is not in the catalog and does not look like a path.
    SceneError
        When it looks like a path that does not exist.
    """
    return Catalog.open(catalog).find(scene)


def _exists(scene: str) -> bool:
    try:
        return Path(scene).exists()
    except (OSError, ValueError):  # too long, or with a NUL
        return False


def resolve_scene(
    scene: str | SceneEntry,
    name: str,
    bands: Sequence[str] | None = None,
    gsd: float | None = None,
    catalog: Path | str | None = None,
) -> Scene:
    """Open a scene by name, path, URI or entry.

    Parameters
    ----------
    scene
        A name in the catalog, a path, a URI, or an entry written into the pipeline.
    name
        Name of a scene that is given as an entry.
    bands
        Common names of the bands; None takes all.
    gsd
        Ground sample distance of the grid in metres.
    catalog
        The catalog file; None looks in all folders where names are looked up.
    """
    if isinstance(scene, SceneEntry):
        opened = open_scene(scene, name, Path(), bands, gsd, catalog)
    else:
        entry, base = find_entry(scene, catalog)
        opened = open_scene(entry, scene, base, bands, gsd, catalog)
    warn_of_idle_nodata(opened.members or (opened,))
    return opened
