import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.core.errors import SceneError
from geoseg.core.geometry import Window
from geoseg.scenes import sources
from tests.conftest import ROOT, write_raster

NUMBERS = np.arange(2 * 30 * 20, dtype=np.uint16).reshape(2, 30, 20)


@pytest.mark.parametrize("uri", ["s3://b/a.tif", "https://x/a.tif", "/vsizip/a.zip/a.tif", "/abs/a.tif"])
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


def test_a_header_is_read(tmp_path):
    path = write_raster(tmp_path / "a.tif", NUMBERS, names=("red", "nir"), nodata=7, scale=0.5)
    info = sources.inspect(str(path))
    assert info.geobox.shape == (30, 20)
    assert info.geobox.transform == Affine(10, 0, 500_000, 0, -10, 4_500_000)
    assert info.geobox.crs.epsg == 32633
    assert (info.dtype, info.names) == ("uint16", ("red", "nir"))
    assert (info.scales, info.offsets, info.nodata) == ((0.5, 0.5), (0.0, 0.0), (7.0, 7.0))
    assert not info.masked
    assert info.size == path.stat().st_size
    assert info.modified == path.stat().st_mtime_ns


def test_colours_name_bands_without_description(tmp_path):
    path = tmp_path / "rgba.tif"
    write_raster(path, np.zeros((4, 8, 8), np.uint8), photometric="rgb", alpha="yes")
    assert sources.inspect(str(path)).names == ("red", "green", "blue", "")
    assert sources.inspect(str(path)).masked


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
    assert info not in sources._handles.idle
    path.write_bytes(whole)
    assert (sources.read(info, [1], Window.of(0, 0, 200, 200))[0] == 1).all()


@pytest.mark.parametrize(
    ("transform", "crs", "message"),
    [
        (Affine(9, 3, 0, 3, -9, 0), "EPSG:32633", "its grid is rotated.*gdalwarp"),
        (Affine.rotation(20), None, "its grid is rotated.*gdalwarp"),
        (Affine(10, 0, 50, 0, 10, 50), "EPSG:32633", "its grid is not north-up.*gdalwarp"),
        (Affine(-10, 0, 50, 0, -10, 50), "EPSG:32633", "its grid is not north-up.*gdalwarp"),
    ],
)  # fmt: skip
def test_a_grid_that_is_not_north_up_is_refused(tmp_path, transform, crs, message):
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


def test_complex_numbers_are_refused(tmp_path):
    path = write_raster(tmp_path / "sar.tif", np.ones((1, 8, 8), np.complex64))
    with pytest.raises(SceneError, match=r"sar\.tif: complex numbers \(complex64\) cannot be classified"):
        sources.inspect(str(path))


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
    assert info.masked
    mask = sources.read(info, [1], Window.of(0, 0, 6, 6), mask=True)[1]
    assert np.argwhere(~mask).tolist() == [[2, 3]]


def test_a_handle_is_lent_to_one_thread_and_then_to_the_next(tmp_path):
    source = sources.inspect(str(write_raster(tmp_path / "a.tif", NUMBERS)))
    lent = []

    def borrow():
        with sources._handles.borrow(source) as handle:
            lent.append(handle)

    with sources._handles.borrow(source) as mine:
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
    assert 1 <= len(sources._handles.idle[source]) <= 6


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
    kept = sources._handles.idle
    assert sum(map(len, kept.values())) == sources._IDLE_HANDLES
    assert list(kept) == infos[-sources._IDLE_HANDLES :]
