"""Characters that no name and no message may hold: terminals obey them, or style files cannot contain them."""

import re

_CONTROL = "\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff"
"""Control characters but the newline, those that turn the direction of a line, and what XML 1.0 excludes."""

_MESSAGE = re.compile(f"[{_CONTROL}]")
_LINE = re.compile(f"[\n{_CONTROL}]")


def printable(text: str) -> str:
    r"""Return a text that no terminal takes as a command and every encoding can hold; newlines stay.

    Examples
    --------
    >>> printable("a\x1b[2J")
    'a\\x1b[2J'
    """
    return _MESSAGE.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


def check_line(text: str) -> str:
    """Return a text that is one line without control characters.

    Raises
    ------
    ValueError
        When it is not.
    """
    if _LINE.search(text):
        raise ValueError("has control characters; write one line of plain text")
    return text
