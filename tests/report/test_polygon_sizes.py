"""Counts and sizes of polygons on the page are those of the files."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geoseg.core.errors import OutputError
from geoseg.core.legend import Legend, LegendClass
from geoseg.report.html import area_in
from geoseg.report.polygon_sizes import polygon_sizes

LEGEND = Legend(tuple(LegendClass(i, s, s.upper(), "#ff0000") for i, s in ((7, "a"), (2, "b"), (5, "c"))))
AREAS = {7: [150.0, 900.0, 2.5e6], 2: [0.0, 400.0]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("polygons")
    ids = [i for i, areas in AREAS.items() for _ in areas]
    table = gpd.GeoDataFrame(
        {"class_id": np.array(ids, np.int32), "area_m2": np.concatenate(list(AREAS.values()))},
        geometry=[shapely.box(i, 0, i + 1, 1) for i in range(len(ids))], crs=32633,
    )  # fmt: skip
    table.to_parquet(place / "polygons.parquet")
    for name in ("polygons.gpkg", "polygons.fgb", "polygons.geojson"):
        table.to_file(place / name)
    return place


@pytest.mark.parametrize("name", ["polygons.parquet", "polygons.gpkg", "polygons.fgb", "polygons.geojson"])
def test_every_format_gives_the_same(folder, name):
    found = polygon_sizes(folder, ["classes.tif", name], LEGEND, "m²")
    assert [(r.title, r.count, r.mean, r.largest) for r in found.rows] == [
        ("A", 3, pytest.approx(np.mean(AREAS[7])), 2.5e6), ("B", 2, 200.0, 400.0), ("C", 0, 0.0, 0.0),
    ]  # fmt: skip
    head, *bins = found.chart.table
    assert head == ("", "A", "B")
    assert np.sum([row[1:] for row in bins], axis=0).tolist() == [3, 2]
    held = {row[0]: row[1:] for row in bins if any(row[1:])}
    assert len(held) == 5  # none share a bin


def test_nothing_is_told_without_polygons(folder, tmp_path):
    assert polygon_sizes(folder, ["classes.tif", "polygons.pmtiles"], LEGEND, "m²") is None
    assert polygon_sizes(tmp_path, ["polygons.gpkg"], LEGEND, "m²") is None


@pytest.mark.parametrize("name", ["polygons.parquet", "polygons.gpkg"])
def test_a_damaged_file_is_one_line(folder, tmp_path, name):
    (tmp_path / name).write_bytes((folder / name).read_bytes()[:600])
    with pytest.raises(OutputError, match=f"{name}: polygons of the run cannot be read"):
        polygon_sizes(tmp_path, [name], LEGEND, "m²")


@pytest.mark.parametrize(
    ("area", "unit", "text"),
    [(0, "m²", "0 m²"), (12.34, "m²", "12.3 m²"), (10_000, "m²", "1 ha"), (2.5e6, "m²", "2.5 km²"),
     (25_000, "px", "25\u202f000 px"), (1e-4, "m²", "0.0001 m²")],
)  # fmt: skip
def test_areas_have_a_unit_that_fits(area, unit, text):
    assert area_in(area, unit).replace("\N{NO-BREAK SPACE}", " ") == text
