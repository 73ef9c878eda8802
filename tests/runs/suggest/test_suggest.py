"""Places that are worth labelling: suggested, labelled by a script, trained on."""

import json
import sqlite3
import textwrap

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from geoseg.core.errors import ConfigError, OutputError, SceneError
from geoseg.core.geometry import Window
from geoseg.runs.prepare import prepare as prepare_run
from geoseg.runs.run import run
from geoseg.runs.suggest import suggest, write_pseudo_labels
from geoseg.runs.suggest.choose import choose, comparable
from geoseg.scenes.suggested import open_places, read_places
from geoseg.training.prepare import prepare
from geoseg.training.train import train
from tests.conftest import BAND_NAMES, make_bundle, reflectance, write_pipeline, write_raster

SIZE = 64


@pytest.fixture(scope="module")
def place(tmp_path_factory, bundle, small_pictures):
    """A run of two networks over a scene of 20 squares, of which one is nodata and one is odd."""
    folder = tmp_path_factory.mktemp("suggest")
    numbers = reflectance(5 * SIZE + 9, 4 * SIZE + 5)
    numbers[:, :SIZE, :SIZE] = 0
    numbers[:, SIZE : 2 * SIZE, SIZE : 2 * SIZE] = 700
    write_raster(folder / "scene.tif", numbers, names=BAND_NAMES, scale=0.0001, nodata=0)
    make_bundle(folder / "other", seed=4, name="other")
    lines = "checks: {statistics: off}", "inference: {backend: torch, precision: fp32}"
    write_pipeline(folder, folder / "scene.tif", f"[{bundle.folder}, {folder}/other]", *lines)
    changes = ["tiling.tile=128", "outputs.disagreement=true", "outputs.polygons=[]"]
    run(prepare_run(folder / "pipeline.yaml", changes))
    return folder


@pytest.fixture(scope="module")
def places(place):
    suggest(place / "out", place / "places.gpkg", count=6, size=SIZE)
    return gpd.read_file(place / "places.gpkg", layer="places")


def read(path):
    with rasterio.open(path) as src:
        return src.read(1)


def test_places_lie_on_the_pixels_of_the_map_and_say_why(place, places):
    assert places["rank"].tolist() == list(range(1, 7))
    assert set(places["reason"]) <= {"uncertain", "disagreement"}
    confidence = read(place / "out/confidence.tif")
    with rasterio.open(place / "out/classes.tif") as src:
        assert places.crs == src.crs
        inverse = ~src.transform
    seen = set()
    for row in places.itertuples():
        left, bottom, right, top = row.geometry.bounds
        (x0, y0), (x1, y1) = inverse @ (left, top), inverse @ (right, bottom)
        assert (x1 - x0, y1 - y0) == (SIZE, SIZE)
        x, y = round(x0), round(y0)
        assert (x % SIZE, y % SIZE) == (0, 0)
        assert (x, y) != (0, 0)  # nodata
        seen.add((x, y))
        assert row.uncertain == pytest.approx(1 - confidence[y : y + SIZE, x : x + SIZE].mean(), abs=1e-3)
    assert len(seen) == 6
    # The first stands out most by one of the measures.
    assert places["score"].iloc[0] == 1


def test_the_same_seed_gives_the_same_file_and_another_one_other_places(place, places):
    suggest(place / "out", place / "again.gpkg", count=6, size=SIZE)
    assert (place / "again.gpkg").read_bytes() == (place / "places.gpkg").read_bytes()
    suggest(place / "out", place / "other.gpkg", count=6, size=SIZE, seed=5)
    other = gpd.read_file(place / "other.gpkg", layer="places")
    assert set(other.geometry.to_wkt()) != set(places.geometry.to_wkt())


def test_qgis_offers_the_classes_of_the_legend(place, places):
    with sqlite3.connect(place / "places.gpkg") as database:
        styles = dict(database.execute("SELECT f_table_name, styleQML FROM layer_styles"))
    assert 'type="ValueMap"' in styles["labels"]
    assert 'name="Class 2" value="class-2"' in styles["labels"]
    assert 'value="class-2" type="string"' in styles["labels"]
    assert 'type="singleSymbol"' in styles["places"]
    info = pyogrio.read_info(place / "places.gpkg", layer="labels")
    assert (info["features"], info["geometry_type"]) == (0, "Polygon")
    assert "class" in info["fields"]


def draw(place, places, target, ranks):
    """Label the left half of some places as one class, and a part of the right half as another one."""
    target.write_bytes((place / "places.gpkg").read_bytes())
    shapes, classes = [], []
    for rank in ranks:
        left, bottom, right, top = places.geometry.iloc[rank - 1].bounds
        middle = (left + right) / 2
        shapes += [shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right - 160, top)]
        classes += ["class-1", "Class 2" if rank % 2 else "class-3"]
    drawn = gpd.GeoDataFrame({"class": classes}, geometry=shapes, crs=places.crs)
    pyogrio.write_dataframe(drawn, target, layer="labels", driver="GPKG", append=True)


LEGEND = """
    legend:
      classes:
        - {id: 1, slug: class-1, title: Class 1, color: "#2b7bba"}
        - {id: 2, slug: class-2, title: Class 2, color: "#1b7837"}
        - {id: 3, slug: class-3, title: Class 3, color: "#f2cf63"}
"""


def test_labels_that_are_drawn_become_chips_of_a_training(place, places, tmp_path):
    target = tmp_path / "places.gpkg"
    draw(place, places, target, (1, 2, 3, 4, 5))
    text = f"""\
        name: round-2
        dataset: {{kind: places, files: [{target}]}}
        split: {{by: group, val: 0.2, test: 0.2}}
        bands: [red, green, blue, nir]
        chips: {{size: {SIZE}, per_epoch: 4}}
        network: {{architecture: Unet, arguments: {{encoder_name: tu-tf_efficientnet_lite0,
          encoder_depth: 3, decoder_channels: [16, 8, 8]}}}}
        fit: {{epochs: 1, batch: 4, device: cpu}}
        tile: {{size: 64, min: 64, max: 256, overlap: 16}}
        output: {tmp_path / "trained"}
    """
    path = tmp_path / "training.yaml"
    path.write_text(textwrap.dedent(text) + textwrap.dedent(LEGEND))
    prepared = prepare(path, [])
    labelled = prepared.labelled
    assert [one.name for one in labelled] == [f"places-{i:03d}" for i in range(1, 6)]
    assert all(one.shape == (SIZE, SIZE) for one in labelled)
    assert len({one.group for one in labelled}) == 5
    pixels = labelled[0].read(Window.of(0, 0, SIZE, SIZE))
    # 160 m at the right are not labelled.
    assert (pixels.channels[:, :32] == 0).all()
    assert (pixels.channels[:, 32:48] == 1).all()
    assert (pixels.channels[:, 48:] == 255).all()
    left, bottom, right, top = places.geometry.iloc[0].bounds
    with rasterio.open(place / "scene.tif") as src:
        numbers = src.read(BAND_NAMES.index("red") + 1, window=src.window(left, bottom, right, top))
    assert np.allclose(pixels.values[0], numbers * 0.0001)
    trained = train(prepared)
    assert trained.record.history
    assert [b.common_name for b in prepared.labelled[0].scene.bands] == ["red", "green", "blue", "nir"]


def test_files_without_labels_or_of_another_kind_are_refused_in_a_line(place, places, tmp_path):
    with pytest.raises(SceneError, match="no polygon with a class is drawn"):
        read_places(str(place / "places.gpkg"))
    with pytest.raises(SceneError, match="is no file of places"):
        read_places(str(place / "scene.tif"))
    draw(place, places, tmp_path / "drawn.gpkg", (1,))
    drawn = read_places(str(tmp_path / "drawn.gpkg"))
    with pytest.raises(SceneError, match="and no swir16; give the scene"):
        open_places(drawn, None, ["red", "swir16"])
    with pytest.raises(ConfigError, match="no square of 4096 px"):
        suggest(place / "out", tmp_path / "x.gpkg", size=4096)
    with pytest.raises(OutputError, match="holds no finished run"):
        suggest(tmp_path, tmp_path / "x.gpkg")


def test_the_size_is_that_of_a_tile_where_no_training_says_another(place, tmp_path):
    assert suggest(place / "out", tmp_path / "x.gpkg", count=1).size == 128


def test_choices_are_far_from_one_another():
    """Of two crowds and a lone row all three are met."""
    random = np.random.default_rng(0)
    crowd = random.normal(size=(40, 2)) * 0.01
    features = np.concatenate([crowd[:20], crowd[20:] + 5, [[9.0, 0.0]]])
    chosen = choose(features, np.ones(41), 3, seed=1)
    assert {min(i // 20, 2) for i in chosen.tolist()} == {0, 1, 2}
    assert sorted(choose(np.zeros((4, 1)), np.ones(4), 9, seed=1).tolist()) == [0, 1, 2, 3]
    scaled = comparable(features * 1000, features[:, :1])
    assert scaled[:, :2].var(axis=0).sum() == pytest.approx(1)
    assert scaled[:, 2:].var(axis=0).sum() == pytest.approx(1)


def test_confident_pixels_become_labels(place, tmp_path):
    made = write_pseudo_labels(place / "out", tmp_path / "labels.tif", 0.6)
    classes, confidence = read(place / "out/classes.tif"), read(place / "out/confidence.tif")
    expected = np.where((classes != 255) & (np.rint(confidence * 100) >= 60), classes, 255)
    assert (read(tmp_path / "labels.tif") == expected).all()
    assert 0 < (expected != 255).mean() < 0.9
    ids = {1: "class-1", 2: "class-2", 3: "class-3"}
    for i, slug in ids.items():
        if (classes == i).any():
            share = (expected == i).sum() / (classes == i).sum()
            assert made.shares[slug] == pytest.approx(share, abs=1e-4)
    with pytest.raises(ConfigError, match="is no confidence"):
        write_pseudo_labels(place / "out", tmp_path / "labels.tif", 60)


def test_the_command_says_what_to_do_next(place, geoseg_here, tmp_path):
    done = geoseg_here("suggest", place / "out", "-o", tmp_path / "p.gpkg", "--size", "64", "--count", "3")
    assert done.returncode == 0, done.stderr
    assert "3 places of 64 x 64 px out of 19" in done.stdout
    assert "kind: places" in done.stdout
    done = geoseg_here("suggest", place / "out", "-o", tmp_path / "l.tif", "--pseudo", "0.9", "--json")
    assert json.loads(done.stdout)["threshold"] == 0.9
    assert geoseg_here("suggest", place / "out", "-o", tmp_path / "p.gpkg", "--count", "0").returncode == 2
