"""The file of suggested places: squares, an empty layer to draw labels in, and what scene they are of."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from geoseg.core.errors import OutputError, one_line
from geoseg.core.files import give_usual_mode
from geoseg.core.geometry import Window
from geoseg.core.legend import Legend
from geoseg.core.notices import collect_warnings
from geoseg.core.paths import plain_path
from geoseg.evaluation.form import add_form
from geoseg.scenes.suggested import ABOUT, CLASS, LABELS, PLACES
from geoseg.styles.qml import categorised, outlined
from geoseg.vector.write.geopackage import without_clock


def write_places(
    path: Path,
    geobox: GeoBox,
    windows: list[Window],
    columns: Mapping[str, Any],
    legend: Legend,
    about: Mapping[str, Any],
) -> None:
    """Write the places, complete or not at all.

    Parameters
    ----------
    path
        The GeoPackage to write.
    geobox
        Grid of the map, with a CRS.
    windows
        The squares, by rank.
    columns
        Further columns of the squares.
    legend
        The classes to choose from.
    about
        Facts that go into the file, plain values for JSON.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    crs = None if geobox.crs is None else geobox.crs.to_wkt()
    squares = gpd.GeoDataFrame(
        {"rank": np.arange(1, len(windows) + 1, dtype=np.int32), **columns},
        geometry=_squares(geobox, windows),
        crs=crs,
    )
    empty = gpd.GeoDataFrame(
        {CLASS: pd.Series([], dtype="str"), "note": pd.Series([], dtype="str")}, geometry=[], crs=crs
    )
    facts = pd.DataFrame({"key": list(about), "value": [json.dumps(v) for v in about.values()]})
    temporary = path.with_name(f".suggest.{os.getpid()}.gpkg")
    options = {"GEOMETRY_NAME": "geom", "FID": "id"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with collect_warnings(), without_clock(), plain_path(temporary) as plain:
            for layer, frame in ((PLACES, squares), (LABELS, empty)):
                pyogrio.write_dataframe(
                    frame, plain, layer=layer, driver="GPKG", geometry_type="Polygon", layer_options=options
                )
            pyogrio.write_dataframe(facts, plain, layer=ABOUT, driver="GPKG")
        add_form(
            temporary, LABELS, CLASS, {c.title: c.slug for c in legend.by_id().values()},
            look=categorised(legend, CLASS, by_slug=True), looks={PLACES: outlined("#e31a1c")},
        )  # fmt: skip
        give_usual_mode(temporary)
        temporary.replace(path)
    except (DataLayerError, DataSourceError, FeatureError, OSError) as error:
        raise OutputError(f"{path}: cannot be written: {one_line(error)}") from error
    finally:
        with contextlib.suppress(OSError):  # nothing is left where nothing can be written
            temporary.unlink()


def _squares(geobox: GeoBox, windows: list[Window]) -> NDArray[Any]:
    corners = [(w.cols.start, w.rows.start, w.cols.stop, w.rows.stop) for w in windows]
    boxes = np.array([shapely.box(*c) for c in corners], dtype=object)

    def on_ground(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(geobox.transform @ (xy[:, 0], xy[:, 1]))

    placed: NDArray[Any] = shapely.transform(boxes, on_ground)
    return placed
