import pytest

from geoseg.core.text import check_line, counted, printable


def test_what_a_terminal_obeys_is_shown_and_newlines_stay():
    assert printable("a\x1b[2J\tb\rc\ud800\u202e\nd é 森") == r"a\x1b[2J\tb\rc\ud800\u202e" + "\nd é 森"


@pytest.mark.parametrize("text", ["a\nb", "a\x1b", "\x00", "\x7f", "a\u2028b", "\udfff", "\ufffe"])
def test_a_line_has_no_control_characters(text):
    with pytest.raises(ValueError, match="has control characters"):
        check_line(text)
    assert check_line("Grass & shrub, 草") == "Grass & shrub, 草"


def test_one_thing_is_no_plural():
    assert [counted(n, "block") for n in (0, 1, 2)] == ["0 blocks", "1 block", "2 blocks"]
