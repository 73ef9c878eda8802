"""Stratified random samples of a class map: draw, write for labelling, and read back.

The sampling design is that of Olofsson et al. 2014, Good practices for estimating area and assessing accuracy
of land change, Remote Sensing of Environment 148, 42-57: strata are the classes of the map.
"""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from geoseg.core.errors import OutputError, SceneError, one_line
from geoseg.core.files import give_usual_mode
from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE
from geoseg.core.notices import collect_warnings
from geoseg.core.paths import plain_path
from geoseg.core.text import check_line
from geoseg.evaluation.class_map import ClassMap
from geoseg.evaluation.compare import ProbabilityRaster
from geoseg.evaluation.form import add_form
from geoseg.raster.area import pixel_area_m2
from geoseg.vector.write.geopackage import without_clock

POINTS, STRATA = "sample", "strata"
_COLUMNS = {"class_id": "int64", "slug": "str", "title": "str", "pixels": "int64", "area_m2": "float64"}
"""Columns of the strata that an estimate needs."""
_PIXELS = 1 << 22
"""Pixels that are read at a time."""


@dataclass(frozen=True)
class Strata:
    """Mapped pixels and area of each class, shape (C,) each."""

    pixels: NDArray[np.int64]
    area_m2: NDArray[np.float64] | None
    """Mapped area, geodesic where the CRS is geographic; None without a CRS."""
    confidence: NDArray[np.float64] | None
    """Mean confidence; None when no confidence map is given."""


@dataclass(frozen=True)
class Drawn:
    """Pixels that were drawn, in the order of the map's rows; arrays of shape (points,)."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    channels: NDArray[np.int64]
    """Position of each pixel's class in the legend."""
    labels: pd.Series | None = None
    """Class ids of the reference, missing where nobody has looked yet; None: nowhere."""

    def joined(self, other: "Drawn") -> "Drawn":
        """Return both samples as one; the other has no labels."""
        rows, cols, channels = (
            np.concatenate([getattr(self, n), getattr(other, n)]) for n in ("rows", "cols", "channels")
        )
        labels = pd.concat([
            pd.Series([pd.NA] * len(self.rows), dtype="Int32") if self.labels is None else self.labels,
            pd.Series([pd.NA] * len(other.rows), dtype="Int32"),
        ], ignore_index=True)  # fmt: skip
        order = np.lexsort((cols, rows))
        return Drawn(rows[order], cols[order], channels[order], labels[order].reset_index(drop=True))


def count_strata(
    class_map: ClassMap, confidence: ProbabilityRaster | None = None, rows: int | None = None
) -> Strata:
    """Count the pixels of each class; parameters as `draw`."""
    classes = len(class_map.legend)
    pixels, area, confidences = np.zeros(classes, dtype=np.int64), np.zeros(classes), np.zeros(classes)
    of_row = pixel_area_m2(class_map.source.geobox)
    for window in _strips(class_map.shape, rows):
        channels = class_map.read(window)
        for row, line in enumerate(channels, start=window.rows.start):
            here = np.bincount(line, minlength=256)[:classes]
            pixels += here
            area += here * (1.0 if of_row is None else of_row[row])
        if confidence is not None:
            known = channels != IGNORE
            values = confidence.read(window, known)[0].astype(np.float64)
            confidences += np.bincount(channels[known], weights=values, minlength=classes)
    if not pixels.any():
        raise SceneError(f"{class_map.source.path}: every pixel is nodata; there is nothing to sample")
    mean = None if confidence is None else confidences / np.maximum(pixels, 1)
    return Strata(pixels, None if of_row is None else area, mean)


def draw(
    class_map: ClassMap,
    pixels: NDArray[np.int64],
    points: NDArray[np.int64],
    seed: int,
    rows: int | None = None,
    taken: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Drawn:
    """Draw pixels of each class at random, without replacement.

    Parameters
    ----------
    class_map
        The map.
    pixels, points
        Pixels of each class that are not taken, and the number of them to draw, shape (C,).
    seed
        The same seed draws the same pixels.
    rows
        Rows that are read at a time; the sample does not depend on it.
    taken
        Rows and columns of pixels that are not drawn again.
    """
    ranks = [
        np.sort(np.random.default_rng([seed, c]).choice(int(n), int(k), replace=False))
        for c, (n, k) in enumerate(zip(pixels, points, strict=True))
    ]
    seen, found = np.zeros(len(pixels), dtype=np.int64), []
    for window in _strips(class_map.shape, rows):
        channels = _without(class_map.read(window), window, taken).ravel()
        for c, wanted in enumerate(ranks):
            place = np.flatnonzero(channels == c)
            mine = wanted[np.searchsorted(wanted, seen[c]) : np.searchsorted(wanted, seen[c] + len(place))]
            where = place[mine - seen[c]] + window.rows.start * window.shape[1]
            found.append(np.stack([where, np.full(len(where), c)]))
            seen[c] += len(place)
    where, drawn = np.concatenate(found, axis=1)[:, np.argsort(np.concatenate(found, axis=1)[0])]
    return Drawn(where // class_map.shape[1], where % class_map.shape[1], drawn)


def _without(
    channels: NDArray[Any], window: Window, taken: tuple[NDArray[np.int64], NDArray[np.int64]] | None
) -> NDArray[Any]:
    """Return the classes of a strip of full rows, without pixels that are taken."""
    if taken is None:
        return channels
    rows, cols = taken
    here = (rows >= window.rows.start) & (rows < window.rows.stop)
    channels = channels.copy()
    channels[rows[here] - window.rows.start, cols[here]] = IGNORE
    return channels


def write_sample(
    path: Path,
    class_map: ClassMap,
    strata: Strata,
    drawn: Drawn,
    design: Mapping[str, str | int],
) -> None:
    """Write the points, the strata and a form with the classes to choose from; complete or not at all.

    `design` names the map, allocation and seed in every row of the strata.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    geobox, classes = class_map.source.geobox, class_map.legend.classes
    row, col, channel, labels = drawn.rows, drawn.cols, drawn.channels, drawn.labels
    x, y = geobox.transform @ (col + 0.5, row + 0.5)
    points = gpd.GeoDataFrame(
        {
            "map_class": np.array([classes[c].id for c in channel], dtype=np.int32),
            "map_class_name": [classes[c].title for c in channel],
            "reference_class": pd.array([pd.NA] * len(channel), dtype="Int32") if labels is None else labels,
        },
        geometry=gpd.points_from_xy(x, y),
        crs=None if geobox.crs is None else geobox.crs.to_wkt(),
    )
    table = pd.DataFrame({
        "class_id": [c.id for c in classes],
        "slug": [c.slug for c in classes],
        "title": [c.title for c in classes],
        "color": [c.color for c in classes],
        "pixels": strata.pixels,
        "area_m2": [math.nan] * len(classes) if strata.area_m2 is None else strata.area_m2,
        "points": np.bincount(channel, minlength=len(classes)),
        **{k: [v] * len(classes) for k, v in design.items()},
    })  # fmt: skip
    temporary = path.with_name(f".sample.{os.getpid()}.gpkg")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # pyogrio warns of points without a CRS.
        with collect_warnings(), without_clock(), plain_path(temporary) as plain:
            pyogrio.write_dataframe(
                points, plain, layer=POINTS, driver="GPKG", geometry_type="Point",
                layer_options={"GEOMETRY_NAME": "geom", "FID": "id"},
            )  # fmt: skip
            pyogrio.write_dataframe(table, plain, layer=STRATA, driver="GPKG")
        add_form(temporary, POINTS, "reference_class", {c.title: c.id for c in classes})
        give_usual_mode(temporary)
        temporary.replace(path)
    except (DataLayerError, DataSourceError, FeatureError, OSError) as error:
        raise OutputError(f"{path}: cannot be written: {one_line(error)}") from error
    finally:
        with contextlib.suppress(OSError):  # nothing is left where nothing can be written
            temporary.unlink()


@dataclass(frozen=True)
class Sample:
    """A labelled sample."""

    strata: pd.DataFrame
    """A row for each class: class_id, slug, title, pixels, area_m2 (NaN without CRS)."""
    counts: NDArray[np.int64]
    """Labelled points, shape (C, C): rows are classes of the map, columns of the reference."""
    points: NDArray[np.int64]
    """Points of each class of the map, labelled or not, shape (C,)."""

    @property
    def unlabelled(self) -> int:
        """Points without a reference class."""
        return int(self.points.sum() - self.counts.sum())


def read_pilot(path: Path, class_map: ClassMap) -> tuple[Drawn, Sample]:
    """Read a sample of the same map that was labelled before, to be gone on with.

    Raises
    ------
    SceneError
        When the file is no sample, or one of another map.
    """
    sample = read_sample(path)
    with plain_path(path) as plain:
        points = pyogrio.read_dataframe(plain, layer=POINTS)
    x, y = points.geometry.x.to_numpy(), points.geometry.y.to_numpy()
    cols, rows = (np.floor(v).astype(np.int64) for v in ~class_map.source.geobox.transform @ (x, y))
    height, width = class_map.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    channels = np.full(len(rows), IGNORE, dtype=np.int64)
    for window in _strips(class_map.shape, None):
        here = inside & (rows >= window.rows.start) & (rows < window.rows.stop)
        if here.any():
            channels[here] = class_map.read(window)[rows[here] - window.rows.start, cols[here]]
    ids = np.array([c.id for c in class_map.legend.classes])
    mapped = points["map_class"].to_numpy(dtype=np.int64)
    foreign = (channels == IGNORE) | (ids[np.minimum(channels, len(ids) - 1)] != mapped)
    if sample.strata["class_id"].tolist() != ids.tolist() or foreign.any():
        raise SceneError(
            f"{path}: was not drawn from {class_map.source.path}; a pilot goes on with the map that it was "
            "drawn from"
        )
    labels = pd.to_numeric(points["reference_class"]).astype("Int32")
    return Drawn(rows, cols, channels, labels), sample


def read_sample(path: Path) -> Sample:
    """Read a sample that was labelled.

    Raises
    ------
    SceneError
        When the file is no sample, a label is no class, or a point was not drawn by `geoseg sample`.
    """
    try:
        with plain_path(path) as plain:
            points = pyogrio.read_dataframe(plain, layer=POINTS, read_geometry=False, fid_as_index=True)
            strata = _checked(pyogrio.read_dataframe(plain, layer=STRATA, read_geometry=False))
        mapped, labels = (pd.to_numeric(points[c], errors="coerce") for c in ("map_class", "reference_class"))
    except (DataLayerError, DataSourceError, FeatureError, KeyError, ValueError) as error:
        raise SceneError(
            f"{path}: is no sample with the tables {POINTS} and {STRATA}, as geoseg sample writes it "
            f"({one_line(error)[:80]})"
        ) from error
    ids = {i: n for n, i in enumerate(strata["class_id"])}
    foreign = points.index[~mapped.isin(list(ids))].astype(str)
    if len(foreign):
        raise SceneError(
            f"{path}: points without a map_class of the table {STRATA}: id {', '.join(foreign[:8])}"
            f"{', ...' if len(foreign) > 8 else ''}; remove what geoseg sample did not draw"
        )
    written = points["reference_class"].notna()
    unknown = sorted({str(v) for v in points["reference_class"][written & ~labels.isin(list(ids))]})
    if unknown:
        known = ", ".join(f"{i} {s}" for i, s in zip(strata["class_id"], strata["slug"], strict=True))
        raise SceneError(
            f"{path}: reference_class {', '.join(unknown[:8])} is no class; the classes are {known}"
        )
    known = labels.notna()
    counts = np.zeros((len(ids), len(ids)), dtype=np.int64)
    np.add.at(counts, (mapped[known].map(ids).to_numpy(), labels[known].astype(int).map(ids).to_numpy()), 1)
    return Sample(strata, counts, np.bincount(mapped.map(ids), minlength=len(ids)))


def _checked(strata: pd.DataFrame) -> pd.DataFrame:
    """Return the strata with the columns that an estimate needs, in their types.

    Raises
    ------
    KeyError, ValueError
        When they are not as `write_sample` writes them.
    """
    strata = strata[list(_COLUMNS)]
    if strata[["slug", "title"]].isna().any(axis=None):
        raise ValueError("a class has no name")
    strata = strata.astype(_COLUMNS)
    for text in strata[["slug", "title"]].to_numpy().ravel():
        check_line(text)
    area, mapped = strata["area_m2"], strata["pixels"] > 0
    if strata["class_id"].duplicated().any() or not mapped.any() or (strata["pixels"] < 0).any():
        raise ValueError("each class has one row with its pixels")
    if area.notna().any() and not (np.isfinite(area) & ((area > 0) == mapped)).all():
        raise ValueError("area_m2 does not fit pixels")
    return strata


def _strips(shape: tuple[int, int], rows: int | None) -> Iterator[Window]:
    """Yield windows of full rows: the order of the pixels must not depend on the windows."""
    step = rows or max(16, _PIXELS // shape[1])
    for row in range(0, shape[0], step):
        yield Window.of(row, 0, step, shape[1]).clip(shape)
