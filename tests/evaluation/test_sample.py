import sqlite3
from contextlib import closing
from xml.etree import ElementTree as ET

import numpy as np
import pyogrio
import pytest
from pyproj import Geod

from geoseg.core.errors import SceneError
from geoseg.evaluation.class_map import open_class_map
from geoseg.evaluation.compare import open_probabilities
from geoseg.evaluation.design import conjecture_of, points_per_class
from geoseg.evaluation.sample import count_strata, draw, read_sample, write_sample
from tests.conftest import write_raster
from tests.evaluation.conftest import LEGEND, label


def change_tables(path, statements):
    label(path, {})  # without its triggers, which plain SQLite cannot run
    with closing(sqlite3.connect(path)) as database:
        database.executescript(statements)


@pytest.fixture
def opened(class_map):
    return open_class_map(class_map, LEGEND)


@pytest.fixture
def written(opened, tmp_path):
    strata = count_strata(opened)
    points = points_per_class(strata.pixels, 90, "proportional", 20, conjecture_of(strata.pixels, 0.8, ""))
    path = tmp_path / "new" / "sample.gpkg"
    write_sample(path, opened, strata, draw(opened, strata.pixels, points, 0), {"seed": 0})
    return path


def test_strata_are_the_pixels_of_the_map_with_their_areas(opened, mapped):
    strata = count_strata(opened)
    assert strata.pixels.tolist() == [(mapped == c.id).sum() for c in LEGEND.classes]
    np.testing.assert_allclose(strata.area_m2, strata.pixels * 100.0)


def test_areas_in_degrees_are_geodesic(tmp_path):
    values = np.full((40, 3), 4, np.uint8)
    path = write_raster(tmp_path / "geo.tif", values, gsd=0.5, origin=(10, 70), crs="EPSG:4326")
    area = count_strata(open_class_map(path, LEGEND)).area_m2[0]
    lat = np.linspace(70, 50, 41)
    ring = [np.r_[np.full(41, 10.0), np.full(41, 11.5)], np.r_[lat, lat[::-1]]]
    # Edges along a parallel are no geodesics; over 1.5 degrees that is little.
    assert area == pytest.approx(abs(Geod(ellps="WGS84").polygon_area_perimeter(*ring)[0]), rel=1e-3)


@pytest.mark.parametrize("rows", [1, 7, 64, 200])
def test_the_same_seed_draws_the_same_pixels_however_the_map_is_read(opened, mapped, rows):
    pixels = count_strata(opened, rows=rows).pixels
    wanted = np.array([20, 30, 10])
    drawn = draw(opened, pixels, wanted, 7, rows)
    row, col, channel = drawn.rows, drawn.cols, drawn.channels
    np.testing.assert_array_equal(np.bincount(channel), wanted)
    np.testing.assert_array_equal(mapped[row, col], LEGEND.ids[channel])
    assert len(set(zip(row.tolist(), col.tolist(), strict=True))) == 60
    again = draw(opened, pixels, wanted, 7)
    for mine, other in zip((row, col, channel), (again.rows, again.cols, again.channels), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert not np.array_equal(row, draw(opened, pixels, wanted, 8).rows)


def test_every_pixel_of_a_class_has_the_same_chance(opened, mapped):
    pixels = count_strata(opened).pixels
    hits = np.zeros(mapped.shape)
    for seed in range(300):
        drawn = draw(opened, pixels, pixels // 4, seed)
        hits[drawn.rows, drawn.cols] += 1
    valid = mapped != 255
    assert hits[~valid].sum() == 0
    # 300 draws with a chance of 1/4: 75 expected, standard deviation 7.5.
    assert 30 < hits[valid].min() < hits[valid].max() < 120
    assert hits[valid].std() == pytest.approx(7.5, rel=0.1)


def test_the_confidence_of_each_class_is_its_mean(opened, tmp_path, mapped):
    confidence = np.select([mapped == 4, mapped == 1], [0.95, 0.5], 0.8).astype(np.float32)
    path = write_raster(tmp_path / "confidence.tif", confidence)
    strata = count_strata(opened, open_probabilities(str(path), opened, all_classes=False))
    np.testing.assert_allclose(strata.confidence, [0.95, 0.5, 0.8], atol=0.01)


def test_points_lie_at_pixel_centres_with_the_class_of_the_map(written, mapped):
    points = pyogrio.read_dataframe(written, layer="sample", fid_as_index=True)
    assert list(points.columns) == ["map_class", "map_class_name", "reference_class", "geometry"]
    assert points.crs.to_epsg() == 32633
    assert points.index.tolist() == list(range(1, 91))
    col, row = (points.geometry.x - 500_000) / 10, (4_500_000 - points.geometry.y) / 10
    assert ((col % 1 == 0.5) & (row % 1 == 0.5)).all()
    np.testing.assert_array_equal(mapped[row.astype(int), col.astype(int)], points["map_class"])
    titles = {c.id: c.title for c in LEGEND.classes}
    assert points["map_class_name"].tolist() == [titles[i] for i in points["map_class"]]
    assert points["reference_class"].isna().all()


def test_the_form_offers_the_names_of_the_classes(written):
    with closing(sqlite3.connect(written)) as database:
        row = database.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchone()
    assert row[:3] == ("sample", "geom", 1)
    field = ET.fromstring(row[3]).find("fieldConfiguration/field")  # noqa: S314
    assert field.get("name") == "reference_class"
    options = field.findall(".//Option[@type='QString']")
    assert {o.get("name"): int(o.get("value")) for o in options} == {c.title: c.id for c in LEGEND.classes}


def test_labels_come_back_as_a_matrix(written):
    points = pyogrio.read_dataframe(written, layer="sample", fid_as_index=True)
    # Every water point is crop in truth, the others are right; two points stay open.
    truth = {int(i): 2 if c == 4 else int(c) for i, c in points["map_class"].items()}
    label(written, {k: v for k, v in truth.items() if k not in (1, 2)})
    found = read_sample(written)
    assert found.unlabelled == 2
    assert found.counts.sum() == 88
    assert found.counts[0].tolist() == [0, 0, found.counts[0].sum()]
    assert (found.counts[1:] == np.diag(np.diag(found.counts))[1:]).all()
    assert found.strata["slug"].tolist() == ["water", "tree", "crop"]


def test_a_label_that_is_no_class_is_told(written):
    label(written, {5: 9})
    with pytest.raises(
        SceneError, match=r"reference_class 9(\.0)? is no class; the classes are 4 water, 1 tree"
    ):
        read_sample(written)


@pytest.mark.parametrize(
    "change", ["map_class = NULL", "map_class = 7", "map_class = NULL, reference_class = 4"]
)
def test_points_that_were_not_drawn_are_told(written, change):
    change_tables(written, f"UPDATE sample SET {change} WHERE id IN (3, 8)")  # noqa: S608
    with pytest.raises(SceneError, match=r"without a map_class of the table strata: id 3, 8; remove"):
        read_sample(written)


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE strata; DELETE FROM gpkg_contents WHERE table_name = 'strata'",
        "DELETE FROM strata",
        "ALTER TABLE strata DROP COLUMN pixels",
        "UPDATE strata SET class_id = 4",
        "UPDATE strata SET class_id = NULL",
        "UPDATE strata SET title = NULL",
        "UPDATE strata SET pixels = NULL",
        "UPDATE strata SET pixels = 0",
        "UPDATE strata SET pixels = -pixels",
        "UPDATE strata SET area_m2 = 0",
        "UPDATE strata SET area_m2 = 9e999",
        "UPDATE strata SET area_m2 = NULL WHERE class_id = 4",
    ],
)
def test_strata_that_no_sample_has_are_told(written, change):
    change_tables(written, change)
    with pytest.raises(SceneError, match="is no sample with the tables sample and strata"):
        read_sample(written)


def test_a_sample_without_points_is_read(written):
    change_tables(written, "DELETE FROM sample")
    assert read_sample(written).points.tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [np.nan, 87.0, -0.1])
def test_a_confidence_of_no_probabilities_is_told(opened, mapped, tmp_path, value):
    path = write_raster(tmp_path / "confidence.tif", np.full(mapped.shape, value, np.float32))
    with pytest.raises(SceneError, match=r"confidence\.tif: holds values that are no probabilities"):
        count_strata(opened, open_probabilities(str(path), opened, all_classes=False))


def test_a_file_that_is_no_sample_is_told(tmp_path, class_map):
    with pytest.raises(SceneError, match="is no sample with the tables sample and strata"):
        read_sample(tmp_path / "gone.gpkg")
    with pytest.raises(SceneError, match="is no sample"):
        read_sample(class_map)
