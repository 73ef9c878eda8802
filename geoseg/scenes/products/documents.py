"""Metadata files of products: XML, and Landsat's groups of keys."""

import math
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

from geoseg.core.errors import SceneError, one_line
from geoseg.core.parsing import parse_json

Groups = dict[str, Any]
"""Keys and values of a metadata file by group; values are texts, or groups."""


def parse_xml(data: bytes, where: str) -> ET.Element:
    """Return the root of an XML file.

    Raises
    ------
    SceneError
        When it is damaged, or declares entities: those of an attacker fill the memory or name other files.
    """
    try:
        text = data.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise SceneError(f"{where}: declares a document type, which metadata of a product do not")
        return ET.fromstring(text)  # noqa: S314 (entities cannot be declared)
    except (ET.ParseError, UnicodeDecodeError, ValueError) as error:
        raise SceneError(f"{where}: is damaged; get the product again ({one_line(error)})") from error


def as_number(value: Any) -> float | None:
    """Return a finite number, which metadata may hold as a text; None for anything else.

    Examples
    --------
    >>> as_number("05.10"), as_number("n/a"), as_number(True)
    (5.1, None, None)
    """
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_cloud_cover(value: Any) -> float | None:
    """Return a cloud cover in percent; None where it was not looked at, which some write as -1."""
    number = as_number(value)
    return number if number is not None and 0 <= number <= 100 else None


def local_name(element: ET.Element) -> str:
    """Return the tag of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def elements(root: ET.Element, name: str) -> Iterator[ET.Element]:
    """Yield all elements of a name, in any namespace."""
    return (e for e in root.iter() if local_name(e) == name)


def text_of(root: ET.Element, *names: str) -> str | None:
    """Return the text of the first element that has one of the names; None when none has."""
    for name in names:
        for element in elements(root, name):
            if element.text and element.text.strip():
                return element.text.strip()
    return None


def parse_mtl(data: bytes, name: str, where: str) -> Groups:
    """Return the groups of a metadata file of Landsat (`*_MTL.json`, `.txt` or `.xml`).

    Raises
    ------
    SceneError
        When it is damaged.
    """
    try:
        if name.lower().endswith(".json"):
            return _only_group(_group(parse_json(data)))
        if name.lower().endswith(".xml"):
            root = parse_xml(data, where)
            return {local_name(g): {local_name(e): (e.text or "").strip() for e in g} for g in root}
        return _parse_odl(data.decode("utf-8-sig"))
    except (ValueError, AttributeError) as error:
        raise SceneError(f"{where}: is damaged; get the product again ({one_line(error)})") from error


def _group(value: Any) -> Groups:
    return {str(k): _group(v) if isinstance(v, dict) else str(v) for k, v in value.items()}


def _parse_odl(text: str) -> Groups:
    """Return the groups of a text of `GROUP = NAME`, `KEY = VALUE` and `END_GROUP = NAME`."""
    stack: list[Groups] = [{}]
    for line in text.splitlines():
        key, found, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            stack.append({})
            stack[-2][value] = stack[-1]
        elif key == "END_GROUP" and len(stack) > 1:
            stack.pop()
        elif found:
            stack[-1][key] = re.sub(r'^"(.*)"$', r"\1", value)
    return _only_group(stack[0])


def _only_group(whole: Groups) -> Groups:
    """Return the only group of a file, in which all others lie, else the file."""
    first = next(iter(whole.values()), None)
    return first if len(whole) == 1 and isinstance(first, dict) else whole
