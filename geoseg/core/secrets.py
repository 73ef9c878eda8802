"""Remove credentials from texts, documents and commands: they must never be shown, nor written to a file.

Of a URL scheme, host and path stay, and of its query what is known to be harmless; user names, passwords,
fragments and all else go. Of a document or a command the values of keys go whose names tell of a secret, and
the environment of workers.
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
"""Stands for a value that is a secret."""

# A quote ends a URL, unless it goes on behind it: passwords hold anything.
_PLACE = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|/vsi[a-z0-9_]+\?)(?:[^\s'\"<>]|['\"](?=[\w%&=+/-]))+", re.IGNORECASE
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_ENDING = ":;,.)]}"
_PARAMETERS = re.compile(r";[^/;]*=[^/;]*")
_HARMLESS = re.compile(
    r"assets?|bands?|bbox|bidx|block|bounds|collections?|crs|date(time)?|delimiter|empty_dir|expand|expression|"
    r"format|f|gcp|height|items?|layers?|limit|list_dir|list-type|lon|lat|mask|max_retry|max_keys|nodata|"
    r"outsize|ovr|page|partnumber|path|pc_collection|pc_url_signing|prefix|projwin|r|region|request|resampling|"
    r"retry_codes|retry_delay|scale|scene|service|sd|sd_name|srcwin|srs|style|styles|tilematrix(set)?|"
    r"tile(col|row)|time|tr|transpose|unscale|url|use_head|version(id)?|width|x|y|z",
    re.IGNORECASE,
)
"""Parameters of a URL that say what is wanted, not who wants it."""
_TELLING = (
    r"[\w.-]*(?:secret|token|passw|pwd|credential|cookie|authori[sz]ation|bearer|signature|"
    r"(?:api|access|account|private|subscription)[_.-]?key)[\w.-]*"
)
"""Names of keys and variables whose values are secrets."""
_IS_SECRET = re.compile(_TELLING, re.IGNORECASE)
_WHOLE = re.compile(rf"((?:--[\w-]+=)?(?:{_TELLING}|[\w.-]*\benv(?:\.\w+)?)=).*", re.IGNORECASE | re.DOTALL)
_ASSIGNED = re.compile(
    rf"((?:\b{_TELLING}|\benv(?:\.\w+)?)['\"]?\s*[=:]\s*)(\{{[^}}]*\}}?|\"[^\"]*\"?|'[^']*'?|[^\s,}}\]]+)",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return a text without user names, passwords, tokens and signatures in its URLs.

    A URL that is signed twice becomes the same text, and a redacted text stays as it is.

    Examples
    --------
    >>> redact("https://me:pass@host/a.tif?code=abc&band=2#k: no such file")
    'https://host/a.tif?band=2: no such file'
    """
    return _PLACE.sub(_redact_place, text) if "://" in text or "/vsi" in text else text


def redacted(value: Any) -> Any:
    """Return a JSON value in which all texts are redacted, and values under names of secrets are hidden."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {k: _under(str(k), v) for k, v in value.items()}
    return [redacted(v) for v in value] if isinstance(value, list | tuple) else value


def redact_command(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command, redacted, and without the values that are given to secrets."""
    return [_redact_argument(redact(a)) for a in arguments]


def _redact_argument(argument: str) -> str:
    if whole := _WHOLE.fullmatch(argument):
        return f"{whole[1]}{HIDDEN}"
    return _ASSIGNED.sub(rf"\g<1>{HIDDEN}", argument)


def _under(key: str, value: Any) -> Any:
    if key == "env" and isinstance(value, dict):
        return dict.fromkeys(value, HIDDEN)
    if _IS_SECRET.fullmatch(key) and isinstance(value, str | int | float) and not isinstance(value, bool):
        return HIDDEN
    return redacted(value)


def _redact_place(match: re.Match[str]) -> str:
    text = match[0].rstrip(_ENDING)
    ending = match[0][len(text) :]
    scheme, mark, rest = text.partition("://")
    if _SCHEME.match(rest):  # GDAL's vrt://https://...
        return f"{scheme}{mark}{redact(rest)}{ending}"
    if not mark or "?" in scheme:
        # GDAL's /vsicurl?url=... has nothing but a query.
        head, rest = "", text
    else:
        head, rest = scheme + mark, _without_login(rest)
    place, _, query = rest.partition("#")[0].partition("?")
    pairs = [(unquote(p.partition("=")[0]), p) for p in query.split("&") if "=" in p]
    kept = [_escaped(redact(unquote(p))) if "://" in unquote(p) else p for k, p in pairs if _is_harmless(k)]
    return f"{head}{_PARAMETERS.sub('', place)}{'?' if kept else ''}{'&'.join(kept)}{ending}"


def _without_login(rest: str) -> str:
    """Return host, path and query without what stands before an `@`.

    A password may hold any character. So where there is a login, the last `@` before the query counts.
    """
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    port = authority.rpartition(":")[2]
    if "@" in authority:
        place, mark, query = rest.partition("?")
        return place.rpartition("@")[2] + mark + query
    if ":" in authority and not re.fullmatch(r"\d*|.*\]", port) and "@" in rest:
        return rest.rpartition("@")[2]
    return rest


def _is_harmless(key: str) -> bool:
    return _HARMLESS.fullmatch(key) is not None


def _escaped(parameter: str) -> str:
    return parameter.replace("%", "%25").replace("&", "%26")
