"""Trainings on several data sets: their labels, scales, shares and figures."""

import textwrap

import numpy as np
import pytest
import rasterio

from geoseg.core.errors import ConfigError, SceneError
from geoseg.core.geometry import Window
from geoseg.evaluation.text import report_text
from geoseg.models.bundle import open_bundle
from geoseg.training.build import training_chips
from geoseg.training.census import CensusCell, Region
from geoseg.training.evaluate import evaluate_bundle
from geoseg.training.prepare import prepare
from geoseg.training.sets import DataSets
from geoseg.training.train import train
from tests.conftest import write_raster
from tests.training.test_train import LEGEND, UNET
from tests.training.worlds import labelled_scene


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three scenes at 10 m, and three chips at 20 m with another scale and codes 10, 20 and 70."""
    folder = tmp_path_factory.mktemp("sets")
    for i in range(3):
        labelled_scene(folder, f"s{i}", (64, 96), seed=i, origin=(5e5 + 5000 * i, 4.5e6), keep=False)
        labelled_scene(folder / "raw", f"c{i}", (64, 64), seed=9 + i, keep=False)
        with (
            rasterio.open(folder / f"raw/c{i}.tif") as src,
            rasterio.open(folder / f"raw/c{i}_labels.tif") as lab,
        ):
            numbers, codes = src.read(), lab.read(1)
        origin = (6e5 + 5000 * i, 4.6e6)
        # The same reflectance, stored as thousandths; in another order of the bands, with one more.
        stored = np.rint(numbers[[2, 1, 0, 3, 3]] / 10).astype(np.int16)
        names = ("red", "green", "blue", "nir", "swir16")
        write_raster(folder / f"chips/images/c{i}.tif", stored, names=names, gsd=20, origin=origin)
        relabelled = np.array([0, 20, 10, 70], np.uint8)[codes]
        write_raster(folder / f"chips/labels/c{i}.tif", relabelled, gsd=20, origin=origin)
    return folder


def document(folder, data, uses=None, more=""):
    """Write a training on both data sets."""
    scenes = "\n".join(
        f"        - {{scene: s{i}.tif, labels: s{i}_labels.tif, part: {p}}}"
        for i, p in enumerate(("train", "val", "test"))
    )
    both = f"""\
datasets:
  - name: alps
    dataset:
      kind: scenes
      folder: {data}
      scenes:
{scenes}
    weight: 3
  - name: chips
    dataset: {{kind: chips, scale: 0.001, images: "images/{{stem}}.tif"}}
    data: {data}/chips
    classes: {{10: tree, 20: water, 70: ignore}}
"""
    text = f"""\
name: toy
bands: [blue, green, red, nir]
{both if uses is None else uses}
split: {{by: place, val: 0.3, test: 0.3, tries: 20}}
chips: {{size: 32, per_epoch: 8}}
network: {UNET}
fit: {{epochs: 1, batch: 4, device: cpu}}
output: {folder / "trained"}
{textwrap.dedent(LEGEND)}
{more}
"""
    path = folder / "training.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory):
    return prepare(document(tmp_path_factory.mktemp("prepared"), data))


def test_each_data_set_has_its_own_codes_scale_and_gsd(prepared, data):
    assert [p.name for p in prepared.labelled][2:4] == ["alps/s2.tif", "chips/c0"]
    for number, place in enumerate(prepared.labelled[3:]):
        pixels = place.read(Window.of(0, 0, *place.shape))
        with (
            rasterio.open(data / f"raw/c{number}.tif") as src,
            rasterio.open(data / f"raw/c{number}_labels.tif") as lab,
        ):
            assert pixels.values == pytest.approx(src.read() * 1e-4, abs=6e-4)
            known = lab.read(1) - 1
        # Water and tree of both are the same channel; code 70 is no class of the training.
        assert (pixels.channels == np.where(known == 2, 255, known)).all()
    assert [c.region.unit.split("/")[0] for c in prepared.parts["train"]]
    told = prepared.summary()["datasets"]
    assert list(told) == ["alps", "chips"]
    assert (told["alps"]["gsd_m"], told["chips"]["gsd_m"]) == (10, 20)
    assert told["chips"]["labelled_pixels"]["crop"] == 0 < told["alps"]["labelled_pixels"]["crop"]
    assert sum(told["alps"]["labelled_pixels"].values()) == 3 * 64 * 96
    both = [told[n]["chips"][p] for n in told for p in ("train", "val", "test")]
    assert sum(both) == sum(p["chips"] for p in prepared.summary()["parts"].values())


def test_chips_are_drawn_from_each_data_set_by_its_weight(prepared):
    chips = training_chips(prepared)
    shares = dict.fromkeys(prepared.sets.names, 0.0)
    for cell, odds in zip(chips.cells, chips.odds, strict=True):
        shares[prepared.sets.name_of(cell)] += odds
    assert shares == pytest.approx({"alps": 0.75, "chips": 0.25})
    drawn = [chips[i]["where"].split("/")[0] for i in range(200)]
    assert drawn.count("alps") == pytest.approx(150, abs=25)
    assert prepared.summary()["datasets"]["alps"]["share_of_chips"] == 0.75


def test_a_data_set_without_a_chip_in_train_leaves_its_share_to_the_others():
    sets = DataSets(("a", "b", "c"), (1.0, 1.0, 2.0), (0, 1, 2))
    window = None
    cells = [CensusCell(Region(i, window, "u"), window, np.ones(1), 1, None, None) for i in (0, 2, 2)]
    assert sets.odds(np.array([0.2, 0.2, 0.6]), cells) == pytest.approx([1 / 3, 1 / 6, 1 / 2])


def test_card_record_and_page_have_figures_of_each_data_set(data, tmp_path):
    parts = tmp_path / "parts.json"
    parts.write_text(
        '{"train": ["alps/s0.tif", "chips/c0"], "val": ["alps/s1.tif", "chips/c1"], '
        '"test": ["alps/s2.tif", "chips/c2"]}'
    )
    path = document(tmp_path, data)
    path.write_text(
        path.read_text().replace("split: {", f"split: {{parts: {parts}, ").replace("by: place", "by: given")
    )
    trained = train(prepare(path))
    metrics = trained.record.metrics
    assert set(metrics.datasets) == {"alps", "chips"}
    assert sum(s.pixels for s in metrics.datasets.values()) == metrics.pixels
    crop = [row for row in metrics.datasets["chips"].classes if row.slug == "crop"]
    assert crop[0].reference_pixels == 0
    card = open_bundle(trained.bundle).card
    assert card.metrics["datasets"]["alps"]["miou"] == metrics.datasets["alps"].miou
    assert card.training["datasets"]["chips"]["chips"] == {"train": 4, "val": 4, "test": 4}
    assert (card.gsd_m.min, card.gsd_m.max) == (10, 20)
    page = trained.folder.joinpath("training.html").read_text()
    assert ">Data sets</h2>" in page
    assert "Mean IoU on test" in page
    report = evaluate_bundle(path, [], trained.bundle, "test")
    assert report.other_parts["test of chips"].miou == pytest.approx(metrics.datasets["chips"].miou, abs=1e-3)
    assert "mean IoU, test of alps" in report_text(report)


def test_a_single_data_set_says_nothing_of_several(tmp_path, data):
    use = f"""\
dataset:
  kind: scenes
  folder: {data}
  scenes:
    - {{scene: s0.tif, labels: s0_labels.tif}}
    - {{scene: s1.tif, labels: s1_labels.tif}}
    - {{scene: s2.tif, labels: s2_labels.tif}}
"""
    prepared = prepare(document(tmp_path, data, use))
    assert prepared.sets is None
    assert "datasets" not in prepared.summary()
    assert prepared.labelled[0].name == "s0.tif"


SCENE = "{kind: scenes, scenes: [{scene: s.tif, labels: l.tif}]}"


@pytest.mark.parametrize(
    ("uses", "more", "said"),
    [
        ("", "", "say which labelled data to train on: dataset: NAME, or a list under datasets"),
        (f"dataset: {SCENE}\ndatasets: [{{dataset: {SCENE}}}]", "", "say which labelled data"),
        (f"datasets: [{{dataset: {SCENE}}}]\ndata: x", "", "write data: FOLDER in an entry of datasets"),
        (
            f"datasets: [{{dataset: {SCENE}, weight: 2}}]",
            "chips.sampler=grid",
            "weight goes with chips.sampler",
        ),
        (f"datasets: [{{dataset: {SCENE}, name: a}}, {{dataset: {SCENE}, name: a}}]", "", "two are called a"),
        (f"datasets: [{{dataset: {SCENE}, classes: {{1: treee}}}}]", "", "datasets: data1: classes: 1: "),
        (f"datasets: [{{dataset: {SCENE}, weight: 0}}]", "", "weight"),
    ],
)
def test_mistakes_are_said_in_one_line(tmp_path, data, uses, more, said):
    with pytest.raises(ConfigError, match=said) as error:
        prepare(document(tmp_path, data, uses), [more] if more else [])
    assert len(str(error.value)) < 300


def test_a_code_that_no_mapping_names_is_an_error(tmp_path, data):
    path = document(tmp_path, data)
    path.write_text(path.read_text().replace("20: water, 70: ignore", "20: water"))
    with pytest.raises(SceneError, match=r"outside the legend: 70 .* under its classes:"):
        prepare(path)


def test_a_band_that_one_data_set_lacks_is_an_error(tmp_path, data):
    with pytest.raises((ConfigError, SceneError), match="swir16"):
        prepare(document(tmp_path, data), ["bands=[blue, green, swir16]"])
