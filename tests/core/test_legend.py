import numpy as np
import pytest

from geoseg.core.legend import Legend, LegendClass, Remap


def klass(number, slug=None, color="#102030"):
    return LegendClass(number, slug or f"c{number}", f"Class {number}", color)


def test_ids_stand_in_channel_order_and_by_id_in_ascending_order():
    legend = Legend((klass(7), klass(0), klass(254)))
    assert legend.ids.dtype == np.uint8
    assert legend.ids.tolist() == [7, 0, 254]
    assert list(legend.by_id()) == [0, 7, 254]
    assert legend.by_id()[7].title == "Class 7"
    assert len(legend) == 3


def test_a_colour_is_read_as_red_green_blue():
    assert klass(1, color="#0aFF7f").rgb == (10, 255, 127)


@pytest.mark.parametrize("number", [-1, 255, 256])
def test_an_id_that_is_nodata_or_no_byte_is_refused(number):
    with pytest.raises(ValueError, match=rf"class id {number} of 'x' is not between 0 and 254"):
        klass(number, "x")


@pytest.mark.parametrize("color", ["red", "#12345", "#1234567", "123456", "#12345g", "#123456\n"])
def test_a_colour_that_is_not_hexadecimal_is_refused(color):
    with pytest.raises(ValueError, match="not written #rrggbb"):
        klass(1, color=color)


@pytest.mark.parametrize(
    "text", ["two\nlines", "a\x00", "a\ttab", "a\x1b[2Jb", "a\x85b", "\ud800", "a\uffff", "a\u202eb"]
)
def test_a_name_that_no_style_file_can_hold_is_refused(text):
    with pytest.raises(ValueError, match=r"title .* of class 1 has control characters"):
        LegendClass(1, "x", text, "#102030")
    with pytest.raises(ValueError, match=r"slug .* of class 1 has control characters"):
        LegendClass(1, text, "X", "#102030")


@pytest.mark.parametrize(
    ("slug", "title", "said"),
    [
        ("", "X", "the slug of class 1 is empty"), ("x", "", "the title of class 1 is empty"),
        ("  ", "X", "the slug of class 1 is empty"), ("x", " ", "the title of class 1 is empty"),
        ("a/b", "X", "'/'"), ("../x", "X", "'/'"), ("a\\b", "X", "'/'"), ("..", "X", "only dots"),
        (" a", "X", "spaces around"), ("a ", "X", "spaces around"), ("NoData", "X", "called 'nodata'"),
        ("s" * 101, "X", "longer than 100"), ("x", "t" * 201, "longer than 200"),
    ],
)  # fmt: skip
def test_a_name_that_no_file_or_table_should_have_is_refused(slug, title, said):
    with pytest.raises(ValueError, match=said) as caught:
        LegendClass(1, slug, title, "#102030")
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "slug", ["grass-shrub", "Built up", "wald_2.1", "森林", "x'); DROP TABLE a;--", "<b>&"]
)
def test_other_names_are_kept(slug):
    assert LegendClass(1, slug, "Grass/shrub (dry)", "#102030").slug == slug


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((klass(1, "a"), klass(1, "b")), "class id 1 is used twice"),
        ((klass(1, "a"), klass(2, "a")), "class slug 'a' is used twice$"),
        ((klass(1, "Wald"), klass(2, "wald")), "'wald' is used twice .as 'Wald', which differs by case"),
        ((klass(1, "stra\u00dfe"), klass(2, "STRASSE")), "is used twice .as"),
        ((klass(1, "e\u0301"), klass(2, "\u00e9")), "is used twice .as"),
    ],
)
def test_a_legend_without_distinct_classes_is_refused(classes, message):
    with pytest.raises(ValueError, match=message):
        Legend(classes)


def test_remap_turns_codes_into_channels():
    remap = Remap(((10,), (20, 30)), ignored=(0,))
    labels = np.array([[10, 20, 30], [0, -1, 99]])
    assert remap.channels(labels).tolist() == [[0, 1, 1], [255, 255, 255]]
    assert remap.unknown(labels) == {99: 1}


def test_remap_takes_every_integer_type():
    remap = Remap(((7,), (250,)))
    for dtype in (np.uint8, np.int16, np.uint16, np.int64):
        assert remap.channels(np.array([7, 250], dtype=dtype)).tolist() == [0, 1]
