import json

import numpy as np
import pytest

from geoseg.config.dataset import ChipsEntry, ScenesEntry
from geoseg.config.legend import LegendDocument
from geoseg.core.errors import SceneError
from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE
from geoseg.scenes.coco import _unpacked
from geoseg.scenes.datasets import resolve_dataset
from geoseg.scenes.truth import ObjectTruth
from tests.conftest import write_raster
from tests.objects import (
    GSD,
    LEGEND,
    ORIGIN,
    object_scene,
    write_coco,
    write_ids,
    write_polygons,
    write_scene,
)

CLASSES = LegendDocument.model_validate(LEGEND)
ONE = LegendDocument.model_validate({"classes": LEGEND["classes"][:1]})
SCENE = object_scene(96, 128, seed=1, panels=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same objects as polygons, as rasters of numbers and classes, and as COCO JSON."""
    folder = tmp_path_factory.mktemp("objects")
    write_scene(folder / "scene.tif", SCENE)
    write_polygons(folder / "polygons.geojson", SCENE)
    write_ids(folder, SCENE)
    write_coco(folder / "coco.json", "scene.tif", SCENE)
    return folder


FORMS = {
    "polygons": {"labels": "polygons.geojson", "attribute": "class"},
    "numbers": {"labels": "ids.tif", "classes": "ids_classes.tif"},
    "coco": {"labels": "coco.json"},
}


def opened(folder, legend=CLASSES, **keys):
    entry = ScenesEntry.model_validate({"kind": "scenes", "scenes": [{"scene": "scene.tif", **keys}]})
    return resolve_dataset(entry, ObjectTruth(legend), data=str(folder))[0]


def facts(found):
    return [(o.channel, o.row, o.col, o.pixels, o.mask.shape, o.mask.tobytes()) for o in found]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("window", [Window.of(0, 0, 96, 128), Window.of(30, 41, 40, 50)])
def test_all_forms_of_labels_give_the_same_objects(folder, form, window):
    found = opened(folder, **FORMS[form]).labels.objects(window)
    expected = []
    for one in SCENE.objects:
        box = Window.of(one.row, one.col, *one.mask.shape).intersect(window)
        part = one.mask[box.relative_to(Window.of(one.row, one.col, *one.mask.shape))] if box else np.empty(0)
        if part.any():
            rows, cols = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
            tight = part[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
            at = box.rows.start + rows[0], box.cols.start + cols[0]
            expected.append((one.kind, *at, int(one.mask.sum()), tight.shape, tight.tobytes()))
    assert len(expected) > 5
    assert sorted(facts(found)) == sorted(expected)


@pytest.mark.parametrize("form", FORMS)
def test_pixels_of_no_object_are_background_and_those_beyond_the_scene_are_not(folder, form):
    pixels = opened(folder, **FORMS[form]).read(Window.of(-4, 0, 100, 128))
    assert (pixels.channels[:4] == IGNORE).all()
    kinds = SCENE.kinds()
    assert np.array_equal(pixels.channels[4:], np.where(kinds == 0, 3, kinds - 1))


def test_polygons_may_overlap_and_small_objects_lie_over_large_ones(tmp_path):
    scene = object_scene(96, 128, seed=1, panels=3)
    write_scene(tmp_path / "scene.tif", scene)
    write_polygons(tmp_path / "p.geojson", scene)
    place = opened(tmp_path, labels="p.geojson", attribute="class")
    found = place.labels.objects(Window.of(0, 0, 96, 128))
    assert sum(o.mask.sum() for o in found) == sum(o.mask.sum() for o in scene.objects)
    panel = scene.objects[-1]
    assert (place.read(Window.of(0, 0, 96, 128)).channels[panel.here][panel.mask] == 2).all()


def test_pixels_outside_the_labelled_area_and_of_ignored_classes_are_unknown(folder, tmp_path):
    left = {
        "type": "Feature",
        "properties": {},
        "geometry": {
            "type": "Polygon",
            "coordinates": [
                [
                    [ORIGIN[0] + x * GSD, ORIGIN[1] - y * GSD]
                    for x, y in ((0, 0), (64, 0), (64, 96), (0, 96), (0, 0))
                ]
            ],
        },
    }
    crs = json.loads((folder / "polygons.geojson").read_text())["crs"]
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [left]}))
    channels = opened(folder, **FORMS["polygons"], area=str(area)).read(Window.of(0, 0, 96, 128)).channels
    assert (channels[:, 64:] == IGNORE).all()
    assert (channels[:, :64] != IGNORE).all()
    no_trees = LegendDocument.model_validate(
        {"classes": [c for c in LEGEND["classes"] if c["slug"] != "tree"], "ignore": [2]}
    )
    place = opened(folder, no_trees, **FORMS["numbers"])
    trees = SCENE.kinds() == 2
    assert (place.read(Window.of(0, 0, 96, 128)).channels[trees] == IGNORE).all()
    assert {o.channel for o in place.labels.objects(Window.of(0, 0, 96, 128))} == {0}


def test_a_legend_of_one_class_needs_no_classes(folder):
    for labels in ("polygons.geojson", "ids.tif"):
        found = opened(folder, ONE, labels=labels).labels.objects(Window.of(0, 0, 96, 128))
        assert len(found) == len(SCENE.objects)
        assert {o.channel for o in found} == {0}


def test_zero_means_no_object_even_where_it_is_nodata(tmp_path):
    write_scene(tmp_path / "scene.tif", SCENE)
    write_raster(tmp_path / "ids.tif", SCENE.ids(), nodata=0)
    channels = opened(tmp_path, ONE, labels="ids.tif").read(Window.of(0, 0, 96, 128)).channels
    assert np.array_equal(channels == 1, SCENE.ids() == 0)


def test_chips_share_one_file_of_annotations(folder, tmp_path):
    (tmp_path / "images").mkdir()
    write_scene(tmp_path / "images" / "scene.tif", SCENE)
    write_coco(tmp_path / "all.json", "train/scene.tif", SCENE)
    entry = ChipsEntry(kind="chips", labels="all.json")
    (place,) = resolve_dataset(entry, ObjectTruth(CLASSES), data=str(tmp_path))
    whole = Window.of(0, 0, 96, 128)
    assert facts(place.labels.objects(whole)) == facts(opened(folder, **FORMS["coco"]).labels.objects(whole))


def test_crowds_are_unknown_and_polygons_of_coco_are_burnt(tmp_path):
    write_scene(tmp_path / "scene.tif", SCENE)
    square = [10, 20, 18, 20, 18, 26, 10, 26]
    annotations = [
        {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [square], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 1, "segmentation": [[n + 40 for n in square]], "iscrowd": 1},
    ]
    image = {"id": 7, "file_name": "scene.tif", "height": 96, "width": 128}
    (tmp_path / "c.json").write_text(json.dumps({"images": [image], "annotations": annotations}))
    place = opened(tmp_path, labels="c.json")
    channels = place.read(Window.of(0, 0, 96, 128)).channels
    assert (channels[20:26, 10:18] == 0).all()
    assert (channels == 0).sum() == 48
    assert (channels[60:66, 50:58] == IGNORE).all()
    assert (channels == IGNORE).sum() == 48


def test_run_lengths_may_be_text():
    # As pycocotools writes them: 0 to 31 in one letter, then differences.
    assert _unpacked("52203").tolist() == [5, 2, 2, 2, 5]
    assert _unpacked("o3").tolist() == [127]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"labels": "ids.tif"}, "holds numbers of objects, not their classes"),
        ({"labels": "coco.json", "scene": "other.tif"}, "no image is called other.tif"),
        ({"labels": "polygons.geojson"}, "which column holds the class"),
    ],
)
def test_what_does_not_tell_the_objects_is_refused_in_one_line(folder, tmp_path, keys, message):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_scene(tmp_path / "other.tif", SCENE)
    with pytest.raises(SceneError, match=message) as caught:
        opened(tmp_path, **keys)
    assert len(str(caught.value)) <= 300 + len(str(tmp_path))
