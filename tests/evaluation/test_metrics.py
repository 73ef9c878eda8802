import numpy as np
import pytest
from sklearn import metrics as sk

from geoseg.core.legend import Legend, LegendClass
from geoseg.evaluation.metrics import confusion_matrix, scores


def labellings(seed, size=(37, 41), classes=5, missing=()):
    """A reference and a map that agrees with it on about two thirds of the pixels; some pixels are 255."""
    rng = np.random.default_rng(seed)
    allowed = [c for c in range(classes) if c not in missing]
    reference = rng.choice(allowed, size).astype(np.uint8)
    prediction = np.where(rng.random(size) < 0.6, reference, rng.choice(allowed, size)).astype(np.uint8)
    reference[rng.random(size) < 0.1] = 255
    prediction[rng.random(size) < 0.1] = 255
    return reference, prediction


@pytest.mark.parametrize("missing", [(), (2,)])
def test_the_scores_are_those_of_scikit_learn(missing):
    reference, prediction = labellings(1, missing=missing)
    both = (reference != 255) & (prediction != 255)
    y, p = reference[both], prediction[both]
    found = scores(confusion_matrix(reference, prediction, 5))
    np.testing.assert_array_equal(found.matrix, sk.confusion_matrix(y, p, labels=range(5)))
    here = np.array([i for i in range(5) if i not in missing])
    each = {"labels": here, "average": None}
    np.testing.assert_allclose(found.precision[here], sk.precision_score(y, p, **each))
    np.testing.assert_allclose(found.recall[here], sk.recall_score(y, p, **each))
    np.testing.assert_allclose(found.f1[here], sk.f1_score(y, p, **each))
    np.testing.assert_allclose(found.iou[here], sk.jaccard_score(y, p, **each))
    assert found.overall_accuracy == pytest.approx(sk.accuracy_score(y, p))
    assert found.kappa == pytest.approx(sk.cohen_kappa_score(y, p))
    assert found.miou == pytest.approx(sk.jaccard_score(y, p, average="macro"))
    assert found.macro_f1 == pytest.approx(sk.f1_score(y, p, average="macro"))
    assert found.frequency_weighted_iou == pytest.approx(sk.jaccard_score(y, p, average="weighted"))
    assert np.isnan(found.iou[list(missing)]).all()


def test_a_class_on_one_side_only_counts_as_missed():
    found = scores(np.array([[8, 2, 0], [0, 0, 0], [0, 0, 0]]))
    assert found.iou[1] == 0
    assert np.isnan(found.recall[1])
    assert found.miou == pytest.approx(0.4)
    assert found.present.tolist() == [True, True, False]


def test_kappa_does_not_overflow_on_large_maps():
    matrix = np.array([[6, 1], [2, 7]])
    assert scores(matrix * 10**11).kappa == pytest.approx(scores(matrix).kappa)


def test_nothing_to_compare_gives_no_figure():
    empty = scores(np.zeros((3, 3), dtype=np.int64))
    assert np.isnan([empty.miou, empty.kappa, empty.overall_accuracy]).all()


def test_a_channel_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="beyond the 3 classes"):
        confusion_matrix(np.array([3]), np.array([0]), 3)
    with pytest.raises(ValueError, match="differ in shape"):
        confusion_matrix(np.zeros(2), np.zeros(3), 3)


def test_the_dict_is_json_and_names_what_is_absent():
    import json

    legend = Legend(tuple(LegendClass(i + 1, s, s.upper(), "#000000") for i, s in enumerate("abc")))
    facts = scores(np.array([[8, 2, 0], [0, 0, 0], [0, 0, 0]])).to_dict(legend)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["absent"] == ["c"]
    assert facts["classes"][0]["id"] == 1
    assert facts["classes"][0]["map_share"] == 0.8
    assert facts["classes"][1]["recall"] is None
    with pytest.raises(ValueError, match="zip"):
        scores(np.zeros((2, 2), dtype=np.int64)).to_dict(legend)
