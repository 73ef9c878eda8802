"""Remove credentials from texts: URLs may carry them, and they must never be written to a file."""

import re
from typing import Any
from urllib.parse import unquote

_PLACE = re.compile(r"(?:[a-z][a-z0-9+.-]*://|/vsi[a-z0-9_]+\?)[^\s'\"<>]+", re.IGNORECASE)
_USER = re.compile(r"(://)[^\s/?#'\"]*@")
_ENDING = re.compile(r"[:;,.)\]}]*$")
_SECRET = re.compile(
    r"sig$|signature|token|secret|passw|pwd|auth|credential|policy|header|cookie|api.?key|subscription.?key|"
    r"^key$|key.?pair|access.?(key|id)|^x-(amz|goog|oss)-",
    re.IGNORECASE,
)
"""Parameters of a URL that are a credential or a part of one."""
_SIGNING = re.compile(r"^(expires|s[etprv]|spr|sk\w+|sdd|sip)$", re.IGNORECASE)
"""Parameters that state for how long, and for what, the signature in the same URL is valid."""


def redact(text: str) -> str:
    """Return a text without user names, passwords, tokens and signatures in its URLs.

    A URL that is signed twice becomes the same text.
    """
    return _PLACE.sub(_redact_place, text) if "://" in text or "/vsi" in text else text


def redacted(value: Any) -> Any:
    """Return a JSON value in which all texts are redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {k: redacted(v) for k, v in value.items()}
    return [redacted(v) for v in value] if isinstance(value, list | tuple) else value


def _redact_place(match: re.Match[str]) -> str:
    place, mark, query = _USER.sub(r"\1", match[0]).partition("?")
    query, ending = _ENDING.sub("", query), _ENDING.findall(query)[0]
    pairs = [(unquote(p.partition("=")[0]), p) for p in query.split("&")]
    if not any(_SECRET.search(key) for key, _ in pairs) and "://" not in unquote(query):
        return f"{place}{mark}{query}{ending}"
    kept = [
        # GDAL's /vsicurl?url=... holds a whole URL.
        _escaped(redact(unquote(p))) if "://" in unquote(p) else p
        for key, p in pairs
        if not _SECRET.search(key) and not _SIGNING.search(key)
    ]
    return f"{place}{'?' if kept else ''}{'&'.join(kept)}{ending}"


def _escaped(parameter: str) -> str:
    return parameter.replace("%", "%25").replace("&", "%26")
