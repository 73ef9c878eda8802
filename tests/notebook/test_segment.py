"""`geoseg.segment`: arrays in, arrays out, and the bytes of a run whatever the arrays are like."""

import re
import warnings
from collections import Counter

import dask
import dask.array
import numpy as np
import pytest
import shapely
import xarray
from dask.callbacks import Callback
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

import geoseg
from geoseg.core.errors import ConfigError, GeosegWarning, PlanError, SceneError
from geoseg.inference import plan, predict
from geoseg.notebook import place
from tests.conftest import BAND_NAMES, ROOT, reflectance, write_pipeline, write_raster
from tests.inference.free import Untracked
from tests.notebook.arrays import dataset, stacked

HEIGHT, WIDTH = 230, 300


@pytest.fixture(scope="module")
def numbers():
    numbers = reflectance(HEIGHT, WIDTH)
    numbers[:, :30, 40:75] = 0
    numbers[2, 100:104, 50] = 0
    return numbers


@pytest.fixture(scope="module", autouse=True)
def _small_blocks():
    """Many blocks of two tiles a side, in runs and of arrays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BLOCK_PIXELS", 128)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, bundle, numbers):
    """A run of the numbers as a file, with tiles of 64 px."""
    folder = tmp_path_factory.mktemp("run")
    scene = write_raster(folder / "s.tif", numbers, names=BAND_NAMES, scale=0.0001, nodata=0)
    pipeline = write_pipeline(folder, scene, bundle.folder, "tiling: {tile: 64}")
    return geoseg.run(pipeline, output=folder / "out", progress=False, outputs={"probabilities": True})


@pytest.fixture(scope="module")
def classes(run):
    return run.classes().values


def segment(data, bundle, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"segment: a block of .* chunks", category=GeosegWarning)
        return geoseg.segment(data, bundle, **{"tile": 64, "scale": 1e-4, **options})


def test_numpy_gives_numpy_and_the_bytes_of_a_run(run, classes, bundle, numbers):
    found = segment(dataset(numbers), bundle, outputs=("class", "confidence", "probability"))
    assert isinstance(found["class"].data, np.ndarray)
    assert found["class"].dtype == np.uint8
    assert np.array_equal(found["class"], classes)
    assert np.array_equal(found.confidence, run.confidence(), equal_nan=True)
    assert found.confidence.dtype == found.probability.dtype == np.float32
    assert found.probability.dims == ("class_name", "y", "x")
    best = found.probability.fillna(-1).argmax("class_name").values + 1
    assert (best == classes)[classes != 255].mean() > 0.99  # but for ties of whole per cent
    assert (np.isnan(found.confidence) == (classes == 255)).all()


def test_dask_gives_dask_and_computes_nothing_but_windows_of_the_check(classes, bundle, numbers):
    computed = []

    def counted(block):
        computed.append(block.shape)
        return block

    lazy = dask.array.from_array(numbers, chunks=(4, 50, 50)).map_blocks(
        counted, dtype=numbers.dtype, meta=numbers
    )
    data = dataset(numbers).map(lambda v: v)
    for i, name in enumerate(BAND_NAMES):
        data[name] = (("y", "x"), lazy[i], {"nodata": 0})
    found = segment(data, bundle, checks="off")
    assert computed == []
    segment(data, bundle)
    assert len(computed) > 0
    computed.clear()
    large = xarray.concat([data] * 8, "y").assign_coords(y=np.arange(8 * HEIGHT) * -10.0)
    segment(large, bundle)
    assert len(computed) <= 9 * 8 * 8  # chunks of 50 px under nine windows, of which three lie side by side
    assert np.array_equal(found["class"].compute(), classes)
    assert np.array_equal(found["class"].compute(), classes)  # again, and the same


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_chunks_order_and_direction_change_no_byte(classes, bundle, numbers, data):
    ragged = st.lists(st.integers(25, 90) | st.just(HEIGHT), min_size=1, max_size=6)
    rows, cols = (_chunks(data.draw(ragged), n) for n in (HEIGHT, WIDTH))
    array = data.draw(st.sampled_from([dataset, stacked]))(numbers)
    up, left = data.draw(st.booleans()), data.draw(st.booleans())
    array = array.isel(y=slice(None, None, -1 if up else 1), x=slice(None, None, -1 if left else 1))
    array = array.transpose(*data.draw(st.permutations(list(array.dims))))
    found = segment(array.chunk(y=rows, x=cols), bundle, checks="off")["class"]
    assert found.dims == ("y", "x")
    assert np.array_equal(found.y, array.y)
    assert np.array_equal(found.sortby("y", ascending=False).sortby("x"), classes)


def _chunks(sizes, length):
    """Return chunks of these sizes in turn."""
    found = []
    while sum(found) < length:
        found.append(min(sizes[len(found) % len(sizes)], length - sum(found)))
    return tuple(found)


@pytest.mark.parametrize("chunks", [{"y": 1, "x": -1}, {"y": -1, "x": 1}, {"y": -1, "x": -1}, {"band": 1}])
def test_chunks_of_a_pixel_and_one_chunk(classes, bundle, numbers, chunks):
    found = segment(stacked(numbers).chunk(chunks), bundle, checks="off")
    assert np.array_equal(found["class"], classes)


def test_output_chunks_are_even_so_that_zarr_takes_them(bundle, numbers):
    for data in (dataset(numbers), dataset(numbers)[{"y": slice(None, None, -1)}]):
        for sizes in segment(data.chunk(), bundle)["class"].chunks:
            assert len(set(sizes[:-1])) <= 1
            assert len(sizes) > 1
            assert sizes[-1] <= sizes[0]


def test_float_reflectance_nan_and_a_mask_are_as_good(classes, bundle, numbers):
    physical = (dataset(numbers, attrs={}) * 1e-4).astype(np.float32).where(dataset(numbers) != 0)
    found = segment(physical, bundle, scale=None)["class"].values
    assert ((found == 255) == (classes == 255)).all()
    assert (found == classes).mean() >= 0.9999
    valid = xarray.DataArray((numbers != 0).all(axis=0), dims=("y", "x"))
    found = segment(dataset(numbers, attrs={}), bundle, mask=valid)
    assert np.array_equal(found["class"], classes)
    turned = dataset(numbers, attrs={}).assign(valid=valid)[{"y": slice(None, None, -1)}]
    found = segment(turned, bundle)["class"]
    assert np.array_equal(found[::-1], classes)
    swapped = valid.assign_coords(y=dataset(numbers).y)[::-1].T.astype(np.uint8).chunk(x=7)
    found = segment(dataset(numbers, attrs={}), bundle, mask=swapped)["class"]
    assert np.array_equal(found, classes)


def test_numbers_of_other_types_and_byte_orders_are_as_good(classes, bundle, numbers):
    for dtype in (">u2", "<i4", ">f4", "f8", "i8"):
        found = segment(dataset(numbers.astype(dtype)), bundle)
        assert np.array_equal(found["class"], classes), dtype
    half = segment(dataset((numbers * 1e-4).astype("f2")), bundle, scale=None, nodata=0)
    assert (half["class"].values == classes).mean() > 0.97


def test_an_opened_scene_gives_the_bytes_of_the_run_as_it_is_and_cut(run, classes, bundle):
    source = run.record.identity["scene"]["files"][0][0]
    scene = geoseg.open_scene(source, chunks=77)
    found = segment(scene, bundle, scale=None)
    assert "geoseg-band" not in str(list(found["class"].data.dask.layers))  # blocks read their own windows
    assert np.array_equal(found["class"], classes)
    assert np.array_equal(segment(scene[list(BAND_NAMES)], bundle, scale=None, nodata=0)["class"], classes)
    assert np.array_equal(segment(scene.compute(), bundle, scale=None)["class"], classes)
    loaded = geoseg.open_scene(source, chunks=None)
    assert isinstance(loaded.red.data, np.ndarray)
    part = scene.isel(y=slice(10, 200), x=slice(0, 150))
    lazy, eager = (segment(p, bundle, scale=None)["class"] for p in (part, part.compute()))
    assert np.array_equal(lazy, eager)
    assert lazy.odc.geobox == part.odc.geobox


def test_an_area_of_interest_has_the_bytes_of_the_whole_scene(run, classes, bundle):
    source = run.record.identity["scene"]["files"][0][0]
    whole = geoseg.open_scene(source)
    grid = whole.odc.geobox
    corners = [grid.pix2wld(col, row) for col, row in ((90, 40), (200, 60), (150, 190))]
    area = shapely.Polygon(
        Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y) for x, y in corners
    )
    part = geoseg.open_scene(source, aoi=area)
    assert 0.4 < part.valid.values.mean() < 0.6
    assert part.sizes["x"] < 115
    found = segment(part, bundle, scale=None, checks="off")["class"]
    expected = run.classes().sel(y=part.y, x=part.x).where(part.valid, 255)
    assert np.array_equal(found, expected)
    for same in (area.wkt, shapely.geometry.mapping(area)):
        assert geoseg.open_scene(source, aoi=same).valid.equals(part.valid)
    box = geoseg.open_scene(source, aoi=area.bounds)
    assert box.sizes["x"] >= part.sizes["x"]
    with pytest.raises(ConfigError, match="open_scene: aoi"):
        geoseg.open_scene(source, aoi=5)


def test_each_date_of_a_cube_is_classified_on_its_own(classes, bundle, numbers):
    other = np.ascontiguousarray(numbers[:, ::-1])
    days = np.array(["2024-06-01", "2024-07-01"], "datetime64[ns]")
    cube = xarray.concat([dataset(numbers), dataset(other)], "time").assign_coords(time=days)
    alone = segment(dataset(other), bundle)["class"].values
    for data in (cube, cube.chunk(time=1, y=100, x=90), cube.chunk().transpose("y", "time", "x")):
        found = segment(data, bundle, outputs=("class", "probability"))
        assert found["class"].dims == ("time", "y", "x")
        assert found.probability.dims == ("time", "class_name", "y", "x")
        assert np.array_equal(found.time, days)
        assert np.array_equal(found["class"], [classes, alone])
    mask = xarray.DataArray([True, False], dims="time") & (cube.red.isel(time=0, drop=True) >= 0)
    found = segment(cube, bundle, mask=mask, checks="off")["class"]
    assert np.array_equal(found[0], classes)
    assert (found[1] == 255).all()


def test_the_result_keeps_place_coordinates_and_attributes(bundle, numbers):
    data = dataset(numbers).assign_attrs(title="mine").assign_coords(where=("y", np.arange(HEIGHT)), tag="a")
    found = segment(data.chunk(y=100), bundle)
    assert found.odc.geobox == data.odc.geobox
    assert found.attrs["title"] == "mine"
    assert found.attrs["model_sha256"] == bundle.sha256
    assert re.fullmatch("[0-9a-f]{64}", found.attrs["fingerprint"])
    assert found["where"].dims == ("y",)
    assert found.tag.item() == "a"
    flags = found["class"].attrs
    assert flags["flag_values"].tolist() == [1, 2, 3]
    assert flags["flag_meanings"] == "class-1 class-2 class-3"
    assert flags["flag_colors"] == "#1b7837 #f2cf63 #2b7bba"
    assert flags["nodata"] == found["class"].encoding["_FillValue"] == 255
    assert found["class"].odc.nodata == 255
    assert all(v.encoding["grid_mapping"] == "spatial_ref" for v in found.data_vars.values())


def test_a_crs_in_attributes_becomes_a_coordinate_and_a_stale_transform_goes(bundle, numbers):
    array = stacked(numbers).drop_vars("spatial_ref").assign_attrs(crs="EPSG:32633")
    assert segment(array, bundle).odc.crs.epsg == 32633
    data = dataset(numbers)
    data.spatial_ref.attrs["GeoTransform"] = "500000 10 0 4500000 0 -10"
    assert "GeoTransform" in segment(data, bundle).spatial_ref.attrs
    part = segment(data.isel(y=slice(64, None)), bundle)
    assert "GeoTransform" not in part.spatial_ref.attrs
    assert "GeoTransform" in data.spatial_ref.attrs  # that of the caller stays
    assert part.odc.geobox == data.isel(y=slice(64, None)).odc.geobox


def test_processes_and_a_cluster_give_the_same_bytes(classes, bundle, numbers):
    data = dataset(numbers).chunk(y=100, x=100)
    found = segment(data, bundle)
    assert np.array_equal(found["class"].compute(scheduler="processes", num_workers=1), classes)
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, resources={"GPU": 1}
    )
    with cluster, Client(cluster) as client, dask.config.set({"optimization.fuse.active": False}):
        found = segment(data, bundle)
        assert np.array_equal(found["class"].compute(), classes)
        seen = _restrictions(client, client.compute(found["class"].data))
        polygons = geoseg.vectorize(found)
    assert {step for step, restricted in seen if restricted} == {"predict"}
    assert len(polygons) == len(geoseg.vectorize(found.compute(scheduler="threads")))


def _restrictions(client, future):
    """Return the steps on the scheduler, and whether each asks for a resource."""
    for _ in range(500):
        found = client.run_on_scheduler(
            lambda dask_scheduler: {
                (str(key).partition("geoseg-")[2].partition("-")[0], bool(task.resource_restrictions))
                for key, task in dask_scheduler.tasks.items()
                if "geoseg-" in str(key)
            }
        )
        if found or future.done():
            return found
    return set()


def test_workers_with_different_devices_are_told(bundle, numbers, monkeypatch):
    class Fake:
        def scheduler_info(self, **_):
            return {"workers": {"a": {"nthreads": 2, "resources": {}}, "b": {"nthreads": 4}}}

        def run(self, *_, **__):
            return {"a": "cpu", "b": "cuda"}

    monkeypatch.setattr(place, "get_client", Fake)
    with pytest.raises(geoseg.errors.ClusterError, match=r"different devices \(cpu, cuda\); say which"):
        segment(dataset(numbers).chunk(), bundle)
    segment(dataset(numbers).chunk(), bundle, device="cpu")


def test_a_run_that_was_stopped_in_this_process_stops_no_array(classes, bundle, numbers):
    predict.shutdown_requested.set()
    try:
        found = segment(dataset(numbers), bundle)
    finally:
        predict.shutdown_requested.clear()
    assert np.array_equal(found["class"], classes)


def test_graphs_grow_with_the_blocks_and_not_faster(bundle):
    def tasks(side):
        data = xarray.Dataset(
            {n: (("y", "x"), dask.array.zeros((side, side), chunks=64)) for n in BAND_NAMES}
        )
        found = segment(data, bundle, checks="off", gsd=10)["class"].data
        blocks = found.npartitions
        return len([k for k in dict(found.dask) if "geoseg-" in str(k)]) / blocks

    assert tasks(1280) <= 1.1 * tasks(640)


@pytest.mark.parametrize("files", [True, False])
def test_no_more_than_rows_of_blocks_are_kept(bundle, monkeypatch, tmp_path, files):
    monkeypatch.setattr(predict, "load_segmenter", lambda spec: Untracked())

    class Kept(Callback):
        def _posttask(self, key, value, dsk, state, worker_id):
            now = Counter(k[0].split("-")[1] for k in state["cache"] if isinstance(k, tuple) and "-" in k[0])
            most.update({step: n - most[step] for step, n in now.items() if n > most[step]})

    most = Counter()
    path = write_raster(tmp_path / "s.tif", reflectance(2400, 500), names=BAND_NAMES, scale=1e-4)
    data = geoseg.open_scene(path, chunks=128)
    found = segment(data if files else data * 1, bundle, checks="off", scale=None)
    rows, cols = found["class"].data.numblocks
    assert rows >= 4 * cols
    with Kept():
        dask.compute(found.variables["class"].data, found.confidence.data, scheduler="sync")
    assert most["predict"] <= 2 * cols, most
    assert most["settle"] <= 3 * cols, most


def test_the_check_of_the_input_decides_about_the_scale(bundle, numbers):
    data = dataset(numbers)
    for lazily in (data, data.chunk()):
        with pytest.raises(PlanError, match=r"scale: 0\.0001.* would fit; to go on .* checks='warn'"):
            segment(lazily, bundle, scale=None)
        with pytest.warns(GeosegWarning, match=r"scale: 0\.0001"):
            segment(lazily, bundle, scale=None, checks="warn")
        segment(lazily, bundle, scale=None, checks="off")
    with pytest.raises(PlanError, match="a GSD of 30 m"):
        segment(dataset(numbers, gsd=30), bundle)
    bare = data.drop_vars(["x", "y", "spatial_ref"])
    with pytest.warns(GeosegWarning, match="has no CRS, so its ground sample distance is unknown"):
        unknown = segment(bare, bundle)["class"]
    known = segment(bare, bundle, gsd=10)["class"]
    assert (known.values == unknown.values).all()
    with pytest.warns(GeosegWarning, match="have no valid pixel, so its numbers were not checked"):
        segment((data * 0).chunk(), bundle, nodata=0)
    with pytest.raises(SceneError, match="every pixel looked at is nodata"):
        segment(data * 0, bundle, nodata=0)


def test_scale_and_offset_may_be_given_by_band_or_lie_in_attributes(classes, bundle, numbers):
    doubled = numbers.copy()
    doubled[1] *= 2
    for scale in ({"green": 5e-5, "blue": 1e-4, "red": 1e-4, "nir": 1e-4}, {"green": 5e-5}):
        data = dataset(doubled)
        for name in BAND_NAMES:
            data[name].attrs["scale_factor"] = 1e-4
        found = segment(data, bundle, scale=scale if len(scale) > 1 else None, checks="off")
        assert np.array_equal(found["class"], classes) == (len(scale) > 1)
    data = stacked(doubled).assign_attrs(scale_factor=None, scales=(1e-4, 5e-5, 1e-4, 1e-4))
    assert np.array_equal(segment(data, bundle, scale=None)["class"], classes)
    with pytest.raises(SceneError, match="scale: the network has no band purple"):
        segment(dataset(numbers), bundle, scale={"purple": 1})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tile": 33}, "tile: 33 does not fit the network"),
        ({"tile": "big"}, "segment: tile"),
        ({"device": "tpu"}, "segment: device"),
        ({"augment": "all"}, "segment: augment"),
        ({"checks": "maybe"}, "checks: 'maybe' is none of"),
        ({"outputs": "class"}, "outputs: 'class'; give a list"),
        ({"outputs": ["classes"]}, r"outputs: \['classes'\]"),
        ({"scale": 0}, "its scale: a number above 0, not 0"),
        ({"nodata": "no"}, "its nodata: a number, not"),
        ({"gsd": -3}, "gsd: a number of at least 0.0001, not -3"),
        ({"mask": np.ones((2, 2))}, "mask: is ndarray"),
        ({"mask": xarray.DataArray(np.ones((2, 2), bool), dims=("y", "x"))}, "mask: its y is not that"),
        ({"mask": xarray.DataArray(np.ones(3, bool), dims="z")}, "mask: has the dimensions z"),
        ({"mask": xarray.DataArray(np.ones((HEIGHT, WIDTH)), dims=("y", "x"))}, "mask: holds float64"),
    ],
)
def test_options_that_mean_nothing_are_told_in_a_line(bundle, numbers, options, told):
    with pytest.raises((ConfigError, SceneError, PlanError), match=told) as error:
        segment(dataset(numbers), bundle, **options)
    assert len(str(error.value)) < 300


def test_data_that_is_none_is_told(bundle, numbers):
    with pytest.raises(SceneError, match="data: is ndarray; give an xarray DataArray or Dataset"):
        segment(numbers, bundle)
    with pytest.raises(SceneError, match="holds complex128; a network takes integers or real numbers"):
        segment(dataset(numbers.astype(complex)), bundle)
    with pytest.raises(SceneError, match="holds bool"):
        segment(dataset(numbers > 5), bundle)


def test_many_chunks_under_a_block_are_said_once(bundle, numbers):
    with pytest.warns(GeosegWarning, match=r"a block of .* px takes \d+ chunks .* rechunk") as said:
        geoseg.segment(dataset(numbers).chunk(y=4, x=40), bundle, tile=64, scale=1e-4, checks="off")
    assert len(said) == 1


def test_netcdf_and_zarr_hold_what_was_found(tmp_path, bundle, numbers, classes):
    pytest.importorskip("h5netcdf")
    pytest.importorskip("h5py")
    pytest.importorskip("zarr")
    found = segment(dataset(numbers).chunk(y=100), bundle, outputs=("class", "confidence", "probability"))
    found.to_netcdf(tmp_path / "m.nc", engine="h5netcdf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what zarr v3 does not promise yet
        found.to_zarr(tmp_path / "m.zarr", zarr_format=3)
    for again in (
        xarray.open_dataset(tmp_path / "m.nc", engine="h5netcdf", mask_and_scale=False),
        xarray.open_zarr(tmp_path / "m.zarr", mask_and_scale=False),
    ):
        assert np.array_equal(again["class"], classes)
        assert again.odc.crs.epsg == 32633
    scaled = dataset(numbers)
    for name in BAND_NAMES:
        scaled[name].attrs |= {"scale_factor": 1e-4, "_FillValue": np.uint16(0)}
        del scaled[name].attrs["nodata"]
    scaled.to_netcdf(tmp_path / "s.nc", engine="h5netcdf")
    raw = xarray.open_dataset(tmp_path / "s.nc", engine="h5netcdf", mask_and_scale=False, chunks={"y": 50})
    assert np.array_equal(segment(raw, bundle, scale=None)["class"], classes)
    decoded = xarray.open_dataset(tmp_path / "s.nc", engine="h5netcdf", decode_coords="all")
    assert (segment(decoded, bundle, scale=None)["class"] == classes).mean() > 0.9999


def test_rioxarray_reads_what_segment_takes_and_writes_what_it_gives(tmp_path, run, classes, bundle):
    rioxarray = pytest.importorskip("rioxarray")
    source = run.record.identity["scene"]["files"][0][0]
    for options in ({}, {"chunks": 64}, {"masked": True}, {"band_as_variable": True}):
        with rioxarray.open_rasterio(source, **options) as data:
            found = segment(data, bundle, scale=None)
            assert np.array_equal(found["class"], classes), options
    found["class"].rio.to_raster(tmp_path / "c.tif")
    again = rioxarray.open_rasterio(tmp_path / "c.tif")
    assert again.rio.nodata == 255
    assert again.rio.crs.to_epsg() == 32633
    assert again.rio.bounds() == found.rio.bounds()
    assert np.array_equal(again[0], classes)


def test_the_python_of_the_guide_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "BLOCK_PIXELS", 1024)
    names = {}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs/arrays.md").read_text(), flags=re.DOTALL):
        exec(code, names)  # noqa: S102 (the guide's own code)
    assert names["polygons"].crs.to_epsg() == 32618
