"""Where names are looked up: the current folder, the user's folder, and what ships with geoseg.

A pipeline, a training, a bundle, a legend or a cluster is given by a path, or by a name: that of its file
without suffix, like `landcover`. A relative path or a name is looked up in each of these folders in turn; the
first that has it wins.
"""

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import platformdirs

import geoseg
from geoseg.core.errors import ConfigError, did_you_mean
from geoseg.core.paths import at_home


class Shelf(StrEnum):
    """Where documents of one kind lie, below each folder that is looked through."""

    PIPELINES = "pipelines"
    TRAININGS = "configs/training"
    MODELS = "configs/models"
    LEGENDS = "configs/legends"
    CLUSTERS = "configs/clusters"


def home() -> Path:
    """Return the user's folder of geoseg, which may not exist.

    `$GEOSEG_HOME`, else by the convention of the platform: `~/.local/share/geoseg` under Linux,
    `~/Library/Application Support/geoseg` under macOS.
    """
    if chosen := os.environ.get("GEOSEG_HOME"):
        return at_home(Path(chosen))
    return platformdirs.user_data_path("geoseg", appauthor=False)


def shipped() -> Path:
    """Return the folder of the documents that ship with geoseg: beside the package, or the checkout."""
    above = Path(geoseg.__file__).parents[1]
    installed = above / "geoseg_documents"
    return installed if installed.is_dir() else above


def folders() -> tuple[Path, ...]:
    """Return the folders that are looked through, in their order, each once."""
    found = {folder.resolve(): folder for folder in reversed((Path(), home(), shipped()))}
    return tuple(reversed(found.values()))


def find(shelf: Shelf, name: Path | str, accept: Callable[[Path], bool] = Path.is_file) -> Path | None:
    """Return the document that a name or a path means; None when there is none.

    Parameters
    ----------
    shelf
        The kind of document.
    name
        A path, or a name: the file's, or the folder's, without `.yaml`.
    accept
        Whether something is such a document.

    Examples
    --------
    >>> find(Shelf.LEGENDS, "landcover-6").as_posix()  # doctest: +ELLIPSIS
    '...configs/legends/landcover-6.yaml'
    """
    if not str(name):
        return None
    name = at_home(name)
    for folder in folders():
        for path in (folder / name, folder / shelf / name, folder / shelf / f"{name}.yaml"):
            if _is(path, accept):
                return path
    return None


def _is(path: Path, accept: Callable[[Path], bool]) -> bool:
    try:
        return accept(path)
    except (OSError, ValueError):  # a name that no file can have
        return False


def names(shelf: Shelf) -> list[str]:
    """Return the names of all documents of a kind, sorted."""
    if shelf is Shelf.MODELS:
        return sorted({p.parent.name for folder in folders() for p in (folder / shelf).glob("*/geoseg.json")})
    return sorted({p.stem for folder in folders() for p in (folder / shelf).glob("*.yaml")})


def locate(shelf: Shelf, name: Path | str) -> Path:
    """Return the file that a name or a path means.

    Raises
    ------
    ConfigError
        When there is none; tells the known names.
    """
    found = find(shelf, name)
    if found is None:
        raise ConfigError(not_found(shelf, name))
    return found


def not_found(shelf: Shelf, name: Path | str) -> str:
    """Return what to say of a name that no folder has: what is known, and what may have been meant."""
    known, kind = names(shelf), shelf.name.lower().removesuffix("s")
    return (
        f"{kind} {name}: no such file, nor a name in {shelf} of this folder, of {home()} or of geoseg"
        f"{did_you_mean(str(name), known)}; known: {', '.join(known) or 'none'}"
    )
