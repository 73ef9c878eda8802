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


@pytest.mark.parametrize("title", ["two\nlines", "a\x00", "a\ttab", "\x85", "\ud800", "\uffff"])
def test_a_title_that_no_style_file_can_hold_is_refused(title):
    with pytest.raises(ValueError, match="of 'x' has control characters"):
        LegendClass(1, "x", title, "#102030")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "at least one class"),
        ((klass(1, "a"), klass(1, "b")), "class id 1 is used twice"),
        ((klass(1, "a"), klass(2, "a")), "class slug 'a' is used twice"),
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
