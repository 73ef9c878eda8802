"""What is wrong with a value, in plain words: `a number of pixels or auto, not 'abc'`.

pydantic tells a problem for each member of a union, in the words of its types. All documents, cards, tables
and records are told of from here, so that one mistake reads alike wherever it was made.
"""

import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from geoseg.config.hints import Hints, hints_of, known_keys
from geoseg.core.errors import did_you_mean

_TIME = "a date like 2024-06-01, or a time like 2024-06-01T10:30:00Z"
_MAPPING = "a mapping of keys to values"
_LIST = "a list"
_MOST_VALUE = 60
"""Characters of a value that are shown."""

_KINDS: dict[str, str] = {
    "bool": "true or false", "byte": "a size like 16GB or 16GiB", "bytes": "a text", "dataclass": _MAPPING,
    "date": _TIME, "datetime": _TIME, "decimal": "{number}", "dict": _MAPPING, "finite": "{number}",
    "float": "{number}", "frozen": _LIST, "int": "{counted}", "iterable": _LIST, "list": _LIST,
    "mapping": _MAPPING, "model": _MAPPING, "none": "null", "path": "a path", "set": _LIST,
    "string": "a text", "time": _TIME, "timezone": _TIME, "tuple": _LIST, "url": "a URL",
    "greater_than": "{number} above {gt}",
    "greater_than_equal": "{number} of at least {ge}",
    "int_from_float": "{whole}",
    "is_instance_of": _LIST,  # of the types that are checked so, sequences alone
    "less_than": "{number} below {lt}",
    "less_than_equal": "{number} of at most {le}",
    "multiple_of": "{whole} that is a multiple of {multiple_of}",
    "string_pattern_mismatch": "{example}",
    "string_too_long": "a text of at most {max_length} characters",
    "string_too_short": "a text of at least {min_length} characters",
    "too_long": "at most {max_length} values",
    "too_short": "at least {min_length} values",
    "union_tag_invalid": "{expected_tags}",
    "union_tag_not_found": "a mapping with the key {discriminator}",
    "enum": "{expected}",
    "literal_error": "{expected}",
    "wanted": "{phrase}",
}  # fmt: skip
"""What is wanted, by pydantic's name of the problem or the first word of it."""

_OWN_WORDS = frozenset({"value_error", "assertion_error"})
"""Problems of pydantic whose text is that of our own validators, as are those that are not of pydantic."""
_OF_PYDANTIC = frozenset(get_args(ErrorType))


def wanted(phrase: str) -> PydanticCustomError:
    """Return the error of a validator that wants something else, which is named as in `a number`."""
    return PydanticCustomError("wanted", "{phrase}", {"phrase": phrase})


def problems_of(
    error: ValidationError, data: Any, model: type[BaseModel] | None = None, most: int = 20
) -> dict[tuple[str, ...], str]:
    """Return what is wrong with each key, by the path of the key.

    Parameters
    ----------
    error
        What pydantic says.
    data
        What was checked; None when it is not at hand, which may leave names of types in the keys.
    model
        The model, whose schema tells units, examples and known keys.
    most
        Problems that are looked at.
    """
    by_key: dict[tuple[str, ...], list[tuple[ErrorDetails, Hints]]] = {}
    for problem in error.errors(include_url=False)[:most]:
        keys = _keys(data, problem)
        by_key.setdefault(keys, []).append((problem, hints_of(model, problem["loc"])))
    return {
        keys: _explained(keys, found, model)
        for keys, found in by_key.items()
        # Else it comes from a union member of another shape; the errors of the keys inside are more exact.
        if not any(k[: len(keys)] == keys and len(k) > len(keys) for k in by_key)
    }


def first_of(
    error: ValidationError, data: Any = None, model: type[BaseModel] | None = None
) -> tuple[str, str]:
    """Return the key of the first problem, empty for the whole, and what is wrong with it."""
    keys, text = next(iter(problems_of(error, data, model).items()))
    return ".".join(keys), text


def _explained(
    keys: tuple[str, ...], found: list[tuple[ErrorDetails, Hints]], model: type[BaseModel] | None
) -> str:
    """Return what is wrong with one key, of which each member of a union may say something else."""
    problem = found[0][0]
    if problem["type"] == "missing":
        return "this key is required"
    if problem["type"] == "extra_forbidden":
        return "unknown key" + did_you_mean(keys[-1] if keys else "", known_keys(model, problem["loc"]))
    sentences = [p["msg"] for p, _ in found if _is_sentence(p)]
    rest = [f for f in found if not _is_sentence(f[0]) and f[0]["type"] not in {"missing", "extra_forbidden"}]
    # A literal such as `auto` is named after what is usual.
    rest.sort(key=lambda f: f[0]["type"] == "literal_error")
    phrases = dict.fromkeys(_wanted(p, h) for p, h in rest)
    value = problem["ctx"]["tag"] if problem["type"] == "union_tag_invalid" else problem["input"]
    if sentences:
        told = dict.fromkeys(_lower(re.sub(r"^(Value error|Assertion failed), ", "", s)) for s in sentences)
        return f"{', or '.join([*told, *phrases])} (got {shown(value)})"
    return f"{' or '.join(phrases)}, not {shown(value)}"


def _is_sentence(problem: ErrorDetails) -> bool:
    """Return whether the text of a problem is that of our own validators."""
    kind = problem["type"]
    return kind in _OWN_WORDS or (kind != "wanted" and kind not in _OF_PYDANTIC)


def _wanted(problem: ErrorDetails, hints: Hints) -> str:
    """Return what is wanted instead of a value, as a noun."""
    kind = problem["type"]
    form = _KINDS.get(kind) or _KINDS.get(kind.split("_", maxsplit=1)[0], "a value of another kind")
    number = f"a number of {hints.unit}" if hints.unit else "a number"
    whole = number.replace("a number", "a whole number")
    example = f"a text like {' or '.join(hints.examples)}" if hints.examples else "a text of another form"
    said = {k: _number(v).replace("'", "") for k, v in problem.get("ctx", {}).items()}
    own = {"number": number, "whole": whole, "counted": number if hints.unit else whole, "example": example}
    # What validators of ours want has no unit yet.
    text = form.format_map({**said, **own}).replace("a number", number, 1 if kind == "wanted" else 0)
    return re.sub(r"\b1 (character|value)s\b", r"1 \1", text)


def _number(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def shown(value: object) -> str:
    """Return a value as a message shows it: as YAML has it, and not longer than a few words."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping | BaseModel):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple | set):
        return f"a list of {len(value)}" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= _MOST_VALUE else f"{text[: _MOST_VALUE - 3]}..."


def _lower(text: str) -> str:
    """Return a sentence as the rest of a line; a name such as CRS or UTC stays."""
    return text if text[1:2].isupper() else f"{text[:1].lower()}{text[1:]}"


def _keys(data: object, problem: ErrorDetails) -> tuple[str, ...]:
    """Return the keys of a problem, without the names of union members that pydantic puts between them."""
    loc = problem["loc"]
    keys = [] if data is not None else [str(part) for part in loc]
    for depth, part in enumerate(loc):
        last = problem["type"] == "missing" and depth == len(loc) - 1
        if isinstance(data, Mapping) and (part in data or last):
            data = data.get(part)
            keys.append(str(part))
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
            keys.append(str(part))
    if problem["type"] == "union_tag_invalid":
        keys.append(str(problem["ctx"]["discriminator"]).strip("'"))
    return tuple(keys)
