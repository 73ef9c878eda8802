import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoseg.config.loader import load
from geoseg.config.training import Training
from geoseg.core.errors import GeosegError
from geoseg.training.estimate import Estimate
from geoseg.training.prepare import prepare
from geoseg.training.start import draft as drafting
from geoseg.training.start import text as writing
from geoseg.training.start.codes import Held
from geoseg.training.start.draft import draft
from geoseg.training.start.legend import draft_legend
from geoseg.training.start.names import ClassName, NameList
from geoseg.training.start.text import training_text
from geoseg.training.train import train
from tests.conftest import write_raster
from tests.training.worlds import labelled_scene

TAKEN = Estimate("random weights", "cpu", 1, 6.0, 50, 1_500_000_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Neither ask for weights nor train: one test does."""
    monkeypatch.setattr(drafting, "to_be_had", lambda *_: False)
    monkeypatch.setattr(drafting, "estimate", lambda _: TAKEN)
    monkeypatch.setattr(drafting, "check_network", lambda _: None)


def drafted(folder, **options):
    """Return the document that is written for a folder, its text, and the notes."""
    found = draft(folder, "mine", training_text, **options)
    text = training_text(found.draft, found.estimate)
    path = folder.parent / "mine.yaml"
    path.write_text(text)
    assert all(len(line) <= 250 for line in text.splitlines() if "uri" not in line)
    return load(path, Training), text, found.notes


def masks(folder, codes, count=6, side=48, name="{}.png", seed=0, **options):
    """Write pictures, and masks of squares of some codes."""
    rng = np.random.default_rng(seed)
    for place in ("images", "masks"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        label = rng.choice(codes, (side // 8, side // 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        picture = rng.integers(0, 60, (side, side, 3)) + label[..., None] % 7 * 20
        Image.fromarray(picture.astype(np.uint8)).save(folder / "images" / name.format(i))
        options.get("save", lambda m, p: Image.fromarray(m).save(p))(label, folder / "masks" / f"{i}.png")


def test_pictures_and_masks_become_a_training_that_trains_as_it_is(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(drafting, "to_be_had", lambda *_: False)
    monkeypatch.setattr(writing, "ENCODER", "tu-mobilenetv3_small_050")
    masks(tmp_path / "data", [0, 1, 255], side=32)
    (tmp_path / "data/classes.txt").write_text("road\ncar\n")
    monkeypatch.chdir(tmp_path)
    document, text, _ = drafted(Path("data").absolute())
    assert re.search(r"title: road, color: \S+ codes: \[0\]\}   # [\d,]+ px, \d+ %", text)
    assert "ignore: [255]" in text
    assert "legend:   # names from classes.txt" in text
    assert "Takes" in text.splitlines()[1]
    assert "# The network starts from random weights" in text
    assert (document.fit.patience, document.fit.stop.patience) == (None, 10)
    trained = train(prepare("mine.yaml", ["fit.epochs=1", "chips.per_epoch=8"]))
    assert [c.slug for c in trained.record.metrics.classes] == ["road", "car"]


def test_scenes_with_label_rasters_are_split_by_place(tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(3):
        place = (5e5 + 5000 * i, 4.5e6)
        labelled_scene(tmp_path / "data", f"s{i}", (64, 64), seed=i, origin=place, keep=False)
    document, text, notes = drafted(tmp_path / "data")
    assert (document.dataset.images, document.dataset.labels) == ("{stem}.tif", "{stem}_labels.tif")
    assert (document.split.by, document.chips.size) == ("place", 64)
    assert "# bands: [blue, green, red, nir]" in text
    assert sum(int(n.replace(",", "")) for n in re.findall(r"# ([\d,]+) px", text)) == 3 * 64 * 64
    assert any("nothing names the classes" in n for n in notes)


def test_one_scene_with_polygons_is_cut_into_blocks(tmp_path):
    import geopandas as gpd
    from shapely.geometry import box

    (tmp_path / "data").mkdir()
    labelled_scene(tmp_path / "data", "s", (256, 256), keep=False)
    (tmp_path / "data/s_labels.tif").unlink()
    rows = [
        {
            "name": f"field {i}",
            "crop": ("Winter wheat", "Maize")[i % 2],
            "geometry": box(5e5 + x, y, 5e5 + x + 300, y + 300),
        }
        for i, (x, y) in enumerate(
            (x, 4.5e6 - 300 - y) for x in range(0, 2560, 320) for y in range(0, 2560, 320)
        )
    ]
    gpd.GeoDataFrame(rows, crs="EPSG:32633").to_file(tmp_path / "data/fields.gpkg")
    document, text, _ = drafted(tmp_path / "data")
    (scene,) = document.dataset.scenes
    assert (scene.scene, scene.labels, scene.attribute) == ("s.tif", "fields.gpkg", "crop")
    assert document.split.by == "block"
    assert [(c.slug, c.title) for c in document.legend.classes] == [
        ("maize", "Maize"),
        ("winter-wheat", "Winter wheat"),
    ]
    assert " 0 px" not in text


def test_masks_in_colours_take_their_names_from_a_list(tmp_path):
    colors = np.array([[128, 64, 128], [0, 0, 142], [0, 0, 0]], np.uint8)
    masks(tmp_path / "data", [0, 1, 2], save=lambda m, p: Image.fromarray(colors[m]).save(p))
    (tmp_path / "data/class_dict.csv").write_text("name,r,g,b\nroad,128,64,128\ncar,0,0,142\nvoid,0,0,0\n")
    document, _, notes = drafted(tmp_path / "data")
    assert {c.slug: c.color for c in document.legend.classes} == {"road": "#804080", "car": "#00008e"}
    assert document.dataset.unknown_colors == "ignore"
    assert any("have no name and are left out: #000000" in n for n in notes)


def test_the_parts_that_folders_say_are_taken(tmp_path):
    for part, count in (("train", 4), ("val", 2), ("test", 2)):
        masks(tmp_path / "data" / part, [0, 1], count=count, seed=count)
    document, _, _ = drafted(tmp_path / "data")
    assert (document.dataset.images, document.split.by) == ("{part}/images/{stem}.png", "given")


def test_rare_classes_change_loss_and_sampling(tmp_path):
    masks(tmp_path / "data", [0] * 99 + [1], side=64, count=9)
    document, _, _ = drafted(tmp_path / "data")
    assert [(t.kind, t.class_weights) for t in document.loss] == [("cross-entropy", "sqrt"), ("dice", "none")]
    assert document.chips.balance == 0.5
    masks(tmp_path / "even", [0, 1])
    document, _, _ = drafted(tmp_path / "even")
    assert [(t.kind, t.class_weights) for t in document.loss] == [("cross-entropy", "none")]


def test_bands_without_names_are_guessed_of_pictures_alone(tmp_path):
    for place in ("images", "labels"):
        (tmp_path / "data" / place).mkdir(parents=True)
    for i in range(4):
        rng, origin = np.random.default_rng(i), (5e5 + 9e3 * i, 4.5e6)
        image, label = rng.integers(1, 9000, (5, 32, 32)), rng.integers(1, 3, (32, 32))
        write_raster(tmp_path / f"data/images/{i}.tif", image.astype(np.uint16), origin=origin)
        write_raster(tmp_path / f"data/labels/{i}.tif", label.astype(np.uint8), origin=origin)
    document, text, _ = drafted(tmp_path / "data")
    assert not document.dataset.bands
    assert '# bands: ["band 1", "band 2"' in text
    unnamed = tuple(f"band {i}" for i in range(1, 5))
    assert drafting._guess(unnamed) == ("red", "green", "blue", "nir")
    assert drafting._guess(("blue", "band 2", "band 3")) is None


def bad(folder, kind):
    if kind == "measurements":
        labelled_scene(folder, "s", (64, 64), keep=False)
        write_raster(folder / "s_labels.tif", np.random.default_rng(0).random((64, 64)).astype(np.float32))
    elif kind == "one class":
        masks(folder, [1])
    elif kind == "jpeg":
        masks(folder, [0, 1])
        for p in (folder / "masks").iterdir():
            noise = np.random.default_rng(0).integers(0, 255, (48, 48, 3)).astype(np.uint8)
            Image.fromarray(noise).save(p.with_suffix(".jpg"))
            p.unlink()
    elif kind == "shape":
        masks(folder, [0, 1])
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "masks/0.png")
    elif kind == "damaged":
        masks(folder, [0, 1])
        (folder / "masks/0.png").write_bytes(b"no picture")
    elif kind == "small":
        masks(folder, [0, 1], count=1, side=32)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("measurements", "task: regression"), ("one class", "fewer than two classes: Class 1"),
        ("jpeg", "save masks as PNG"), ("shape", "9 x 9"), ("damaged", "masks/0.png"),
        ("small", "cannot be divided into"), ("empty", "holds no image"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_one_line(tmp_path, kind, said):
    (tmp_path / "data").mkdir()
    bad(tmp_path / "data", kind)
    with pytest.raises(GeosegError, match=re.escape(said)) as caught:
        drafted(tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_codes_that_mean_nothing_are_ignored():
    lists = [NameList("a", (ClassName(1, "Water"), ClassName(2, "Road"), ClassName(3, "Unlabelled")))]
    found = draft_legend(Held({-1: 5, 0: 9, 1: 1, 2: 2, 3: 4, 255: 7}), lists)
    assert [(c.slug, c.code) for c in found.classes] == [("background", 0), ("water", 1), ("road", 2)]
    assert dict(found.ignore) == {3: "Unlabelled", 255: "mostly pixels that nobody labelled"}
    assert "code 0 has no name" in found.notes[0]
    two = draft_legend(Held({0: 9, 255: 7}), [])
    assert [(c.id, c.code) for c in two.classes] == [(1, 0), (2, 255)]
    assert not two.ignore


def test_titles_in_any_script_have_slugs_and_colours_of_their_own():
    names = ("Forêt", "Forêt ", "水", "nodata", "A/B")
    lists = [NameList("a", tuple(ClassName(i, n, "#112233") for i, n in enumerate(names)))]
    found = draft_legend(Held(dict.fromkeys(range(5), 1)), lists)
    assert [c.slug for c in found.classes] == ["foret", "foret-2", "class-2", "a-b"]
    assert len({c.color for c in found.classes}) == 4


def test_a_list_of_names_in_order_fits_codes_in_order():
    found = draft_legend(
        Held({10: 1, 20: 1, 30: 1}), [NameList("a", tuple(ClassName(i, n) for i, n in enumerate("xyz")))]
    )
    assert [(c.code, c.title) for c in found.classes] == [(10, "x"), (20, "y"), (30, "z")]


def test_the_command_line_writes_the_file_where_trainings_are_looked_up(tmp_path, monkeypatch):
    from geoseg.cli.init_training import write_training
    from geoseg.core.errors import OutputError

    masks(tmp_path / "my tiles", [0, 1])
    monkeypatch.chdir(tmp_path)
    said = []
    path, notes = write_training(Path("my tiles"), None, None, said.append)
    assert path == Path("configs/training/my-tiles.yaml")
    assert load(path, Training).dataset.folder == "my tiles"
    assert any("names the classes" in n for n in notes)
    assert said
    with pytest.raises(OutputError, match="exists already"):
        write_training(Path("my tiles"), None, None, said.append)
