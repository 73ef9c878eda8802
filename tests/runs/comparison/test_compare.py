"""Two runs against each other: counted again from their pixels, on one grid and on others."""

import json
import shutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import calculate_default_transform, reproject

from geoseg.core.errors import OutputError, SceneError
from geoseg.core.legend import Legend, LegendClass
from geoseg.raster.area import pixel_area_m2
from geoseg.runs.comparison import overlap
from geoseg.runs.comparison.compare import compare_runs
from geoseg.runs.comparison.legends import OTHER, Legends
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster


@pytest.fixture(scope="module")
def earlier(tmp_path_factory, bundle):
    """A finished run of 80 x 100 px."""
    folder = tmp_path_factory.mktemp("compare")
    scene = write_raster(folder / "scene.tif", reflectance(80, 100), names=BAND_NAMES, scale=0.0001)
    changes = ["outputs.polygons=[]", "outputs.project=false"]
    return run(prepare(write_pipeline(folder, scene, bundle.folder), changes, folder / "a")).folder


@pytest.fixture
def later(earlier, tmp_path):
    """Make a copy of the run with other pixels, another grid or another record."""

    def make(classes=None, record=None, **place):
        folder = tmp_path / f"b{len(list(tmp_path.iterdir()))}"
        shutil.copytree(earlier, folder)
        with rasterio.open(folder / "classes.tif") as src:
            profile, values = src.profile, src.read(1)
        values = values if classes is None else classes
        profile = {"crs": profile["crs"], "transform": profile["transform"], "nodata": 255, **place}
        with rasterio.open(
            folder / "classes.tif", "w", driver="GTiff", dtype="uint8", count=1, height=values.shape[0],
            width=values.shape[1], **profile,
        ) as dst:  # fmt: skip
            dst.write(values, 1)
        content = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**content, **(record or {})}))
        return folder

    return make


def read(folder, name="classes.tif"):
    with rasterio.open(folder / name) as src:
        return src.read(1)


def shuffled(classes):
    """Return classes of which a part changed, and a part is missing."""
    other = classes.copy()
    other[10:30, 20:60] = np.random.default_rng(1).choice(np.unique(classes), (20, 40))
    other[50:55] = 255
    return other


def test_matrix_and_areas_are_those_of_the_pixels(earlier, later, monkeypatch):
    monkeypatch.setattr(overlap, "SIDE", 37)
    one = read(earlier)
    other = shuffled(one)
    found = compare_runs(earlier, later(other))
    ids = [c.id for c in found.legends.pair[0]]
    expected = [[int(((one == i) & (other == j)).sum()) for j in ids] for i in ids]
    assert found.pixels.tolist() == expected
    np.testing.assert_allclose(found.areas, np.array(expected) * 100.0)
    assert (found.aligned, found.warnings) == (False, ())
    said = found.to_dict()
    assert said["changed_pixels"] == ((one != other) & (other != 255)).sum()
    for row, i in zip(said["classes"], ids, strict=True):
        both = (one != 255) & (other != 255)
        counts = ((one == i) & both).sum(), ((other == i) & both).sum()
        assert (row["a_pixels"], row["b_pixels"]) == counts
        assert row["gained_pixels"] - row["lost_pixels"] == row["b_pixels"] - row["a_pixels"]


def test_the_map_of_change_its_polygons_and_tables_say_the_same(earlier, later, tmp_path):
    other, out = shuffled(read(earlier)), tmp_path / "out"
    found = compare_runs(earlier, later(other), out)
    change, said = read(out, "change.tif"), json.loads((out / "change.json").read_text())
    one = read(earlier)
    assert ((change == 255) == ((one == 255) | (other == 255))).all()
    assert ((change == 0) == ((one == other) & (one != 255))).all()
    frame = gpd.read_file(out / "polygons.gpkg", layer="change")
    for row in said["changes"]:
        assert (change == row["code"]).sum() == row["pixels"]
        part = frame[frame.class_id == row["code"]]
        assert part.area_m2.sum() == pytest.approx(row["area_m2"])
        assert set(part.class_name) == {f"{row['from_title']} → {row['to_title']}"}
    assert set(frame.class_id) == {row["code"] for row in said["changes"]}
    assert said == found.to_dict()
    assert (out / "change.qml").read_text().count("paletteEntry") == len(said["changes"]) + 1
    lines = (out / "change.csv").read_text().splitlines()
    assert [float(v) for v in lines[1].split(",")[1:]] == pytest.approx(found.areas[0].tolist())
    assert not list(out.glob(".*"))


def test_another_grid_is_compared_where_both_lie(earlier, later):
    one = read(earlier)
    with rasterio.open(earlier / "classes.tif") as src:
        transform, crs = src.transform, src.crs
    # A part, twice as fine: every pixel of it has the class of the pixel that it lies in.
    fine = one[20:70, 30:90].repeat(2, axis=0).repeat(2, axis=1)
    moved = transform @ rasterio.Affine.translation(30, 20) @ rasterio.Affine.scale(0.5)
    found = compare_runs(earlier, later(fine, transform=moved))
    assert found.aligned
    assert found.pixels.sum() == (one[20:70, 30:90] != 255).sum()
    assert found.changed == 0
    # In degrees: what is not cut off by the turn of the grid is the same, but for half a pixel at edges.
    other, width, height = calculate_default_transform(crs, "EPSG:4326", 100, 80, *src.bounds)
    degrees = np.full((height, width), 255, np.uint8)
    reproject(
        one, degrees, src_transform=transform, src_crs=crs, dst_transform=other, dst_crs="EPSG:4326",
        resampling=Resampling.nearest, src_nodata=255, dst_nodata=255,
    )  # fmt: skip
    there = later(degrees, crs="EPSG:4326", transform=other)
    assert compare_runs(earlier, there).pixels.sum() > 0.95 * (one != 255).sum()
    # On a grid in degrees areas are those of the ellipsoid, row by row.
    itself = compare_runs(there, there)
    areas = pixel_area_m2(GeoBox(degrees.shape, other, "EPSG:4326"))
    expected = ((degrees != 255).sum(axis=1) * areas).sum()
    assert itself.areas.sum() == pytest.approx(expected)
    assert itself.changed == 0


def test_classes_are_matched_by_name(earlier, later):
    one = read(earlier)
    classes = json.loads((earlier / "run.json").read_text())["classes"]
    number = {c["id"]: 9 - c["id"] for c in classes}
    renamed = [{**c, "id": number[c["id"]], "slug": c["slug"].upper()} for c in classes]
    other = np.vectorize({**number, 255: 255}.get)(one).astype(np.uint8)
    assert compare_runs(earlier, later(other, {"classes": renamed})).changed == 0
    alone = [{**renamed[0], "slug": "new", "title": "New"}, *renamed[1:]]
    found = compare_runs(earlier, later(other, {"classes": alone}))
    assert found.pixels[~found.legends.same].sum() == (one == classes[0]["id"]).sum()
    assert [w for w in found.warnings if "New" in w]


def test_what_cannot_be_compared_is_refused_in_one_line(earlier, later):
    far = rasterio.Affine(10, 0, 700_000, 0, -10, 5_000_000)
    for folder, kind, text in (
        (later(transform=far), SceneError, "do not overlap"),
        (later(crs=None, transform=far), SceneError, "their grids differ"),
        (later(np.full((80, 100), 255, np.uint8)), SceneError, "no pixel has a class in both"),
        (later(record={"task": "multilabel"}), OutputError, "is a run of multilabel"),
    ):
        with pytest.raises(kind, match=text) as caught:
            compare_runs(earlier, folder)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) <= 300 + 2 * len(str(folder))


def test_more_changes_than_values_share_the_last_one():
    legend = Legend(tuple(LegendClass(i, f"c{i}", f"C{i}", "#010203") for i in range(20)))
    legends = Legends(legend, legend)
    pixels = np.arange(400).reshape(20, 20)
    codes = legends.codes(pixels)
    assert (codes[legends.same] == 0).all()
    assert (codes == OTHER).sum() > 100
    assert codes[19, 18] == 1
    assert len(np.unique(codes)) == 255
    assert legends.changes(pixels).by_id()[OTHER].title == "Other change"


def test_the_command_shows_tables_and_json(earlier, later, geoseg_here):
    folder = later(shuffled(read(earlier)))
    done = geoseg_here("compare", earlier, folder)
    assert done.returncode == 0, done.stderr
    assert "have another class" in done.stdout
    assert "→" in done.stdout
    said = json.loads(geoseg_here("compare", earlier, folder, "--json").stdout)
    assert said["changed_share"] == pytest.approx(said["changed_pixels"] / said["compared_pixels"], abs=1e-6)
