"""The files of polygons: what GIS expect of each, and that all hold the same."""

import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from odc.geo.crs import CRS

from geoseg.core.errors import OutputError
from geoseg.core.legend import NODATA
from geoseg.core.ordered import Workers
from geoseg.styles.geopackage import PROVENANCE
from geoseg.vector.recipe import Components, Generalize, Objects, Recipe, Rules
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.vectorize import OBJECTS, vectorize
from geoseg.vector.write import parquet
from geoseg.vector.write.geopackage import copy_features, read_features, write_features
from geoseg.vector.write.parquet import write_parquet
from tests import processes
from tests.vector.maps import HERE, LEGEND, patches, save, with_hole

ALL = ("gpkg", "parquet", "fgb", "geojson")
TITLES = ["Wald & <Wiese>", "a \"b\" 'c'", "Forêt é", "水体"]
UTM = CRS("EPSG:32633")


def made(folder, classes=None, *, formats=ALL, recipe=None, workers=HERE, **place):
    classes = with_hole(patches(21)) if classes is None else classes
    folder.mkdir(exist_ok=True)
    path = save(folder, classes, **place)
    recipe = recipe or Recipe(Rules(LEGEND), Generalize(1.5), 10)
    files = vectorize(
        MapFiles(path), recipe, workers, folder, layer="land cover", formats=formats, provenance={"a": 1}
    )
    return {p.suffix[1:]: p for p in files}


def read(path):
    if path.suffix == ".parquet":
        return gpd.read_parquet(path).drop(columns="bbox", errors="ignore")
    return gpd.read_file(path, layer=0)


def test_colours_of_the_legend_are_a_column_on_request(tmp_path):
    files = made(tmp_path, recipe=Recipe(Rules(LEGEND, with_color=True)))
    colors = {i: c.color for i, c in LEGEND.by_id().items()}
    for path in files.values():
        frame = read(path).drop(columns="id", errors="ignore")
        assert frame.columns[:3].to_list() == ["class_id", "class_name", "class_color"]
        assert [colors[i] for i in frame.class_id] == frame.class_color.to_list()


def query(path, text):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(text).fetchall()


def simple_batch(count=4):
    squares = shapely.to_wkb(shapely.box(np.arange(count), 0, np.arange(count) + 1, 1))
    wkb = pa.field("geom", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    schema = pa.schema([("class_id", pa.int32()), ("class_name", pa.string()), wkb])
    columns = [list(range(count)), (TITLES * count)[:count], squares]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def write_simple(path, batches=None, crs=UTM, **options):
    batch = simple_batch()
    write_features(
        path, batch.schema, iter([batch] if batches is None else batches), crs, layer="x", **options
    )


def test_a_geopackage_is_what_qgis_expects(tmp_path):
    path = made(tmp_path, formats=("gpkg",))["gpkg"]
    assert query(path, "PRAGMA user_version") == [(10300,)]
    assert query(path, "PRAGMA application_id") == [(0x47504B47,)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert query(path, "SELECT table_name, srs_id FROM gpkg_contents WHERE data_type = 'features'") == [
        ("land cover", 32633)
    ]
    assert query(path, "SELECT column_name, geometry_type_name FROM gpkg_geometry_columns") == [
        ("geom", "POLYGON")
    ]
    info = pyogrio.read_info(path, layer="land cover")
    assert info["capabilities"]["fast_spatial_filter"]
    assert info["fid_column"] == "id"
    assert info["layer_metadata"]
    assert query(path, "SELECT md_standard_uri FROM gpkg_metadata") == [(PROVENANCE,)]
    assert query(path, "SELECT count(*) FROM layer_styles") == [(1,)]
    ((rows, first, last),) = query(path, 'SELECT count(*), min(id), max(id) FROM "land cover"')
    assert (first, last) == (1, rows)
    assert rows == info["features"] == query(path, 'SELECT count(*) FROM "rtree_land cover_geom"')[0][0]


def test_all_formats_hold_the_same_features(tmp_path):
    files = made(tmp_path)
    assert list(files) == list(ALL)
    frames = {}
    for name, path in files.items():
        frame = read(path)
        if name == "geojson":
            assert frame.crs.to_epsg() == 4326
        else:
            assert frame.crs.to_epsg() == 32633
        frames[name] = frame
    facts = [c for c in frames["gpkg"].columns if c not in ("id", "geometry")]
    assert facts[:4] == ["class_id", "class_name", "area_m2", "perimeter_m"]

    def rows(frame):
        points = frame.geometry.to_crs(32633).bounds.round(1)
        keyed = frame.assign(**points)[[*facts, *points]].sort_values([*points, "area_m2"])
        return keyed.round(4).reset_index(drop=True)

    for name in ALL[1:]:
        assert [c for c in frames[name].columns if c not in ("id", "geometry")] == facts
        assert rows(frames[name]).astype(object).equals(rows(frames["gpkg"]).astype(object)), name
    expected = sorted(shapely.to_wkb(shapely.normalize(frames["gpkg"].geometry.to_numpy())))
    for name in ("parquet", "fgb"):
        assert sorted(shapely.to_wkb(shapely.normalize(frames[name].geometry.to_numpy()))) == expected


def test_dissolved_features_are_multipolygons_in_all_formats(tmp_path):
    for name, path in made(tmp_path, recipe=Recipe(Rules(LEGEND, dissolve=True))).items():
        frame = read(path)
        assert set(frame.geom_type) == {"MultiPolygon"}, name
        assert sorted(frame.class_id) == [0, 1, 2, 3, 4]


def test_a_map_of_nodata_makes_empty_files(tmp_path):
    files = made(tmp_path, np.full((6, 7), NODATA, np.uint8))
    for name, path in files.items():
        frame = read(path)
        assert len(frame) == 0
        if name != "geojson":
            assert {"class_id", "class_name", "area_m2"} <= set(frame.columns), name
            assert frame.crs.to_epsg() == 32633


def test_a_map_without_crs_makes_all_files(tmp_path):
    files = made(tmp_path, crs=None)
    (corner,) = json.loads(files["geojson"].read_text())["features"][0]["geometry"]["coordinates"][0][:1]
    assert corner[1] > 4_000_000
    counts = {pyogrio.read_info(p, layer=0)["features"] for n, p in files.items() if n != "parquet"}
    counts.add(pq.ParquetFile(files["parquet"]).metadata.num_rows)
    assert len(counts) == 1
    assert gpd.read_parquet(files["parquet"]).crs is None


def test_geojson_is_that_of_rfc_7946(tmp_path):
    content = json.loads(made(tmp_path, formats=("geojson",))["geojson"].read_text())
    assert "crs" not in content
    assert len(content["bbox"]) == 4
    xy = np.concatenate([np.array(f["geometry"]["coordinates"][0]) for f in content["features"]])
    # EPSG:32633, 500 km east, 4500 km north: 15 degrees east, 40.65 degrees north.
    assert np.abs(xy - (15.004, 40.647)).max() < 0.01
    for i, feature in enumerate(content["features"], start=1):
        shell, *holes = feature["geometry"]["coordinates"]
        assert shapely.LinearRing(shell).is_ccw
        assert not any(shapely.LinearRing(h).is_ccw for h in holes)
        assert feature["properties"]["id"] == i


def test_only_what_is_asked_for_is_left(tmp_path):
    assert list(made(tmp_path, formats=("fgb",))) == ["fgb"]
    assert {p.name for p in tmp_path.iterdir()} == {"map.tif", "polygons.fgb"}
    recipe = Recipe(Rules(LEGEND), objects=Objects(frozenset([1]), Components(), None))
    assert made(tmp_path / "objects", formats=(), recipe=recipe) == {}
    assert {p.name for p in (tmp_path / "objects").iterdir()} == {"map.tif", OBJECTS}


def test_the_same_bytes_for_any_number_of_threads(tmp_path):
    made(tmp_path / "here")
    with ThreadPoolExecutor(2) as executor:
        made(tmp_path / "threads", workers=Workers(executor, 4))
    assert set(ALL) >= {"gpkg", "parquet", "fgb", "geojson"}
    for name in (f"polygons.{form}" for form in ALL):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "threads" / name).read_bytes()


def test_the_option_for_the_date_is_given_back(tmp_path):
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2001-02-03T04:05:06.000Z"})
    try:
        made(tmp_path / "x", formats=("gpkg",))
        assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") == "2001-02-03T04:05:06.000Z"
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
    with closing(sqlite3.connect(tmp_path / "x/polygons.gpkg")) as db:
        dates = {row[0] for row in db.execute("SELECT last_change FROM gpkg_contents")}
    assert dates == {"1970-01-01T00:00:00.000Z"}


@pytest.mark.parametrize("mask", [0o002, 0o077, 0o022])
def test_files_have_the_mode_that_the_umask_asks_for(tmp_path, mask):
    before = os.umask(mask)
    try:
        files = made(tmp_path / "x").values()
        assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~mask}
    finally:
        os.umask(before)
    assert [p.name for p in (tmp_path / "x").iterdir() if p.name.startswith(".")] == []


def geo_of(path):
    return json.loads(pq.ParquetFile(path).schema_arrow.metadata[b"geo"])


def test_parquet_is_geoparquet_with_a_covering(tmp_path):
    path = made(tmp_path, formats=("parquet",))["parquet"]
    geo = geo_of(path)
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    (column,) = geo["columns"].values()
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert pyproj.CRS.from_json_dict(column["crs"]) == UTM.proj
    assert column["covering"] == {"bbox": {n: ["bbox", n] for n in ("xmin", "ymin", "xmax", "ymax")}}
    frame = gpd.read_parquet(path)
    assert column["bbox"] == pytest.approx(frame.total_bounds.tolist())
    table = pq.read_table(path)
    boxes = np.array([list(b.values()) for b in table["bbox"].to_pylist()])
    assert np.allclose(boxes, frame.bounds.to_numpy())
    metadata = pq.ParquetFile(path).metadata
    group = metadata.row_group(0)
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}


def steps(frame):
    """Return the sum of distances from one feature to the next."""
    xy = shapely.get_coordinates(shapely.centroid(shapely.box(*frame.bounds.to_numpy().T)))
    return np.hypot(*np.diff(xy, axis=0).T).sum()


def test_parquet_is_sorted_so_that_neighbours_lie_together(tmp_path):
    classes = np.random.default_rng(0).integers(0, 4, (70, 90)).astype(np.uint8)
    files = made(tmp_path, classes, formats=("gpkg", "parquet"), recipe=Recipe(Rules(LEGEND)))
    ordered, plain = read(files["parquet"]), read(files["gpkg"])
    shuffled = plain.sample(frac=1, random_state=0)
    assert steps(ordered) < 0.15 * steps(shuffled)
    assert steps(ordered) < 0.5 * steps(plain)
    keys = ordered.hilbert_distance(total_bounds=ordered.total_bounds, level=16)
    assert keys.is_monotonic_increasing


def test_a_window_is_read_from_few_groups(tmp_path, monkeypatch):
    classes = np.random.default_rng(1).integers(0, 4, (60, 60)).astype(np.uint8)
    whole = made(tmp_path / "one", classes, formats=("parquet",), recipe=Recipe(Rules(LEGEND)))["parquet"]
    monkeypatch.setattr(parquet, "_GROUP", 100)
    path = made(tmp_path / "many", classes, formats=("parquet",), recipe=Recipe(Rules(LEGEND)))["parquet"]
    expected, frame = gpd.read_parquet(whole), gpd.read_parquet(path)
    assert frame.equals(expected)
    metadata = pq.ParquetFile(path).metadata
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert len(sizes) >= len(frame) // 100
    assert max(sizes) <= 100
    window = (500_100.0, 4_499_700.0, 500_200.0, 4_499_800.0)
    some = gpd.read_parquet(path, bbox=window)
    assert (
        some.geometry.intersects(shapely.box(*window)).sum() == frame.intersects(shapely.box(*window)).sum()
    )
    assert len(some) < 0.2 * len(frame)
    # The boxes in the footer leave few groups to fetch.
    names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    limits = [
        [
            getattr(metadata.row_group(g).column(names.index(f"bbox.{n}")).statistics, end)
            for n, end in (("xmin", "min"), ("ymin", "min"), ("xmax", "max"), ("ymax", "max"))
        ]
        for g in range(metadata.num_row_groups)
    ]
    reached = shapely.box(*np.array(limits).T)
    assert shapely.intersects(reached, shapely.box(*window)).mean() < 0.4
    assert not [p for p in path.parent.iterdir() if p.is_dir()]


def test_titles_survive(tmp_path):
    write_simple(tmp_path / "x.gpkg")
    back = gpd.read_file(tmp_path / "x.gpkg", layer="x")
    assert back.class_name.tolist() == TITLES
    assert back.class_id.tolist() == [0, 1, 2, 3]
    write_parquet(tmp_path / "x.gpkg", tmp_path / "x.parquet", UTM, "Polygon")
    assert set(gpd.read_parquet(tmp_path / "x.parquet").class_name) == set(TITLES)


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "x.gpkg"
    write_simple(path)
    write_simple(path, [simple_batch(2)])
    assert len(gpd.read_file(path)) == 2


def test_features_are_read_as_a_stream(tmp_path):
    write_simple(tmp_path / "x.gpkg")
    with read_features(tmp_path / "x.gpkg") as reader:
        assert reader.schema.names[:2] == ["id", "class_id"]
        assert reader.read_all()["id"].to_pylist() == [1, 2, 3, 4]


class OwnError(Exception):
    pass


@pytest.mark.parametrize(
    ("driver", "name"), [("GPKG", "x.gpkg"), ("FlatGeobuf", "x.fgb"), ("GeoJSON", "x.geojson")]
)
@pytest.mark.parametrize("before", [0, 3])
def test_what_breaks_the_stream_is_told_and_no_file_is_left(tmp_path, driver, name, before):
    def broken():
        for _ in range(before):
            yield simple_batch()
        raise OwnError("the map is damaged")

    with pytest.raises(OwnError, match="the map is damaged"):
        write_simple(tmp_path / name, broken(), driver=driver)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_map_ends_vectorize_with_its_own_error(tmp_path):
    path = save(tmp_path, patches(0))
    files = MapFiles(path, tmp_path / "gone.tif")
    with pytest.raises(Exception, match=r"gone\.tif"):
        vectorize(files, Recipe(Rules(LEGEND), minimum_pixels=4), HERE, tmp_path, layer="x", formats=ALL,
                  provenance={})  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["map.tif"]


@pytest.mark.parametrize("driver", ["GPKG", "FlatGeobuf", "GeoJSON"])
def test_a_folder_that_is_not_there_is_told(tmp_path, driver):
    with pytest.raises(OutputError, match=r"gone/p\.gpkg: cannot be written: ") as caught:
        write_simple(tmp_path / "gone" / "p.gpkg", driver=driver)
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_way_is_told(tmp_path):
    (tmp_path / "p.gpkg").mkdir()
    with pytest.raises(OutputError, match=r"p\.gpkg: cannot be written"):
        write_simple(tmp_path / "p.gpkg")


def test_parquet_in_a_folder_that_is_not_there_is_told(tmp_path):
    write_simple(tmp_path / "x.gpkg")
    with pytest.raises(OutputError, match=r"gone/x\.parquet: cannot be written: "):
        write_parquet(tmp_path / "x.gpkg", tmp_path / "gone" / "x.parquet", UTM, "Polygon")


def test_a_copy_is_the_same_layer(tmp_path):
    write_simple(tmp_path / "x.gpkg")
    copy_features(
        tmp_path / "x.gpkg", tmp_path / "x.fgb", UTM, layer="x", driver="FlatGeobuf", geometry_type="Polygon"
    )
    info = pyogrio.read_info(tmp_path / "x.fgb")
    assert (info["layer_name"], info["features"], info["geometry_type"]) == ("x", 4, "Polygon")
    assert info["capabilities"]["fast_spatial_filter"]


FULL = """\
import resource, signal, sys
sys.dont_write_bytecode = True  # a short write would leave a damaged file
from pathlib import Path
from geoseg.core.errors import OutputError
from tests.vector.write.test_formats import noisy, noisy_map
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, *limits = sys.argv[1:]
files = noisy_map(Path(path))
said = []
for limit in map(int, limits):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        noisy(files, Path(path) / str(limit))
        said.append("done")
    except OutputError as error:
        said.append(str(error))
# What is said goes to a file, too.
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(*said, sep="\\n")
"""


def noisy_map(folder):
    return MapFiles(save(folder, np.random.default_rng(0).integers(0, 5, (60, 60)).astype(np.uint8)))


def noisy(files, folder):
    folder.mkdir()
    recipe = Recipe(Rules(LEGEND), Generalize(1.0))
    return vectorize(files, recipe, HERE, folder, layer="x", formats=ALL, provenance={})


def test_a_full_disk_is_told_and_no_file_is_left(tmp_path):
    """A limit on the size of files stands in for a full disk: ever later steps meet it."""
    files = noisy(noisy_map(tmp_path), tmp_path / "whole")
    sizes = {p.name: p.stat().st_size for p in files}
    assert sizes["polygons.geojson"] > sizes["polygons.gpkg"] > 50_000
    limits = [300, 20_000, sizes["polygons.gpkg"] + 1000]
    done = processes.run_code(FULL, tmp_path, *limits)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    names = ["300", "polygons.gpkg", "polygons.geojson"]
    for limit, line, name in zip(limits, lines, names, strict=True):
        assert "cannot be written: " in line, line
        assert name in line, line
        left = {p.name for p in (tmp_path / str(limit)).iterdir()}
        assert left <= set(sizes) - {name}, (limit, left)
