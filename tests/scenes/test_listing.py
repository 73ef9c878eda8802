"""Scenes by glob, list and table."""

import os
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from shapely.geometry import box

from geoseg.config.scene import SceneEntry
from geoseg.core.errors import ConfigError
from geoseg.scenes.listing import list_scenes


@pytest.fixture
def folder(tmp_path):
    for name in ("a/x.tif", "b/x.tif", "b/y z.tif", "b/y z.tif.aux.xml", "b/y z.tif.ovr"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def named(source, template=None):
    return {s.name: s.scene.uri for s in list_scenes(source, template)}


def test_a_glob_leaves_sidecars_out_and_tells_equal_names_apart(folder):
    assert named(f"{folder}/**/*.tif*") == {
        "a-x": f"{folder}/a/x.tif", "b-x": f"{folder}/b/x.tif", "y-z": f"{folder}/b/y z.tif",
    }  # fmt: skip


def test_a_list_has_comments_and_paths_beside_it(folder):
    (folder / "list.txt").write_text("# two scenes\n\na/x.tif   # one\nhttps://example.com/other.tif\n")
    assert named(str(folder / "list.txt")) == {
        "x": f"{folder}/a/x.tif", "other": "https://example.com/other.tif",
    }  # fmt: skip


def test_names_of_gdal_in_a_list_are_found_beside_it(folder, monkeypatch):
    lines = ["vrt://a/x.tif?bands=1", "s3://b/y.tif", "/vsizip/gone.zip/z.tif", "n" * 5000]
    (folder / "list.txt").write_text("\n".join(lines))
    monkeypatch.chdir("/")
    found = [s.scene.uri for s in list_scenes(str(folder / "list.txt"))]
    assert found == [f"vrt://{folder}/a/x.tif?bands=1", *lines[1:]]


def test_tables_of_all_kinds_say_the_same(folder, tmp_path):
    frame = pd.DataFrame({"Name": ["one", "two"], "location": ["a/x.tif", "b/x.tif"], "area": [1.0, None]})
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_parquet(folder / "t.parquet")
    index = gpd.GeoDataFrame(frame, geometry=[box(0, 0, 1, 1)] * 2, crs="EPSG:4326")
    index.to_file(folder / "t.gpkg")
    index.to_parquet(folder / "geo.parquet")
    for table in ("t.csv", "t.parquet", "t.gpkg", "geo.parquet"):
        assert named(str(folder / table)) == {"one": f"{folder}/a/x.tif", "two": f"{folder}/b/x.tif"}


def test_columns_say_what_the_template_does_not(folder):
    (folder / "t.csv").write_text("path,datetime,scale\na/x.tif,2024-05-01,\nb/y z.tif,,0.5\n")
    template = SceneEntry.model_validate({"uri": "old.tif", "bands": {"red": 3}, "scale": 0.0001})
    first, second = (s.scene for s in list_scenes(str(folder / "t.csv"), template))
    assert (first.datetime.year, first.scale, first.bands["red"].band) == (2024, 0.0001, 3)
    assert (second.datetime, second.scale, second.uri) == (None, 0.5, f"{folder}/b/y z.tif")


def test_scenes_with_a_file_for_each_band_are_folders(folder):
    template = SceneEntry.model_validate({"bands": {"red": "B04.tif", "nir": "B08.tif"}})
    scenes = list_scenes([str(folder / "a"), str(folder / "b")], template)
    assert [(s.name, s.scene.folder) for s in scenes] == [("a", f"{folder}/a"), ("b", f"{folder}/b")]


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_columns_may_be_parted_by_what_spreadsheets_write(folder, sign):
    rows = [["\ufeffName", "Path", "scale"], ["one", "a/x.tif", "0.5"], ["two", '"b/y z.tif"', ""]]
    (folder / "t.csv").write_text("\r\n".join(sign.join(row) for row in rows))
    first, second = list_scenes(str(folder / "t.csv"))
    assert (first.name, first.scene.uri, first.scene.scale) == ("one", f"{folder}/a/x.tif", 0.5)
    assert (second.name, second.scene.uri) == ("two", f"{folder}/b/y z.tif")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name\nx\n", "a row has no path; one column of path, uri, location"),
        ("name,path\nx,a/x.tif\nx,b/x.tif\n", "would both be called 'x'; name them in a table"),
        ("path,scale\na/x.tif,-1\n", "a/x.tif: scale: a number above 0, not"),
        ("path\n", "names no scene"),
    ],
)
def test_what_is_wrong_is_said(folder, content, message):
    (folder / "t.csv").write_text(content)
    with pytest.raises(ConfigError, match=message):
        list_scenes(str(folder / "t.csv"))


def test_what_is_missing_is_said(folder):
    with pytest.raises(ConfigError, match=r"none\*.tif names no scene"):
        list_scenes(f"{folder}/none*.tif")
    with pytest.raises(ConfigError, match=r"gone.txt: cannot be read"):
        list_scenes(f"{folder}/gone.txt")
    with pytest.raises(ConfigError, match=r"gone.parquet: cannot be read as a table"):
        list_scenes(f"{folder}/gone.parquet")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("suffix", [".txt", ".csv", ".parquet", ".gpkg"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, suffix):
    os.mkfifo(tmp_path / f"list{suffix}")
    with pytest.raises(ConfigError, match=r"no regular file|and no file"):
        list_scenes(str(tmp_path / f"list{suffix}"))


def test_odd_characters_in_names_are_no_comment_and_no_pattern(folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("list.txt").write_text("a/#1.tif # one\n\t# none\n")
    assert [s.scene.uri for s in list_scenes("list.txt")] == ["a/#1.tif"]
    Path("b[1].tif").touch()
    assert [s.scene.uri for s in list_scenes("b[1].tif")] == ["b[1].tif"]


def test_messages_keep_their_capitals(tmp_path):
    (tmp_path / "a.csv").write_text("path,datetime\nx.tif,2024\n")
    with pytest.raises(ConfigError, match=r"x\.tif: datetime: write a date .* 2024-06-01T10:30:00Z \(got"):
        list_scenes(str(tmp_path / "a.csv"))
