"""Strange values, and changes to documents and files that leave most of them as it was."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

Path = tuple[str | int, ...]

NUMBERS = (
    0, 1, -1, 2, 7, 64, 255, 256, 65_537, 2**31 - 1, 2**31, 2**63, 10**30, 0.0, -0.0, 0.5, 1e-12, 1e-300,
    1e12, 1e300,
    math.nan, math.inf, -math.inf,
)  # fmt: skip
TEXTS = (
    "", " ", "no", "auto", "x", "nodata", "0", "1e3", "1_000", "12:30:00", "0x1F", "2024-06-01",
    "20240601", "9999-12-31",
    "1.5 px", "9" * 401, "a" * 5000, "\x00", "a\nb", "\x1b[2J", "\ud800", "\uffff", "\u202ea", "é", "..",
    ".", "/", "~", "~x",
    "../..", "a/b", "*", "**/*", "[", "{stem}", "{stem.__class__}", "%s", "scene.tif", "toy", "case.yaml",
    "run", "pipe",
    "/dev/zero", "/dev/null", "/proc/self/mem", "missing.tif", "file://scene.tif", "package://",
    "package://os/x",
    "package://../x", "vrt://scene.tif", "vrt://scene.tif?bands=9", "/vsimem/x", "/vsizip/scene.tif",
    "/vsizip/", "/vsistdin/",
    "NETCDF:scene.tif:x", "GTIFF_DIR:1:scene.tif", "GTIFF_DIR:9:scene.tif", "tcp://127.0.0.1:1",
    "tls://127.0.0.1:1",
    "tcp://me:word@127.0.0.1:1", "file:///etc/passwd", "ftp://127.0.0.1:1/x", "gopher://x", "s4://x/y",
    "EPSG:4326", "EPSG:3857",
    "EPSG:999999", "EPSG:4978", "+proj=geos +h=35785831", "<script>", "'); DROP TABLE x;--", "=1+1",
    "class-1", "red", "nir",
)  # fmt: skip
STRANGE = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from([None, True, False, [], {}, [[]], {"x": {}}, [None], {"": 1}, {1: 2}]),
    st.text(max_size=20),
    st.floats(),
    st.integers(),
    st.binary(max_size=8),
    st.dates(),
)
SNIPPETS = (
    "&a ", "*a", "\n<<: *a\n", "!!python/object/apply:os.system ", "!!binary ", "!!set ", "!!omap ",
    "!!float ", "!!int ",
    "!!timestamp ", "!x ", "\t", "---\n", "...\n", "? ", ": ", "- ", "\x00", "\ufeff", "'",
    '"', "[" * 70, "{" * 70, "}", "|\n", ">\n",
    "%YAML 9.9\n", "#", "\r", "\x85", "=\n", "9" * 500, "1e999", ".nan", "~", "null", "yes", "\u2028", "\x1b",
)  # fmt: skip


def places(tree: Any, above: Path = ()) -> Iterator[Path]:
    """Yield the paths of all values of a tree of mappings and lists."""
    yield above
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from places(value, (*above, key))


def at(tree: Any, path: Path) -> Any:
    """Return the value at a path."""
    for key in path:
        tree = tree[key]
    return tree


def put(tree: Any, path: Path, value: Any) -> Any:
    """Return a tree with a value at a path, whose mappings are made where they are missing."""
    if not path:
        return value
    tree = copy.copy(tree) if isinstance(tree, dict | list) else {}
    key = path[0]
    if isinstance(tree, list) and not (isinstance(key, int) and key < len(tree)):
        return tree
    inside = tree[key] if isinstance(tree, list) else tree.get(key)
    tree[key] = put(inside, path[1:], value)
    return tree


def without(tree: Any, path: Path) -> Any:
    """Return a tree without the value at a path."""
    if not path:
        return None
    holder = copy.copy(at(tree, path[:-1]))
    del holder[path[-1]]
    return put(tree, path[:-1], holder)


def schema_places(schema: dict[str, Any], most: int = 5) -> list[tuple[Path, dict[str, Any]]]:
    """Return the paths of all keys that a JSON schema knows, with the schemas of their values."""
    found: list[tuple[Path, dict[str, Any]]] = []
    todo: list[tuple[Path, dict[str, Any]]] = [((), schema)]
    while todo:
        path, node = todo.pop()
        for option in _options(node, schema):
            for key, inner in option.get("properties", {}).items():
                found.append(((*path, key), inner))
                if len(path) + 1 < most:
                    todo.append(((*path, key), inner))
    return found


def _options(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    members = [*node.get("anyOf", []), *node.get("oneOf", [])]
    return [o for m in members for o in _options(m, schema)] or [node]


@st.composite
def fitting(draw: st.DrawFn, node: dict[str, Any], schema: dict[str, Any], depth: int = 0) -> Any:
    """Draw a value that a JSON schema allows, mostly: at bounds, or one beyond."""
    node = draw(st.sampled_from(_options(node, schema)))
    if "const" in node or "enum" in node:
        return draw(st.sampled_from(node.get("enum", [node.get("const")])))
    kind = node.get("type")
    if kind in ("integer", "number"):
        bounds = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
        ends = [node[b] + d for b in bounds if b in node for d in (-1, 0, 1)]
        number = draw(st.one_of(st.integers(0, 100), st.sampled_from([*ends, 0, 1, 10])))
        return number if kind == "integer" else number * draw(st.sampled_from([1.0, 0.001, 0.37]))
    if kind in ("boolean", "null"):
        return draw(st.booleans()) if kind == "boolean" else None
    if kind == "array" and depth < 4:
        items = node.get("items", {"type": "string"})
        return draw(st.lists(fitting(items, schema, depth + 1), max_size=3))
    if kind == "object" and depth < 4:
        known = node.get("properties", {})
        more = draw(st.lists(st.sampled_from(sorted(known)), max_size=3)) if known else []
        keys = [*node.get("required", []), *more]
        return {k: draw(fitting(known[k], schema, depth + 1)) for k in dict.fromkeys(keys)}
    return draw(st.sampled_from(TEXTS))


@st.composite
def changed_tree(draw: st.DrawFn, base: Any, schema: dict[str, Any] | None = None, most: int = 3) -> Any:
    """Draw a document with a few values changed, moved or removed, or set as its schema allows."""
    tree = copy.deepcopy(base)
    known = schema_places(schema) if schema else []
    for _ in range(draw(st.integers(1, most))):
        path = draw(st.sampled_from(list(places(tree))))
        match draw(
            st.sampled_from(
                ["fits"] * (4 if known else 0) + ["strange", "strange", "remove", "rename", "move", "wrap"]
            )
        ):
            case "fits":
                where, node = draw(st.sampled_from(known))
                tree = put(tree, where, draw(fitting(node, schema)))
            case "strange":
                tree = put(tree, path, draw(STRANGE))
            case "remove" if path:
                tree = without(tree, path)
            case "rename" if path and isinstance(path[-1], str):
                value, tree = at(tree, path), without(tree, path)
                tree = put(tree, (*path[:-1], draw(st.sampled_from(TEXTS))), value)
            case "move":
                tree = put(tree, path, copy.deepcopy(at(tree, draw(st.sampled_from(list(places(tree)))))))
            case _:
                tree = put(tree, path, [at(tree, path)] * draw(st.integers(1, 3)))
    return tree


def as_yaml(tree: Any) -> bytes:
    """Return a tree as YAML."""
    return yaml.safe_dump(tree, sort_keys=False).encode("utf-8", "surrogatepass")


@st.composite
def changed_text(draw: st.DrawFn, text: bytes) -> bytes:
    """Draw a text with a few snippets put in, or parts taken out or repeated."""
    for _ in range(draw(st.integers(0, 2))):
        lines = text.split(b"\n")
        line = draw(st.integers(0, len(lines) - 1))
        place = draw(st.integers(0, len(lines[line])))
        match draw(st.sampled_from(["put", "put", "cut", "repeat", "drop"])):
            case "put":
                lines[line] = (
                    lines[line][:place] + draw(st.sampled_from(SNIPPETS)).encode() + lines[line][place:]
                )
            case "cut":
                lines = [*lines[:line], lines[line][:place]]
            case "repeat":
                lines.insert(draw(st.integers(0, len(lines))), lines[line])
            case "drop":
                del lines[line]
        text = b"\n".join(lines)
    return text


def documents(base: Any, schema: dict[str, Any] | None = None) -> st.SearchStrategy[bytes]:
    """Return YAML documents that are a valid one with changes."""
    return changed_tree(base, schema).map(as_yaml).flatmap(lambda t: st.one_of(st.just(t), changed_text(t)))


Damage = tuple[tuple[str, float, bytes], ...]
"""Changes to the bytes of a file: what, where as a share of its size, and bytes."""

DAMAGES: st.SearchStrategy[Damage] = st.lists(
    st.tuples(
        st.sampled_from(["flip", "put", "cut", "drop", "zero", "append"]),
        st.one_of(st.floats(0, 1), st.floats(0, 0.02)),
        st.binary(min_size=1, max_size=16),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


def damaged(data: bytes, damage: Damage) -> bytes:
    """Return the bytes of a file with damages."""
    for what, where, new in damage:
        i = int(where * len(data))
        match what:
            case "flip":
                data = data[:i] + new + data[i + len(new) :]
            case "put":
                data = data[:i] + new + data[i:]
            case "cut":
                data = data[:i]
            case "drop":
                data = data[:i] + data[i + len(new) * 64 :]
            case "zero":
                data = data[:i] + bytes(min(len(data) - i, 64 * len(new))) + data[i + 64 * len(new) :]
            case "append":
                data += new * 64
    return data
