"""The page of a run: its numbers are those of run.json and of the maps."""

import base64
import hashlib
import json
import os
import re
import webbrowser
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from geoseg.cli.app import app
from geoseg.core.errors import OutputError
from geoseg.core.files import sha256
from geoseg.core.sharing import shared_command
from geoseg.report.html import grouped
from geoseg.report.run_parts import area_text, duration
from geoseg.runs.page import find_page, remake_page
from geoseg.storage.store import FolderStore
from tests.conftest import BAND_NAMES, read_manifest, reflectance, write_pipeline, write_raster
from tests.report.conftest import TITLES
from tests.report.parsing import Page


@pytest.fixture(scope="module")
def source(finished):
    return (finished / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


@pytest.fixture(scope="module")
def maps(finished):
    """Class ids and per cent of confidence."""
    with (
        rasterio.open(finished / "classes.tif") as classes,
        rasterio.open(finished / "confidence.tif") as shares,
    ):
        return classes.read(1), np.rint(shares.read(1) * 100)


def data_of(source):
    (text,) = re.findall(r'<script type="application/json" id="map-data">(.*?)</script>', source, re.DOTALL)
    return json.loads(text)


def test_a_run_lists_its_page_and_the_page_is_whole(finished, source):
    entry = read_manifest(finished)["outputs"]["report.html"]
    assert entry == {"bytes": len(source.encode()), "sha256": sha256(finished / "report.html")}
    assert list(read_manifest(finished)["outputs"])[-1] == "report.html"


def test_the_page_loads_nothing_and_runs_no_other_script(source, page):
    loaded = [v for t, k, v in page.attributes if t != "a" and k in {"src", "href", "srcset", "xlink:href"}]
    assert len(loaded) == 5  # scene, classes, confidence, the small confidence map, and no icon
    assert all(v.startswith("data:") for v in loaded)
    assert not re.search(r"https?:|url\(|@import", source)
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
        in source
    )


def test_names_survive_escaped(source, page):
    assert "<b>Wald" not in source
    for title in TITLES:
        assert page.text.count(title) >= 2  # beside the map and among the areas
    classes, confidence = data_of(source)["layers"]
    assert (classes["name"], confidence["name"]) == ("classes", "confidence")
    assert [c[3] for c in classes["colors"]] == list(TITLES)


def test_areas_and_pixels_are_those_of_the_manifest_and_of_the_map(finished, page, maps):
    manifest, (classes, percent) = read_manifest(finished), maps
    total = sum(manifest["area_m2"].values())
    for c in manifest["classes"]:
        pixels, area = manifest["pixels"][c["slug"]], manifest["area_m2"][c["slug"]]
        here = classes == c["id"]
        assert pixels == here.sum() > 0
        share = 100 * pixels / (classes != 255).sum()
        size = area_text(area, total).replace(" ", "\N{NO-BREAK SPACE}")
        numbers = f"{share:.2f} % {size} {grouped(pixels)} {percent[here].mean():.1f} %"
        assert f"{c['title']} {numbers}" in page.text
    assert f"No data {grouped(40 * 60)}" in page.text
    assert (
        f"{area_text(total, total)} {100 * (1 - 2400 / classes.size):.1f}\N{NO-BREAK SPACE}% of the scene"
        in page.text
    )


def test_histograms_of_all_pixels_and_of_each_class_are_those_of_the_maps(source, page, maps):
    classes, percent = maps
    table = data_of(source)["tables"]["confidence"]
    assert table[0] == ["", "All classes", *TITLES]
    assert [row[0] for row in table[1:]] == [f"{low} to {low + 5} %" for low in range(0, 100, 5)]
    for column, here in enumerate([classes != 255, *(classes == i for i in (1, 2, 3))], start=1):
        steps = np.minimum(percent[here] // 5, 19).astype(int)
        counts = np.bincount(steps, minlength=20)
        assert [row[column] for row in table[1:]] == counts.tolist()
        for (text, *numbers), n in zip(table[1:], counts, strict=True):
            bar = f"{table[0][column]}, {text}: {grouped(n)} pixels, {100 * n / here.sum():.2f} %"
            assert (bar in page.text) == bool(numbers[column - 1]), bar
    valid = percent[classes != 255]
    assert f"{valid.mean():.1f} %" in page.text
    assert (
        f"Doubtful pixels {100 * (valid < 50).mean():.1f} % their confidence is below 50\N{NO-BREAK SPACE}%"
        in page.text
    )


def test_the_unsure_places_are_the_least_confident_ones(source, page, maps):
    classes, percent = maps
    places = data_of(source)["places"]
    assert len(places) == len([b for b in page.all("button") if "data-place" in b]) == 8
    shown = re.findall(r"(\d+)\s%\s.*?\d+ E, \d+ N", page.text.split("Where the network is unsure")[1])
    means = []
    for left, top, right, bottom in places:
        valid = classes[top:bottom, left:right] != 255
        means.append(percent[top:bottom, left:right][valid].mean())
    assert means == sorted(means)
    assert [int(n) for n in shown] == [round(m) for m in means]
    cells = [
        percent[r : r + 13, c : c + 13].mean()
        for r in range(0, 300, 13)
        for c in range(0, 260, 13)
        if (classes[r : r + 13, c : c + 13] != 255).all() and r + 13 <= 300
    ]
    assert min(cells) == pytest.approx(means[0])


def test_seams_lie_where_the_plan_put_the_tiles(finished, source, page, maps):
    plan, classes, data = read_manifest(finished)["plan"], maps[0], data_of(source)
    assert (data["width"], data["height"]) == (260, 300)
    assert plan["tiles"] > 1
    assert data["rows"]
    changes = pairs = 0
    for lines, seams in ((classes, data["rows"]), (classes.T, data["cols"])):
        for i in seams:
            both = (lines[i] != 255) & (lines[i - 1] != 255)
            pairs += both.sum()
            changes += (both & (lines[i] != lines[i - 1])).sum()
    assert f"{grouped(changes)} of {grouped(pairs)} pairs" in page.text


def test_provenance_times_and_files_are_those_of_the_manifest(copied):
    remake_page(copied)
    manifest, page = read_manifest(copied), Page((copied / "report.html").read_text("utf-8"))
    facts = [
        shared_command(manifest["command"]), manifest["fingerprint"],
        manifest["identity"]["model"]["sha256"], "toy 1",
        manifest["versions"]["torch"], manifest["machine"]["system"], "260 × 300 px", "EPSG:32633",
        "scene.tif", f"total {manifest['seconds']['total']:.1f} s",
        f"forward {manifest['seconds']['tasks']['forward']:.1f} s",
        f"peak of the process {manifest['memory_bytes']['peak_of_this_process'] / 1e6:.0f} MB",
    ]  # fmt: skip
    for name, entry in manifest["outputs"].items():
        facts += [] if name == "report.html" else [f"sha256 {entry['sha256']}", name]
    links = {a["href"] for a in page.all("a")}
    assert links == {quote(n) for n in manifest["outputs"] if n != "report.html"} | {"run.json"}
    assert all((copied / unquote(link)).is_file() for link in links)
    for fact in facts:
        assert fact in page.text, fact


def test_what_is_shared_names_no_folder_of_this_machine(copied):
    """The scene and the bundle of this run are given by absolute paths."""
    manifest = read_manifest(copied)
    folder = str(Path(manifest["pipeline"]["scene"]).parent)
    assert folder.startswith("/")
    (copied / "gone.tif").write_bytes(b"")
    for path in copied.iterdir():
        if path.name not in {"run.json", "events.jsonl"}:
            assert folder.encode() not in path.read_bytes(), path.name
    manifest["identity"]["scene"]["bands"][0][1] = f"{folder}/gone.tif"
    (copied / "run.json").write_text(json.dumps(manifest))
    assert folder not in Path(remake_page(copied)).read_text("utf-8"), "not even when the scene is gone"


def test_everything_is_labelled(page):
    assert all(a["alt"] for a in page.all("img"))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    named = {v for _, k, v in page.attributes if k in {"aria-labelledby", "aria-describedby"}}
    assert named <= set(ids)
    assert all(a["scope"] in {"row", "col"} for a in page.all("th"))
    assert all("aria-label" in a for a in page.all("button") if "data-do" in a)


def without_times(text):
    """Leave out how long the run took and what it needed: only a finished run knows that."""
    return re.sub(r"\d[\d.]* (s|min|MB)\b", "", text)


def test_report_makes_the_same_page_again_from_the_folder_alone(finished, copied, source):
    (copied / "report.html").unlink()
    assert remake_page(copied) == str(copied / "report.html")
    assert without_times((copied / "report.html").read_text("utf-8")) == without_times(source)
    assert read_manifest(copied)["outputs"]["report.html"]["sha256"] == sha256(copied / "report.html")
    others = {k: v for k, v in read_manifest(copied).items() if k != "outputs"}
    assert others == {k: v for k, v in read_manifest(finished).items() if k != "outputs"}
    assert not (copied / ".geoseg.lock").exists()


def test_without_its_scene_the_page_shows_the_classes_alone_and_says_so(copied):
    manifest = read_manifest(copied)
    manifest["identity"]["scene"]["bands"][0][1] = "gone/<scene>.tif"
    (copied / "run.json").write_text(json.dumps(manifest))
    page = Page(Path(remake_page(copied)).read_text("utf-8"))
    assert "The scene could not be read any more" in page.text
    assert "gone/<scene>.tif: no such file" in page.text
    assert {a.get("id") for a in page.all("img")} == {"layer-classes", "layer-confidence", None}


def test_a_scene_that_was_written_to_is_shown_with_a_note(copied):
    manifest = read_manifest(copied)
    manifest["identity"]["scene"]["files"][0][2] += "1"
    (copied / "run.json").write_text(json.dumps(manifest))
    page = Page(Path(remake_page(copied)).read_text("utf-8"))
    assert "have been written to since the run" in page.text
    assert "layer-scene" in {a.get("id") for a in page.all("img")}


def test_one_tile_no_confidence_no_crs_and_a_warning(tmp_path, bundle):
    from geoseg.runs.prepare import prepare
    from geoseg.runs.run import run

    scene = write_raster(tmp_path / "s.tif", reflectance(60, 50), names=BAND_NAMES, scale=0.0001, crs=None)
    path = write_pipeline(tmp_path, scene, bundle.folder)
    without = ["outputs.confidence=false", "outputs.polygons=[]", "checks.gsd=warn"]
    manifest = run(prepare(path, without)).record.model_dump(mode="json")
    page = Page((tmp_path / "out/report.html").read_text("utf-8"))
    assert "No tiles meet inside this scene." in page.text
    assert "Mapped 3\u202f000 px" in page.text
    for word in ("Mean confidence", "Where the network is unsure", "km²", "Share of the pixels by"):
        assert word not in page.text
    assert {a["id"] for a in page.all("img")} == {"layer-scene", "layer-classes"}
    for warning in manifest["warnings"]:
        assert warning.removeprefix(f"{tmp_path}/") in page.text


def test_a_folder_that_is_no_run_is_refused(tmp_path, copied):
    for call in (remake_page, find_page):
        with pytest.raises(OutputError, match="holds no finished run"):
            call(tmp_path / "nowhere")
    (copied / "report.html").unlink()
    with pytest.raises(OutputError, match=f"make it with: geoseg report {copied}"):
        find_page(copied)
    manifest = read_manifest(copied)
    del manifest["classes"]
    (copied / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(OutputError, match="has no classes"):
        remake_page(copied)


def test_advice_is_none_that_report_cannot_follow(copied, tmp_path):
    with FolderStore(copied).lock(), pytest.raises(OutputError) as locked:
        remake_page(copied)
    assert str(locked.value).endswith("another geoseg run is writing here; wait for it")
    (copied / "report.html").unlink()
    (copied / "report.html").mkdir()
    (tmp_path / "file").touch()
    for place, said in ((copied, "; make the folder writable"), (tmp_path / "file", "and may be read")):
        with pytest.raises(OutputError) as caught:
            remake_page(place)
        assert str(caught.value).endswith(said)


def test_a_damaged_map_is_one_line(copied):
    size = (copied / "classes.tif").stat().st_size
    os.truncate(copied / "classes.tif", size // 2)
    with pytest.raises(OutputError, match="map of the run cannot be read"):
        remake_page(copied)


def test_view_opens_the_page_and_prints_where_it_is(copied, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    done = CliRunner().invoke(app, ["view", str(copied)])
    assert (done.exit_code, done.output) == (0, f"{copied / 'report.html'}\n")
    assert opened == [(copied / "report.html").as_uri()]
    again = CliRunner().invoke(app, ["report", str(copied)])
    assert (again.exit_code, again.output) == (0, f"{copied / 'report.html'}\n")
    refused = CliRunner().invoke(app, ["view", str(copied.parent)])
    assert refused.exit_code == 2
    assert len(opened) == 1


def test_the_page_names_the_hemispheres_of_its_places(tmp_path, bundle):
    from geoseg.runs.prepare import prepare
    from geoseg.runs.run import run

    place = {"crs": "EPSG:4326", "gsd": 1e-4, "origin": (-75.6, -10.5)}
    scene = write_raster(tmp_path / "s.tif", reflectance(60, 50), names=BAND_NAMES, scale=0.0001, **place)
    run(prepare(write_pipeline(tmp_path, scene, bundle.folder), ["outputs.polygons=[]", "checks.gsd=warn"]))
    page = Page((tmp_path / "out/report.html").read_text("utf-8"))
    assert re.search(r"10\.50\d\d° S, 75\.59\d\d° W", page.text)
    assert "-75" not in page.text


def test_numbers_are_written_for_people():
    assert [area_text(a, 5e6) for a in (0.0, 1_234_567.0)] == ["0.000 km²", "1.235 km²"]
    assert area_text(4_321_000_000_000.0, 5e12) == "4\u202f321\u202f000.000 km²"
    assert area_text(12_345.0, 12_345.0) == "1.23 ha"
    assert area_text(1_234.0, 2_000.0) == "1\u202f234 m²"
    assert [duration(s) for s in (4.21, 66, 725, 11_050)] == ["4.2 s", "66 s", "12 min 5 s", "3 h 4 min"]
