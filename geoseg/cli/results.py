"""Results of runs and trainings as text: plans, areas, files, and what to do with them."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.cli.layout import as_text, table
from geoseg.core.run_files import RunFile
from geoseg.core.text import counted
from geoseg.runs.finished import Run

_CHANGES = 10
"""Changes that are listed on the terminal."""

if TYPE_CHECKING:
    from geoseg.runs.comparison.compare import Comparison
    from geoseg.runs.run import Outcome


def plan_line(plan: dict[str, Any]) -> str:
    """Lay a plan out in one line."""
    total = plan["memory_per_worker_bytes"]["total"]
    most = plan.get("detections_per_tile")
    found = "" if most is None else f" with up to {most} objects each"
    masks = ", ".join(dict.fromkeys(m["model"] for m in plan.get("masks", ())))
    masked = f" masked by {masks}" if masks else ""
    return (
        f"{plan['scene']}{masked}: {plan['width']} x {plan['height']} px, "
        f"{counted(plan['tiles'], 'tile')} of {plan['tile'][0]} x {plan['tile'][1]}{found} in "
        f"{counted(plan['blocks'], 'block')}, {plan['architecture']} on {plan['device']}, "
        f"up to {total / 1e9:.1f} GB of memory"
    )


def plan_text(summary: dict[str, Any]) -> str:
    """Lay a plan out for people."""
    memory = {k: f"{v / 1e6:.0f} MB" for k, v in summary["memory_per_worker_bytes"].items()}
    return as_text({**summary, "memory_per_worker_bytes": memory})


def run_text(finished: Run) -> str:
    """Lay out the share and area of each class, or the values, the files of a run, and how to look at it."""
    record = finished.record
    seconds = record.seconds.total
    rate = record.plan.width * record.plan.height / seconds / 1e6
    # The record is written last, and lists the others; in a bucket it is not looked up.
    written = Path(finished.folder) / RunFile.RECORD
    sizes = {
        **{name: file.bytes for name, file in record.outputs.items()},
        str(RunFile.RECORD): written.stat().st_size if written.is_file() else None,
    }
    return "\n".join([
        _found({**record.model_dump(mode="json"), "width": record.plan.width, "height": record.plan.height}),
        "",
        f"{finished.folder}, in {seconds:.1f} s ({rate:.2f} Mpx/s):",
        _files(sizes),
        *_next(finished.folder),
    ])  # fmt: skip


def folder_text(facts: dict[str, Any]) -> str:
    """Lay out what `geoseg inspect` says of a run folder: titles, areas and sizes as people write them."""
    if "pixels" not in facts:
        return as_text(facts)
    left_out = {"pixels", "area_m2", "classes", "values", "outputs", "memory_bytes", "warnings"}
    memory = {k: size_text(v) for k, v in facts["memory_bytes"].items()}
    return "\n".join([
        as_text({**{k: v for k, v in facts.items() if k not in left_out}, "memory": memory}),
        as_text({"warnings": facts["warnings"]}) or "warnings  none",
        "values:" if facts.get("values") else "labels:" if _has_labels(facts) else "classes:",
        _found(facts, "  "),
        "files:",
        _files(facts["outputs"]),
    ])  # fmt: skip


def _found(facts: dict[str, Any], pad: str = "") -> str:
    """Lay out what a map shows: its classes or labels, or its values."""
    if (said := facts.get("values")) is None:
        return table(_classes(facts), pad, right=("share", "area"))
    unit = f" {said['unit']}" if said["unit"] else ""
    names = ("least", "mean", "most", "std")
    row = {"value": said["title"], **{n: f"{said[n]:.4g}{unit}" for n in names}}
    return table([row], pad, right=names)


def _has_labels(facts: dict[str, Any]) -> bool:
    return facts.get("task") == "multilabel"


def _classes(record: dict[str, Any]) -> list[dict[str, str]]:
    """Return a row for each class that has pixels: its title, share and, where the map has one, area.

    Of objects also their number; the share is that of what was looked at.
    """
    titles = {c["slug"]: c["title"] for c in record["classes"]}
    pixels = {slug: n for slug, n in record["pixels"].items() if slug != "nodata" and n}
    areas, objects = record["area_m2"], record.get("objects")
    # A pixel may have several labels.
    valid = (
        objects["looked_at"] if objects else record["width"] * record["height"] - record["pixels"]["nodata"]
    )
    return [
        {
            "label" if _has_labels(record) else "class": titles.get(slug, slug),
            **({"objects": objects["by_class"].get(slug, 0)} if objects else {}),
            "share": f"{100 * n / valid:.2f} %",
            **({} if areas is None else {"area": area_text(areas[slug])}),
        }
        for slug, n in pixels.items()
    ] or [{"class": "no object was found" if objects else "no pixel has one"}]


def _files(sizes: Mapping[str, int | None]) -> str:
    rows = [{"file": n, "size": "" if size is None else size_text(size)} for n, size in sizes.items()]
    return table(rows, "  ", right=("size",)).partition("\n")[2]


def _next(folder: Path | str) -> list[str]:
    """Return what to do next; the page of a run in an object store is not opened from there."""
    return [] if "://" in str(folder) else [f"open it: geoseg view {shlex.quote(str(folder))}"]


def area_text(square_metres: float) -> str:
    """Return an area, as people write it.

    Examples
    --------
    >>> area_text(91_587_000)
    '91.587 km²'
    """
    return f"{square_metres / 1e6:,.3f} km²"


def comparison_text(found: "Comparison") -> str:
    """Return what differs between two runs: the classes, then the largest changes."""
    said = found.to_dict()
    unit = "pixels" if found.areas is None else "m2"

    def amount(value: float, sign: str = "") -> str:
        return f"{value:{sign},}" if unit == "pixels" else f"{value / 1e6:{sign},.3f} km²"

    classes = [
        {
            "class": row["title"], "A": amount(row[f"a_{unit}"]), "B": amount(row[f"b_{unit}"]),
            "change": amount(row[f"b_{unit}"] - row[f"a_{unit}"], "+"),
            "gained": amount(row[f"gained_{unit}"]), "lost": amount(row[f"lost_{unit}"]),
        }
        for row in said["classes"]
    ]  # fmt: skip
    changes = [
        {
            "from": row["from_title"], "": "→", "to": row["to_title"],
            "size": amount(row["pixels"] if unit == "pixels" else row["area_m2"]),
        }
        for row in said["changes"][:_CHANGES]
    ]  # fmt: skip
    total = amount(said["compared_pixels" if unit == "pixels" else "compared_m2"])
    lines = [
        f"A  {found.runs[0]}", f"B  {found.runs[1]}",
        f"{said['changed_share']:.2%} of {total} have another class", "",
        table(classes, right=("A", "B", "change", "gained", "lost")),
    ]  # fmt: skip
    if changes:
        more = len(said["changes"]) - len(changes)
        lines += ["", table(changes, right=("size",)), *([f"and {more} more"] if more else [])]
    return "\n".join([*lines, *([""] if found.files else []), *found.files])


def size_text(size: int) -> str:
    """Return the size of a file.

    Examples
    --------
    >>> size_text(1_234_567)
    '1.2 MB'
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size} B"


def outcomes_text(found: Sequence["Outcome"]) -> str:
    """Return the number of scenes by state, and a line for each that failed."""
    counts = Counter(o.state for o in found)
    failed = [f"  {o.name}: {o.why}" for o in found if o.state == "failed"]
    text = f"{len(found)} scenes: " + ", ".join(f"{n} {state}" for state, n in counts.items())
    return "\n".join([text, *failed])
