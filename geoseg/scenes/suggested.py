"""Places of a scene that `geoseg suggest` chose, read back when somebody has drawn labels in them."""

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from geoseg.core.errors import GeosegWarning, SceneError, listed, one_line
from geoseg.core.geometry import Window
from geoseg.core.paths import plain_path
from geoseg.scenes.grid import crs_name
from geoseg.scenes.opening import reopen_scene
from geoseg.scenes.scene import Scene

PLACES, LABELS, ABOUT, CLASS = "places", "labels", "about", "class"
"""Layers of the file, and the column of the labels."""


@dataclass(frozen=True)
class SuggestedPlaces:
    """The squares of a file, and where labels are drawn."""

    path: str
    squares: NDArray[Any]
    """Polygons, by rank."""
    drawn: NDArray[Any]
    """The polygons of the labels that have a class."""
    crs: CRS
    scene: dict[str, Any]
    """Identity of the scene, see `Scene.identity`."""

    def labelled(self) -> list[tuple[int, Any]]:
        """Return the rank, from 1, and the polygon of each square in which a label is drawn."""
        square, label = shapely.STRtree(self.drawn).query(self.squares, predicate="intersects")
        # Of a polygon that only touches a square nothing is inside of it.
        inside = shapely.area(
            shapely.intersection(self.squares[square], shapely.make_valid(self.drawn[label]))
        )
        return [(int(i) + 1, self.squares[i]) for i in np.unique(square[inside > 0])]


def read_places(path: str) -> SuggestedPlaces:
    """Read a file of places.

    Raises
    ------
    SceneError
        When it is none, or nothing is drawn in it.
    """
    try:
        with plain_path(path) as plain:
            places = pyogrio.read_dataframe(plain, layer=PLACES)
            labels = pyogrio.read_dataframe(plain, layer=LABELS)
            about = pyogrio.read_dataframe(plain, layer=ABOUT, read_geometry=False)
        known = dict(zip(about["key"], about["value"], strict=True))
        scene = json.loads(known["scene"])
        order = np.argsort(places["rank"].to_numpy(), kind="stable")
        drawn = labels.geometry.values[labels[CLASS].notna() & labels.geometry.notna()]
    except (DataLayerError, DataSourceError, FeatureError, KeyError, ValueError, TypeError) as error:
        raise SceneError(
            f"{path}: is no file of places with the layers {PLACES}, {LABELS} and {ABOUT}, as geoseg suggest "
            f"writes it ({one_line(error)[:80]})"
        ) from error
    if places.crs is None or labels.crs is None:
        raise SceneError(f"{path}: its layers have no CRS; geoseg suggest writes one")
    if labels.crs != places.crs:
        drawn = labels.to_crs(places.crs).geometry.values[labels[CLASS].notna() & labels.geometry.notna()]
    if not len(drawn):
        raise SceneError(
            f"{path}: no polygon with a {CLASS} is drawn in its layer {LABELS}; label some places first"
        )
    squares = np.asarray(places.geometry.values[order])
    return SuggestedPlaces(path, squares, np.asarray(drawn), CRS(places.crs), scene)


def open_places(
    places: SuggestedPlaces, scene: Scene | None, bands: Sequence[str] | None
) -> list[tuple[str, Scene]]:
    """Return the name and the part of the scene of each place in which labels are drawn.

    Parameters
    ----------
    places
        The file.
    scene
        The scene, instead of the one that the file was made of.
    bands
        Common names of the bands; None takes all.

    Raises
    ------
    SceneError
        When the scene cannot be opened, lacks a band, or is another one.
    """
    opened = _scene(places, bands) if scene is None else scene
    if opened.geobox.crs != places.crs:
        raise SceneError(
            f"{places.path}: its places are in {crs_name(places.crs)}, the scene {opened.name} in "
            f"{crs_name(opened.geobox.crs)}; give the scene that they were suggested for"
        )
    stem, found = Path(places.path).stem, []
    for rank, square in places.labelled():
        window = _window(opened, square)
        if window:
            name = f"{stem}-{rank:03d}"
            found.append((name, replace(opened.cut(window), name=name)))
    if not found:
        raise SceneError(
            f"{places.path}: no labelled place lies on the scene {opened.name}, or the polygons of its layer "
            f"{LABELS} lie outside of its places"
        )
    return found


def _scene(places: SuggestedPlaces, bands: Sequence[str] | None) -> Scene:
    try:
        scene, changed = reopen_scene(places.scene)
    except (KeyError, TypeError, ValueError) as error:
        raise SceneError(
            f"{places.path}: does not say which scene it is of ({one_line(error)[:80]}); give it as scene:"
        ) from error
    if changed:
        warnings.warn(
            f"{scene.name}: its files were written to since {places.path} was made",
            GeosegWarning,
            stacklevel=2,
        )
    if bands is None:
        return scene
    known = [b.common_name for b in scene.bands]
    if lacking := [b for b in bands if b not in known]:
        raise SceneError(
            f"{places.path}: the run saw the bands {listed(known)} of {scene.name}, and no "
            f"{listed(lacking, 3)}; give the scene with all its bands as scene:"
        )
    return scene.pick([known.index(b) for b in bands])


def _window(scene: Scene, square: Any) -> Window:
    """Return the pixels of a scene in a square."""
    left, bottom, right, top = shapely.bounds(square)
    corners = [(~scene.geobox.transform) @ xy for xy in ((left, top), (right, bottom))]
    (col, row), (last_col, last_row) = (tuple(map(_whole, c)) for c in corners)
    top_row, left_col = min(row, last_row), min(col, last_col)
    shape = abs(last_row - row), abs(last_col - col)
    return Window.of(top_row, left_col, *shape).clip(scene.shape)


def _whole(value: float) -> int:
    return math.floor(value + 0.5)
