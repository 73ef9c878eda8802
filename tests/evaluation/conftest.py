"""A class map with names, as a run leaves it, and its reference."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from geoseg.core.legend import Legend, LegendClass
from geoseg.styles.raster import write_raster_styles
from tests.conftest import write_raster

LEGEND = Legend((
    LegendClass(4, "water", "Open water", "#2b7bba"),
    LegendClass(1, "tree", "Tree cover", "#1b7837"),
    LegendClass(2, "crop", "Cropland", "#f2cf63"),
))  # fmt: skip
"""In an order that is not that of the ids."""
SHAPE = (70, 53)


def patches(seed: int) -> NDArray[np.uint8]:
    """Class ids in patches, shape `SHAPE`."""
    rng = np.random.default_rng(seed)
    return rng.choice(LEGEND.ids, (10, 8)).repeat(7, 0).repeat(7, 1)[: SHAPE[0], : SHAPE[1]]


@pytest.fixture
def mapped() -> NDArray[np.uint8]:
    """Class ids of the map, some of them nodata."""
    values = patches(0)
    values[:5, :9] = 255
    return values


@pytest.fixture
def truth(mapped) -> NDArray[np.uint8]:
    """Codes of the reference: mostly those of the map; 0 means nothing."""
    rng = np.random.default_rng(1)
    codes = np.where(rng.random(SHAPE) < 0.8, np.roll(patches(0), 1, axis=1), patches(2))
    codes[30:36] = 0
    return codes.astype(np.uint8)


@pytest.fixture
def class_map(tmp_path, mapped) -> Path:
    """The map as a file, with names and colours beside it."""
    path = write_raster(tmp_path / "classes.tif", mapped, nodata=255)
    write_raster_styles(path, LEGEND)
    return path


@pytest.fixture
def reference(tmp_path, truth) -> Path:
    """The reference as a raster."""
    return write_raster(tmp_path / "reference.tif", truth, nodata=0)


def label(path: Path, values: Mapping[int, int | None]) -> None:
    """Fill in the reference class of some points, as QGIS does."""
    with closing(sqlite3.connect(path)) as database, database:
        # They keep the spatial index, with functions that plain SQLite lacks; no geometry changes here.
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        rows = [(value, key) for key, value in values.items()]
        database.executemany("UPDATE sample SET reference_class = ? WHERE id = ?", rows)
