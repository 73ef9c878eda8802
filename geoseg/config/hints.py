"""What the JSON schema of a model says of a place in it: units, examples, and the keys that may be there."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class Hints:
    """What the schema of a field says of its values."""

    unit: str = ""
    """What a number counts, in the plural."""
    examples: tuple[str, ...] = ()
    """Values that a text may have, where a pattern says which."""


def known_keys(model: type[BaseModel] | None, loc: tuple[int | str, ...]) -> list[str]:
    """Return the other keys that the mapping around `loc` may have, in any member of a union."""
    found = {key for node in _nodes(model, loc[:-1]) for key in node.get("properties", {})}
    return sorted(found - set(loc[-1:]))


def hints_of(model: type[BaseModel] | None, loc: tuple[int | str, ...]) -> Hints:
    """Return what the schema says of the value at `loc`."""
    nodes = _nodes(model, loc)
    units = [str(node["unit"]) for node in nodes if "unit" in node]
    examples = [str(example) for node in nodes for example in node.get("examples", ())]
    return Hints(units[0] if units else "", tuple(examples))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _nodes(model: type[BaseModel] | None, loc: tuple[int | str, ...]) -> list[dict[str, Any]]:
    """Return the schemas that the value at `loc` may follow, none without a model."""
    if model is None:
        return []
    schema = _schema(model)
    definitions = schema.get("$defs", {})
    nodes = _options(schema, definitions)
    for part in loc:
        found = [n for node in nodes for n in _children(node, part, definitions)]
        # The name of a union member is no key; where members differ by `kind`, it selects one of them.
        nodes = found or [n for n in nodes if part == f"kind={_constant(n, 'kind')}"] or nodes
    return nodes


def _children(node: dict[str, Any], part: int | str, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(part, int):
        items = node.get("prefixItems", [])
        below = items[part] if part < len(items) else node.get("items")
    else:
        below = node.get("properties", {}).get(part) or node.get("additionalProperties")
    return _options(below, definitions) if isinstance(below, dict) else []


def _options(node: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schemas that a value may follow: the members of a union, or the schema itself."""
    if "$ref" in node:
        node = definitions[str(node["$ref"]).rsplit("/", 1)[-1]]
    members = [*node.get("anyOf", []), *node.get("oneOf", [])]
    return [o for m in members for o in _options(m, definitions)] or [node]


def _constant(node: dict[str, Any], key: str) -> object:
    return node.get("properties", {}).get(key, {}).get("const")
