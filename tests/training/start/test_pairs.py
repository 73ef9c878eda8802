import pytest

from geoseg.core.errors import SceneError
from geoseg.training.start.pairs import files_of, find_pairs, lists_of_parts, named


def both(image, label, **values):
    """Names of images and labels for all values of a key."""
    return [form.format(k, **values) for k in range(4) for form in (image, label)]


@pytest.mark.parametrize(
    ("files", "images", "labels"),
    [
        (both("images/{0}.png", "masks/{0}.png"), "images/{stem}.png", "masks/{stem}.png"),
        (both("{0}_sat.jpg", "{0}_mask.png"), "{stem}_sat.jpg", "{stem}_mask.png"),
        (both("img_{0}.tif", "lbl_{0}.tif"), "img_{stem}.tif", "lbl_{stem}.tif"),
        (both("s{0}.tif", "s{0}_labels.tif"), "{stem}.tif", "{stem}_labels.tif"),
        (both("top_{0}_RGB.tif", "GT/top_{0}_label.tif"), "{stem}_RGB.tif", "GT/{stem}_label.tif"),
        (both("x[a]/images/{0}.tif", "x[a]/labels/{0}.tif"),
         "x[[]a]/images/{stem}.tif", "x[[]a]/labels/{stem}.tif"),
        (
            [*both("JPEGImages/a{0}.jpg", "SegmentationClass/a{0}.png"), "SegmentationObject/a0.png"],
            "JPEGImages/{stem}.jpg", "SegmentationClass/{stem}.png",
        ),
        (
            [*both("images/{0}.jpg", "masks/{0}.png"), "images/9.png", "masks/9.png"],
            "images/{stem}.*", "masks/{stem}.png",
        ),
    ],
)  # fmt: skip
def test_the_names_of_a_folder_become_patterns(files, images, labels):
    found = find_pairs(sorted(files), {})
    assert (found.images, found.labels) == (images, labels)
    assert not found.parts


@pytest.mark.parametrize(
    ("image", "label", "images", "labels"),
    [
        ("{p}/{i}{p}.png", "{p}annot/{i}{p}.png", "{part}/{stem}.png", "{part}annot/{stem}.png"),
        ("im/{p}/{i}{p}.jpg", "annot/{p}/{i}{p}.png", "im/{part}/{stem}.jpg", "annot/{part}/{stem}.png"),
        ("{p}/images/{i}.tif", "{p}/labels/{i}.tif", "{part}/images/{stem}.tif", "{part}/labels/{stem}.tif"),
        ("{p}_images/{i}.tif", "{p}_labels/{i}.tif", "{part}_images/{stem}.tif", "{part}_labels/{stem}.tif"),
    ],
)  # fmt: skip
def test_folders_of_parts_are_told(image, label, images, labels):
    files = [f.format(p=p, i=i) for p in ("train", "val", "test") for i in range(2) for f in (image, label)]
    found = find_pairs(sorted(files), {})
    assert (found.images, found.labels) == (images, labels)
    assert found.parts == {"train", "val", "test"}


def test_a_folder_of_train_alone_is_no_part():
    found = find_pairs(sorted(both("train/images/{0}.tif", "train/labels/{0}.tif")), {})
    assert (found.images, found.parts) == ("train/images/{stem}.tif", frozenset())


def test_folders_that_vary_become_groups():
    files = [
        f"{k}/{town}/{town}{i}.png" for k in ("image", "mask") for town in ("bonn", "ulm") for i in (1, 2)
    ]
    found = find_pairs(sorted(files), {})
    assert (found.images, found.labels) == ("image/{folder}/{stem}.png", "mask/{folder}/{stem}.png")
    assert found.group == "{folder}"


def test_few_images_and_polygons_are_listed_one_by_one():
    assert find_pairs(["a.tif", "a_labels.gpkg"], {}).pairs == (("a.tif", "a_labels.gpkg"),)
    assert find_pairs(["a.tif", "b.tif", "fields.gpkg"], {}).pairs == (
        ("a.tif", "fields.gpkg"),
        ("b.tif", "fields.gpkg"),
    )
    assert find_pairs(["one.tif", "truth.tif"], {}).pairs == (("one.tif", "truth.tif"),)


def test_pixels_tell_where_names_do_not():
    files = sorted(both("a/{0}.png", "b/{0}.png"))
    with pytest.raises(SceneError, match="none of them is a label"):
        find_pairs(files, {})
    found = find_pairs(files, {f: f.startswith("b") for f in files})
    assert (found.images, found.labels) == ("a/{stem}.png", "b/{stem}.png")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["images/a.png", "images/b.png"], "none of them is a label"),
        (["labels/a.png", "labels/b.png"], "put the images into a folder called images"),
        (
            ["images/a.png", "images/b.png", "labels/c.png", "labels/d.png"],
            "no image and label have one name",
        ),
    ],
)
def test_what_cannot_be_paired_is_said(files, said):
    with pytest.raises(SceneError, match=said) as caught:
        find_pairs(files, {})
    assert len(str(caught.value)) <= 300


def test_only_data_that_can_be_seen_are_files(tmp_path):
    for name in ("images/a.TIF", "images/a.tif.aux.xml", ".cache/b.png", "notes.txt", "coco.json", "a.gpkg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert files_of(tmp_path) == ["a.gpkg", "images/a.TIF"]
    with pytest.raises(SceneError, match="no such folder"):
        files_of(tmp_path / "nowhere")
    (tmp_path / "images/a.TIF").unlink()
    with pytest.raises(SceneError, match="holds no image"):
        files_of(tmp_path)


def test_words_go_from_the_ends_of_names_alone():
    assert named("tiles/my_mask_of_7.tif").key == ("my_mask_of_7",)
    assert named("Train/masks_png/7_mask.png").key == ("train", "7")
    assert named("labels/label.tif").label


def test_lists_of_parts_are_found(tmp_path):
    folder = tmp_path / "ImageSets/Segmentation"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("a\nb\n")
    assert lists_of_parts(tmp_path, ["a", "b", "c"]) == ""
    (folder / "val.txt").write_text("c\n")
    assert lists_of_parts(tmp_path, ["a", "b", "c"]) == "ImageSets/Segmentation/{part}.txt"
    assert lists_of_parts(tmp_path, ["x"]) == ""
