import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from geoseg.core.errors import SceneError
from geoseg.core.geometry import Window
from geoseg.scenes import handles, sources
from geoseg.scenes.versions import FileVersion
from tests.conftest import ROOT, write_photograph, write_raster
from tests.inference.flaky import serve

NUMBERS = np.arange(2 * 30 * 20, dtype=np.uint16).reshape(2, 30, 20)


@pytest.mark.parametrize("uri", ["s3://b/a.tif", "https://x/a.tif", "/vsizip//abs/a.zip/a.tif", "/abs/a.tif"])
def test_what_gdal_opens_itself_stays_as_it_is(tmp_path, uri):
    assert sources.resolve(uri, tmp_path) == uri


def test_a_relative_path_is_that_of_the_document(tmp_path):
    assert sources.resolve("sub/a.tif", tmp_path) == str(tmp_path / "sub" / "a.tif")


def test_a_file_in_a_package_is_found_without_importing_the_package(tmp_path, monkeypatch):
    package = tmp_path / "sampledata_of_geoseg"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    found = sources.resolve("package://sampledata_of_geoseg/data/a.tif", tmp_path)
    assert found == str(package / "data" / "a.tif")


def test_a_package_that_is_not_installed_is_told_with_the_command_that_gets_it(tmp_path):
    with pytest.raises(
        SceneError, match=r"package://no_such_pkg/a\.tif: not installed; .* install --no-deps no_such_pkg$"
    ):
        sources.resolve("package://no_such_pkg/a.tif", tmp_path)


@pytest.mark.parametrize("uri", ["package://", "package:///a.tif", "package://no.such/a.tif"])
def test_a_package_uri_without_a_usable_name_is_a_scene_error(tmp_path, uri):
    with pytest.raises(SceneError):
        sources.resolve(uri, tmp_path)


@pytest.mark.parametrize("inside", ["data", "sub", "sub/data"])
def test_no_uri_imports_a_package(tmp_path, monkeypatch, inside):
    package = tmp_path / "hostile_of_geoseg"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SceneError):
        sources.inspect(sources.resolve(f"package://hostile_of_geoseg.{inside}/a.tif", tmp_path))
    assert not (tmp_path / "ran").exists()


def test_python_in_a_virtual_raster_does_not_run(tmp_path, monkeypatch):
    monkeypatch.delenv("GDAL_VRT_ENABLE_PYTHON", raising=False)
    band = write_raster(tmp_path / "a.tif", NUMBERS)
    (tmp_path / "a.vrt").write_text(
        "<VRTDataset rasterXSize='20' rasterYSize='30'><VRTRasterBand dataType='UInt16' band='1' "
        "subClass='VRTDerivedRasterBand'><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
        "<PixelFunctionType>f</PixelFunctionType><PixelFunctionCode><![CDATA[\n"
        f"open({str(tmp_path / 'ran')!r}, 'w')\ndef f(in_ar, out_ar, *a, **k): out_ar[:] = 1\n]]>"
        f"</PixelFunctionCode><SimpleSource><SourceFilename>{band}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(SceneError):
        sources.read(sources.inspect(str(tmp_path / "a.vrt")), [1], Window.of(0, 0, 30, 20))
    assert not (tmp_path / "ran").exists()


def virtual(place, source, *, relative):
    """Write a virtual raster of one band."""
    place.write_text(
        "<VRTDataset rasterXSize='20' rasterYSize='30'><GeoTransform>500000, 10, 0, 4500000, 0, -10"
        "</GeoTransform><SRS>EPSG:32633</SRS><VRTRasterBand dataType='UInt16' band='1'><SimpleSource>"
        f"<SourceFilename relativeToVRT='{relative:d}'>{source}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    return str(place)


def test_a_virtual_raster_says_so_by_its_name(tmp_path):
    band = write_raster(tmp_path / "a.tif", NUMBERS)
    for name in ("B04.tif", "B04.jp2", "B04.TIFF"):
        with pytest.raises(SceneError, match=r"virtual raster \(VRT\) by the name of an image"):
            sources.inspect(virtual(tmp_path / name, band, relative=False))
    for name in (virtual(tmp_path / "b.vrt", "a.tif", relative=True), f"vrt://{band}?bands=1"):
        assert (sources.read(sources.inspect(name), [1], Window.of(0, 0, 30, 20))[0] == NUMBERS[:1]).all()


def test_a_virtual_raster_on_a_server_names_no_file_of_this_machine(tmp_path):
    band = write_raster(tmp_path / "a.tif", NUMBERS)
    virtual(tmp_path / "here.vrt", band, relative=False)
    virtual(tmp_path / "there.vrt", "a.tif", relative=True)
    with serve(tmp_path) as url:
        found = sources.inspect(f"{url}/there.vrt")
        assert [p.path for p in found.parts] == [f"/vsicurl/{url}/a.tif"]
        with pytest.raises(SceneError, match=r"here.vrt: lies on a server, and may not name .*a.tif, a file"):
            sources.inspect(f"{url}/here.vrt")


def test_a_header_is_read(tmp_path):
    path = write_raster(tmp_path / "a.tif", NUMBERS, names=("red", "nir"), nodata=7, scale=0.5)
    info = sources.inspect(str(path))
    assert info.geobox.shape == (30, 20)
    assert info.geobox.transform == Affine(10, 0, 500_000, 0, -10, 4_500_000)
    assert info.geobox.crs.epsg == 32633
    assert (info.dtypes, info.names) == (("uint16", "uint16"), ("red", "nir"))
    assert (info.scales, info.offsets, info.nodata) == ((0.5, 0.5), (0.0, 0.0), (7.0, 7.0))
    assert (info.masks, info.alpha, info.palettes) == ((0, 0), (), ())
    found = path.stat()
    assert info.version == FileVersion(str(path), found.st_size, f"{found.st_mtime_ns}/{found.st_ctime_ns}")


def test_colours_name_bands_without_description(tmp_path):
    path = tmp_path / "rgba.tif"
    write_raster(path, np.zeros((4, 8, 8), np.uint8), photometric="rgb", alpha="yes")
    assert sources.inspect(str(path)).names == ("red", "green", "blue", "")
    assert sources.inspect(str(path)).alpha == (4,)
    assert sources.inspect(str(path)).data_bands == (1, 2, 3)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(SceneError, match=r"gone\.tif: no such file$"):
        sources.inspect(str(tmp_path / "gone.tif"))


@pytest.mark.parametrize("content", [b"", b"not a raster", b"II*\x00\xff\xff\xff\xff"])
def test_a_file_that_is_no_raster_is_told(tmp_path, content):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(
        SceneError, match=r"a\.tif: cannot be opened: it is no raster, or truncated"
    ) as caught:
        sources.inspect(str(path))
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_told_with_the_place(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.ones((1, 200, 200), np.uint16))
    path.write_bytes(path.read_bytes()[:40_000])
    info = sources.inspect(str(path))
    assert (sources.read(info, [1], Window.of(0, 0, 10, 200))[0] == 1).all()
    with pytest.raises(
        SceneError, match=r"a\.tif: cannot be read at rows 150-200, columns 0-10: .*truncated"
    ):
        sources.read(info, [1], Window.of(150, 0, 50, 10))


def test_a_file_that_was_repaired_is_read_after_a_failure(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.ones((1, 200, 200), np.uint16))
    whole = path.read_bytes()
    path.write_bytes(whole[:40_000])
    info = sources.inspect(str(path))
    with pytest.raises(SceneError):
        sources.read(info, [1], Window.of(0, 0, 200, 200))
    assert info not in handles._handles.idle
    path.write_bytes(whole)
    assert (sources.read(info, [1], Window.of(0, 0, 200, 200))[0] == 1).all()


@pytest.mark.parametrize(
    ("transform", "crs", "message"),
    [
        (Affine(9, 3, 0, 3, -9, 0), "EPSG:32633", "its grid is rotated.*gdalwarp"),
        (Affine.rotation(20), None, "its grid is rotated.*gdalwarp"),
        (Affine(0, 10, 0, -10, 0, 0), "EPSG:32633", "its grid is rotated.*gdalwarp"),
        (Affine(float("nan"), 0, 0, 0, -10, 0), "EPSG:32633", "its geotransform holds NaN or infinity"),
        (Affine(10, 0, float("inf"), 0, -10, 0), "EPSG:32633", "its geotransform holds NaN or infinity"),
    ],
)  # fmt: skip
def test_a_grid_that_is_rotated_or_no_grid_is_refused(tmp_path, transform, crs, message):
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, height=8, width=8, dtype="uint8", crs=crs,
                       transform=transform) as dst:  # fmt: skip
        dst.write(np.ones((1, 8, 8), np.uint8))
    with pytest.raises(SceneError, match=rf"a\.tif: {message}"):
        sources.inspect(str(path))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_picture_without_georeference_is_welcome(tmp_path):
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, height=8, width=9, dtype="uint8") as dst:
        dst.write(np.ones((1, 8, 9), np.uint8))
    info = sources.inspect(str(path))
    assert info.geobox.crs is None
    assert info.geobox.shape == (8, 9)


def test_a_window_of_some_bands_is_read(tmp_path):
    info = sources.inspect(str(write_raster(tmp_path / "a.tif", NUMBERS)))
    values, mask = sources.read(info, [2, 1], Window.of(3, 4, 5, 6))
    assert (values == NUMBERS[::-1, 3:8, 4:10]).all()
    assert mask is None


def test_an_alpha_band_is_the_mask(tmp_path):
    planes = np.full((2, 6, 6), 9, np.uint8)
    planes[1] = 255
    planes[1, 2, 3] = 0
    path = write_raster(tmp_path / "a.tif", planes, photometric="minisblack", alpha="yes")
    info = sources.inspect(str(path))
    mask = sources.read(info, [1], Window.of(0, 0, 6, 6))[1]
    assert np.argwhere(~mask).tolist() == [[2, 3]]


def test_a_handle_is_lent_to_one_thread_and_then_to_the_next(tmp_path):
    source = sources.inspect(str(write_raster(tmp_path / "a.tif", NUMBERS)))
    lent = []

    def borrow():
        with handles._handles.borrow(source) as handle:
            lent.append(handle)

    with handles._handles.borrow(source) as mine:
        thread = threading.Thread(target=borrow)
        thread.start()
        thread.join()
    assert lent[0] is not mine
    borrow()
    thread = threading.Thread(target=borrow)
    thread.start()
    thread.join()
    assert lent[1] is lent[2] is mine


def test_threads_that_read_together_see_their_own_windows(tmp_path):
    values = np.arange(600 * 256, dtype=np.uint32).reshape(600, 256)
    source = sources.inspect(str(write_raster(tmp_path / "a.tif", values)))

    def wrong(row):
        found = sources.read(source, [1], Window.of(row, 0, 8, 256))[0]
        return (found[0] != values[row : row + 8]).any()

    with ThreadPoolExecutor(6) as pool:
        assert not any(pool.map(wrong, [*range(0, 592, 3)] * 3))
    assert 1 <= len(handles._handles.idle[source]) <= 6


def read_in_forked_processes(path):
    """Read strips of `values_of_strips` in three forked processes at once, then in this one."""
    values, source = values_of_strips(), sources.inspect(path)
    sources.read(source, [1], Window.of(0, 0, 8, 256))
    fork = multiprocessing.get_context("fork")
    together = fork.Barrier(3)

    def count_wrong_strips():
        wrong = 0
        # In step and one strip after the other: a process that sees no need to seek is where others left it.
        for row in range(0, 400, 8):
            together.wait(timeout=20)
            found = sources.read(source, [1], Window.of(row, 0, 8, 256))[0]
            wrong += (found[0] != values[row : row + 8]).any()
        sys.exit(int(wrong))

    processes = [fork.Process(target=count_wrong_strips, daemon=True) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [p.exitcode for p in processes] == [0, 0, 0]
    assert (sources.read(source, [1], Window.of(200, 0, 8, 256))[0] == values[200:208]).all()


def values_of_strips():
    return np.arange(1200 * 256, dtype=np.uint32).reshape(1200, 256)


def test_forked_processes_do_not_read_where_the_others_are(tmp_path):
    path = write_raster(tmp_path / "a.tif", values_of_strips(), blockysize=8)
    # A process of its own: what hundreds of tests leave behind in this one is not made for being forked.
    code = "import sys; from tests.scenes import test_sources as t; t.read_in_forked_processes(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, check=True, timeout=120)


def test_no_more_handles_are_kept_than_allowed(tmp_path):
    infos = [sources.inspect(str(write_raster(tmp_path / f"{i}.tif", NUMBERS[:1] + i))) for i in range(80)]
    for i, info in [*enumerate(infos), *enumerate(infos)]:
        assert sources.read(info, [1], Window.of(0, 0, 1, 1))[0] == i
    kept = handles._handles.idle
    assert sum(map(len, kept.values())) == handles.MOST_HANDLES
    assert list(kept) == infos[-handles.MOST_HANDLES :]


@pytest.mark.parametrize(("rotation", "fine"), [(1e-13, True), (1e-3, True), (2e-2, False)])
def test_a_rotation_of_less_than_a_thousandth_of_a_pixel_is_rounding(tmp_path, rotation, fine):
    path = tmp_path / "a.tif"
    place = Affine(10, rotation / 8, 50, -rotation / 8, -10, 50)
    with rasterio.open(path, "w", driver="GTiff", count=1, height=8, width=8, dtype="uint8", crs="EPSG:32633",
                       transform=place) as dst:  # fmt: skip
        dst.write(np.ones((1, 8, 8), np.uint8))
    if fine:
        assert sources.inspect(str(path)).geobox.transform == Affine(10, 0, 50, 0, -10, 50)
        return
    with pytest.raises(SceneError, match="its grid is rotated"):
        sources.inspect(str(path))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_crs_without_a_grid_is_refused(tmp_path):
    with pytest.raises(SceneError, match=r"has the CRS EPSG:32633 and no grid, .* -a_ullr, or take"):
        sources.inspect(str(write_at_identity(tmp_path / "a.tif")))


def test_rpc_beside_a_crs_are_refused(tmp_path):
    path = write_at_identity(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as dst:
        dst.rpcs = RPC(
            height_off=0,
            height_scale=1,
            lat_off=45,
            lat_scale=1,
            line_den_coeff=[1.0] * 20,
            line_num_coeff=[1.0] * 20,
            line_off=1,
            line_scale=1,
            long_off=15,
            long_scale=1,
            samp_den_coeff=[1.0] * 20,
            samp_num_coeff=[1.0] * 20,
            samp_off=1,
            samp_scale=1,
        )
    with pytest.raises(SceneError, match=r"has rational polynomial coefficients \(RPC\) and no grid"):
        sources.inspect(str(path))


def write_at_identity(path):
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=4, width=4, dtype="uint8", crs="EPSG:32633"
    ) as dst:
        dst.write(np.ones((1, 4, 4), np.uint8))
    return path


def test_nodata_that_no_double_holds_masks(tmp_path):
    most = np.iinfo(np.uint64).max
    values = np.array([[[1, 2], [most, 4]]], np.uint64)
    write_raster(tmp_path / "a.tif", values)
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="2" rasterYSize="2"><GeoTransform>0,1,0,9,0,-1</GeoTransform>'
        f'<VRTRasterBand dataType="UInt64" band="1"><NoDataValue>{most}</NoDataValue><SimpleSource>'
        '<SourceFilename relativeToVRT="1">a.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    _, valid = sources.read(sources.inspect(str(tmp_path / "a.vrt")), [1], Window.of(0, 0, 2, 2))
    assert valid.tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize("way", ["points", "rpc"])
def test_what_lies_somewhere_without_a_grid_is_refused(tmp_path, way):
    path = write_raster(tmp_path / "a.tif", NUMBERS, crs=None)
    with rasterio.open(path, "r+") as dst:
        dst.transform = Affine.identity()
        if way == "points":
            corners = [(r, c) for r in (0, 30) for c in (0, 20)]
            points = [GroundControlPoint(r, c, 500_000 + 10 * c, 4_500_000 - 10 * r) for r, c in corners]
            dst.gcps = points, rasterio.crs.CRS.from_epsg(32633)
        else:
            dst.rpcs = RPC(
                height_off=0, height_scale=1, lat_off=45, lat_scale=1, line_den_coeff=[1.0] * 20,
                line_num_coeff=[1.0] * 20, line_off=1, line_scale=1, long_off=15, long_scale=1,
                samp_den_coeff=[1.0] * 20, samp_num_coeff=[1.0] * 20, samp_off=1, samp_scale=1,
            )  # fmt: skip
    option = {"points": "-tps", "rpc": "-rpc"}[way]
    with pytest.raises(SceneError, match=rf"no grid, so a map of it would lie nowhere; .*gdalwarp {option} "):
        sources.inspect(str(path))


def empty_vrt(path, place="", side=8):
    """Write a VRT of one band without content; `place` is XML of its CRS and geotransform."""
    band = '<VRTRasterBand dataType="Byte" band="1"/>'
    path.write_text(f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}">{place}{band}</VRTDataset>')
    return path


def test_a_virtual_raster_of_an_unknown_crs_is_no_photograph(tmp_path):
    path = empty_vrt(
        tmp_path / "a.vrt", "<SRS>EPSG:999999</SRS><GeoTransform>5, 10, 0, 5, 0, -10</GeoTransform>"
    )
    with pytest.raises(SceneError, match=r"its CRS EPSG:999999 is not known to PROJ"):
        sources.inspect(str(path))


@pytest.mark.parametrize("stream", ["/vsistdin/", "/vsicurl_streaming/http://127.0.0.1:9/a.tif"])
def test_streams_are_refused_before_anything_is_asked(stream):
    with pytest.raises(SceneError, match="is a stream, and windows are read in any order"):
        sources.inspect(stream)


def test_pixels_without_width_are_refused(tmp_path):
    path = empty_vrt(
        tmp_path / "a.vrt", "<SRS>EPSG:32633</SRS><GeoTransform>5, 0, 0, 5, 0, -10</GeoTransform>"
    )
    with pytest.raises(SceneError, match="its pixels have no width or height"):
        sources.inspect(str(path))


def test_a_header_of_more_pixels_than_any_scene_has_is_refused(tmp_path):
    path = empty_vrt(tmp_path / "a.vrt", side=2147483647)
    with pytest.raises(SceneError, match="2147483647 x 2147483647 px are more than any scene has"):
        sources.inspect(str(path))


def test_a_container_of_data_sets_names_them(tmp_path):
    path = cube(tmp_path / "cube.nc")
    with pytest.raises(SceneError, match=r"holds 2 data sets .*; name one of them: netcdf:.*cube\.nc:blue$"):
        sources.inspect(str(path))
    found = sources.inspect(f"NETCDF:{path}:red")
    assert found.geobox.shape == (6, 8)
    assert [Path(v.path).name for v in found.files] == ["cube.nc:red"]
    values = sources.read(found, [1], Window.of(0, 0, 6, 8))[0]
    assert (values[0] == np.arange(48).reshape(6, 8)).all()


def cube(path):
    """Write a netCDF file of two variables on a grid in degrees."""
    import xarray

    y, x = 50 - 0.1 * np.arange(6), 10 + 0.1 * np.arange(8)
    values = np.arange(48, dtype=np.int16).reshape(6, 8)
    data = xarray.Dataset(dict.fromkeys(("blue", "red"), (("lat", "lon"), values)), {"lat": y, "lon": x})
    data.lat.attrs.update(standard_name="latitude", units="degrees_north")
    data.lon.attrs.update(standard_name="longitude", units="degrees_east")
    data.to_netcdf(path, engine="scipy")
    return path


def test_a_photograph_lies_upright_with_its_corner_at_zero(tmp_path):
    source = sources.inspect(str(write_photograph(tmp_path / "a.tif", NUMBERS)))
    assert source.geobox.transform == Affine.scale(1, -1)
    assert source.geobox.boundingbox.bbox == (0, -30, 20, 0)
    placed = sources.inspect(str(write_raster(tmp_path / "b.tif", NUMBERS, crs=None)))
    assert placed.geobox.transform == Affine(10, 0, 500_000, 0, -10, 4_500_000)


def test_overviews_of_a_photograph_cover_it(tmp_path):
    source = sources.inspect(str(write_photograph(tmp_path / "a.tif", NUMBERS)))
    half = sources.coarser(source, 2)
    assert half.geobox.shape == (15, 10)
    assert half.geobox.boundingbox == source.geobox.boundingbox


def test_a_message_of_gdal_that_is_no_utf8_is_an_error_like_others(tmp_path):
    path = tmp_path / "scene.vrt"
    path.write_bytes(b"<VRTDataset rasterXSize='1' rasterYSize='1'><\xfc></VRTDataset>")
    with pytest.raises(SceneError, match=r"scene\.vrt: cannot be opened: it is no raster, or truncated"):
        sources.inspect(str(path))
