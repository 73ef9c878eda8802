"""Self-contained pages from Jinja templates; every value is escaped, and numbers have one format."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

MISSING = "–"
"""Shown where there is no number."""


@dataclass(frozen=True)
class HeadlineFigure:
    """One of the figures at the top of a page."""

    title: str
    meaning: str
    value: Any
    """A score, which the page rounds, or a text with its unit."""


def render(template: str, **values: Any) -> str:
    """Fill a template of `report/templates`; every value is escaped."""
    return _environment().get_template(template).render(**values)


def read_template(name: str) -> str:
    """Return the unchanged text of a file in `report/templates`."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    # A misspelt name in a template is an error, never an empty place on the page.
    environment = Environment(
        loader=PackageLoader("geoseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        score=score, percent=percent, grouped=grouped, short=short, fact=fact, words=words, unbroken=unbroken,
        with_signs=with_signs, area=area_in,
    )  # fmt: skip
    environment.tests["nested"] = lambda value: isinstance(value, Mapping)
    environment.tests["many"] = lambda value: isinstance(value, list | tuple)
    return environment


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value))


def score(value: Any) -> str:
    """Return a score with three decimals, a dash for None and NaN."""
    return f"{float(value):.3f}" if is_number(value) else MISSING


def percent(value: Any, digits: int = 1) -> str:
    """Return a share between 0 and 1 in per cent, without the per cent sign."""
    return f"{100 * float(value):.{digits}f}" if is_number(value) else MISSING


def grouped(value: Any) -> str:
    """Return a count in groups of three digits."""
    return f"{round(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if is_number(value) else MISSING


def short(value: Any) -> str:
    """Return a count in at most four characters (`812`, `4.1k`, `23M`)."""
    if not is_number(value):
        return MISSING
    number = float(value)
    for letter in ("", "k", "M", "G"):
        if round(number, 1) < 10 and letter:
            return f"{number:.1f}{letter}"
        if round(number) < 1000:
            return f"{number:.0f}{letter}"
        number /= 1000
    return f"{number:.0f}T"


def fact(value: Any) -> str:
    """Return any plain value as text."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{float(value):.6g}" if math.isfinite(float(value)) else MISSING
    return str(value)


def unbroken(text: Any) -> str:
    """Return a number and its unit so that no line breaks between them."""
    return str(text).replace(" ", "\N{NO-BREAK SPACE}")


def with_signs(text: Any) -> str:
    """Return a text in which no line breaks between a number and its per cent sign."""
    return str(text).replace(" %", "\N{NO-BREAK SPACE}%")


def area_in(area: float, unit: str) -> str:
    """Return an area in a unit that fits it: m², ha or km²; pixels as they are.

    Examples
    --------
    >>> area_in(25_000, "m²").split()
    ['2.5', 'ha']
    """
    for size, name in ((1e6, "km²"), (1e4, "ha")):
        if unit == "m²" and area >= size * (1 - 1e-9):
            return f"{_three(area / size)}\N{NO-BREAK SPACE}{name}"
    return f"{_three(area)}\N{NO-BREAK SPACE}{unit}"


def _three(number: float) -> str:
    """Return a number with about three digits."""
    if number >= 100 or number == 0:
        return grouped(number)
    text = f"{number:.{max(0, 2 - math.floor(math.log10(number)))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def words(key: Any) -> str:
    """Return a key as words (`learning_rate` gives `learning rate`)."""
    return str(key).replace("_", " ")
