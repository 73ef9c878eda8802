import itertools

import numpy as np
import pytest

from geoseg.config.training import Training
from geoseg.training.instances.census import ObjectCensus
from geoseg.training.instances.sizing import (
    anchor_sizes,
    detections_per_tile,
    larger_than_overlap,
    network_arguments,
    object_sides,
    tile_sizes,
)


def census(*sides, densest=20):
    boxes = np.array([[s, s // 2] for s in sides] or np.empty((0, 2)), dtype=np.int64)
    return ObjectCensus(boxes, np.array([len(sides)]), densest, 0)


def training(**keys):
    return Training.model_validate(
        {
            "name": "x", "task": "instances", "dataset": "x", "output": "x",
            "legend": {"classes": [{"id": 1, "slug": "a", "title": "A", "color": "#000000"}]},
            "chips": {"size": 128}, **keys,
        }
    )  # fmt: skip


def test_anchors_run_from_small_objects_to_large_ones():
    sizes = anchor_sizes(census(*range(10, 1010)))
    assert sizes[0] == pytest.approx(np.quantile(np.sqrt(np.arange(10, 1010) ** 2 / 2), 0.05), rel=0.05)
    assert sizes[-1] == pytest.approx(np.quantile(np.sqrt(np.arange(10, 1010) ** 2 / 2), 0.95), rel=0.05)
    assert all(b >= 1.9 * a for a, b in itertools.pairwise(sizes))


def test_tiny_objects_get_anchors_of_the_finest_level():
    assert anchor_sizes(census(2, 2, 3))[0] == 4


def test_the_overlap_holds_nearly_every_object():
    objects = census(*[20] * 99, *[40] * 2, 200)
    tile = tile_sizes(training(), objects, 32)
    assert tile["overlap"] >= object_sides(objects)["p99"] + 32
    assert (
        tile == {"size": 320, "min": 160, "max": 640, "overlap": 78, "divisor": 32} or tile["size"] % 32 == 0
    )
    assert 4 * tile["overlap"] <= tile["size"] + 32
    assert larger_than_overlap(objects, tile["overlap"]) == 1


def test_the_overlap_is_at_most_half_a_tile():
    tile = tile_sizes(training(), census(*[3000] * 10), 32)
    assert tile["size"] == 1024
    assert tile["overlap"] == 512


def test_the_densest_chip_decides_the_most_detections():
    assert detections_per_tile(training(), census(20, densest=30), 256) == 180
    assert detections_per_tile(training(detection={"per_tile": 7}), census(20), 256) == 7
    arguments = network_arguments(training(), census(*[20] * 10, densest=30), 32)
    assert arguments["proposals"] > 2 * arguments["detections"] - 1
    assert len(arguments["anchor_sizes"]) == 5
    anchors = [4, 8, 16, 32, 64]
    given = network_arguments(training(detection={"anchors": anchors}), census(20), 32)
    assert given["anchor_sizes"] == anchors
