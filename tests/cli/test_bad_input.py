"""Bad input: one clear line (what, where, what to do), a non-zero exit code, nothing half-written."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from typer.testing import CliRunner

from geoseg.cli.app import app
from tests import processes
from tests.conftest import (
    BAND_NAMES,
    make_bundle,
    read_manifest,
    reflectance,
    write_pipeline,
    write_raster,
)


def run(pipeline, *arguments):
    """Run in this process; return exit code, result and messages."""
    with warnings.catch_warnings():
        done = CliRunner().invoke(app, ["run", str(pipeline), *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def error_of(pipeline, *arguments, code=1):
    """Return the one error line of a run that fails and leaves nothing behind."""
    exit_code, result, messages = run(pipeline, *arguments)
    lines = [line for line in messages.splitlines() if line.startswith("error: ")]
    assert exit_code == code, messages
    assert result == ""
    assert "Traceback" not in messages
    assert "internal error" not in messages
    assert len(lines) == 1, messages
    assert not (pipeline.parent / "out/run.json").exists()
    return lines[0]


def pipeline_of(tmp_path, bundle, values, *more, **raster):
    options = {"names": BAND_NAMES, "scale": 0.0001, **raster}
    return write_pipeline(
        tmp_path, write_raster(tmp_path / "scene.tif", values, **options), bundle.folder, *more
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "a.b.c=1"], 2, "error: --set a.b.c: a: unknown key"),
        (
            ["--set", "scene=s3://"],
            1,
            "s3://: names no bucket; write it like s3://bucket/folder/scene.tif",
        ),
        (["--catalog", "n" * 300], 1, "File name too long; was a text given where a path is expected?"),
    ],
)
def test_the_advice_is_about_what_was_given(pipeline_file, arguments, code, said):
    assert said in error_of(pipeline_file, *arguments, code=code)


def test_missing_file(tmp_path, bundle):
    path = write_pipeline(tmp_path, tmp_path / "no.tif", bundle.folder)
    assert error_of(path, code=2) == f"error: {tmp_path}/no.tif: no such file or folder"


def test_missing_pipeline_and_missing_bundle(tmp_path, scene_file):
    assert "nowhere.yaml: no such file" in error_of(tmp_path / "nowhere.yaml", code=2)
    path = write_pipeline(tmp_path, scene_file, tmp_path / "nothing")
    assert "nothing: no such bundle folder; see: geoseg models list" in error_of(path, code=2)


def test_unknown_scene_name(tmp_path, bundle):
    message = error_of(write_pipeline(tmp_path, "sentinel2-sampel", bundle.folder), code=2)
    assert "is not in data_catalog.yaml" in message
    assert "did you mean 'sentinel2-sample'?" in message


def test_truncated_file_whose_header_is_whole(tmp_path, bundle):
    path = pipeline_of(tmp_path, bundle, reflectance(300, 260))
    scene = tmp_path / "scene.tif"
    rasterio.shutil.copy(scene, tmp_path / "whole.tif", driver="COG")
    scene.write_bytes((tmp_path / "whole.tif").read_bytes()[:200_000])
    message = error_of(path)
    assert f"{scene}: cannot be read at rows" in message
    assert "the file is truncated or damaged; get it again" in message


def test_truncated_file_without_its_header(tmp_path, bundle):
    path = pipeline_of(tmp_path, bundle, reflectance(300, 260))
    scene = tmp_path / "scene.tif"
    scene.write_bytes(scene.read_bytes()[:200_000])
    message = error_of(path)
    assert f"{scene}: cannot be opened: it is no raster, or truncated or damaged; get it again" in message


def test_not_a_raster(tmp_path, bundle):
    (tmp_path / "scene.tif").write_text("hello")
    message = error_of(write_pipeline(tmp_path, tmp_path / "scene.tif", bundle.folder))
    assert "scene.tif: cannot be opened: it is no raster, or truncated" in message


def test_missing_band(tmp_path, bundle):
    names = ("blue", "green", "red", "swir16")
    message = error_of(pipeline_of(tmp_path, bundle, reflectance(200, 200), names=names))
    assert "no band nir; it has blue, green, red, swir16" in message
    assert "bands: {nir: <file or band number>}" in message


def scene_of_files(tmp_path, bundle, **changed):
    """One file for each band, `nir` changed."""
    for i, name in enumerate(BAND_NAMES):
        options = changed if name == "nir" else {}
        write_raster(tmp_path / f"{name}.tif", reflectance(200, 200)[i], scale=0.0001, **options)
    bands = ", ".join(f"{n}: {tmp_path / n}.tif" for n in BAND_NAMES)
    return write_pipeline(tmp_path, f"{{bands: {{{bands}}}}}", bundle.folder)


def test_bands_of_different_crs(tmp_path, bundle):
    message = error_of(scene_of_files(tmp_path, bundle, crs="EPSG:32634"))
    assert "nir.tif: its CRS EPSG:32634 is not the CRS EPSG:32633 of" in message
    assert "gdalwarp -t_srs" in message


def test_bands_of_different_extent(tmp_path, bundle):
    message = error_of(scene_of_files(tmp_path, bundle, origin=(500_050.0, 4_500_000.0)))
    assert "nir.tif: its columns cover 500050 to 502050, but" in message
    assert "gdalwarp -te" in message


@pytest.mark.parametrize(
    ("scale", "cause"),
    [
        (None, "the scale is not declared; scale: 0.0001"),
        (0.001, "the file's scale 0.001 is wrong; scale: 0.0001"),
        (1.0e-6, "the file's scale 1e-06 is wrong; scale: 0.0001"),
    ],
)
def test_wrong_or_missing_scale(tmp_path, bundle, scale, cause):
    path = pipeline_of(tmp_path, bundle, reflectance(200, 200) + np.uint16(4000), scale=scale)
    card = json.loads((bundle.folder / "geoseg.json").read_text())
    for band in card["bands"]:
        band.update(mean=0.62, std=0.1)
    changed = shutil.copytree(bundle.folder, tmp_path / "bright")
    (changed / "geoseg.json").write_text(json.dumps(card))
    message = error_of(path, "--set", f"model={changed}")
    assert "nir alike); likely cause: " in message  # a long path cuts the middle out
    assert cause in message
    assert message.endswith("to go on all the same: --set checks.statistics=warn")
    code, _, messages = run(path, "--set", f"model={changed}", "--set", "checks.statistics=warn")
    assert code == 0
    assert f"likely cause: {cause}" in messages


def test_missing_offset_and_wrong_order_are_named(tmp_path):
    bands = [
        {"name": n, "common_name": n, "mean": m, "std": 0.015}
        for n, m in zip(BAND_NAMES, (0.05, 0.1, 0.15, 0.3), strict=True)
    ]
    bundle = make_bundle(tmp_path / "sharp", bands=bands)
    flat = np.ones((4, 200, 200)) * np.array([0.05, 0.1, 0.15, 0.3])[:, None, None]
    values = np.rint((flat + 0.1) * 10_000).astype(np.uint16)
    assert "an offset of -0.1 is missing" in error_of(pipeline_of(tmp_path, bundle, values))
    values = np.rint(flat * 10_000).astype(np.uint16)[::-1].copy()
    assert "the bands are in reverse order" in error_of(pipeline_of(tmp_path, bundle, values))


def test_gsd_outside_the_range(tmp_path, bundle):
    path = pipeline_of(tmp_path, bundle, reflectance(200, 200), gsd=13.0)
    message = error_of(path)
    assert "a GSD of 13 m is more than 25 % outside the 10 to 10 m of toy" in message
    assert "resample with gsd: 10" in message
    assert run(path, "--set", "gsd=10")[0] == 0
    assert run(path, "--set", "checks.gsd=warn", "--overwrite")[0] == 0


def test_rotated_grid(tmp_path, bundle):
    path = pipeline_of(tmp_path, bundle, reflectance(200, 200))
    with rasterio.open(tmp_path / "scene.tif", "r+") as dst:
        dst.transform = rasterio.Affine(10, 1, 5e5, 1, -10, 4.5e6)
    assert "its grid is rotated; make a north-up copy first: gdalwarp" in error_of(path)


@pytest.mark.parametrize("kind", ["nodata", "nan"])
def test_a_scene_without_one_valid_pixel(tmp_path, bundle, kind):
    empty = np.zeros((4, 200, 200), np.uint16) if kind == "nodata" else np.full((4, 200, 200), np.nan, "f4")
    path = pipeline_of(tmp_path, bundle, empty, nodata=0 if kind == "nodata" else None)
    assert "every pixel looked at is nodata, NaN or masked" in error_of(path)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5), (40, 41)])
def test_scenes_smaller_than_a_tile_are_mapped(tmp_path, bundle, shape):
    path = pipeline_of(tmp_path, bundle, reflectance(*shape))
    code, _, messages = run(path)
    assert code == 0, messages
    with rasterio.open(tmp_path / "out/classes.tif") as src:
        classes = src.read(1)
    assert classes.shape == shape
    assert set(np.unique(classes)) <= {1, 2, 3}


def test_nan_and_infinite_pixels_become_nodata_and_nothing_else_does(tmp_path, bundle):
    values = reflectance(200, 200).astype(np.float32) / 10_000
    values[1, 20:30, 40:60] = np.nan
    values[2, 100, 100] = np.inf
    values[0, 120, 10:12] = -np.inf
    path = pipeline_of(tmp_path, bundle, values, scale=None)
    assert run(path)[0] == 0
    bad = ~np.isfinite(values).all(axis=0)
    for name in ("classes.tif", "confidence.tif"):
        with rasterio.open(tmp_path / "out" / name) as src:
            assert ((src.read(1) == 255) == bad).all()
    assert read_manifest(tmp_path / "out")["pixels"]["nodata"] == 203


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_weights(tmp_path, scene_file, damage):
    bundle = make_bundle(tmp_path / "bundle")
    weights = bundle.folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    if damage == "truncated":
        del data[len(data) // 2 :]
    else:
        data[-100] ^= 1
    weights.write_bytes(data)
    message = error_of(write_pipeline(tmp_path, scene_file, bundle.folder))
    assert "model.safetensors: is truncated or altered (sha256" in message
    assert "get the bundle again" in message


def test_class_count_that_does_not_match_the_legend(tmp_path, scene_file):
    bundle = make_bundle(tmp_path / "bundle")
    card = json.loads((bundle.folder / "geoseg.json").read_text())
    card["classes"].pop()
    (bundle.folder / "geoseg.json").write_text(json.dumps(card))
    message = error_of(write_pipeline(tmp_path, scene_file, bundle.folder))
    assert "the network has 3 classes, but geoseg.json lists 2 classes in the legend" in message


def test_unknown_key_says_where_and_what_was_meant(pipeline_file):
    pipeline_file.write_text(pipeline_file.read_text() + "tilling: {tile: 128}\n")
    message = error_of(pipeline_file, code=2)
    assert message == f"error: {pipeline_file}:6:1: tilling: unknown key; did you mean 'tiling'?"


def test_no_crs_is_mapped_on_the_pixel_grid_with_a_warning(tmp_path, bundle):
    values = reflectance(200, 200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = pipeline_of(tmp_path, bundle, values, crs=None)
        code, result, messages = run(path)
    assert code == 0, messages
    assert "warning: " in messages
    assert "has no CRS, so its ground sample distance is unknown" in messages
    assert "Class 1" in result


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_unwritable_folder_as_a_user(tmp_path, pipeline_file):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "cannot be written: Permission denied" in error_of(pipeline_file, "--output", locked / "x")


def test_output_that_cannot_be_a_folder(pipeline_file, tmp_path):
    (tmp_path / "file").write_text("")
    message = error_of(pipeline_file, "--output", tmp_path / "file/out")
    assert "cannot be written: Not a directory; choose another folder with --output" in message


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("/", "it is the root of all folders; choose"),
        ("/dev/null", "Not a directory; choose"),
        ("file", "Not a directory; choose"),
        ("file/out", "Not a directory; choose"),
        ("piped", "is a pipe or a device, and no file; move it away"),
        ("n" * 5000, "File name too long; choose"),
    ],
)
def test_a_dry_run_refuses_the_folders_that_a_run_refuses(pipeline_file, tmp_path, place, why):
    (tmp_path / "file").write_text("")
    (tmp_path / "piped").mkdir()
    os.mkfifo(tmp_path / "piped/classes.tif")
    before = sorted(tmp_path.rglob("*"))
    for more in ([], ["--dry-run"]):
        assert why in error_of(pipeline_file, "--output", tmp_path / place, *more)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_says_what_a_run_would_not_overwrite(pipeline_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/classes.tif").write_text("mine")
    code, result, messages = run(pipeline_file, "--dry-run")
    assert code == 0
    assert "tiles" in result
    assert "warning: " in messages
    assert "has a classes.tif that is not of a geoseg run; choose another folder with --output" in messages
    assert "not of a geoseg run" not in run(pipeline_file, "--dry-run", "--overwrite")[2]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["classes.tif"]


def test_full_disk_keeps_the_finished_blocks_and_room_ends_the_run(tmp_path, bundle):
    """A limit on file sizes stands in for a full disk: the small blocks fit, a large one does not."""
    values = reflectance(600, 600, seed=3)
    path = pipeline_of(tmp_path, bundle, values, "tiling: {block: 2}")
    code = """\
import os, resource, signal, sys
from geoseg.cli.app import main
# A short write would leave damaged files of bytecode, also of the process that converts the network.
sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
main()
"""
    limits = (8_000, 60_000)  # while blocks are written, and while the outputs are
    for limit in limits:
        failed = processes.run_code(code, limit, "run", path, "--quiet")
        assert failed.returncode == 1, failed.stderr
        assert failed.stderr.startswith("error: ")
        assert len(failed.stderr.splitlines()) == 1
        assert "cannot be written: File too large" in failed.stderr
        assert "finished blocks are kept" in failed.stderr
        assert not (tmp_path / "out/run.json").exists()
        assert not list((tmp_path / "out").glob("*.tif"))
    assert run(path, "--quiet")[0] == 0
    assert read_manifest(tmp_path / "out")["resumed"]


def test_folder_of_another_run(tmp_path, pipeline_file, scene_file):
    assert run(pipeline_file)[0] == 0
    before = (tmp_path / "out/classes.tif").read_bytes()
    code, _, messages = run(pipeline_file)
    assert code == 1
    assert "holds a finished run (toy, 20" in messages
    assert "choose another folder with --output, or replace it with --overwrite" in messages
    assert (tmp_path / "out/classes.tif").read_bytes() == before
    assert run(pipeline_file, "--overwrite", "--set", "outputs.confidence=false")[0] == 0
    assert not (tmp_path / "out/confidence.tif").exists()


def test_unfinished_run_of_another_plan(tmp_path, pipeline_file):
    staging = tmp_path / "out/staging"
    staging.mkdir(parents=True)
    assert run(pipeline_file, "--dry-run")[0] == 0
    (staging / "plan.json").write_text(json.dumps({"tile": [64, 64]}))
    message = error_of(pipeline_file)
    assert "holds an unfinished run of another plan (its " in message
    assert run(pipeline_file, "--overwrite")[0] == 0


def test_files_that_are_not_of_geoseg_are_not_overwritten(tmp_path, pipeline_file):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/classes.tif").write_text("mine")
    assert "has a classes.tif that is not of a geoseg run" in error_of(pipeline_file)
    assert (tmp_path / "out/classes.tif").read_text() == "mine"


def test_debug_shows_the_traceback(tmp_path, bundle):
    path = write_pipeline(tmp_path, tmp_path / "no.tif", bundle.folder)
    done = CliRunner().invoke(app, ["run", str(path), "--debug"])
    assert done.exit_code == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert "SceneError: " in done.stderr


def test_fp16_on_a_cpu(pipeline_file):
    message = error_of(
        pipeline_file, "--set", "inference.precision=fp16", "--set", "inference.device=cpu", code=2
    )
    assert "fp16 needs a GPU; use fp32 or bf16 on a CPU" in message
