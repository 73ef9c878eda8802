"""What an ONNX file says, read without a library: nothing that it names is opened.

An ONNX file is a protobuf message (onnx.proto3): fields with a number, of which some are messages again. Only
the few that tell what the graph takes, gives and refers to are looked at; tensors are skipped.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoseg.core.errors import BundleError, listed
from geoseg.core.parsing import open_regular

_MOST_BYTES = 2**31
_MOST_DEPTH = 32
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass
class OnnxFacts:
    """What an ONNX file says of itself."""

    producer: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    """Shapes by name, without the weights; free sizes are texts."""
    outputs: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    external: list[str] = field(default_factory=list)
    """Other files that hold tensors of the graph, as they are named."""
    made_by: dict[str, str] = field(default_factory=dict)
    """Kind of the operation that makes each output."""


def read_onnx_facts(path: Path) -> OnnxFacts:
    """Read what an ONNX file says of itself.

    Raises
    ------
    BundleError
        When it cannot be read, is larger than 2 GiB, or is no ONNX file.
    """
    facts = OnnxFacts()
    try:
        with open_regular(path) as file:
            _check_size(path)
            # Closed with its last view, of which an error may keep some.
            _model(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), facts)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, IndexError) as error:
        raise BundleError(f"{path}: is no ONNX file, or damaged: {str(error)[:100]}") from None
    if not facts.inputs or not facts.outputs:
        raise BundleError(f"{path}: is no ONNX file, or damaged: a graph with inputs and outputs is expected")
    return facts


def _check_size(path: Path) -> None:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError("it is larger than 2 GiB, which no ONNX file is")


def check_alone(path: Path) -> OnnxFacts:
    """Return what an ONNX file says, once it is known to need no other file.

    Raises
    ------
    BundleError
        When it keeps tensors in other files.
    """
    facts = read_onnx_facts(path)
    if facts.external:
        raise BundleError(
            f"{path}: keeps tensors in other files ({ascii(listed(facts.external, 2))[1:-1][:80]}), which a "
            "bundle does not hold; geoseg models import takes them in"
        )
    return facts


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a message: bytes as a view, numbers as they are."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        value: Any = None
        if kind == _VARINT:
            value, at = _varint(data, at)
        elif kind == _BYTES:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("a field of an unknown kind")
        if at > end:
            raise ValueError("it ends within a field")
        yield key >> 3, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")


def _text(value: Any) -> str:
    return bytes(value[:100_000]).decode("utf-8", "replace")


def _message(value: Any) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("a message is expected, and there is a number")  # noqa: TRY004 (becomes a BundleError)
    return value


def _model(data: memoryview, facts: OnnxFacts) -> None:
    for number, value in _fields(data):
        if number == 2:
            facts.producer = _text(_message(value))
        elif number == 7:
            _graph(_message(value), facts, 0)
        elif number == 14:
            key, text = _entry(_message(value))
            facts.metadata[key] = text
        elif number in (20, 25):
            _further(number, _message(value), facts)


def _further(number: int, data: memoryview, facts: OnnxFacts) -> None:
    """Look at graphs of a training (field 20) and nodes of a function (field 25)."""
    for part, inner in _fields(data):
        if number == 20 and part in (1, 2):
            _graph(_message(inner), facts, 1)
        elif number == 25 and part == 7:
            _node(_message(inner), facts, 1)


def _entry(data: memoryview) -> tuple[str, str]:
    parts = {number: _text(value) for number, value in _fields(data) if isinstance(value, memoryview)}
    return parts.get(1, ""), parts.get(2, "")


def _graph(data: memoryview, facts: OnnxFacts, depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise ValueError(f"more than {_MOST_DEPTH} graphs inside each other")
    weights: set[str] = set()
    inputs: dict[str, tuple[int | str, ...]] = {}
    made: dict[str, _Node] = {}
    for number, value in _fields(data):
        if number == 1:
            node = _node(_message(value), facts, depth)
            made.update(dict.fromkeys(node.outputs, node))
        elif number == 5:
            weights.add(_tensor(_message(value), facts))
        elif number == 15:
            _sparse(_message(value), facts)
        elif number in (11, 12) and depth == 0:
            name, shape = _value_info(_message(value))
            (inputs if number == 11 else facts.outputs)[name] = shape
    if depth == 0:
        facts.inputs = {k: v for k, v in inputs.items() if k not in weights}
        facts.made_by = {k: _maker(made, k) for k in facts.outputs}


@dataclass
class _Node:
    kind: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


def _maker(made: dict[str, _Node], name: str) -> str:
    """Return the kind of the operation that makes an output, before those that keep its numbers."""
    for _ in range(_MOST_DEPTH):
        node = made.get(name, _Node())
        if node.kind not in _KEEPING or not node.inputs:
            break
        name = node.inputs[0]
    return node.kind


_KEEPING = ("Cast", "Identity", "Transpose", "Squeeze", "Unsqueeze")


def _node(data: memoryview, facts: OnnxFacts, depth: int) -> _Node:
    node = _Node()
    for number, value in _fields(data):
        if number in (1, 2):
            (node.inputs if number == 1 else node.outputs).append(_text(_message(value)))
        elif number == 4:
            node.kind = _text(_message(value))
        elif number == 5:
            _attribute(_message(value), facts, depth)
    return node


def _attribute(data: memoryview, facts: OnnxFacts, depth: int) -> None:
    for part, inner in _fields(data):
        if part in (5, 10):
            _tensor(_message(inner), facts)
        elif part in (6, 11):
            _graph(_message(inner), facts, depth + 1)
        elif part in (22, 23):
            _sparse(_message(inner), facts)


def _sparse(data: memoryview, facts: OnnxFacts) -> None:
    for number, value in _fields(data):
        if number in (1, 2):
            _tensor(_message(value), facts)


def _tensor(data: memoryview, facts: OnnxFacts) -> str:
    name = ""
    for number, value in _fields(data):
        if number == 8:
            name = _text(_message(value))
        elif number == 13:
            key, text = _entry(_message(value))
            if key == "location" and text not in facts.external:
                facts.external.append(text)
        elif number == 14 and value == 1 and not facts.external:
            facts.external.append("")
    return name


def _value_info(data: memoryview) -> tuple[str, tuple[int | str, ...]]:
    name = ""
    shape: tuple[int | str, ...] = ()
    for number, value in _fields(data):
        if number == 1:
            name = _text(_message(value))
        elif number == 2:
            shape = _shape_of_type(_message(value))
    return name, shape


def _shape_of_type(data: memoryview) -> tuple[int | str, ...]:
    for number, value in _fields(data):
        if number == 1:
            for part, inner in _fields(_message(value)):
                if part == 2:
                    return tuple(_dimension(_message(d)) for n, d in _fields(_message(inner)) if n == 1)
    return ()


def _dimension(data: memoryview) -> int | str:
    for number, value in _fields(data):
        if number == 1:
            return int(value)
        if number == 2:
            return _text(_message(value))
    return "?"
