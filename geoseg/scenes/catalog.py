"""Names in `data_catalog.yaml`, paths and URIs to scenes and labelled data."""

from collections.abc import Sequence
from pathlib import Path

from geoseg.config.catalog import CatalogDocument
from geoseg.config.dataset import DatasetEntry
from geoseg.config.loader import load
from geoseg.config.scene import SceneEntry
from geoseg.core.errors import ConfigError, SceneError, did_you_mean
from geoseg.scenes.opening import open_scene
from geoseg.scenes.scene import Scene

CATALOG = Path("data_catalog.yaml")
"""The catalog is looked for in the current folder."""


def read_catalog(path: Path = CATALOG) -> dict[str, SceneEntry]:
    """Return the scenes of a catalog by name, none when the file does not exist.

    Raises
    ------
    ConfigError
        When the file does not follow the catalog's model.
    """
    return dict(_load(path).scenes)


def _load(path: Path) -> CatalogDocument:
    return load(path, CatalogDocument) if path.exists() else CatalogDocument()


def find_dataset(dataset: str | DatasetEntry, path: Path = CATALOG) -> tuple[DatasetEntry, Path]:
    """Return the labelled data that a training asks for, and the folder for their relative paths.

    Raises
    ------
    ConfigError
        When the name is not in the catalog.
    """
    if not isinstance(dataset, str):
        return dataset, Path()
    known = _load(path).datasets
    if dataset not in known:
        raise ConfigError(
            f"dataset {dataset!r} is not under datasets: in {path}{did_you_mean(dataset, known)}; "
            f"known: {', '.join(known) or 'none'}"
        )
    return known[dataset], path.parent


def find_entry(scene: str, path: Path = CATALOG) -> tuple[SceneEntry, Path]:
    """Return the entry that a name, path or URI means, and the folder for its relative paths.

    Raises
    ------
    ConfigError
        When it is neither in the catalog nor looks like a path.
    SceneError
        When it looks like a path and nothing is there.
    """
    catalog = read_catalog(path)
    if scene in catalog:
        return catalog[scene], path.parent
    if "://" in scene or scene.startswith("/vsi") or Path(scene).exists():
        return SceneEntry(uri=scene), Path()
    if "/" in scene or Path(scene).suffix:
        raise SceneError(f"{scene}: no such file or folder")
    raise ConfigError(
        f"scene {scene!r} is not in {path}, and no file of that name is here"
        f"{did_you_mean(scene, catalog) or '; see: geoseg catalog list'}"
    )


def resolve_scene(
    scene: str | SceneEntry,
    name: str,
    bands: Sequence[str] | None = None,
    gsd: float | None = None,
    catalog: Path = CATALOG,
) -> Scene:
    """Open the scene that a pipeline asks for.

    Parameters
    ----------
    scene
        A name in the catalog, a path, a URI, or an entry written into the pipeline.
    name
        What to call a scene that has no name of its own.
    bands
        Common names of the bands; None takes all.
    gsd
        Ground sample distance of the grid in metres.
    catalog
        The catalog file.
    """
    if isinstance(scene, SceneEntry):
        return open_scene(scene, name, Path(), bands, gsd)
    entry, base = find_entry(scene, catalog)
    return open_scene(entry, scene, base, bands, gsd)
