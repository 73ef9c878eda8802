"""Metadata files of products: XML, and Landsat's groups of keys."""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

from geoseg.core.errors import SceneError, one_line
from geoseg.core.parsing import parse_json

Groups = dict[str, Any]
"""Keys and values of a metadata file by group; values are texts."""


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
            value = parse_json(data)
            return _group(next(iter(value.values()))) if len(value) == 1 else _group(value)
        if name.lower().endswith(".xml"):
            root = parse_xml(data, where)
            return {local_name(g): {local_name(e): (e.text or "").strip() for e in g} for g in root}
        return _parse_odl(data.decode("utf-8-sig"))
    except (ValueError, AttributeError, StopIteration) as error:
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
    whole = stack[0]
    return whole[next(iter(whole))] if len(whole) == 1 else whole
