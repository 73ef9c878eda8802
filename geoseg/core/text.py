"""Characters that no name and no message may hold: terminals obey them, or style files cannot hold them."""

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
    return _MESSAGE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    # From 0x7f on as JSON has it, which escapes the characters below itself.
    return match[0].encode("unicode_escape").decode() if code < 0x7F else f"\\u{code:04x}"


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


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: `1 block`, `4 blocks`.

    Examples
    --------
    >>> counted(1, "block"), counted(0, "tile")
    ('1 block', '0 tiles')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
