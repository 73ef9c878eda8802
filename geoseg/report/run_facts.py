"""How a map was made, as nested facts for the page: model, scene, command, versions, times, memory."""

from typing import Any

from geoseg.config.run_record import RecordedMask, RecordedPlan, RunRecord
from geoseg.core.sharing import shared_command, shared_path, shared_values

_MOST_FILES = 30
"""Files of a scene that the page names; a mosaic may have thousands."""


def run_facts(record: RunRecord, model: str, crs: str | None) -> dict[str, dict[str, Any]]:
    """Return the facts of `run.json` about how the map was made, by topic.

    Parameters
    ----------
    record
        Content of `run.json`.
    model
        Name and version of the model.
    crs
        Short name of the map's CRS, None when it has none.
    """
    plan, identity = record.plan, record.identity
    memory = plan.memory_per_worker_bytes
    facts: dict[str, dict[str, Any]] = {
        "Run": {
            "command": shared_command(record.command),
            "finished": record.finished,
            "resumed": record.resumed,
            "fingerprint": record.fingerprint,
        },
        "Model": {
            "model": model,
            "folder": record.pipeline["model"],
            "network": plan.architecture,
            **_members(plan),
            "sha256 of the weights": identity["model"]["sha256"],
            "device": plan.device,
            "precision": plan.precision,
            "augmentation": identity["augment"],
            **({"thresholds": rule} if (rule := plan.thresholds) else {}),
            **({"post-processing": words} if (words := plan.postprocess) else {}),
        },
        "Scene": {
            "scene": plan.scene,
            "area of interest": None if record.aoi is None else shared_path(record.aoi.source),
            "size": f"{plan.width} × {plan.height} px",
            # Photographs have neither.
            **({} if crs is None else {"CRS": crs}),
            **({} if plan.gsd_m is None else {"ground sample distance": f"{plan.gsd_m:g} m"}),
            "bands": plan.bands,
            "files": _some([shared_path(f[0]).rsplit("/", 1)[-1] for f in identity["scene"]["files"]]),
            "dark-object subtraction": any(identity["scene"]["haze"]),
            **{f"masked by {m.model}": _masked(m) for m in record.masks or ()},
        },
        "Tiles": {
            "tile": " × ".join(map(str, plan.tile)) + " px",
            "overlap": " × ".join(map(str, plan.overlap)) + " px",
            "predicted": record.tiles_predicted,
            "skipped, nodata only": record.tiles_skipped,
            "blocks": plan.blocks,
            "workers": plan.workers,
            "network pixels per pixel": plan.network_pixels_per_pixel,
        },
        "Time": {
            **{k: f"{getattr(record.seconds, k):.1f} s" for k in ("predict", "outputs", "total")},
            "added up over all tasks": {k: f"{v:.1f} s" for k, v in record.seconds.tasks.items()},
        },
        "Memory": {
            "announced for a worker": megabytes(memory["total"]),
            "of that": {k: megabytes(v) for k, v in memory.items() if k not in {"total", "device"}},
            "on the GPU": megabytes(memory["device"]) if "device" in memory else None,
            "peak of the process": megabytes(record.memory_bytes.peak_of_this_process),
        },
        "Versions": {**record.versions, **record.machine},
    }
    # A page is shared more often than a folder; run.json has the paths.
    return {topic: shared_values(values) for topic, values in facts.items()}


def _members(plan: RecordedPlan) -> dict[str, Any]:
    """Return the networks of an ensemble: what each of them is, sees and runs on."""
    return {
        f"network {number}": f"{m.model}, {m.architecture}, bands {', '.join(m.bands)}, {m.backend} "
        f"{m.precision} on {m.device}, sha256 {m.sha256[:12]}..."
        for number, m in enumerate(plan.members or (), start=1)
    }


def _masked(mask: RecordedMask) -> str:
    """Return the share of each class that was masked, of the pixels with a class."""
    seen = sum(n for slug, n in mask.pixels.items() if slug != "nodata") or 1
    shares = ", ".join(f"{slug} {100 * mask.pixels[slug] / seen:.2f} %" for slug in mask.invalid)
    return f"{shares}, widened by {mask.dilate} px" if mask.dilate else shares


def megabytes(count: float) -> str:
    """Return a number of bytes in MB, below 1 MB in kB."""
    return f"{count / 1e6:.{0 if count >= 1e8 else 1}f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _some(names: list[str]) -> list[str]:
    """Return the first of many names, and how many more there are."""
    more = len(names) - _MOST_FILES
    return [*names[:_MOST_FILES], f"and {more} more"] if more > 0 else names
