"""Many photographs in one run: a folder of masks, one of overlays, one table."""

import csv
import json
import shutil

import numpy as np
import pytest
import rasterio
import xarray
from PIL import Image

import geoseg
from geoseg.core.errors import ConfigError
from geoseg.runs.batch import check_batch, run_batch
from geoseg.runs.collection import picture_names
from geoseg.runs.prepare import read_batch
from geoseg.runs.validate import validate
from geoseg.scenes.listing import list_scenes
from tests.training.photos import COLORS, photo_bundle, street

SHAPE = (44, 70)


def write_photos(folder):
    """Three photographs: a JPEG with a space in its name, one that lies on its side, and a PNG."""
    folder.mkdir()
    pictures = [Image.fromarray(street(i, SHAPE)[0]) for i in range(3)]
    pictures[0].save(folder / "a b.jpg", quality=95)
    tag = Image.Exif()
    tag[0x0112] = 6
    pictures[1].save(folder / "side.jpg", quality=95, exif=tag)
    pictures[2].save(folder / "x.png")
    return folder


def pipeline(folder, bundle, outputs="mask: png, overlay: jpg, polygons: []"):
    path = folder / "photos.yaml"
    path.write_text(
        f"name: photos\nscenes: {folder}/photos/*\nmodel: {bundle}\n"
        "inference: {device: cpu, backend: torch}\n"
        f"outputs: {{folder: {folder}/out, {outputs}}}\n"
    )
    return path


@pytest.fixture(scope="module")
def streets(tmp_path_factory, small_pictures):
    return photo_bundle(tmp_path_factory.mktemp("streets") / "bundle")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, streets):
    """The folder with `photos`, and `out` with the run of them."""
    folder = tmp_path_factory.mktemp("many")
    write_photos(folder / "photos")
    outcomes = run_batch(read_batch(pipeline(folder, streets.folder)))
    assert [(o.state, o.warnings) for o in outcomes] == [("done", ())] * 3
    return folder


def test_masks_are_palette_pictures_by_the_names_of_the_photographs(ran):
    assert sorted(p.name for p in (ran / "out/masks").iterdir()) == ["a b.png", "side.png", "x.png"]
    palette = [v for c in COLORS.values() for v in bytes.fromhex(c[1:])]
    for name, run in (("a b", "a-b"), ("side", "side"), ("x", "x")):
        mask = Image.open(ran / f"out/masks/{name}.png")
        assert mask.mode == "P"
        # As a viewer shows the picture, also where the camera was turned.
        assert mask.size == ((SHAPE[0], SHAPE[1]) if name == "side" else (SHAPE[1], SHAPE[0]))
        assert mask.getpalette()[:12] == palette
        with rasterio.open(ran / f"out/{run}/classes.tif") as src:
            assert (np.array(mask) == src.read(1)).all()
        assert len(np.unique(np.array(mask))) > 1


def test_overlays_have_half_of_the_colour_of_their_class(ran):
    assert sorted(p.name for p in (ran / "out/overlays").iterdir()) == ["a b.jpg", "side.jpg", "x.jpg"]
    found = np.array(Image.open(ran / "out/overlays/x.jpg")).astype(int)
    picture = np.array(Image.open(ran / "photos/x.png")).astype(int)
    colors = np.array([list(bytes.fromhex(c[1:])) for c in COLORS.values()])
    mask = np.array(Image.open(ran / "out/masks/x.png"))
    # JPEG blurs.
    assert np.abs(found - (picture + colors[mask]) / 2).mean() < 12


def test_the_table_has_the_pixels_and_the_mean_confidence_of_each_class(ran):
    rows = list(csv.DictReader((ran / "out/results.csv").read_text().splitlines()))
    assert list(rows[0]) == ["image", "class", "pixels", "share", "mean_confidence"]
    assert [r["image"] for r in rows[::4]] == ["a b.jpg", "side.jpg", "x.png"]
    assert [r["class"] for r in rows[:4]] == list(COLORS)
    own = [r for r in rows if r["image"] == "x.png"]
    with rasterio.open(ran / "out/x/classes.tif") as a, rasterio.open(ran / "out/x/confidence.tif") as b:
        classes, confidence = a.read(1), b.read(1)
    for i, row in enumerate(own):
        here = classes == i
        assert int(row["pixels"]) == here.sum()
        assert float(row["share"]) == pytest.approx(here.mean(), abs=1e-6)
        if here.any():
            assert float(row["mean_confidence"]) == pytest.approx(confidence[here].mean(), abs=1e-3)


def test_a_run_that_goes_on_makes_the_same_bytes(ran, tmp_path):
    shutil.copytree(ran / "out", tmp_path / "out")
    kept = {p: p.read_bytes() for p in (ran / "out").rglob("*") if p.suffix in {".png", ".jpg", ".csv"}}
    shutil.rmtree(tmp_path / "out/masks")
    (tmp_path / "out/overlays/x.jpg").write_bytes(b"half")
    (tmp_path / "out/results.csv").unlink()
    outcomes = run_batch(read_batch(ran / "photos.yaml", output=tmp_path / "out"))
    assert {o.state for o in outcomes} == {"finished before"}
    assert all((tmp_path / "out" / p.relative_to(ran / "out")).read_bytes() == b for p, b in kept.items())


def test_a_finished_run_without_a_mask_is_said(ran, tmp_path):
    shutil.copytree(ran / "out", tmp_path / "out")
    (tmp_path / "out/x/mask.png").unlink()
    outcomes = run_batch(read_batch(ran / "photos.yaml", output=tmp_path / "out"))
    said = {o.name: o.warnings for o in outcomes}
    assert said["x"] == ("was finished without mask.png; to have them, run it again with --overwrite",)
    assert said["side"] == ()


def test_validate_knows_the_folder_of_many_photographs(ran, tmp_path):
    assert validate(ran / "out").failures == []
    shutil.copytree(ran / "out", tmp_path / "out")
    mask = np.array(Image.open(tmp_path / "out/x/mask.png"))
    other = Image.fromarray(np.roll(mask, 1, axis=1), mode="P")
    other.putpalette([9] * 768)
    other.save(tmp_path / "out/x/mask.png")
    (tmp_path / "out/masks/side.png").unlink()
    table = tmp_path / "out/results.csv"
    table.write_text(table.read_text().replace("x.png,sky,", "x.png,sky,1"))
    said = "\n".join(map(str, validate(tmp_path / "out").failures))
    assert "x/mask.png: size" in said
    assert "x/mask.png: colour of road: expected (128, 64, 128), found (9, 9, 9)" in said
    assert "x/mask.png: pixels unlike those of the class map" in said
    assert "masks/x.png: bytes" in said
    assert "masks/side.png: bytes: expected those of side/mask.png, found missing" in said
    assert "results.csv: rows: expected x.png,sky," in said


def test_nothing_is_said_of_ground_and_coordinate_systems(ran, geoseg_here):
    page = (ran / "out/x/report.html").read_text()
    assert "ground sample distance" not in page
    assert "<dt>CRS</dt>" not in page
    shown = [
        geoseg_here("run", ran / "photos.yaml", "--dry-run", "--output", ran / "other"),
        geoseg_here("inspect", ran / "photos/x.png"),
        geoseg_here("inspect", ran / "out/x"),
        geoseg_here("init", ran / "photos/x.png", "--model", ran_model(ran), "--output", ran / "new.yaml"),
    ]
    for done in shown:
        assert done.returncode == 0, done.stderr
        text = (done.stdout + done.stderr).lower()
        assert "gsd" not in text
        assert "crs" not in text
    written = (ran / "new.yaml").read_text()
    assert "gsd" not in written
    assert "mask: png" in written
    # What init wrote runs as it is.
    assert {o.state for o in check_batch(read_batch(ran / "new.yaml", scenes=str(ran / "photos/*")))} == {
        "can run"
    }


def ran_model(folder):
    return json.loads((folder / "out/x/run.json").read_text())["pipeline"]["model"]


@pytest.mark.parametrize("resize", [None, [32, 48]])
def test_a_photograph_as_an_array_gets_the_map_of_the_file(resize, tmp_path, streets):
    bundle = streets if resize is None else photo_bundle(tmp_path / "bundle", resize=resize)
    write_photos(tmp_path / "photos")
    path = pipeline(tmp_path, bundle.folder, "confidence: false, polygons: []")
    # In blocks of one tile each; the array is a single block.
    changes = {"scene": str(tmp_path / "photos/x.png"), "scenes": None, "tiling": {"block": 1}}
    run = geoseg.run(path, progress=False, **changes)
    assert run.record.plan.blocks == (6 if resize is None else 1)
    picture = np.moveaxis(np.array(Image.open(tmp_path / "photos/x.png")), -1, 0)
    array = xarray.DataArray(picture, dims=("band", "y", "x"), coords={"band": ["red", "green", "blue"]})
    found = geoseg.segment(array, bundle, backend="torch", device="cpu")
    assert (found["class"].values == run.classes().values).all()


def test_pictures_of_one_stem_keep_the_names_of_their_runs(tmp_path):
    for place in ("a/1.png", "b/1.jpg", "b/2.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    listed = list_scenes(str(tmp_path / "*/*"))
    assert picture_names(listed) == {"a-1": "a-1", "b-1": "b-1", "2": "2.png"}


def test_a_scene_by_the_name_of_the_folder_is_refused(tmp_path, streets):
    (tmp_path / "photos").mkdir()
    Image.fromarray(street(0, SHAPE)[0]).save(tmp_path / "photos/masks.png")
    with pytest.raises(ConfigError, match="masks is the name of a scene"):
        run_batch(read_batch(pipeline(tmp_path, streets.folder)))
