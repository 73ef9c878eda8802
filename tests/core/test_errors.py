import pytest

from geoseg.core import errors


@pytest.mark.parametrize("name", ["ConfigError", "SceneError", "BundleError", "PlanError", "OutputError"])
def test_every_error_is_a_geoseg_error_with_an_exit_code(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.GeosegError)
    assert kind.exit_code == (2 if name == "ConfigError" else 1)


def test_a_message_is_folded_onto_one_line():
    assert errors.one_line(ValueError("a\n  b\tc ")) == "a b c"
    assert errors.one_line(ValueError()) == "ValueError"
    assert errors.one_line(KeyboardInterrupt("\n")) == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("word", "expected"),
    [("overlpa", "; did you mean 'overlap'?"), ("tiel", "; did you mean 'tile'?"), ("zzz", ""), ("", "")],
)
def test_a_close_word_is_suggested(word, expected):
    assert errors.did_you_mean(word, ["tile", "overlap", "block"]) == expected


def test_nothing_is_suggested_when_nothing_is_known():
    assert errors.did_you_mean("tile", iter(())) == ""


@pytest.mark.parametrize("kind", [errors.GeosegError, errors.BundleError, errors.GeosegWarning])
def test_a_message_shows_what_a_terminal_would_obey(kind):
    assert str(kind("a\x1b[2J\tb\rc\ud800\u202e\nd é")) == r"a\x1b[2J\tb\rc\ud800\u202e" + "\nd é"
