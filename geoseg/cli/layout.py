"""Facts as aligned text."""

from collections.abc import Collection
from typing import Any


def as_text(facts: Any, indent: int = 0) -> str:
    """Lay facts out as aligned text."""
    pad = " " * indent
    if isinstance(facts, list) and facts and all(isinstance(row, dict) for row in facts):
        return table(facts, pad)
    if isinstance(facts, list):
        return "\n".join(f"{pad}- {_value(v)}" for v in facts)
    lines = []
    width = max((len(str(k)) for k in facts), default=0)
    for key, value in facts.items():
        if value is None or value in ([], {}, ""):
            continue
        flat = isinstance(value, list) and all(
            isinstance(v, str | int | float) and len(str(v)) < 25 for v in value
        )
        if isinstance(value, dict | list) and not flat:
            lines += [f"{pad}{key}:", as_text(value, indent + 2)]
        else:
            shown = ", ".join(_value(v) for v in value) if isinstance(value, list) else _value(value)
            lines.append(f"{pad}{key!s:<{width}}  {shown}")
    return "\n".join(lines)


def table(rows: list[dict[str, Any]], pad: str = "", right: Collection[str] = ()) -> str:
    """Lay rows out under their keys.

    Parameters
    ----------
    rows
        Values by key; a row may lack some.
    pad
        What stands before each line.
    right
        Keys whose values end below each other, as numbers do.
    """
    keys = list(dict.fromkeys(k for row in rows for k in row))
    if "title" in keys and "slug" in keys:  # which is for scripts
        keys.remove("slug")
    cells = [keys, *([_value(row.get(k)) for k in keys] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
    lines = (
        "  ".join(
            c.rjust(w) if k in right else c.ljust(w) for c, w, k in zip(line, widths, keys, strict=True)
        )
        for line in cells
    )
    return "\n".join(f"{pad}{line}".rstrip() for line in lines)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    # In one line: texts of others' metadata must not look like facts of their own.
    return "-" if value is None else " ".join(str(value).splitlines())
