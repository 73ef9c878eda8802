"""Outlines of what is not to be trusted: pixels of low confidence, unlike the training pixels, or both."""

import json
import re
import sqlite3
import zipfile
from contextlib import closing

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.features import geometry_mask, rasterize
from shapely import Polygon

import geoseg
from geoseg.core.errors import ConfigError
from geoseg.core.run_files import RunFile
from geoseg.runs.prepare import prepare
from geoseg.runs.validate import validate
from tests.conftest import BAND_NAMES, make_bundle, reflectance, write_pipeline, write_raster
from tests.heads import label_bundle, regression_bundle
from tests.report.browser import CHROMIUM, opened
from tests.runs.test_project import opened as opened_project

KNOWN = {"covariance": (0.01 * np.eye(4)).tolist(), "strangeness": {"distance": 3.0}}
LINES = ("tiling: {tile: 64}", "inference: {backend: torch, precision: fp32}", "checks: {statistics: off}")
CODES = {"low confidence": 1, "unlike the training data": 2, "both": 3}


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_pictures):
    """A scene with nodata in its middle and a bright patch, and a bundle and a pipeline of each kind."""
    folder = tmp_path_factory.mktemp("doubt")
    numbers = reflectance(230, 260)
    numbers[:, 60:90, 100:180] = 0
    numbers[:2, 80:120, 20:130] = 6000
    write_raster(folder / "scene.tif", numbers, names=BAND_NAMES, scale=0.0001, nodata=0)
    make_bundle(folder / "classes", **KNOWN)
    make_bundle(folder / "plain")
    label_bundle(folder / "labels", covariance=None)
    regression_bundle(folder / "values", **KNOWN)
    for name in ("classes", "plain", "labels", "values"):
        (folder / f"of-{name}").mkdir()
        write_pipeline(folder / f"of-{name}", folder / "scene.tif", folder / name, *LINES)
    return folder


def run(place, name, out, **changes):
    changes = {"outputs.polygons": [], "outputs.doubt": True} | {
        key.replace("__", "."): value for key, value in changes.items()
    }
    return geoseg.run(place / f"of-{name}/pipeline.yaml", output=place / out, progress=False, **changes)


def read(path):
    with rasterio.open(path) as src:
        return src.read(1), src.transform


@pytest.fixture(scope="module")
def threshold(place):
    """A confidence that about half of the pixels have."""
    shares, _ = read(run(place, "classes", "first", outputs__doubt=False).folder / "confidence.tif")
    return round(float(np.median(shares[shares != 255])), 2)


@pytest.fixture(scope="module")
def found(place, threshold):
    return run(
        place, "classes", "found", outputs__strangeness=True, tiling__block=1,
        vectorize__low_confidence=threshold,
    )  # fmt: skip


@pytest.fixture(scope="module")
def reasons(found, threshold):
    """Confidence, strangeness and reason of each pixel, from the rasters; reason 255 without data."""
    confidence, strangeness = (read(found.folder / f"{n}.tif")[0] for n in ("confidence", "strangeness"))
    codes = (np.rint(confidence * 100) < round(threshold * 100)) + 2 * (np.rint(strangeness * 100) > 100)
    return confidence, strangeness, np.where(confidence == 255, 255, codes)


def burnt(outlines, shape, transform):
    pairs = [(g, CODES[r]) for g, r in zip(outlines.geometry, outlines.reason, strict=True)]
    return rasterize(pairs, shape, transform=transform, fill=0)


def test_outlines_are_where_the_rasters_say_so(found, reasons):
    confidence, strangeness, codes = reasons
    outlines, (_, transform) = found.doubt(), read(found.folder / "confidence.tif")
    assert list(outlines.columns) == [
        "reason", "area_m2", "mean_confidence", "mean_strangeness", "geometry"
    ]  # fmt: skip
    assert set(outlines.reason) == set(CODES)
    assert np.array_equal(burnt(outlines, codes.shape, transform), np.where(codes == 255, 0, codes))
    assert outlines.is_valid.all()
    largest = outlines.iloc[outlines.area_m2.argmax()]
    inside = geometry_mask([largest.geometry], codes.shape, transform, invert=True)
    assert largest.area_m2 == pytest.approx(100 * inside.sum(), rel=2e-3)
    assert largest.mean_confidence == pytest.approx(confidence[inside].mean(), abs=1e-4)
    assert largest.mean_strangeness == pytest.approx(strangeness[inside].mean(), abs=1e-4)


def test_the_page_draws_the_same_outlines(found, reasons):
    text = (found.folder / "report.html").read_text()
    data = json.loads(re.search(r'id="map-data">(.*?)</script>', text)[1])
    drawn = np.zeros(reasons[2].shape, np.uint8)
    for doubt, code in zip(data["doubt"], (1, 2, 3), strict=True):
        for line in doubt["lines"]:
            ring = Polygon(np.cumsum(np.reshape(line, (-1, 2)), axis=0))
            drawn[geometry_mask([ring], drawn.shape, Affine.identity(), invert=True)] ^= code
    assert np.array_equal(drawn, np.where(reasons[2] == 255, 0, reasons[2]))
    assert 'id="show-doubt"' in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_tick_shows_the_outlines_on_the_map(found):
    with opened(found.folder / "report.html") as page:
        seen = "document.querySelector('#map canvas').toDataURL()"
        before = page.js(seen)
        page.js("document.getElementById('show-doubt').click()")
        page.settle()
        assert page.js(seen) != before
        assert page.js("getComputedStyle(document.querySelector('.doubts')).display") == "flex"
        page.js("document.getElementById('show-doubt').click()")
        page.settle()
        assert page.js(seen) == before
        assert page.complaints == []


def test_the_record_counts_the_pixels_of_each_reason(found, reasons, threshold):
    counts = np.bincount(reasons[2].ravel(), minlength=256)
    said = found.record.doubt
    assert said.pixels == {"low_confidence": counts[1], "unlike": counts[2], "both": counts[3]}
    assert (said.low_confidence, said.strangeness) == (threshold, True)
    unlike = found.record.strangeness.unlike
    assert said.pixels["unlike"] + said.pixels["both"] == unlike > 2000


def test_no_block_size_changes_a_byte_of_it(place, found, threshold):
    # Without strangeness.tif: the outlines do not need it in the folder.
    other = run(place, "classes", "other", tiling__block=3, vectorize__low_confidence=threshold)
    assert "strangeness.tif" not in other.record.outputs
    assert validate(other.folder).failures == []
    first, second = found.doubt(), other.doubt()
    assert first.equals(second)
    for name in ("classes.tif", "confidence.tif"):
        assert read(place / "first" / name)[0].tobytes() == read(other.folder / name)[0].tobytes()


def test_small_doubt_joins_what_is_around_it_and_edges_are_simplified(place, threshold):
    made = run(
        place, "classes", "smooth", vectorize__low_confidence=threshold,
        vectorize__minimum_area="40 px", vectorize__simplify="1.5 px", vectorize__crs="EPSG:4326",
        outputs__strangeness=True,
    )  # fmt: skip
    outlines = made.doubt()
    assert outlines.crs.to_epsg() == 4326
    # The edges of simplified regions move.
    assert outlines.area_m2.min() > 40 * 100 * 0.6
    assert len(outlines) > 3
    assert validate(made.folder).failures == []


def test_every_file_of_the_run_tells_of_it(found, geoseg_here):
    assert validate(found.folder).failures == []
    item = json.loads((found.folder / "item.json").read_text())
    assert item["assets"]["doubt.gpkg"]["title"] == "Outlines of what is not to be trusted"
    assert 'href="doubt.gpkg"' in (found.folder / "report.html").read_text()
    told = json.loads(geoseg_here("inspect", found.folder, "--json").stdout)
    assert told["doubt"] == found.record.doubt.model_dump()
    with closing(sqlite3.connect(found.folder / "doubt.gpkg")) as db:
        ((style,),) = db.execute("SELECT styleQML FROM layer_styles WHERE useAsDefault").fetchall()
    with zipfile.ZipFile(found.folder / RunFile.PROJECT) as project:
        document = project.read("run.qgs").decode()
    assert ">Do not trust<" in document
    for text in (style, document):
        assert all(f'value="{hatching}"' in text for hatching in ("b_diagonal", "f_diagonal", "diagonal_x"))


def test_qgis_opens_the_outlines_with_the_reasons_as_legend(found):
    first = opened_project(found.folder / "run.qgz")["layers"][0]
    assert (first["name"], first["valid"], first["shown"]) == ("Do not trust", True, True)
    assert first["legend"] == list(CODES)


@pytest.mark.parametrize("change", ["moved", "renamed", "lost"])
def test_changed_outlines_are_found(found, change):
    path, kept = found.folder / "doubt.gpkg", (found.folder / "doubt.gpkg").read_bytes()
    outlines = found.doubt()
    if change == "moved":
        outlines.geometry = outlines.geometry.translate(20, 0)
    if change == "renamed":
        outlines.loc[0, "reason"] = "clouds"
    if change == "lost":
        outlines = outlines.iloc[1:]
    try:
        path.unlink()
        outlines.to_file(path, layer="doubt")
        wrong = {f.what for f in validate(found.folder).failures if f.file == "doubt.gpkg"}
    finally:
        path.write_bytes(kept)
    assert {"moved": "outlines", "renamed": "reason", "lost": "outlines"}[change] in wrong


def test_without_the_measure_there_is_low_confidence_alone(place, threshold):
    made = run(place, "plain", "plain-out", vectorize__low_confidence=threshold)
    outlines, shares = made.doubt(), read(made.folder / "confidence.tif")
    assert list(outlines.columns) == ["reason", "area_m2", "mean_confidence", "geometry"]
    low = (shares[0] != 255) & (np.rint(shares[0] * 100) < round(threshold * 100))
    assert np.array_equal(burnt(outlines, low.shape, shares[1]) == 1, low)
    assert made.record.doubt.pixels == {"low_confidence": low.sum(), "unlike": 0, "both": 0}
    assert validate(made.folder).failures == []


def test_a_map_of_numbers_has_outlines_of_what_is_unlike_alone(place):
    made = run(place, "values", "values-out", outputs__strangeness=True)
    assert set(made.doubt().reason) == {"unlike the training data"}
    assert made.record.doubt.pixels["unlike"] == made.record.strangeness.unlike
    assert made.record.doubt.low_confidence is None
    assert validate(made.folder).failures == []


def test_a_map_without_doubt_has_an_empty_layer(place):
    made = run(place, "plain", "sure", vectorize__low_confidence=0)
    assert len(made.doubt()) == 0
    assert made.record.doubt.pixels["low_confidence"] == 0
    assert validate(made.folder).failures == []


def test_what_has_neither_confidence_nor_the_measure_is_refused(place):
    with pytest.raises(ConfigError, match=r"outputs\.doubt: the card of toy does not say how its training"):
        prepare(place / "of-labels/pipeline.yaml", ["outputs.doubt=true", f"outputs.folder={place}/x"])
