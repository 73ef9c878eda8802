"""What `run.json` says of a finished run."""

import resource
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geoseg.core import provenance
from geoseg.core.files import output_entry
from geoseg.core.secrets import redacted
from geoseg.inference.plan import Plan
from geoseg.raster.area import class_areas_m2
from geoseg.runs.prepare import Prepared

_VERSIONED = (
    "torch", "segmentation-models-pytorch", "rasterio", "dask", "numpy", "numba", "shapely", "geopandas",
    "pyarrow",
)  # fmt: skip

_TROUBLE = {"retries", "unread", "batch"}


def add_up(counts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Sum the counts of all blocks."""
    classes: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for block in counts:
        classes.update(block["classes"])
        seconds.update(block["seconds"])
        numbers.update({k: block[k] for k in ("tiles", "skipped", "nodata")})
    return {
        "classes": {k: classes[k] for k in sorted(classes, key=int)},
        "seconds": {k: round(v, 3) for k, v in seconds.items()},
        **{k: numbers[k] for k in ("tiles", "skipped", "nodata")},
    }


def trouble_of(
    counts: Mapping[tuple[int, int], dict[str, Any]], plan: Plan
) -> tuple[dict[str, Any], list[str]]:
    """Return what blocks had trouble with, for `run.json`, and a line for each kind that changed the map."""
    names = {p: plan.blocks.block(*p).name for p, c in counts.items() if c.keys() & _TROUBLE}
    unread = {names[p]: counts[p]["unread"] for p in sorted(names) if "unread" in counts[p]}
    batches = {names[p]: counts[p]["batch"] for p in sorted(names) if "batch" in counts[p]}
    facts = {
        "read_again": sum(c.get("retries", 0) for c in counts.values()),
        "unread_blocks": unread,
        "smaller_batches": batches,
    }
    lines = []
    if unread:
        name, why = next(iter(unread.items()))
        lines.append(
            f"{len(unread)} of {len(counts)} blocks could not be read and are nodata, with what they share "
            f"with their neighbours; the first is {name}: {why}"
        )
    if batches:
        smallest = min(batches.values())
        lines.append(
            f"out of device memory: batches of {plan.batch} tiles were cut to {smallest} in {len(batches)} "
            f"of {len(counts)} blocks, which may change the last bits on a GPU; with "
            f"--set inference.batch={smallest} every run gives the same"
        )
    return facts, lines


def manifest_of(
    prepared: Prepared, totals: dict[str, Any], files: list[Path], facts: dict[str, Any]
) -> dict[str, Any]:
    """Return the content of `run.json`."""
    plan, legend = prepared.plan, prepared.plan.bundle.card.legend
    class_map = next(f for f in files if f.name == "classes.tif")
    slugs = {str(i): c.slug for i, c in legend.by_id().items()}
    seconds = {**facts["seconds"], "tasks": totals["seconds"]}
    summary = plan.summary()
    return {
        "name": plan.name,
        "finished": facts["finished"],
        "command": provenance.command(),
        "fingerprint": plan.fingerprint,
        "identity": plan.identity(),
        "plan": summary,
        "pipeline": redacted(prepared.pipeline.model_dump(mode="json")),
        "resumed": facts["resumed"],
        "tiles_predicted": totals["tiles"],
        "tiles_skipped": totals["skipped"],
        "trouble": facts["trouble"],
        "classes": [asdict(c) for c in legend.by_id().values()],
        "pixels": {**{slugs[i]: n for i, n in totals["classes"].items()}, "nodata": totals["nodata"]},
        "area_m2": class_areas_m2(class_map, plan.scene.geobox, legend),
        "seconds": seconds,
        "memory_bytes": {
            "announced_per_worker": plan.memory.total,
            "peak_of_this_process": peak_bytes(),
        },
        "machine": provenance.machine(),
        "versions": provenance.versions(_VERSIONED),
        "warnings": facts["warnings"],
        "outputs": {f.name: output_entry(f) for f in files},
    }


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: there a process inherits the peak of the one that started it.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
