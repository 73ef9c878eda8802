"""`--profile` on real runs: the trace, the picture, what stays as it is, and what asks for it later."""

import json
import shutil
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from typer.testing import CliRunner

from geoseg.cli.app import app
from geoseg.core.errors import OutputError
from geoseg.core.files import sha256
from geoseg.core.run_files import RunFile
from geoseg.report.timeline import STAGES
from geoseg.runs.batch import run_batch
from geoseg.runs.log import read_events
from geoseg.runs.page import remake_page
from geoseg.runs.prepare import prepare, read_batch
from geoseg.runs.run import Options, run
from geoseg.runs.validate import validate
from tests.conftest import BAND_NAMES, read_manifest, reflectance, write_pipeline, write_raster
from tests.inference.free import Untracked, install, uninstall
from tests.report.browser import CHROMIUM, opened
from tests.report.parsing import Page

MORE = "tiling: {block: 2}"


@pytest.fixture(scope="module")
def work(tmp_path_factory, bundle):
    """A pipeline of nine blocks, whose network costs nothing."""
    folder = tmp_path_factory.mktemp("profile")
    scene = write_raster(folder / "scene.tif", reflectance(500, 500), names=BAND_NAMES, scale=0.0001)
    install(Untracked())
    yield write_pipeline(folder, scene, bundle.folder, MORE)
    uninstall()


@pytest.fixture(scope="module")
def profiled(work):
    """The run with a profile; nobody writes into it."""
    done = CliRunner().invoke(app, ["run", str(work), "--profile", "--quiet"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "  profile.json  " in done.stdout
    return work.parent / "out"


@pytest.fixture(scope="module")
def plain(work):
    """The same without."""
    run(prepare(work, output=work.parent / "plain"))
    return work.parent / "plain"


def trace_in(folder):
    return json.loads((folder / "profile.json").read_text())


def spans_in(folder):
    """Microseconds by stage and block, from the events."""
    found = defaultdict(list)
    for e in read_events(folder / RunFile.EVENTS):
        for what, _, seconds in e.get("spans", ()):
            found[what, e["block"]].append(round(seconds * 1e6))
    return {key: sorted(lengths) for key, lengths in found.items()}


def test_the_trace_has_the_form_that_trace_viewers_read(profiled):
    """Keys and types of https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU."""
    trace = trace_in(profiled)
    assert set(trace) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert trace["displayTimeUnit"] in {"ms", "ns"}
    named, times = set(), []
    for e in trace["traceEvents"]:
        assert isinstance(e["name"], str)
        assert isinstance(e["args"], dict)
        assert (type(e["pid"]), type(e["tid"])) == (int, int)
        if e["ph"] == "M":
            key = {"process_name": "name", "thread_name": "name", "process_sort_index": "sort_index",
                   "thread_sort_index": "sort_index"}[e["name"]]  # fmt: skip
            assert isinstance(e["args"][key], str if key == "name" else int)
            named.add((e["name"], e["pid"], e["tid"]))
            continue
        assert e["ph"] == "X"
        assert (type(e["ts"]), type(e["dur"]), type(e["cat"])) == (int, int, str)
        assert e["ts"] >= 0
        assert e["dur"] >= 0
        assert ("process_name", e["pid"], 0) in named
        assert ("thread_name", e["pid"], e["tid"]) in named
        times.append(e["ts"])
    assert times == sorted(times)


def test_no_two_spans_of_a_lane_overlap_and_forward_has_as_many_lanes_as_passes(profiled):
    lanes, names = defaultdict(list), {}
    for e in trace_in(profiled)["traceEvents"]:
        if e["name"] == "thread_name":
            names[e["pid"], e["tid"]] = e["args"]["name"]
        elif e["ph"] == "X":
            lanes[e["pid"], e["tid"]].append(e)
    for spans in lanes.values():
        assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in pairwise(spans))
        assert len({e["name"] for e in spans}) == 1 or {e["cat"] for e in spans} == {"output"}
    assert set(names) == set(lanes)
    passes = next(e["passes"] for e in read_events(profiled / RunFile.EVENTS) if e["event"] == "run")
    assert 1 <= sum(n.startswith("forward ") for n in names.values()) <= passes


def test_every_span_of_every_block_is_there_once_and_every_output(profiled):
    found = defaultdict(list)
    for e in trace_in(profiled)["traceEvents"]:
        if e.get("cat") == "block":
            found[e["name"], e["args"]["block"]].append(e["dur"])
    assert {key: sorted(lengths) for key, lengths in found.items()} == spans_in(profiled)
    assert Counter(what for what, _ in found) == dict.fromkeys(STAGES, 9)
    files = [e["name"] for e in trace_in(profiled)["traceEvents"] if e.get("cat") == "output"]
    assert files == ["classes.tif", "confidence.tif", "polygons", "quicklook.png", "report.html"]


def test_the_page_tells_the_totals_and_draws_a_row_for_each_stage(profiled):
    page = Page((profiled / "report.html").read_text("utf-8"))
    total = Counter()
    for (what, _), lengths in spans_in(profiled).items():
        total[what] += sum(lengths) / 1e6
    text = page.text.split("Stage Seconds Share Under way")[1]
    for what in STAGES:
        assert f" {what} {total[what]:.2f} " in text
    events = [e for e in trace_in(profiled)["traceEvents"] if e.get("cat") == "block"]
    wall = max(e["ts"] + e["dur"] for e in events) - min(e["ts"] for e in events)
    passes = next(e["passes"] for e in read_events(profiled / RunFile.EVENTS) if e["event"] == "run")
    share = total["forward"] / (passes * wall / 1e6)
    assert f"Device busy share: {100 * share:.1f} %" in text
    assert trace_in(profiled)["otherData"]["device_busy_share"] == round(share, 4) < 1
    assert len(page.all("g", "row")) == len(STAGES) + 4
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_it_is_an_output_like_the_others_and_changes_none(profiled, plain):
    manifest, other = read_manifest(profiled), read_manifest(plain)
    assert manifest["outputs"]["profile.json"]["sha256"] == sha256(profiled / "profile.json")
    assert set(manifest["outputs"]) - set(other["outputs"]) == {"profile.json"}
    assert not (plain / "profile.json").exists()
    assert "Timeline" not in (plain / "report.html").read_text("utf-8")
    for name in ("classes.tif", "confidence.tif", "classes.qml", "quicklook.png"):
        assert (profiled / name).read_bytes() == (plain / name).read_bytes()
    for folder in (profiled, plain):
        assert validate(folder).failures == []


def test_a_damaged_profile_is_found(profiled, tmp_path):
    copied = shutil.copytree(profiled, tmp_path / "run")
    (copied / "profile.json").write_text("{}")
    assert {f.file for f in validate(copied).failures} == {"profile.json"}


def test_report_draws_the_timeline_later_and_keeps_it(plain, profiled, tmp_path):
    copied = shutil.copytree(plain, tmp_path / "run")
    remake_page(copied)
    assert not (copied / "profile.json").exists()
    done = CliRunner().invoke(app, ["report", str(copied), "--profile"])
    assert (done.exit_code, done.output) == (0, f"{copied / 'report.html'}\n")
    assert validate(copied).failures == []
    page = Page((copied / "report.html").read_text("utf-8"))
    assert len(page.all("g", "row")) == len(STAGES) + 5  # with report.html, which is over by now
    trace = (copied / "profile.json").read_bytes()
    remake_page(copied)
    assert "Timeline" in (copied / "report.html").read_text("utf-8")
    assert (copied / "profile.json").read_bytes() == trace


def test_without_its_events_a_timeline_is_refused_in_one_line(plain, tmp_path):
    copied = shutil.copytree(plain, tmp_path / "run")
    before = (copied / "run.json").read_bytes()
    (copied / RunFile.EVENTS).write_text('{"event":"run"}\n')
    with pytest.raises(OutputError, match=f"^{copied / RunFile.EVENTS}: is not as `geoseg run` writes it"):
        remake_page(copied, profile=True)
    (copied / RunFile.EVENTS).unlink()
    with pytest.raises(OutputError, match=f"^{copied / RunFile.EVENTS}: is missing"):
        remake_page(copied, profile=True)
    assert (copied / "run.json").read_bytes() == before
    remake_page(copied)


def test_a_run_again_without_a_profile_leaves_none(profiled, tmp_path):
    copied = shutil.copytree(profiled, tmp_path / "out")
    run(prepare(profiled.parent / "pipeline.yaml", output=copied), Options(overwrite=True))
    assert not (copied / "profile.json").exists()
    assert "profile.json" not in read_manifest(copied)["outputs"]


def test_a_resumed_run_shows_what_was_done_before_and_leaves_the_pause_out(work, profiled, tmp_path):
    def stop(event):
        if event.stage == "confidence.tif":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(prepare(work, output=tmp_path / "out"), Options(on_progress=stop))
    run(prepare(work, output=tmp_path / "out"), Options(profile=True))
    trace, starts = trace_in(tmp_path / "out"), read_events(tmp_path / "out" / RunFile.EVENTS)
    pause = next(e["time"] for e in starts if e["event"] == "run" and e["resumed"])
    pause -= next(e["time"] for e in starts if e["event"] == "interrupted")
    assert trace["otherData"]["seconds_between_starts_left_out"] == pytest.approx(pause, abs=1e-3)
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert len({e["args"]["block"] for e in spans if e["cat"] == "block"}) == 9
    assert [e["name"] for e in spans].count("classes.tif") == 2
    page = Page((tmp_path / "out/report.html").read_text("utf-8"))
    assert "The run was interrupted" in page.text
    assert len(page.all("g", "row")) == len(STAGES) + 4


def test_each_scene_of_a_batch_has_its_own(work, bundle, tmp_path):
    for i, name in enumerate("ab"):
        write_raster(tmp_path / f"{name}.tif", reflectance(300, 260, i), names=BAND_NAMES, scale=0.0001)
    path = write_pipeline(tmp_path, tmp_path / "a.tif", bundle.folder, MORE)
    batch = read_batch(path, ["outputs.polygons=[]"], scenes=f"{tmp_path}/*.tif")
    assert [o.state for o in run_batch(batch, Options(profile=True))] == ["done", "done"]
    for name in "ab":
        folder = tmp_path / "out" / name
        assert "profile.json" in read_manifest(folder)["outputs"]
        assert validate(folder).failures == []
        blocks = {e["args"]["block"] for e in trace_in(folder)["traceEvents"] if e.get("cat") == "block"}
        assert len(blocks) == read_manifest(folder)["plan"]["blocks"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_picture_in_a_browser(profiled):
    with opened(profiled / "report.html") as page:
        assert page.js("document.querySelectorAll('.timeline svg g.row').length") == len(STAGES) + 4
        colors = page.js(
            "[...document.querySelectorAll('.timeline g.row')]"
            ".map((row) => getComputedStyle(row.querySelector('path:last-child')).fill)"
        )
        assert len(set(colors)) == len(STAGES) + 1
        assert "rgb(0, 0, 0)" not in colors
        # Each box lies inside the drawing, right of its label.
        lefts, rights = np.array(
            page.js(
                "(() => { const svg = document.querySelector('.timeline svg').getBoundingClientRect();"
                "return [...document.querySelectorAll('.timeline g.row')].flatMap((row) => {"
                "const label = row.querySelector('text').getBoundingClientRect();"
                "return [...row.querySelectorAll('path:not(.lane)')].map((p) => {"
                "const box = p.getBoundingClientRect();"
                "return [box.left - label.right, svg.right - box.right]; }); }); })()"
            )
        ).T
        assert lefts.min() > 0
        assert rights.min() > 0
        page.resize(320, 800, mobile=True)
        assert page.js("document.documentElement.scrollWidth") <= 320
        assert page.complaints == []
