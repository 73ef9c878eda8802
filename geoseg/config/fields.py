"""Types of the values of documents: every number that a user, a file or a catalog gives passes one of them.

Each has finite bounds, so that a slip of the keyboard is refused before it becomes a list of 10^30 elements,
and none takes a truth value: YAML reads `no` as false, and Python counts false as 0.
"""

import datetime as dt
import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from geoseg.config.wording import first_of, wanted
from geoseg.core.errors import GeosegError
from geoseg.core.text import check_line

Auto = Literal["auto"]

_MOST = 2**31 - 1
_LEAST = 1e-12
"""Smaller numbers are 0 or have no reciprocal in single precision."""
_YEARS = range(1900, 2101)


def _no_truth(value: object) -> object:
    # numpy's truth values come from tables.
    if type(value).__name__ in {"bool", "bool_"}:
        raise wanted("a number")
    return value


def _no_rounding_to_0(value: float) -> float:
    if value < _LEAST:
        raise wanted(f"a number of at least {_LEAST:g}")
    return value


def _no_nan(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and infinity are nodata in any case; leave the key out")
    return value


def unit(plural: str) -> dict[str, str]:
    """Return what a field says of itself in the schema: what its number counts, for messages."""
    return {"unit": plural}


GATE = BeforeValidator(_no_truth)
"""Refuses truth values; it stands after the bounds, which it then leaves in the JSON schema."""

Whole = Annotated[int, Field(ge=0, le=_MOST), GATE]
"""A whole number, also 0."""
Count = Annotated[int, Field(ge=1, le=_MOST), GATE]
"""A whole number of things, at least one."""
Side = Annotated[int, Field(ge=1, le=65_536, json_schema_extra=unit("pixels")), GATE]
"""Pixels along one side of a tile, a block or a chip."""
Overlap = Annotated[int, Field(ge=0, le=65_536, multiple_of=2, json_schema_extra=unit("pixels")), GATE]
"""Pixels that neighbouring tiles share, half of them each."""
BandNumber = Annotated[int, Field(ge=1, le=65_536), GATE]
"""Number of a band in its file, from 1."""
Code = Annotated[int, Field(ge=-(2**31), le=_MOST), GATE]
"""Value of a class in labels, or of a quality band."""
ClassId = Annotated[int, Field(ge=0, le=254), GATE]
"""Pixel value of a class in class maps; 255 is nodata."""
Gpus = Annotated[int, Field(ge=0, le=64, json_schema_extra=unit("GPUs")), GATE]
"""GPUs of one machine or job."""
Port = Annotated[int, Field(ge=1, le=65_535), GATE]
Tries = Annotated[int, Field(ge=1, le=100, json_schema_extra=unit("attempts")), GATE]
"""Attempts, with a wait between them."""
Points = Annotated[int, Field(ge=0, le=1_000_000), GATE]
"""Points of a sample."""
Pixels = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False, json_schema_extra=unit("pixels")), GATE]
"""A distance in pixels."""
Seconds = Annotated[int, Field(ge=0, le=31_536_000, json_schema_extra=unit("seconds")), GATE]
"""A time of at most a year."""

NonNegative = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False), GATE]
Positive = Annotated[
    float, Field(gt=0, le=1e12, allow_inf_nan=False), AfterValidator(_no_rounding_to_0), GATE
]
Finite = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False), GATE]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), GATE]
Threshold = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), GATE]
"""Probability that something needs."""
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), GATE]
Below1 = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), GATE]
"""A share that leaves something."""
Temperature = Annotated[float, Field(ge=1e-3, le=1e3, allow_inf_nan=False), GATE]
"""What logits are divided by."""
Scale = Positive
"""Physical value = number * scale + offset."""
Offset = Finite
Gsd = Annotated[float, Field(ge=1e-4, le=1e6, allow_inf_nan=False, json_schema_extra=unit("metres")), GATE]
"""Ground sample distance in metres, from a tenth of a millimetre to a thousand kilometres."""
Nodata = Annotated[
    float,
    Field(ge=-1.7976931348623157e308, le=1.7976931348623157e308, allow_inf_nan=False),
    BeforeValidator(_no_nan),
    GATE,
]
"""A value that means nodata. NaN and infinity mean it always."""


Line = Annotated[str, AfterValidator(check_line), Field(max_length=1000)]
"""One line of text without control characters."""
Name = Annotated[Line, Field(min_length=1, max_length=200)]


def _date(value: object) -> object:
    """Return `20240601` as a date: it would be taken for seconds since 1970."""
    text = str(value).strip()
    if re.fullmatch(r"(19|20|21)\d{6}", text):
        return f"{text[:4]}-{text[4:6]}-{text[6:]}T00:00:00"
    if isinstance(value, int | float) or re.fullmatch(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", text):
        raise ValueError("write a date like 2024-06-01, or a time like 2024-06-01T10:30:00Z")
    return value


def _in_utc(time: dt.datetime) -> dt.datetime:
    if time.year not in _YEARS:
        raise ValueError(f"the year must lie between {_YEARS[0]} and {_YEARS[-1]}")
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


Time = Annotated[
    dt.datetime, BeforeValidator(_date, json_schema_input_type=str | dt.datetime), AfterValidator(_in_utc)
]
"""A date or a time, in UTC unless it has another zone."""


def check_number(value: Any, kind: Any, what: str, error: type[GeosegError]) -> None:
    """Check a number that comes from a file or the command line by the type that documents use for it.

    Parameters
    ----------
    value
        The number.
    kind
        One of the types of this module.
    what
        What it is and where, for the message.
    error
        Class of the error.
    """
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as problem:
        _, text = first_of(problem, value)
        raise error(f"{what}: {text}") from None
