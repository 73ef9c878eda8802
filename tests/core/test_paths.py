import os
import sqlite3
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely
from pyogrio.util import vsi_path

from geoseg.core.paths import at_home, plain_path

ODD = (
    "w!x",
    "what?",
    "a;b",
    "a:b",
    "#1",
    "100%20",
    "two words",
    "é",
    "[a]",
    "{a}",
    "$HOME",
    "a\\b",
    "a\nb",
    "'",
    "~",
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("~", "/home/a"), ("~/maps", "/home/a/maps"), ("maps/~", "maps/~"), ("~maps", "~maps"),
        ("~nobody-has-this-name/x", "~nobody-has-this-name/x"), ("~5 m/px", "~5 m/px"), ("", ""),
        ("s3://bucket/~/x", "s3://bucket/~/x"), ("/~/x", "/~/x"),
    ],
)  # fmt: skip
def test_a_tilde_at_the_begin_is_home(monkeypatch, given, expected):
    monkeypatch.setenv("HOME", "/home/a")
    assert at_home(given) == expected
    assert at_home(Path(given)) == Path(expected)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "shp"])
def test_vector_files_are_read_and_written_whatever_their_folder_is_called(tmp_path, name, suffix):
    path = tmp_path / name / f"f.{suffix}"
    path.parent.mkdir()
    frame = gpd.GeoDataFrame({"a": [7]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326")
    with plain_path(path) as plain:
        assert vsi_path(plain) == plain
        pyogrio.write_dataframe(frame, plain)
    assert path.exists()
    with plain_path(path) as plain:
        assert pyogrio.read_dataframe(plain).a.tolist() == [7]
    odd = path.with_name(f"{'o' if '/' in name else name}.{suffix}")
    for one in path.parent.glob("f.*"):
        one.rename(one.with_name(one.name.replace("f.", f"{odd.stem}.", 1)))
    with plain_path(odd) as plain:
        assert pyogrio.read_dataframe(plain).a.tolist() == [7]


def test_only_paths_that_would_be_parsed_get_another_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("a/b.gpkg", "/vsizip/a!b.zip/c.shp", "https://host/a!b.gpkg", "data.zip!labels.shp"):
        with plain_path(text) as plain:
            assert plain == text
    with plain_path("zip:a.gpkg") as plain:
        assert plain == str(tmp_path / "zip:a.gpkg")


def test_a_link_is_gone_afterwards_and_its_target_stays(tmp_path):
    folder = tmp_path / "w!x"
    folder.mkdir()
    with plain_path(folder / "a.db") as plain:
        sqlite3.connect(plain).execute("CREATE TABLE t (x)").connection.close()
        assert Path(plain).exists()
    assert not Path(plain).parent.exists()
    assert [p.name for p in folder.iterdir()] == ["a.db"]


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.gpkg")
    with pytest.raises(OSError, match="is a pipe or a device"), plain_path(tmp_path / "a.gpkg"):
        pass
