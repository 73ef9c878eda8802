"""The official schemas of STAC."""

from typing import Any

from jsonschema import Draft7Validator
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

_SCHEMA = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"


def schema_problems(item: dict[str, Any]) -> list[str]:
    """Check an item against the official STAC 1.1 schemas, which pystac ships; extensions are not checked."""
    cache = get_local_schema_cache()
    registry = Registry().with_resources([(uri, Resource.from_contents(s)) for uri, s in cache.items()])
    problems = Draft7Validator(cache[_SCHEMA], registry=registry).iter_errors(item)
    return [f"{'/'.join(map(str, p.absolute_path)) or 'item'}: {p.message[:200]}" for p in problems]
