"""Folders of pictures and masks as published data sets lay them out, each in miniature."""

import warnings

import numpy as np
import pytest
from PIL import Image

from geoseg.config.dataset import ChipsEntry
from geoseg.config.legend import LegendDocument
from geoseg.config.loader import Document
from geoseg.core.errors import ConfigError, GeosegWarning, SceneError
from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE
from geoseg.scenes.datasets import resolve_dataset
from geoseg.scenes.layouts import Pattern
from tests.training.photos import COLORS, LEGEND, palette_mask, street

SHAPE = (24, 32)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def colored(classes):
    table = np.array([list(bytes.fromhex(c[1:])) for c in COLORS.values()], np.uint8)
    return table[classes]


def found_in(folder, legend=LEGEND, **keys):
    found = resolve_dataset(ChipsEntry(kind="chips", **keys), legend, data=str(folder))
    return found, {p.name: p.read(Window.of(0, 0, *p.shape)).channels for p in found}


def test_names_in_a_pattern_stand_for_parts_of_a_path():
    assert Pattern("{part}/**/{stem}.*").values("val/a/b/c.png") == {"part": "val", "stem": "c"}
    assert Pattern("{a}/{a}_{b}.[jp]*").values("x/x_1.jpg") == {"a": "x", "b": "1"}
    assert Pattern("{a}/{a}_{b}.png").values("x/y_1.png") is None
    assert Pattern("a+(b)/{stem}.png").values("a+(b)/1.png") == {"stem": "1"}


def test_camvid_has_a_folder_for_each_part_and_one_for_its_labels(tmp_path):
    expected = {}
    for seed, part in enumerate(["train", "train", "val", "test"]):
        picture, classes = street(seed, SHAPE)
        save(tmp_path / part / f"0{seed}.png", picture)
        save(tmp_path / f"{part}annot" / f"0{seed}.png", classes)
        expected[f"0{seed}"] = classes
    found, channels = found_in(tmp_path, images="{part}/{stem}.png", labels="{part}annot/{stem}.png")
    assert [(p.name, p.part) for p in found] == [
        ("03", "test"), ("00", "train"), ("01", "train"), ("02", "val"),
    ]  # fmt: skip
    assert all((channels[name] == classes).all() for name, classes in expected.items())


def test_voc_lists_its_parts_and_masks_some_of_its_pictures(tmp_path):
    for seed in range(4):
        picture, classes = street(seed, SHAPE)
        save(tmp_path / f"JPEGImages/2007_{seed}.jpg", picture, quality=95)
        classes[0] = 255
        if seed < 3:
            save(tmp_path / f"SegmentationClass/2007_{seed}.png", palette_mask(classes))
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for name, stems in {"train": "01", "val": "2", "trainval": "012"}.items():
        (lists / f"{name}.txt").write_text("".join(f"2007_{s}\n" for s in stems))
    found, channels = found_in(
        tmp_path,
        images="JPEGImages/{stem}.jpg",
        labels="SegmentationClass/{stem}.png",
        parts="ImageSets/Segmentation/{part}.txt",
    )
    assert [(p.name, p.part) for p in found] == [("2007_0", "train"), ("2007_1", "train"), ("2007_2", "val")]
    assert (channels["2007_1"][0] == IGNORE).all()
    assert (channels["2007_1"][1:] == street(1, SHAPE)[1][1:]).all()


def test_ade20k_calls_its_parts_training_and_validation(tmp_path):
    legend = LegendDocument.model_validate(
        {
            "classes": [c.model_dump() | {"id": c.id + 1, "codes": None} for c in LEGEND.classes],
            "ignore": [0],
        }
    )
    for seed, part in enumerate(["training", "training", "validation"]):
        picture, classes = street(seed, SHAPE)
        save(tmp_path / f"images/{part}/ADE_{seed}.jpg", picture)
        save(tmp_path / f"annotations/{part}/ADE_{seed}.png", classes + 1)
    found, channels = found_in(
        tmp_path, legend, images="images/{part}/{stem}.jpg", labels="annotations/{part}/{stem}.png"
    )
    assert [p.part for p in found] == ["train", "train", "val"]
    assert (channels["ADE_2"] == street(2, SHAPE)[1]).all()


def test_masks_in_colours_of_the_legend_are_read_by_colour(tmp_path):
    picture, classes = street(0, SHAPE)
    save(tmp_path / "images/a.png", picture)
    masks = {
        "rgb": colored(classes),
        "rgba": np.dstack([colored(classes), np.full(SHAPE, 255, np.uint8)]),
    }
    masks["rgba"][0, :, 3] = 0
    for name, mask in masks.items():
        save(tmp_path / f"{name}/a.png", mask)
    # A palette in another order than the classes: its numbers say nothing.
    shuffled = palette_mask(classes).remap_palette([3, 2, 1, 0])
    save(tmp_path / "palette/a.png", shuffled)
    keys = {"images": "images/{stem}.png"}
    assert (found_in(tmp_path, labels="rgb/{stem}.png", **keys)[1]["a"] == classes).all()
    rgba = found_in(tmp_path, labels="rgba/{stem}.png", **keys)[1]["a"]
    assert (rgba[0] == IGNORE).all()
    assert (rgba[1:] == classes[1:]).all()
    assert (found_in(tmp_path, labels="palette/*.png", **keys)[1]["a"] != classes).any()
    by_color = found_in(tmp_path, labels="palette/*.png", palettes="colors", **keys)[1]["a"]
    assert (by_color == classes).all()


def test_unknown_colours_are_counted_once_or_ignored(tmp_path):
    picture, classes = street(0, SHAPE)
    mask = colored(classes)
    mask[3, :5], mask[20, :2] = (1, 2, 3), (255, 255, 255)
    save(tmp_path / "images/a.png", picture)
    save(tmp_path / "labels/a.png", mask)
    keys = {"images": "images/*.png", "labels": "labels/{stem}.png"}
    place = resolve_dataset(ChipsEntry(kind="chips", **keys), LEGEND, data=str(tmp_path))[0]
    # Of the whole file, whichever window is read.
    said = (
        r"labels/a.png: 7 of 768 px have 2 colours .* such as #010203 \(5 px\), #ffffff \(2 px\); .* ignore"
    )
    with pytest.raises(SceneError, match=said):
        place.read(Window.of(0, 0, 8, 8))
    channels = found_in(tmp_path, unknown_colors="ignore", **keys)[1]["a"]
    assert (channels == IGNORE).sum() == 7
    save(tmp_path / "labels/a.jpg", colored(classes), quality=50)
    with pytest.raises(SceneError, match="JPEG blurs colours"):
        found_in(tmp_path, images="images/*.png", labels="labels/{stem}.jpg")


def test_one_colour_for_two_classes_is_refused_where_colours_count(tmp_path):
    classes = [c.model_dump() | {"color": "#ff0000", "codes": None} for c in LEGEND.classes]
    legend = LegendDocument.model_validate({"classes": classes, "ignore": [255]})
    picture, mask = street(0, SHAPE)
    save(tmp_path / "images/a.png", picture)
    save(tmp_path / "ids/a.png", mask)
    save(tmp_path / "colors/a.png", colored(mask))
    found_in(tmp_path, legend, images="images/*.png", labels="ids/{stem}.png")
    with pytest.raises(ConfigError, match="two classes have the colour #ff0000"):
        found_in(tmp_path, legend, images="images/*.png", labels="colors/{stem}.png")


@pytest.mark.parametrize("number", [2, 3, 5, 6, 8])
def test_a_turned_picture_and_its_label_are_turned_alike(tmp_path, number):
    picture, classes = street(0, SHAPE)
    tag = Image.Exif()
    tag[0x0112] = number
    save(tmp_path / "images/a.jpg", picture, exif=tag, quality=95)
    save(tmp_path / "tagged/a.png", classes, exif=tag)
    place, channels = found_in(tmp_path, images="images/*.jpg", labels="tagged/{stem}.png")
    swapped = number >= 5
    assert place[0].shape == (SHAPE[::-1] if swapped else SHAPE)
    # The sky is bright and blue, on both or on neither.
    blue = place[0].read(Window.of(0, 0, *place[0].shape)).values[2]
    assert blue[channels["a"] == 0].mean() > blue[channels["a"] == 1].mean() + 50
    save(tmp_path / "stored/a.png", classes)
    keys = {"images": "images/*.jpg", "labels": "stored/{stem}.png"}
    if swapped:
        with pytest.raises(SceneError, match=r"24 x 32 px fit the picture as it is stored, but by its EXIF"):
            found_in(tmp_path, **keys)
    else:
        with pytest.warns(GeosegWarning, match="as drawn on the picture that viewers show"):
            found_in(tmp_path, **keys)


def test_grey_and_transparent_pictures_are_read_and_palettes_refused(tmp_path):
    picture, classes = street(0, SHAPE)
    save(tmp_path / "labels/a.png", classes)
    clear = np.dstack([picture, np.full(SHAPE, 255, np.uint8)])
    clear[:, :4, 3] = 0
    save(tmp_path / "grey/a.png", picture[..., 0])
    save(tmp_path / "rgba/a.png", clear)
    save(tmp_path / "palette/a.png", Image.fromarray(picture).quantize(16))
    grey, _ = found_in(tmp_path, images="grey/*.png", labels="labels/{stem}.png", bands=("grey",))
    assert [b.common_name for b in grey[0].scene.bands] == ["grey"]
    rgba, channels = found_in(tmp_path, images="rgba/*.png", labels="labels/{stem}.png")
    assert [b.common_name for b in rgba[0].scene.bands] == ["red", "green", "blue"]
    assert (channels["a"][:, :4] == IGNORE).all()
    with pytest.raises(SceneError, match=r"is a palette image.*convert it to RGB"):
        resolve_dataset(
            ChipsEntry(kind="chips", images="palette/*.png", labels="labels/{stem}.png"),
            LEGEND, ["red", "green", "blue"], str(tmp_path),
        )  # fmt: skip


def test_pictures_without_a_label_are_counted_or_left_out(tmp_path):
    for seed in range(3):
        picture, classes = street(seed, SHAPE)
        save(tmp_path / f"images/{seed}.png", picture)
    save(tmp_path / "labels/1.png", classes)
    keys = {"images": "images/*.png", "labels": "labels/{stem}.png"}
    with pytest.raises(SceneError, match=r"labels/0.png: no such file.* 2 of 3 images .* unlabelled: skip"):
        found_in(tmp_path, **keys)
    assert [p.name for p in found_in(tmp_path, unlabelled="skip", **keys)[0]] == ["1"]


def test_pictures_of_one_name_in_two_parts_keep_their_folder_in_the_name(tmp_path):
    for part in ("train", "val"):
        picture, classes = street(0, SHAPE)
        save(tmp_path / part / "1.png", picture)
        save(tmp_path / f"{part}annot" / "1.png", classes)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeosegWarning)
        found, _ = found_in(tmp_path, images="{part}/{stem}.png", labels="{part}annot/{stem}.png")
    assert [p.name for p in found] == ["train/1", "val/1"]


def test_a_layout_without_known_parts_says_what_it_found(tmp_path):
    save(tmp_path / "fold1/1.png", street(0, SHAPE)[0])
    with pytest.raises(SceneError, match="no image is of a part train, val or test; parts found are fold1"):
        found_in(tmp_path, images="{part}/{stem}.png", labels="{part}annot/{stem}.png")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"labels": "{town}/{stem}.png"}, r"images has no \{town\}; it has stem"),
        ({"images": "{part/*.png"}, "images: braces hold one name"),
        ({"labels": "{stem.x}.png"}, "labels: braces hold one name"),
        ({"parts": "lists/train.txt"}, r"parts: write \{part\}"),
        ({"group": "{stem}", "groups": "g.json"}, "group and groups both say"),
    ],
)
def test_patterns_that_cannot_work_are_refused_when_read(keys, said):
    assert issubclass(ChipsEntry, Document)
    with pytest.raises(ValueError, match=said):
        ChipsEntry(kind="chips", **keys)
