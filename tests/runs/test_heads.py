"""Maps of numbers and of labels: the same bytes however they are made, and every file of a run."""

import json
import re

import numpy as np
import pytest
import rasterio
import torch

import geoseg
from geoseg.core.errors import ConfigError
from geoseg.runs.prepare import prepare
from geoseg.runs.validate import validate
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster
from tests.heads import LABELS, TARGET, label_bundle, regression_bundle

LINES = ("checks: {statistics: off}", "inference: {backend: torch, precision: fp32}")


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_pictures):
    """A scene with nodata in its middle, and a bundle and a pipeline of each kind."""
    folder = tmp_path_factory.mktemp("heads")
    numbers = reflectance(230, 260)
    numbers[:, 60:90, 100:180] = 0
    write_raster(folder / "scene.tif", numbers, names=BAND_NAMES, scale=0.0001, nodata=0)
    regression_bundle(folder / "height")
    label_bundle(folder / "labels")
    for name in ("height", "labels"):
        (folder / f"of-{name}").mkdir()
        write_pipeline(folder / f"of-{name}", folder / "scene.tif", folder / name, *LINES)
    return folder


def run(place, name, out, **changes):
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return geoseg.run(place / f"of-{name}" / "pipeline.yaml", output=place / out, progress=False, **changes)


@pytest.fixture(scope="module")
def heights(place):
    return run(place, "height", "heights", tiling__block=1)


@pytest.fixture(scope="module")
def labels(place):
    return run(place, "labels", "labelled", tiling__block=1, outputs__probabilities=True)


def read(path):
    with rasterio.open(path) as src:
        return src.read()


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("name", "files", "more"),
    [("height", ["values"], {}), ("labels", ["labels", "probabilities"], {"outputs__probabilities": True})],
)
def test_every_block_size_gives_the_same_bytes(place, heights, labels, name, files, more):
    first = {"height": heights, "labels": labels}[name]
    other = run(place, name, f"other-{name}", tiling__block=3, inference__batch=2, **more)
    for file in files:
        one, two = (read(place / r.folder / f"{file}.tif") for r in (first, other))
        assert one.tobytes() == two.tobytes()


def test_values_are_those_of_the_network_to_half_a_step(place, tmp_path):
    numbers = reflectance(128, 128, seed=3)
    write_raster(tmp_path / "small.tif", numbers, names=BAND_NAMES, scale=0.0001)
    write_pipeline(tmp_path, tmp_path / "small.tif", place / "height", *LINES)
    found = geoseg.run(tmp_path / "pipeline.yaml", progress=False)
    network = geoseg.open_bundle(place / "height").network()
    x = (torch.from_numpy(numbers.astype(np.float32)) * 1e-4 - 0.22) / 0.1
    with torch.inference_mode():
        z = network(x[None])[0, 0].double().numpy()
    expected = (z * TARGET["std"] + TARGET["mean"]).clip(TARGET["min"], TARGET["max"])
    step = 40 / 65_534
    assert found.record.values.step == pytest.approx(step)
    assert (
        np.abs(read(found.folder / "values.tif")[0] - expected).max() < 0.5 * step + 1e-4
    )  # batch norms are folded
    assert expected.std() > 1  # it is no flat map


def test_a_map_of_numbers_says_what_it_holds(place, heights):
    with rasterio.open(heights.folder / "values.tif") as src:
        values = src.read(1)
        assert (src.dtypes, src.units, src.descriptions) == (("float32",), ("m",), ("canopy_height",))
        assert np.isnan(src.nodata)
        statistics = {k: float(v) for k, v in src.tags(1).items()}
    empty = np.zeros(values.shape, bool)
    empty[60:90, 100:180] = True
    assert (np.isnan(values) == empty).all()
    said, seen = heights.record.values, values[~empty].astype(np.float64)
    assert (said.mean, said.std) == pytest.approx((seen.mean(), seen.std()), rel=1e-6)
    assert (said.least, said.most) == (seen.min(), seen.max())
    assert statistics["STATISTICS_MEAN"] == pytest.approx(seen.mean(), rel=1e-4)
    assert heights.record.pixels == {"values": int((~empty).sum()), "nodata": int(empty.sum())}
    assert sum(said.histogram) == seen.size
    written = {"values.tif", "values.qml", "quicklook.png", "item.json", "report.html", "run.qgz"}
    assert written == set(heights.record.outputs)
    item = json.loads((heights.folder / "item.json").read_text())
    assert item["assets"]["values"]["bands"][0]["unit"] == "m"
    style = (heights.folder / "values.qml").read_text()
    assert [float(v) for v in re.findall('<item value="(.*?)"', style)] == [0, 10, 20, 30, 40]
    page = (heights.folder / "report.html").read_text()
    assert "Canopy height [m]" in page
    assert f"{said.mean:.4g} m" in page
    words = re.sub("<[^>]*>", " ", page.split("<main>")[1].split("How it was made")[0])
    assert "class" not in words.casefold()


def test_labels_are_where_probabilities_reach_their_threshold(place, labels):
    flags, shares = (read(labels.folder / f"{n}.tif") for n in ("labels", "probabilities"))
    empty = flags[0] == 255
    assert empty[60:90, 100:180].all()
    assert empty.sum() == 30 * 80
    for band, share, threshold in zip(flags, shares, (0.5, 0.7, 0.5), strict=True):
        clear = ~empty & (np.abs(share - threshold) > 0.006)
        assert ((band == 1) == (share >= threshold))[clear].all()
        assert 0 < (band[~empty] == 1).mean() < 1
    assert flags.dtype == np.uint8
    assert (flags[:, ~empty].sum(axis=0) > 1).any()  # some pixels have several
    with rasterio.open(labels.folder / "labels.tif") as src:
        assert src.descriptions == ("tree", "road", "shadow")
    assert labels.record.pixels["road"] == int((flags[1] == 1).sum())
    assert labels.record.area_m2["road"] == pytest.approx(100 * labels.record.pixels["road"])
    page = (labels.folder / "report.html").read_text()
    assert all(c["title"] in page for c in LABELS)
    xarray = labels.labels()
    assert xarray.sel(class_name="road").values.tobytes() == flags[1].tobytes()


@pytest.mark.parametrize("kind", ["heights", "labels"])
def test_a_finished_run_is_valid(request, kind):
    assert validate(request.getfixturevalue(kind).folder).failures == []


@pytest.mark.parametrize(
    ("kind", "file", "change", "message"),
    [
        ("height", "values.tif", 0.0003, "in steps of"),
        ("height", "values.tif", 4, "mean"),
        ("labels", "labels.tif", 7, "0, 1 or 255"),
        ("labels", "labels.tif", 1, "pixels of tree"),
    ],
)
def test_a_changed_map_is_found(place, tmp_path, kind, file, change, message):
    out = tmp_path / "out"
    run(place, kind, out)
    with rasterio.open(out / file, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dst:
        band = dst.read(1)
        part = band[:20, :20]
        band[:20, :20] = part + np.float32(change) if band.dtype.kind == "f" else change
        dst.write(band, 1)
    lines = validate(out).to_text()
    assert message in lines


def test_an_array_gives_what_a_run_gives(place, heights, labels):
    scene = geoseg.open_scene(str(place / "scene.tif"))
    options = {"checks": "off", "backend": "torch"}
    found = geoseg.segment(scene, place / "height", **options)
    assert list(found.data_vars) == ["value"]
    assert found["value"].attrs["units"] == "m"
    assert found["value"].values.tobytes() == read(heights.folder / "values.tif")[0].tobytes()
    both = geoseg.segment(scene, place / "labels", outputs=["label", "probability"], **options)
    assert both["label"].values.tobytes() == read(labels.folder / "labels.tif").tobytes()
    shares = read(labels.folder / "probabilities.tif")
    shares[shares == 255] = np.nan
    assert np.array_equal(both["probability"].values, shares, equal_nan=True)
    with pytest.raises(ConfigError, match="a list of value, strangeness; the model's task is regression"):
        geoseg.segment(scene, place / "height", outputs=["class"], **options)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "height",
            "outputs.polygons=[gpkg]",
            "outputs.polygons: toy is a regression, which gives values.tif",
        ),
        ("height", "outputs.probabilities=true", "outputs.probabilities: toy is a regression"),
        ("height", "vectorize.simplify=3", "vectorize: toy is a regression"),
        ("labels", "outputs.confidence=true", "outputs.confidence: toy is a network of labels"),
        ("labels", "outputs.polygons=[parquet]", "gives labels.tif"),
        ("height", "postprocess.majority=3", "postprocess: toy predicts a number for each pixel"),
        ("labels", "inference.thresholds={road: 0.2}", "inference.thresholds: toy tells of each label"),
        ("labels", "inference.otherwise=nodata", "inference.otherwise: toy tells of each label"),
        ("labels", "outputs.coco=true", "outputs.coco: is for models that find objects"),
    ],
)
def test_what_only_class_maps_have_is_refused(place, name, change, message):
    with pytest.raises(ConfigError, match="^" + message if message[0] != "g" else message):
        prepare(place / f"of-{name}" / "pipeline.yaml", [change])


def test_a_plan_says_the_step_and_the_thresholds(place):
    plan = prepare(place / "of-height" / "pipeline.yaml")
    assert plan.summary()["values"] == "Canopy height [m], 0 to 40 in steps of 0.00061"
    assert prepare(place / "of-labels" / "pipeline.yaml").summary()["labels"]["road"] == "from 0.7 on"
