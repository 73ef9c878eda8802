import numpy as np

from geoseg.core.detections import Detections


def test_masks_are_cropped_and_sorted_by_score():
    small, large = np.zeros((4, 5), bool), np.ones((2, 2), bool)
    small[1:3, 2] = True
    found = Detections.of([(10, 20, small, 1, 500), (0, 0, large, 0, 9000)])
    assert found.boxes.tolist() == [[0, 0, 2, 2], [11, 22, 13, 23]]
    assert (found.classes.tolist(), found.scores.tolist()) == ([0, 1], [9000, 500])
    assert [m.shape for m in found.masks] == [(2, 2), (2, 1)]
    assert all(m.all() for m in found.masks)


def test_equal_scores_keep_the_order_of_the_network():
    mask = np.ones((1, 1), bool)
    assert Detections.of([(0, n, mask, 0, 7) for n in range(5)]).boxes[:, 1].tolist() == [0, 1, 2, 3, 4]


def test_empty_masks_are_no_objects():
    found = Detections.of([(0, 0, np.zeros((3, 3), bool), 0, 1)])
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
