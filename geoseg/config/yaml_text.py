"""YAML within limits: no document expands to more than it says, nests without end, or holds itself."""

import json
import re
from typing import Any, NoReturn

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from geoseg.core.errors import one_line
from geoseg.core.parsing import MOST_DEPTH

MOST_REPEATED = 10_000
"""Values that aliases (`*name`) may add to a document."""

MOST_DIGITS = 400
"""Characters of a number or a date: reading one takes time with the square of its length."""

_SHORT = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))


class _Loader(yaml.SafeLoader):
    """A safe loader that measures what it composes before anything is made of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open = self._repeated = 0
        self._measured: dict[int, tuple[int, int]] = {}
        """Values in a finished node, those of aliases included, and its depth; by identity."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            return self._compose_alias(parent, index)
        start = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._open += 1
        if self._open > MOST_DEPTH:
            _refuse(f"more than {MOST_DEPTH} lists and mappings are inside each other", start)
        node = super().compose_node(parent, index)
        self._open -= 1
        children = [] if node is None else _children(node)
        sizes, depths = zip(*(self._measured[id(c)] for c in children), strict=True) if children else ((), ())
        self._measured[id(node)] = 1 + sum(sizes), 1 + max(depths, default=0)
        if self._measured[id(node)][1] + self._open > MOST_DEPTH:
            _refuse(f"more than {MOST_DEPTH} lists and mappings are inside each other", start)
        if isinstance(node, yaml.ScalarNode) and node.tag in _SHORT and len(node.value) > MOST_DIGITS:
            _refuse(f"a number of {len(node.value)} characters; write a shorter one", start)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 (PyYAML's)
        try:
            return super().construct_object(node, deep=deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # A tag like !!timestamp in front of what is none; PyYAML does not look before it reads.
            kind = node.tag.rpartition(":")[2]
            raise ConstructorError(
                None, None, f"this is no {kind} ({one_line(error)})", node.start_mark
            ) from error

    def _compose_alias(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if id(node) not in self._measured:
            _refuse("an alias stands inside the value that it repeats", mark)
        self._repeated += self._measured[id(node)][0]
        if self._repeated > MOST_REPEATED:
            _refuse(f"aliases repeat more than {MOST_REPEATED} values; write less of them", mark)
        return node


def parse_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the node of a YAML document, which knows lines and columns, and its value.

    Raises
    ------
    yaml.YAMLError
        When it is not YAML, or is beyond the limits of this module.
    ValueError
        When a number or a date in it cannot be one.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    finally:
        loader.dispose()


def scalar(value: str) -> str:
    """Return a text as a YAML scalar, quoted only where YAML would read another value.

    Examples
    --------
    >>> scalar("outputs/a"), scalar("no"), scalar("Tree cover")
    ('outputs/a', '"no"', '"Tree cover"')
    """
    plain = re.fullmatch(r"[A-Za-z_./][\w./-]*", value) and yaml.safe_load(value) == value
    return value if plain else json.dumps(value, ensure_ascii=False)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _refuse(problem: str, mark: yaml.Mark) -> NoReturn:
    raise ComposerError(None, None, problem, mark)
