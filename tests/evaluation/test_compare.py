import numpy as np
import pytest
from sklearn import metrics as sk

from geoseg.core.errors import SceneError
from geoseg.core.legend import Remap
from geoseg.evaluation.class_map import open_class_map
from geoseg.evaluation.compare import compare, open_probabilities
from geoseg.scenes.labels import open_labels
from tests.conftest import write_raster
from tests.evaluation.conftest import LEGEND, SHAPE

SAME = Remap(tuple((c.id,) for c in LEGEND.classes))


@pytest.fixture
def opened(class_map):
    return open_class_map(class_map, LEGEND)


@pytest.fixture
def labels(opened, reference):
    return open_labels(str(reference), opened.source.geobox)


@pytest.fixture
def rasters(opened, tmp_path, mapped):
    """Probabilities in the order of the ids, as another writer may have them, and the confidence."""
    p = np.random.default_rng(3).dirichlet([1, 1, 1], SHAPE).transpose(2, 0, 1)
    p = np.where(mapped == 255, 255, p.round(2)).astype(np.float32)
    names = [f"probability of {s}" for s in ("tree", "crop", "water")]
    every = write_raster(tmp_path / "probabilities.tif", p, nodata=255, names=names)
    top = write_raster(tmp_path / "confidence.tif", p.max(axis=0), nodata=255)
    return (
        open_probabilities(str(every), opened, all_classes=True),
        open_probabilities(str(top), opened, all_classes=False),
        p[[2, 0, 1]],
    )


def test_the_figures_are_those_of_scikit_learn(opened, labels, mapped, truth):
    found = compare(opened, labels, SAME)
    both = (mapped != 255) & (truth != 0)
    np.testing.assert_array_equal(
        found.scores.matrix, sk.confusion_matrix(truth[both], mapped[both], labels=[4, 1, 2])
    )
    assert found.scores.miou == pytest.approx(sk.jaccard_score(truth[both], mapped[both], average="macro"))
    np.testing.assert_array_equal(found.unmapped, [((mapped == 255) & (truth == c)).sum() for c in (4, 1, 2)])
    assert found.unmapped.sum() == 45
    assert found.unlabelled == 6 * SHAPE[1]


@pytest.mark.parametrize("side", [9, 16, 33, 70])
def test_windows_of_any_size_give_the_same_report(opened, labels, rasters, side):
    every, top, _ = rasters
    for options in ({"probabilities": every, "tolerance": 2.5}, {"confidence": top, "tolerance": 0}):
        whole = compare(opened, labels, SAME, side=1024, **options).to_dict(LEGEND)
        assert compare(opened, labels, SAME, side=side, **options).to_dict(LEGEND) == whole


def test_probabilities_are_matched_to_classes_by_name(opened, labels, rasters, mapped, truth):
    every, _, p = rasters
    found = compare(opened, labels, SAME, probabilities=every).calibration
    both = (mapped != 255) & (truth != 0)
    wanted = sum(
        sk.brier_score_loss(truth[both] == c, p[i][both].clip(0, 1)) for i, c in enumerate((4, 1, 2))
    )
    assert found.brier == pytest.approx(wanted)


def test_many_codes_may_mean_one_class(opened, labels):
    merged = compare(opened, labels, Remap(((4, 2), (1,), ())))
    assert merged.scores.matrix[2].sum() == 0
    assert merged.scores.matrix.sum() == compare(opened, labels, SAME).scores.matrix.sum()


def test_codes_that_no_class_has_are_listed_with_their_pixels(opened, tmp_path, truth):
    truth[40, :10], truth[41, :3] = 70, 95
    path = write_raster(tmp_path / "strange.tif", truth, nodata=0)
    labels = open_labels(str(path), opened.source.geobox)
    with pytest.raises(
        SceneError, match=r"does not know: 70 \(10 px\), 95 \(3 px\); add them.*--ignore 70,95"
    ):
        compare(opened, labels, SAME, side=16)
    assert compare(opened, labels, Remap(SAME.codes, (70, 95))).unlabelled == 6 * SHAPE[1] + 13


def test_nothing_in_common_is_told(opened, tmp_path):
    only = np.zeros(SHAPE, np.uint8)
    only[:5, :9] = 1  # where the map has nodata
    labels = open_labels(str(write_raster(tmp_path / "r.tif", only, nodata=0)), opened.source.geobox)
    with pytest.raises(SceneError, match="no pixel has both"):
        compare(opened, labels, SAME)


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (["Tree cover", "Cropland", "Open water"], (3, 1, 2)),
        (["tree", "crop", "water"], (3, 1, 2)),
        (["Open water", "Tree cover", "Cropland"], (1, 2, 3)),
    ],
)
def test_the_bands_of_probabilities_are_found_by_title_or_slug(opened, tmp_path, names, bands):
    names = [f"probability of {n}" for n in names]
    path = write_raster(tmp_path / "p.tif", np.zeros((3, *SHAPE), np.float32), names=names)
    assert open_probabilities(str(path), opened, all_classes=True).bands == bands


def test_beliefs_that_do_not_fit_are_told(opened, labels, tmp_path):
    p = np.zeros((3, *SHAPE), np.float32)
    shifted = write_raster(tmp_path / "a.tif", p, origin=(500_010, 4_500_000))
    with pytest.raises(SceneError, match="is not on the grid"):
        open_probabilities(str(shifted), opened, all_classes=True)
    with pytest.raises(SceneError, match="has 2 bands for 3 classes"):
        open_probabilities(str(write_raster(tmp_path / "b.tif", p[:2])), opened, all_classes=True)
    names = [f"probability of {s}" for s in ("tree", "crop", "snow")]
    with pytest.raises(SceneError, match="its bands are tree, crop, snow, the classes water, tree, crop"):
        open_probabilities(str(write_raster(tmp_path / "c.tif", p, names=names)), opened, all_classes=True)
    with pytest.raises(SceneError, match="is no confidence map"):
        open_probabilities(str(write_raster(tmp_path / "d.tif", p)), opened, all_classes=False)
    percent = open_probabilities(str(write_raster(tmp_path / "e.tif", p[0] + 87)), opened, all_classes=False)
    with pytest.raises(SceneError, match="no probabilities from 0 to 1"):
        compare(opened, labels, SAME, confidence=percent)
