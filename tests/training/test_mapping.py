import pytest

from geoseg.config.legend import LegendDocument
from geoseg.core.errors import ConfigError
from geoseg.core.legend import Remap
from geoseg.training.mapping import map_labels
from tests.training.worlds import LEGEND


def legend(*slugs, ignore=()):
    """A legend with the codes 10, 20, ... in the order of its classes."""
    entries = [
        {"id": i, "slug": s, "title": s.title(), "color": f"#0000{i:02x}", "codes": [10 * i]}
        for i, s in enumerate(slugs, 1)
    ]
    return LegendDocument.model_validate({"classes": entries, "ignore": list(ignore)})


def test_codes_become_the_classes_of_the_training():
    found = map_labels(LEGEND, None, {"10": "tree", "80": "water", "20": "tree", "90": "ignore"}, "d")
    assert found.remap == Remap(((80,), (10, 20), ()), (90,))
    # The codes of the training's own legend mean nothing here.
    assert 1 not in found.remap.codes[0]
    assert found.names["water"] == 80
    assert "crop" not in found.names


def test_texts_in_polygons_get_codes_that_no_number_has():
    found = map_labels(LEGEND, None, {"Wald": "tree", "Wasser": "water", "7": "crop", "Moor": "ignore"}, "d")
    codes = [found.names[t] for t in ("Wald", "Wasser", "Moor")]
    assert len({*codes, 7}) == 4
    assert found.remap.codes == ((found.names["Wasser"],), (found.names["Wald"],), (7,))
    assert found.remap.ignored == (found.names["Moor"],)


def test_a_legend_of_its_own_joins_classes_and_lacks_others():
    own = legend("water", "pine", "oak", ignore=[0])
    found = map_labels(LEGEND, own, {"pine": "tree", "oak": "tree", "99": "ignore"}, "d")
    assert found.remap == Remap(((10,), (20, 30), ()), (0, 99))
    assert found.names["Oak"] == 30  # as it stands in the labels


@pytest.mark.parametrize(
    ("own", "classes", "said"),
    [
        (None, {"10": "trees"}, r"^d: classes: 10: .*no class 'trees' \(tree\?\)|did you mean"),
        (None, {"10": "ignore"}, "no label of it means a class"),
        (legend("water", "moss"), {}, r"no class 'moss'; say which of water, tree, crop it is"),
        (legend("water"), {"wter": "water"}, "its legend has no class 'wter'"),
    ],
)
def test_what_cannot_be_mapped_is_said(own, classes, said):
    with pytest.raises(ConfigError, match=said) as error:
        map_labels(LEGEND, own, classes, "d")
    assert len(str(error.value)) < 300
