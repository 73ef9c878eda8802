"""Outlines of doubt as the page draws them: rings in pixels of the map."""

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely import Point, box

from geoseg.core.errors import OutputError
from geoseg.report import doubt_lines as module
from geoseg.report.doubt_lines import doubt_lines

GRID = GeoBox((60, 80), Affine(10, 0, 500_000, 0, -10, 4_500_000), "EPSG:32633")


def placed(left, top, right, bottom):
    """A box of pixels in coordinates of the map."""
    return box(500_000 + 10 * left, 4_500_000 - 10 * bottom, 500_000 + 10 * right, 4_500_000 - 10 * top)


def written(folder, shapes, reasons, crs="EPSG:32633"):
    frame = gpd.GeoDataFrame({"reason": reasons}, geometry=shapes, crs="EPSG:32633").to_crs(crs)
    frame.to_file(folder / "doubt.gpkg", layer="doubt")
    return folder / "doubt.gpkg"


def corners(line):
    """The vertices of a ring."""
    return {tuple(map(int, p)) for p in np.cumsum(np.reshape(line, (-1, 2)), axis=0)}


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_rings_and_holes_are_pixels_of_the_map_in_every_crs(tmp_path, crs):
    ring = placed(10, 5, 40, 30).difference(placed(20, 10, 25, 20))
    path = written(tmp_path, [ring, placed(50, 40, 80, 60)], ["both", "low confidence"], crs)
    low, both = doubt_lines(path, GRID)
    assert (low.title, both.title) == ("low confidence", "both")
    assert low.color != both.color
    assert [corners(line) for line in low.lines] == [{(50, 40), (80, 40), (80, 60), (50, 60)}]
    assert [corners(line) for line in both.lines] == [
        {(10, 5), (40, 5), (40, 30), (10, 30)},
        {(20, 10), (25, 10), (25, 20), (20, 20)},
    ]


def test_too_many_lines_are_left_to_the_file(tmp_path, monkeypatch):
    path = written(tmp_path, [Point(500_300, 4_499_700).buffer(200)], ["both"])
    characters = sum(len(str(n)) + 1 for n in doubt_lines(path, GRID)[0].lines[0])
    monkeypatch.setattr(module, "MOST", characters)
    assert doubt_lines(path, GRID)
    monkeypatch.setattr(module, "MOST", characters - 1)
    assert doubt_lines(path, GRID) == []
    monkeypatch.setattr(module, "MOST", characters)
    monkeypatch.setattr(module, "_LARGEST_FILE", path.stat().st_size - 1)
    assert doubt_lines(path, GRID) == []


def test_a_map_without_doubt_has_no_lines(tmp_path):
    assert doubt_lines(written(tmp_path, [placed(0, 0, 9, 9)], ["something else"]), GRID) == []


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "doubt.gpkg").write_bytes(b"no GeoPackage")
    with pytest.raises(OutputError, match=r"doubt\.gpkg: outlines of the run cannot be read"):
        doubt_lines(tmp_path / "doubt.gpkg", GRID)
