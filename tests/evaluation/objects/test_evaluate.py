import json

import numpy as np
import pytest
from typer.testing import CliRunner

from geoseg.cli.app import app
from geoseg.core.detections import Detections
from geoseg.core.errors import ConfigError
from geoseg.evaluation.objects.evaluate import compare_at_seams, evaluate_objects, lines_of
from geoseg.evaluation.objects.precision import run_lengths
from tests.conftest import write_raster
from tests.objects import CLASSES, GSD, LEGEND, ORIGIN, object_scene, write_ids, write_polygons

SCENE = object_scene(96, 128, seed=2, panels=0)
LEGEND_YAML = json.dumps({**LEGEND})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder whose objects are the true ones, but for one that is missing and one that is none."""
    folder = tmp_path_factory.mktemp("evaluate")
    ids, kinds = SCENE.ids(), np.where(SCENE.kinds() == 0, 255, SCENE.kinds())
    gone = len(SCENE.objects)
    kinds[ids == gone], ids[ids == gone] = 255, 0
    free = np.argwhere(np.lib.stride_tricks.sliding_window_view(SCENE.ids() == 0, (6, 6)).all((2, 3)))[0]
    here = np.s_[free[0] : free[0] + 6, free[1] : free[1] + 6]
    ids[here], kinds[here] = gone, 2
    place = {"gsd": GSD, "origin": ORIGIN}
    write_raster(folder / "instances.tif", ids.astype(np.uint32), nodata=0, **place)
    write_raster(folder / "classes.tif", kinds.astype(np.uint8), nodata=255, **place)
    scores = np.where(ids == gone, 0.4, 0.9).astype(np.float32)
    write_raster(folder / "confidence.tif", scores, **place)
    write_polygons(folder / "truth.geojson", SCENE)
    write_ids(folder, SCENE)
    (folder / "legend.yaml").write_text(LEGEND_YAML)
    record = {"tile": [64, 64], "overlap": [32, 32], "pipeline": {}}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def options(folder, **changes):
    return {"attribute": "class", "legend": str(folder / "legend.yaml"), **changes}


@pytest.mark.parametrize(
    ("reference", "changes"),
    [("truth.geojson", {}), ("ids.tif", {"attribute": None, "classes": "ids_classes.tif"})],
)
def test_the_objects_of_a_map_are_compared_with_a_reference(folder, reference, changes):
    if "classes" in changes:
        changes = {**changes, "classes": folder / changes["classes"]}
    report = evaluate_objects(folder / "instances.tif", str(folder / reference), **options(folder, **changes))
    n = len(SCENE.objects)
    assert (report.objects, report.detections) == (n, n)
    assert report.precision == report.recall == pytest.approx((n - 1) / n, abs=1e-4)
    assert report.count_error == 0
    assert report.masks.ap == pytest.approx(1.0, abs=0.1)
    assert [c.slug for c in report.classes] == list(CLASSES)
    assert report.seams.objects + report.seams.interior.objects == n
    assert report.seams.objects > 0


def test_scores_come_from_the_results_of_the_run_where_it_wrote_them(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    results = [
        {
            "image_id": 1, "category_id": o.kind + 1, "score": 0.5 + 0.4 * (k % 2),
            "bbox": [o.col, o.row, *reversed(o.mask.shape)],
            "segmentation": {
                "size": list(SCENE.shape), "counts": run_lengths(o.mask, o.row, o.col, SCENE.shape).tolist()
            },
        }
        for k, o in enumerate(SCENE.objects)
    ]  # fmt: skip
    (tmp_path / "objects.coco.json").write_text(json.dumps(results))
    report = evaluate_objects(tmp_path / "instances.tif", str(folder / "truth.geojson"), **options(folder))
    assert report.masks.ap == report.boxes.ap == report.f1 == 1


def test_what_lies_where_the_reference_says_nothing_is_left_out(folder, tmp_path):
    numbers = SCENE.ids().astype(np.int32)
    numbers[:, 64:] = -1
    write_raster(tmp_path / "half.tif", numbers, gsd=GSD, origin=ORIGIN, nodata=-1)
    changes = {"attribute": None, "classes": folder / "ids_classes.tif"}
    report = evaluate_objects(
        folder / "instances.tif", str(tmp_path / "half.tif"), **options(folder, **changes)
    )
    assert report.left_out > 5
    assert report.objects == len(np.unique(numbers[numbers > 0]))
    assert report.precision > 0.8


def test_the_command_prints_and_writes_a_report(folder, tmp_path):
    command = [
        "evaluate", "--objects", str(folder / "instances.tif"), "--reference", str(folder / "truth.geojson"),
        "--attribute", "class", "--legend", str(folder / "legend.yaml"), "--output", str(tmp_path / "r.json"),
    ]  # fmt: skip
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    for text in ("mask AP", "recall on seams", "Building", "found twice"):
        assert text in done.output
    assert json.loads((tmp_path / "r.json").read_text())["objects"] == len(SCENE.objects)


def test_classes_must_be_known(folder, tmp_path):
    (tmp_path / "instances.tif").write_bytes((folder / "instances.tif").read_bytes())
    with pytest.raises(ConfigError, match=r"classes\.tif of the same run is needed"):
        evaluate_objects(tmp_path / "instances.tif", str(folder / "truth.geojson"))


@pytest.mark.parametrize(("picture", "rows"), [(False, [48, 96, 144]), (True, [56, 104])])
def test_seams_lie_where_territories_meet(picture, rows):
    """The tiles of a picture begin with it, those of a scene half an overlap before it."""
    record = {"tile": [64, 96], "overlap": [16, 0], "aoi": None}

    assert lines_of(record, (150, 90), picture=picture) == (rows, [])
    # A box and a file are both an area, whose tiles are those of its scene.
    assert lines_of({**record, "aoi": {"pixels": 9}}, (150, 90), picture=picture) is None
    assert lines_of({"tile": [64]}, (150, 90), picture=picture) is None


def test_objects_on_seams_are_told_from_the_others():
    def squares(*places, score=9000):
        return Detections.of([(r, c, np.ones((10, 10), bool), 0, score) for r, c in places])

    true = squares((0, 0), (0, 60), (40, 0))
    # The object across column 64 is found in two halves; the one that ends at row 50 touches no line.
    found = Detections.of(
        [
            (0, 0, np.ones((10, 10), bool), 0, 9000),
            (0, 60, np.ones((10, 6), bool), 0, 8000),
            (0, 66, np.ones((10, 4), bool), 0, 7000),
        ]
    )
    seams = compare_at_seams(found, true, ([50], [64]))
    assert (seams.objects, seams.detections, seams.recall, seams.duplicates) == (1, 1, 1, 0)
    assert (seams.interior.objects, seams.interior.recall) == (2, 0.5)
    # What lies beyond the line is a detection of an object on it, though it does not reach the line itself.
    assert seams.interior.duplicates == 1
