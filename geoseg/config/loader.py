"""Read a YAML document into a closed model; an error reads `file:line:column: key: what is wrong`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from geoseg.config.wording import first_of, problems_of
from geoseg.config.yaml_text import parse_yaml
from geoseg.core.errors import ConfigError
from geoseg.core.parsing import MOST_DEPTH, read_bytes
from geoseg.core.paths import at_home

_MOST_BYTES = 4_000_000
"""Largest document; YAML of this size takes half a minute to read."""

_MOST_PROBLEMS = 20
"""Problems that are told at once."""


class Document(BaseModel):
    """Base of all documents: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    elsewhere: ClassVar[frozenset[str]] = frozenset()
    """Keys with a path on another machine, where `~` is another folder."""

    @model_validator(mode="before")
    @classmethod
    def _find_home(cls, data: Any) -> Any:
        """Let paths begin with `~`; texts that are no paths do not begin with it and a slash."""
        if not isinstance(data, dict):
            return data
        return {k: v if k in cls.elsewhere else _at_home(v) for k, v in data.items()}


def _at_home(value: Any) -> Any:
    if isinstance(value, list):
        return [at_home(v) if isinstance(v, str) else v for v in value]
    return at_home(value) if isinstance(value, str) else value


D = TypeVar("D", bound=BaseModel)


def load(path: Path, model: type[D], changes: Sequence[str] | Mapping[str, Any] = ()) -> D:
    """Read and check a document.

    Parameters
    ----------
    path
        The YAML file.
    model
        The document's model.
    changes
        Values that replace those of the file: texts `key.subkey=value`, the value read as YAML, or a mapping
        of keys to values, where a key may be dotted and a mapping changes only the keys that it has.

    Raises
    ------
    ConfigError
        When the file cannot be read, is not YAML, or does not fit the model: one line for each problem.
    """
    text = _text_of(path)
    try:
        root, data = parse_yaml(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{at}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or root is None:
        raise ConfigError(f"{path}:1:1: a mapping of keys to values is expected here")
    _refuse_duplicates(root, path)
    if isinstance(changes, Mapping):
        assigned = [_put(data, keys, value) for keys, value in _leaves(changes)]
    else:
        assigned = [_assign(data, text) for text in changes]
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, model, path, root, data, assigned))) from None


def checked(values: Mapping[str, Any], model: type[D], where: str) -> D:
    """Return values of a call as a document.

    Parameters
    ----------
    values
        Keys to values.
    model
        The document's model.
    where
        What was called, for the message.

    Raises
    ------
    ConfigError
        When a key is unknown or a value does not fit, in one line.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        key, what = first_of(error, values, model)
        raise ConfigError(f"{where}: {key[:100] or 'values'}: {what}") from None


def _text_of(path: Path) -> str:
    try:
        return read_bytes(path, _MOST_BYTES).decode()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: it is not UTF-8; save it as UTF-8 ({error})") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _refuse_duplicates(node: yaml.Node, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(f"{_at(path, key)}: {key.value[:100]}: this key stands twice")
            seen.add(key.value)
            _refuse_duplicates(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, path)


def _assign(data: dict[str, Any], text: str) -> tuple[str, ...]:
    """Apply one `key.subkey=value` to the data; return the key's path."""
    key, sign, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    shown = text if len(text) <= 100 else f"{text[:97]}..."
    if not sign or not all(path):
        raise ConfigError(f"--set {shown}: write it as key=value, for example --set tiling.tile=512")
    if len(path) > MOST_DEPTH:
        raise ConfigError(f"--set {shown}: no document has keys that deep")
    try:
        if len(value) > _MOST_BYTES:
            raise ValueError  # noqa: TRY301 (told as other values that are none)
        _, parsed = parse_yaml(value)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"--set {shown}: {_shorten(value)} is not a YAML value: {error.problem}") from None
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"--set {shown}: {_shorten(value)} is not a YAML value") from None
    for depth in range(1, len(path)):
        if not isinstance(_at_path(data, path[:depth]), dict | type(None)):
            raise ConfigError(f"--set {shown}: {path[depth - 1]} is a single value here, not a mapping")
    return _put(data, path, parsed)


def _at_path(data: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> tuple[str, ...]:
    """Put a value at the path of its keys, instead of single values above it; return the path."""
    target = data
    for part in path[:-1]:
        if not isinstance(target.get(part), dict):
            target[part] = {}
        target = target[part]
    target[path[-1]] = value
    return path


def _leaves(changes: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path of keys and the plain value of each change."""
    if len(above) > MOST_DEPTH:
        raise ConfigError(f"changes: {above[0]}: no document has keys that deep")
    for key, value in changes.items():
        path = (*above, *str(key).split("."))
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield path, _plain(value)


def _plain(value: Any) -> Any:
    """Return a value as YAML would give it."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, PurePath):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _explain(
    error: ValidationError,
    model: type[BaseModel],
    path: Path,
    root: yaml.Node,
    data: dict[str, Any],
    assigned: list[tuple[str, ...]],
) -> list[str]:
    """Return one line for each key that is wrong."""
    messages = problems_of(error, data, model, _MOST_PROBLEMS)
    lines = []
    for keys, message in messages.items():
        # What the file lacks was made by a change further inside.
        made = [
            a for a in assigned if a == keys[: len(a)] or (a[: len(keys)] == keys and not _has(root, keys))
        ]
        where = f"--set {'.'.join(made[0])}" if made else _at(path, _node(root, keys))
        key = ".".join(keys)[:100] or "document"
        # A change of just this key, or of a mapping around it, has said the key already.
        told = f"--set {key}" if made and made[0] == keys[: len(made[0])] else f"{where}: {key}"
        lines.append(f"{told}: {message}")
    if (count := error.error_count()) > _MOST_PROBLEMS:
        lines.append(f"{path}: {count - _MOST_PROBLEMS} further problems")
    return lines


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _node(root: yaml.Node, keys: tuple[str, ...]) -> yaml.Node:
    """Return the node of a key, or the innermost one around it that the file has."""
    node = mark = root
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == key), None)
            if pair is None:
                break
            mark, node = pair
        elif isinstance(node, yaml.SequenceNode):
            node = mark = node.value[int(key)]
    return mark


def _has(root: yaml.Node, keys: tuple[str, ...]) -> bool:
    """Return whether the file has a key; the document itself is always there."""
    node = root
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        found = next((v for k, v in pairs if k.value == key), None)
        if found is None:
            return isinstance(node, yaml.SequenceNode)
        node = found
    return True


def _at(path: Path, node: yaml.Node) -> str:
    mark = node.start_mark
    return f"{path}:{mark.line + 1}:{mark.column + 1}"
