import pytest

from geoseg.core.sharing import shared_command, shared_path, shared_text, shared_values


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/home/some one/scenes/a b.tif", "a b.tif"),
        ("~/scenes/a.tif", "a.tif"),
        ("file:///home/someone/a.tif", "a.tif"),
        ("/vsizip//home/someone/a.zip/in/b.jp2", "b.jp2"),
        ("/vsizip/vsis3/bucket/a.zip/b.jp2", "/vsizip/vsis3/bucket/a.zip/b.jp2"),
        ("/vsicurl/https://host/a.tif", "/vsicurl/https://host/a.tif"),
        ("/home/vsis3data/a.tif", "a.tif"),
        ("s3://bucket/deep/a.tif", "s3://bucket/deep/a.tif"),
        ("scenes/a.tif", "scenes/a.tif"),
        ("sentinel2-sample", "sentinel2-sample"),
        ("", ""),
    ],
)
def test_only_folders_of_this_machine_go(path, shared):
    assert shared_path(path) == shared


@pytest.mark.parametrize(
    ("path", "folder", "shared"),
    [
        ("scenes/a.tif", "out/run", "../../scenes/a.tif"),
        ("{here}/scenes/a.tif", "{here}/out", "../scenes/a.tif"),
        ("../elsewhere/a.tif", "out", "a.tif"),
        ("/elsewhere/a.tif", "out", "a.tif"),
        ("scenes/a.tif", "/elsewhere/out", "a.tif"),
        ("scenes/a.tif", "s3://bucket/out", "a.tif"),
        ("s3://bucket/a.tif", "out", "s3://bucket/a.tif"),
    ],
)
def test_what_lies_below_the_current_folder_is_named_from_the_output(
    tmp_path, monkeypatch, path, folder, shared
):
    monkeypatch.chdir(tmp_path)
    assert shared_path(path.format(here=tmp_path), folder.format(here=tmp_path)) == shared


def test_texts_and_commands_keep_names():
    assert shared_text("/a/b/c.tif: no CRS; see https://x.org/a/b, 3 km/h") == (
        "c.tif: no CRS; see https://x.org/a/b, 3 km/h"
    )
    command = "geoseg run '/my folder/p.yaml' --set scene=/data/x.tif --set 's={uri: /d/y.tif}' --output o/p"
    expected = "geoseg run p.yaml --set scene=x.tif --set 's={uri: y.tif}' --output o/p"
    assert shared_command(command) == expected
    assert shared_command("geoseg 'open /a/b/c") == "geoseg 'open c"


def test_values_keep_what_is_no_path():
    assert shared_values({"a": ["/x/y", 1, None], "b": "1 / 2"}) == {"a": ["y", 1, None], "b": "1 / 2"}
