"""How a map was made, as nested facts for the page: model, scene, command, versions, times, memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def run_facts(manifest: Mapping[str, Any], model: str, crs: str) -> dict[str, dict[str, Any]]:
    """Return the facts of `run.json` about how the map was made, by topic.

    Parameters
    ----------
    manifest
        Content of `run.json`.
    model
        Name and version of the model.
    crs
        Short name of the map's CRS.
    """
    plan, identity = manifest["plan"], manifest["identity"]
    memory = plan["memory_per_worker_bytes"]
    return {
        "Run": {
            "command": manifest["command"],
            "finished": manifest["finished"],
            "resumed": manifest["resumed"],
            "fingerprint": manifest["fingerprint"],
        },
        "Model": {
            "model": model,
            "folder": manifest["pipeline"]["model"],
            "network": plan["architecture"],
            "sha256 of the weights": identity["model"]["sha256"],
            "device": plan["device"],
            "precision": plan["precision"],
            "augmentation": identity["augment"],
        },
        "Scene": {
            "scene": plan["scene"],
            "size": f"{plan['width']} × {plan['height']} px",
            "CRS": crs,
            "ground sample distance": None if plan["gsd_m"] is None else f"{plan['gsd_m']:g} m",
            "bands": plan["bands"],
            "files": [Path(f[0]).name for f in identity["scene"]["files"]],
            "dark object taken off": any(identity["scene"]["haze"]),
        },
        "Tiles": {
            "tile": " × ".join(map(str, plan["tile"])) + " px",
            "overlap": " × ".join(map(str, plan["overlap"])) + " px",
            "predicted": manifest["tiles_predicted"],
            "skipped, nodata only": manifest["tiles_skipped"],
            "blocks": plan["blocks"],
            "workers": plan["workers"],
            "network pixels per pixel": plan["network_pixels_per_pixel"],
        },
        "Time": {
            **{k: f"{v:.1f} s" for k, v in manifest["seconds"].items() if k != "tasks"},
            "added up over all tasks": {k: f"{v:.1f} s" for k, v in manifest["seconds"]["tasks"].items()},
        },
        "Memory": {
            "announced for a worker": megabytes(memory["total"]),
            "of that": {k: megabytes(v) for k, v in memory.items() if k not in {"total", "device"}},
            "on the GPU": megabytes(memory["device"]) if "device" in memory else None,
            "peak of the process": megabytes(manifest["memory_bytes"]["peak_of_this_process"]),
        },
        "Versions": {**manifest["versions"], **manifest["machine"]},
    }


def megabytes(count: float) -> str:
    """Return a number of bytes in MB, below 1 MB in kB."""
    return f"{count / 1e6:.{0 if count >= 1e8 else 1}f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
