"""`geoseg evaluate` and `geoseg sample` as a user meets them."""

# ruff: noqa: F811 (fixtures are arguments)

import json
import re
import sqlite3
from contextlib import closing

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
from rasterio import features
from shapely.geometry import shape
from typer.testing import CliRunner

from geoseg.cli.app import app
from geoseg.styles.raster import write_raster_styles
from tests.conftest import UTM, write_raster
from tests.evaluation.conftest import LEGEND, SHAPE, class_map, label, mapped, reference, truth  # noqa: F401  (fixtures)

DOCUMENT = """\
classes:
  - {id: 4, slug: water, title: Open water, color: "#2b7bba", codes: [80, 81]}
  - {id: 1, slug: tree, title: Tree cover, color: "#1b7837", codes: [10]}
  - {id: 2, slug: crop, title: Cropland, color: "#f2cf63", codes: [40]}
ignore: [70]
"""


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def report_of(*arguments):
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def refused(code, *arguments):
    done = call(*arguments)
    assert (done.exit_code, done.stdout) == (code, ""), done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_class_whose_code_is_the_nodata_of_the_reference_is_said(class_map, tmp_path, truth):
    path = write_raster(tmp_path / "labels.tif", np.where(truth == 0, 200, truth), nodata=2)
    done = call("evaluate", "--map", class_map, "--reference", path, "--ignore", 200)
    assert done.exit_code == 0, done.stderr
    assert "labels.tif: its nodata is the code of cropland, so these pixels" in done.stderr


def test_the_table_shows_each_class_and_the_totals(class_map, reference):
    done = call("evaluate", "--map", class_map, "--reference", reference, "--boundary", 2)
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        "class",
        "IoU",
        "F1",
        "precision",
        "recall",
        "reference",
        "map",
        "outline",
        "F1",
    ]
    assert [line.split("  ")[0] for line in lines[1:4]] == ["Tree cover", "Cropland", "Open water"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert any(line.startswith("mean IoU") for line in lines)
    assert done.stderr == ""


def test_the_report_is_printed_and_written(class_map, reference, tmp_path):
    output = tmp_path / "new" / "report.json"
    printed = report_of("evaluate", "--map", class_map, "--reference", reference, "--output", output)
    assert json.loads(output.read_text()) == printed
    assert next(iter(printed.items())) == ("format", "geoseg-evaluation/1")
    assert printed["pixels"] > 0
    assert printed["absent"] == []
    assert printed["unmapped"]["pixels"] == 45
    assert "boundary" not in printed


def test_a_map_against_its_own_polygons_is_right_everywhere(class_map, tmp_path):
    with rasterio.open(class_map) as src:
        traced = list(features.shapes(src.read(1), mask=src.read(1) != 255, transform=src.transform))
    titles = {c.id: c.title.upper() for c in LEGEND.classes}
    frame = gpd.GeoDataFrame({"class_name": [titles[int(v)] for _, v in traced]},
                             geometry=[shape(g) for g, _ in traced], crs=UTM)  # fmt: skip
    frame.to_file(tmp_path / "polygons.gpkg")
    report = report_of(
        "evaluate", "--map", class_map, "--reference", tmp_path / "polygons.gpkg", "--boundary", 0
    )
    assert report["overall_accuracy"] == report["miou"] == report["boundary"]["mean_f1"] == 1
    frame.to_crs(4326).to_file(tmp_path / "degrees.gpkg")
    done = call("evaluate", "--map", class_map, "--reference", tmp_path / "degrees.gpkg")
    assert "warning: " in done.stderr
    assert "reprojected to EPSG:32633" in done.stderr


def test_a_legend_translates_the_codes_of_the_reference(class_map, truth, reference, tmp_path):
    codes = np.select([truth == 4, truth == 1, truth == 2], [80, 10, 40], 0).astype(np.uint8)
    codes[10, :20] = np.where(codes[10, :20] == 80, 81, codes[10, :20])
    codes[31] = 70
    path = write_raster(tmp_path / "worldcover.tif", codes, nodata=0)
    (tmp_path / "legend.yaml").write_text(DOCUMENT)
    with_legend = report_of(
        "evaluate", "--map", class_map, "--reference", path, "--legend", tmp_path / "legend.yaml"
    )
    plain = report_of("evaluate", "--map", class_map, "--reference", reference)
    assert with_legend["overall_accuracy"] == plain["overall_accuracy"]
    assert [c["slug"] for c in with_legend["classes"]] == ["water", "tree", "crop"]
    said = refused(1, "evaluate", "--map", class_map, "--reference", path)
    assert "10 (" in said
    assert "--ignore 10,40,70,80" in said
    refused(1, "evaluate", "--map", class_map, "--reference", path, "--ignore", "10,40,70,80,81")


def test_wrong_use_is_one_line_and_exit_2(class_map, reference, tmp_path):
    assert "--map FILE --reference FILE, --objects FILE --reference FILE, --sample FILE" in refused(
        2, "evaluate", "--map", class_map
    )
    assert "no such file" in refused(
        2, "evaluate", "--map", class_map, "--reference", reference, "--legend", "nope"
    )
    assert "0,70" in refused(2, "evaluate", "--map", class_map, "--reference", reference, "--ignore", "a")
    assert "a class and ignore" in refused(
        2, "evaluate", "--map", class_map, "--reference", reference, "--ignore", "4"
    )
    assert "pixels" in refused(
        2, "evaluate", "--map", class_map, "--reference", reference, "--boundary", "-1"
    )
    for option in (["--allocation", "equals"], ["--size", "0"], ["--size", "90"]):
        refused(2, "sample", "--map", class_map, "--output", tmp_path / "s.gpkg", *option)
    assert f"name it {tmp_path}/s.gpkg" in refused(
        2, "sample", "--map", class_map, "--output", tmp_path / "s.shp"
    )
    assert "name it sample.gpkg" in refused(2, "sample", "--map", class_map, "--output", ".")
    assert "cannot be written: " in refused(1, "sample", "--map", class_map, "--output", reference / "s.gpkg")


def test_a_reference_elsewhere_is_one_line_and_exit_1(class_map, tmp_path):
    far = write_raster(tmp_path / "far.tif", np.ones((9, 9), np.uint8), origin=(700_000, 4_500_000))
    assert "do not overlap" in refused(1, "evaluate", "--map", class_map, "--reference", far)
    assert "no such file" in refused(2, "evaluate", "--map", tmp_path / "no.tif", "--reference", far)
    assert "is no sample" in refused(1, "evaluate", "--sample", class_map)


@pytest.fixture
def labelled(class_map, tmp_path):
    """A sample whose labels are those of the map, but every third water point is a tree."""
    path = tmp_path / "sample.gpkg"
    assert call("sample", "--map", class_map, "--size", 300, "--seed", 4, "--output", path).exit_code == 0
    points = pyogrio.read_dataframe(path, layer="sample", fid_as_index=True)
    truth = {int(i): 1 if c == 4 and i % 3 == 0 else int(c) for i, c in points["map_class"].items()}
    label(path, truth)
    return path


def test_a_labelled_sample_gives_areas_with_intervals(labelled):
    report = report_of("evaluate", "--sample", labelled)
    assert report["format"] == "geoseg-evaluation/1"
    classes = {c["slug"]: c for c in report["classes"]}
    assert report["points"] == 300
    assert report["unit"] == "m2"
    low, high = classes["cropland"]["users_accuracy"]["ci95"]
    assert 0.9 < low < high == classes["cropland"]["users_accuracy"]["value"] == 1
    water, tree = classes["open-water"], classes["tree-cover"]
    assert 0.5 < water["users_accuracy"]["value"] < 0.85
    low, high = water["users_accuracy"]["ci95"]
    assert low + 0.06 < high
    assert water["found"] < water["points"]
    assert water["area"]["value"] < water["mapped_area"]
    assert tree["area"]["value"] > tree["mapped_area"]
    assert sum(c["area"]["value"] for c in report["classes"]) == pytest.approx(
        sum(c["mapped_area"] for c in report["classes"])
    )
    text = call("evaluate", "--sample", labelled).stdout
    assert "area [km²]" in text
    assert "overall accuracy" in text
    assert re.search(r"0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)", text)


def test_a_class_of_few_reference_points_has_an_interval_with_a_warning(labelled):
    points = pyogrio.read_dataframe(labelled, layer="sample", fid_as_index=True)
    crops = points.index[points["map_class"] == 2].tolist()
    label(labelled, {i: 2 if n < 3 else 4 for n, i in enumerate(crops)})
    report = report_of("evaluate", "--sample", labelled)
    (warning,) = report["warnings"]
    assert warning.startswith("cropland: its area rests on 3 points; label more")


def test_points_without_label_are_left_out_and_that_is_said(labelled):
    label(labelled, dict.fromkeys(range(1, 8)))
    done = call("evaluate", "--sample", labelled)
    assert "warning: " in done.stderr
    assert "7 of 300 points have no reference_class" in done.stderr
    points = pyogrio.read_dataframe(labelled, layer="sample", fid_as_index=True)
    label(labelled, dict.fromkeys(points.index[points["map_class"] == 2].tolist()))
    assert "fewer than two labelled points in Cropland;" in refused(1, "evaluate", "--sample", labelled)


def test_classes_of_a_few_pixels_do_not_stand_in_the_way(mapped, tmp_path):
    values = np.where(mapped == 255, 255, 4).astype(np.uint8)
    values[20, 20], values[40, 30:32] = 1, 2
    class_map, path = write_raster(tmp_path / "rare.tif", values, nodata=255), tmp_path / "rare.gpkg"
    write_raster_styles(class_map, LEGEND)
    drawn = report_of("sample", "--map", class_map, "--size", 60, "--minimum", 0, "--output", path)
    assert [c["points"] for c in drawn["classes"]] == [1, 2, 57]
    points = pyogrio.read_dataframe(path, layer="sample", fid_as_index=True)
    label(path, dict.fromkeys(points.index[points["map_class"] != 1].tolist(), 4))
    assert "fewer than two labelled points in Tree cover;" in refused(1, "evaluate", "--sample", path)
    label(path, dict.fromkeys(points.index.tolist(), 4))
    report = report_of("evaluate", "--sample", path)
    found = [c["users_accuracy"] for c in report["classes"]]
    assert [f["value"] for f in found] == [0, 0, 1]
    # Every pixel of the first two classes was looked at; the third may hold errors that no point met.
    assert [f["ci95"] for f in found[:2]] == [[0, 0], [0, 0]]
    assert 0.9 < found[2]["ci95"][0] < found[2]["ci95"][1] == 1
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE strata SET pixels = 5, area_m2 = 500 WHERE slug = 'tree-cover'")
    said = refused(1, "evaluate", "--sample", path)
    assert "fewer than two points in Tree cover; draw another sample with geoseg sample" in said


def test_a_sample_is_never_written_over_somebodys_labels(labelled, class_map):
    before = labelled.read_bytes()
    assert "may hold labels" in refused(2, "sample", "--map", class_map, "--output", labelled)
    assert labelled.read_bytes() == before


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e9"])
def test_a_tolerance_without_bounds_is_refused(class_map, value):
    said = refused(2, "evaluate", "--map", class_map, "--reference", class_map, f"--boundary={value}")
    assert said.startswith("error: --boundary in pixels: a number")


@pytest.mark.parametrize("option", ["--size", "--minimum", "--seed"])
def test_counts_without_bounds_are_refused(class_map, tmp_path, option):
    for value in (10**20, -1):
        said = refused(2, "sample", "--map", class_map, "--output", tmp_path / "s.gpkg", f"{option}={value}")
        assert said.startswith(f"error: {option}: a number of at ")


def test_a_sample_for_an_area_is_as_large_as_it_must_be(class_map, tmp_path):
    drawn = report_of(
        "sample", "--map", class_map, "--for-area", "cropland", "--within", 0.2, "--minimum", 20,
        "--output", tmp_path / "area.gpkg",
    )  # fmt: skip
    classes = {c["slug"]: c for c in drawn["classes"]}
    assert drawn["allocation"] == "area"
    assert drawn["expected_from"] == "an assumed user's accuracy of 0.8"
    assert 0.19 < classes["cropland"]["expected_area_within"] <= 0.2
    text = call("sample", "--map", class_map, "--output", tmp_path / "other.gpkg").stdout
    assert re.search(r"area to\n.* ± \d+ %\n", text)
    said = refused(2, "sample", "--map", class_map, "--for-area", "crop", "--output", tmp_path / "s.gpkg")
    assert "--for-area crop: no class of the map; did you mean 'cropland'?" in said
    said = refused(2, "sample", "--map", class_map, "--within", 0.2, "--output", tmp_path / "s.gpkg")
    assert "--within is a share between 0 and 1 of the areas that --for-area names" in said


def test_a_pilot_is_gone_on_with(labelled, class_map, tmp_path):
    path = tmp_path / "more.gpkg"
    drawn = report_of(
        "sample", "--map", class_map, "--pilot", labelled, "--size", 420, "--allocation", "neyman-like",
        "--output", path,
    )  # fmt: skip
    assert drawn["points"] == 420
    assert drawn["expected_from"] == "a pilot of 300 labelled points"
    said = refused(
        2, "sample", "--map", class_map, "--pilot", labelled, "--size", 90, "--output", tmp_path / "s.gpkg"
    )
    assert "points in each class, with those of the pilot, make 300, more than 90" in said
    before, after = (pyogrio.read_dataframe(p, layer="sample") for p in (labelled, path))
    assert after["reference_class"].notna().sum() == 300
    assert len(set(after.geometry.to_wkb())) == 420
    merged = after.assign(key=after.geometry.to_wkb()).set_index("key")["reference_class"]
    assert merged[before.geometry.to_wkb()].tolist() == before["reference_class"].tolist()
    other = write_raster(tmp_path / "other.tif", np.full((40, 50), 4, np.uint8))
    write_raster_styles(other, LEGEND)
    said = refused(1, "sample", "--map", other, "--pilot", labelled, "--output", tmp_path / "s.gpkg")
    assert "was not drawn from" in said


def test_a_reference_may_be_a_picture_in_the_colours_of_the_classes(class_map, tmp_path, mapped):
    table = np.zeros((256, 3), np.uint8)
    for c in LEGEND.classes:
        table[c.id] = c.rgb
    table[255] = LEGEND.classes[0].rgb
    colored = np.moveaxis(table[mapped], -1, 0)
    path = write_raster(tmp_path / "colors.tif", colored, photometric="RGB")
    assert report_of("evaluate", "--map", class_map, "--reference", path)["miou"] == 1
    write_raster(path, np.where(np.arange(SHAPE[1]) == 3, 9, colored).astype(np.uint8), photometric="RGB")
    said = refused(1, "evaluate", "--map", class_map, "--reference", path)
    assert "colors.tif: 70 of 3710 px have 1 colour that the legend lacks, such as #090909 (70 px)" in said
