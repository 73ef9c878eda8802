"""What a shell may complete: names of documents, scenes and bundles, and keys of documents.

A name is completed beside the files of the current folder, which may be given as well. A catalog that cannot
be read completes nothing: a shell is no place for errors.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Complete = Callable[[str], list[str]]


def pipelines(incomplete: str) -> list[str]:
    """Complete a pipeline."""
    return _named(incomplete, _on_shelf("PIPELINES"))


def trainings(incomplete: str) -> list[str]:
    """Complete a training."""
    return _named(incomplete, _on_shelf("TRAININGS"))


def clusters(incomplete: str) -> list[str]:
    """Complete a cluster."""
    return _named(incomplete, _on_shelf("CLUSTERS"))


def legends(incomplete: str) -> list[str]:
    """Complete a legend."""
    return _named(incomplete, _on_shelf("LEGENDS"))


def bundles(incomplete: str) -> list[str]:
    """Complete a bundle."""
    return _named(incomplete, _on_shelf("MODELS"))


def scenes(incomplete: str) -> list[str]:
    """Complete a scene."""
    return _named(incomplete, _in_catalogs())


def catalog_names(incomplete: str) -> list[str]:
    """Complete the name of a scene in the catalogs."""
    return _beginning(incomplete, _in_catalogs())


def things(incomplete: str) -> list[str]:
    """Complete what `geoseg inspect` describes."""
    shelves = ("MODELS", "PIPELINES", "TRAININGS", "LEGENDS", "CLUSTERS")
    return _named(incomplete, [*_in_catalogs(), *(name for shelf in shelves for name in _on_shelf(shelf))])


def pipeline_keys(incomplete: str) -> list[str]:
    """Complete `KEY=VALUE` of a pipeline."""
    return _settings(incomplete, "pipeline")


def training_keys(incomplete: str) -> list[str]:
    """Complete `KEY=VALUE` of a training."""
    return _settings(incomplete, "training")


def _named(incomplete: str, names: Iterable[str]) -> list[str]:
    """Return the names that begin so, and the files of this folder that do."""
    found = _beginning(incomplete, names)
    # Without a name of ours the shell completes files itself, also in other folders.
    files = [f"{p.name}/" if p.is_dir() else p.name for p in Path().iterdir()] if found and incomplete else []
    return [*found, *sorted(set(_beginning(incomplete, files)) - set(found))]


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _on_shelf(shelf: str) -> list[str]:
    from geoseg.config import lookup

    with contextlib.suppress(Exception):
        return lookup.names(lookup.Shelf[shelf])
    return []


def _in_catalogs() -> list[str]:
    import yaml

    from geoseg.config import lookup

    # Not the catalog itself, which opens rasters and takes seconds to import.
    found: list[str] = []
    for folder in lookup.folders():
        with contextlib.suppress(Exception):
            found += yaml.safe_load((folder / "data_catalog.yaml").read_text())["scenes"]
    return found


def _settings(incomplete: str, kind: str) -> list[str]:
    """Return the keys that begin so, or the values of a key that has a few."""
    from geoseg.config.schema import schema

    whole = schema(kind)
    key, equals, _ = incomplete.partition("=")
    keys = dict(_keys(whole, whole.get("$defs", {}), ""))
    if equals:
        return _beginning(incomplete, [f"{key}={value}" for value in keys.get(key, ())])
    return _beginning(incomplete, [f"{name}=" for name in keys])


def _keys(node: dict[str, Any], definitions: dict[str, Any], above: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each key that takes a single value, dotted, and its values where they are few."""
    for name, field in node.get("properties", {}).items():
        path = f"{above}.{name}" if above else name
        if path.count(".") > 3:  # a scene may be made of scenes
            continue
        options = list(_options(field, definitions))
        inside = [o for o in options if "properties" in o]
        if len(inside) < len(options) or not inside:
            values = [v for o in options for v in _values(o)]
            # YAML reads a bare `off` as false, so false is allowed where `off` is meant.
            words = [v for v in values if isinstance(v, str)]
            yield path, [_as_yaml(v) for v in words or values]
        for option in inside:
            yield from _keys(option, definitions, path)


def _options(node: dict[str, Any], definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in node:
        node = definitions[str(node["$ref"]).rsplit("/", 1)[-1]]
    members = [*node.get("anyOf", []), *node.get("oneOf", [])]
    if not members:
        yield node
    for member in members:
        yield from _options(member, definitions)


def _values(node: dict[str, Any]) -> list[Any]:
    if node.get("type") == "boolean":
        return [True, False]
    return [*node.get("enum", []), *([node["const"]] if "const" in node else []), *node.get("examples", [])]


def _as_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
