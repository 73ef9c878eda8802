import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.geometry import Span, Window, reflect, windows_of

spans = st.tuples(st.integers(-40, 40), st.integers(0, 40)).map(lambda s: Span(s[0], s[0] + s[1]))


def positions(span):
    return set(range(span.start, span.stop))


@settings(max_examples=150, deadline=None)
@given(spans, spans)
def test_intersect_keeps_exactly_the_common_positions(a, b):
    assert positions(a.intersect(b)) == positions(a) & positions(b)
    assert len(a.intersect(b)) == len(positions(a) & positions(b))


@settings(max_examples=150, deadline=None)
@given(spans, st.integers(1, 50))
def test_clip_keeps_exactly_the_positions_of_the_scene(span, length):
    clipped = span.clip(length)
    assert positions(clipped) == positions(span) & set(range(length))
    assert 0 <= clipped.start <= clipped.stop <= length


@settings(max_examples=50, deadline=None)
@given(spans, st.integers(-50, 50))
def test_a_shifted_span_has_each_position_moved(span, by):
    assert positions(span.shift(by)) == {p + by for p in positions(span)}


def test_an_inverted_span_is_empty():
    assert len(Span(5, 3)) == 0


def test_a_window_selects_itself_in_an_array_that_holds_another():
    whole = np.arange(100).reshape(10, 10)
    outer, inner = Window.of(2, 3, 6, 5), Window.of(4, 4, 2, 3)
    assert (
        whole[outer.relative_to(Window.of(0, 0, 10, 10))][inner.relative_to(outer)] == whole[4:6, 4:7]
    ).all()


def test_a_window_knows_its_shape_and_whether_it_is_empty():
    window = Window.of(-2, 8, 5, 4)
    assert window.shape == (5, 4)
    assert window.clip((10, 10)) == Window(Span(0, 3), Span(8, 10))
    assert window
    assert not window.clip((10, 8))
    assert not window.intersect(Window.of(3, 0, 4, 20))
    assert window.intersect(Window.of(2, 0, 4, 10)) == Window(Span(2, 3), Span(8, 10))
    assert str(window) == "rows -2-3, columns 8-12"
    assert window.shift(2, -8) == Window.of(0, 0, 5, 4)


def test_windows_cut_a_grid_in_scan_order_and_the_last_ones_are_smaller():
    assert list(windows_of((3, 5), 2)) == [
        Window.of(0, 0, 2, 2), Window.of(0, 2, 2, 2), Window.of(0, 4, 2, 1),
        Window.of(2, 0, 1, 2), Window.of(2, 2, 1, 2), Window.of(2, 4, 1, 1),
    ]  # fmt: skip


def test_reflection_of_the_documented_example():
    assert reflect(Span(-2, 6), 4).tolist() == [2, 1, 0, 1, 2, 3, 2, 1]


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12), st.integers(0, 60), st.integers(0, 60))
def test_reflection_is_that_of_numpy_pad_however_far_it_goes(length, before, after):
    expected = np.pad(np.arange(length), (before, after), mode="reflect")
    assert (reflect(Span(-before, length + after), length) == expected).all()


@pytest.mark.parametrize("start", [-30, -3, 0, 9, 25])
def test_reflection_of_a_part_is_the_part_of_the_reflection(start):
    whole = reflect(Span(-40, 60), 10)
    assert (reflect(Span(start, start + 7), 10) == whole[start + 40 : start + 47]).all()
