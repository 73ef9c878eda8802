import os
import zipfile
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from geoseg.core.errors import SceneError
from geoseg.core.geometry import Window
from geoseg.scenes import sources, versions
from tests.conftest import write_raster

VALUES = np.full((1, 8, 8), 7, np.uint16)


def names(path):
    return sorted(Path(v.path).name for v in sources.inspect(str(path)).files)


def virtual(path, part):
    path.write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="UInt16" band="1">'
        f'<SimpleSource><SourceFilename relativeToVRT="1">{part}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_files_of_virtual_rasters_inside_virtual_rasters_count(tmp_path):
    part = write_raster(tmp_path / "a.tif", VALUES)
    outer = virtual(tmp_path / "outer.vrt", virtual(tmp_path / "inner.vrt", "a.tif").name)
    assert names(outer) == ["a.tif", "inner.vrt", "outer.vrt"]
    before = sources.inspect(str(outer))
    write_raster(part, VALUES + 1)
    assert sources.inspect(str(outer)) != before


def test_tiles_of_a_tile_index_count(tmp_path):
    tiles = [
        write_raster(tmp_path / f"t{i}.tif", VALUES + i, origin=(500_000 + 80 * i, 4_500_000)) for i in (0, 1)
    ]
    boxes = [shapely.box(500_000 + 80 * i, 4_499_920, 500_080 + 80 * i, 4_500_000) for i in (0, 1)]
    index = tmp_path / "index.gti.gpkg"
    frame = geopandas.GeoDataFrame({"location": list(map(str, tiles))}, geometry=boxes, crs="EPSG:32633")
    frame.to_file(index)
    for name in (str(index), f"GTI:{index}"):
        before = sources.inspect(name)
        assert {"t0.tif", "t1.tif"} <= {Path(v.path).name for v in before.files}
        tiles[1].write_bytes(tiles[1].read_bytes())
        assert sources.inspect(name) != before


def test_the_archive_around_a_file_is_its_version(tmp_path):
    write_raster(tmp_path / "a.tif", VALUES)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tmp_path / "a.tif", "in/a.tif")
    path = f"/vsizip/{archive}/in/a.tif"
    before = sources.inspect(path)
    assert before.version.size == archive.stat().st_size
    os.utime(archive, ns=(1, 1))
    assert sources.inspect(path) != before
    with pytest.raises(SceneError, match="no such file"):
        versions.version_of(f"/vsizip/{tmp_path}/gone.zip/a.tif")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("/vsizip/{{/x/a.zip}}/b.tif", "/x/a.zip"),
        ("/vsizip//vsicurl/http://h/a.zip/b.tif", "/vsicurl/http://h/a.zip"),
        ("/vsitar//vsis3/b/a.tar.gz/b.tif", "/vsis3/b/a.tar.gz"),
        ("/x/a.tif", "/x/a.tif"),
        ('NETCDF:"{here}/c.nc":red', "{here}/c.nc"),
        ("NETCDF:{here}/c.nc:red", "{here}/c.nc"),
        ("SENTINEL2_L2A:{here}/c.nc:10m:EPSG_32618", "{here}/c.nc"),
        ("GTIFF_DIR:2:{here}/c.nc", "{here}/c.nc"),
    ],
)
def test_the_file_in_a_name_of_gdal_is_found(tmp_path, name, file):
    (tmp_path / "c.nc").touch()
    assert versions.file_of(name.format(here=tmp_path)) == file.format(here=tmp_path)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    for path in (tmp_path / "pipe.tif", "/dev/zero"):
        with pytest.raises(SceneError, match="is no regular file"):
            sources.inspect(str(path))


def test_a_part_of_a_data_set_is_found_beside_its_document(tmp_path):
    (tmp_path / "c.nc").touch()
    assert sources.resolve("NETCDF:c.nc:red", tmp_path) == f"NETCDF:{tmp_path / 'c.nc'}:red"
    with pytest.raises(SceneError, match="no such file; write the name as `gdalinfo` lists it"):
        sources.resolve("NETCDF:gone.nc:red", tmp_path)


def test_a_file_is_read_by_its_absolute_path_from_other_folders(tmp_path, monkeypatch):
    write_raster(tmp_path / "a.tif", VALUES)
    monkeypatch.chdir(tmp_path)
    source = sources.with_absolute_path(sources.inspect("a.tif"))
    monkeypatch.chdir("/")
    assert (sources.read(source, [1], Window.of(0, 0, 8, 8))[0] == 7).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.tif", "{here}/a.tif"),
        ("/x/a.tif", "/x/a.tif"),
        ("vrt://a.tif?bands=2,1", "vrt://{here}/a.tif?bands=2,1"),
        ("vrt:///x/a.tif", "vrt:///x/a.tif"),
        ("vrt://NETCDF:c.nc:red", "vrt://NETCDF:{here}/c.nc:red"),
        ("vrt:///vsizip/a.zip/b.tif", "vrt:///vsizip/{here}/a.zip/b.tif"),
        ("vrt://https://h/a.tif", "vrt://https://h/a.tif"),
        ("/vsizip/a.zip/b.tif", "/vsizip/{here}/a.zip/b.tif"),
        ("/vsizip//x/a.zip/b.tif", "/vsizip//x/a.zip/b.tif"),
        ("/vsizip/{{a.zip}}/b.tif", "/vsizip/{{{here}/a.zip}}/b.tif"),
        ("/vsitar//vsigzip/a.tar.gz/b.tif", "/vsitar//vsigzip/{here}/a.tar.gz/b.tif"),
        ("/vsizip//vsicurl/https://h/a.zip/b.tif", "/vsizip//vsicurl/https://h/a.zip/b.tif"),
        ("/vsizip/vsicurl/https://h/a.zip/b.tif", "/vsizip/vsicurl/https://h/a.zip/b.tif"),
        ("s3://b/a.tif", "s3://b/a.tif"),
    ],
)
def test_a_relative_file_is_found_beside_its_document_in_every_name_of_gdal(tmp_path, name, expected):
    (tmp_path / "c.nc").touch()
    here = str(tmp_path)
    assert versions.placed(name.format(), tmp_path) == expected.format(here=here)


@pytest.mark.parametrize("uri", ["vrt://a.tif?bands=1", "/vsizip/a.zip/a.tif"])
def test_names_of_gdal_are_read_from_any_folder(tmp_path, monkeypatch, uri):
    write_raster(tmp_path / "a.tif", VALUES)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.write(tmp_path / "a.tif", "a.tif")
    monkeypatch.chdir("/")
    assert (
        sources.read(sources.inspect(sources.resolve(uri, tmp_path)), [1], Window.of(0, 0, 8, 8))[0] == 7
    ).all()
    monkeypatch.chdir(tmp_path)
    source = sources.with_absolute_path(sources.inspect(uri))
    monkeypatch.chdir("/")
    assert (sources.read(source, [1], Window.of(0, 0, 8, 8))[0] == 7).all()


def test_one_file_has_one_name_by_links_and_dots_and_others_have_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif"):
        write_raster(tmp_path / name, VALUES)
    (tmp_path / "soft.tif").symlink_to("a.tif")
    os.link("a.tif", "hard.tif")
    names = [
        "a.tif",
        "./a.tif",
        f"{tmp_path}/a.tif",
        f"{tmp_path}/../{tmp_path.name}/a.tif",
        "soft.tif",
        "hard.tif",
    ]
    assert len({versions.same_file(n) for n in names}) == 1
    assert versions.same_file("b.tif") != versions.same_file("a.tif")
    assert versions.same_file("vrt://a.tif?bands=1") == versions.same_file("vrt://soft.tif?bands=1")
    assert versions.same_file("/vsicurl/http://h/a.tif") == versions.same_file("http://h/a.tif")
    assert versions.same_file("gone.tif") == "gone.tif"
