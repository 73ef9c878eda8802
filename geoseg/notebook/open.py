"""Open scenes and bundles."""

from collections.abc import Sequence
from pathlib import Path

from geoseg.models.bundle import Bundle
from geoseg.models.bundle import open_bundle as open_bundle_folder
from geoseg.scenes.catalog import resolve_scene
from geoseg.scenes.scene import Scene


def open_scene(
    scene: str | Path,
    *,
    bands: Sequence[str] | None = None,
    gsd: float | None = None,
    catalog: str | Path | None = None,
) -> Scene:
    """Open a scene; only headers are read.

    Parameters
    ----------
    scene
        A name in the catalog, a file, a folder, or a URI.
    bands
        Common names of the bands (`red`, `nir`, `swir16`), in the order asked for; None takes all.
    gsd
        Ground sample distance of the grid in metres; None takes that of the finest band.
    catalog
        The catalog file; None looks in the current folder, the user's, and in what ships with geoseg.

    Returns
    -------
    Scene
        `to_xarray()` gives it as a lazy DataArray of physical values with dims (band, y, x).

    Raises
    ------
    ConfigError
        When the name is in no catalog.
    SceneError
        When a file or a band is missing, or the bands do not cover the same area.

    Examples
    --------
    >>> scene = geoseg.open_scene("sentinel2-sample", bands=["red", "nir"])
    >>> scene.shape
    (1947, 1933)
    >>> scene.to_xarray().sizes
    Frozen({'band': 2, 'y': 1947, 'x': 1933})
    """
    return resolve_scene(str(scene), Path(str(scene)).stem, bands, gsd, catalog)


def open_bundle(model: str | Path) -> Bundle:
    """Open a model bundle and verify that its files belong together.

    Parameters
    ----------
    model
        A name, a folder, or a URI.

    Raises
    ------
    BundleError
        When there is no such bundle, or a file is damaged or contradicts another.

    Examples
    --------
    >>> bundle = geoseg.open_bundle("landcover-s2")
    >>> [c.slug for c in bundle.card.classes]
    ['tree', 'grass-shrub', 'crop', 'built', 'bare', 'water']
    """
    return open_bundle_folder(str(model))
