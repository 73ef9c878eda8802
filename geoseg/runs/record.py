"""The record of a run, `run.json`: make, write and read it."""

import json
import math
import resource
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pydantic import ValidationError

from geoseg.config.run_record import (
    FORMAT,
    OutputFile,
    Reading,
    RecordedArea,
    RecordedClass,
    RecordedMask,
    RecordedModel,
    RecordedObjects,
    RecordedPlan,
    RecordedStrangeness,
    RecordedValues,
    RunMemory,
    RunRecord,
    RunSeconds,
    Trouble,
)
from geoseg.config.wording import first_of
from geoseg.core import provenance
from geoseg.core.errors import OutputError
from geoseg.core.files import as_object, as_output_error, output_entry
from geoseg.core.legend import NODATA
from geoseg.core.run_files import RunFile
from geoseg.core.secrets import redacted
from geoseg.inference.mask_pass import alike
from geoseg.inference.plan import Plan
from geoseg.models.card import Card
from geoseg.raster.area import class_areas_m2, class_pixels, label_areas_m2
from geoseg.runs.item import footprint
from geoseg.scenes import network
from geoseg.scenes.network import Traffic
from geoseg.scenes.scene import Scene
from geoseg.storage.store import Store
from geoseg.tiling.heads import ValueHead, add_levels

_VERSIONED = (
    "torch", "segmentation-models-pytorch", "rasterio", "dask", "numpy", "numba", "shapely", "geopandas",
    "pyarrow",
)  # fmt: skip

_LARGE = {"confusion_matrix", "other_parts", "datasets", "reliability", "curves"}
"""Entries of a card's metrics that tell nobody more than its scores, and are long."""

_TROUBLE = {"retries", "unread", "batch"}
_LONGEST_WKT = 2000


@dataclass(frozen=True)
class Totals:
    """Sums over the blocks of a run."""

    classes: dict[int, int]
    """Pixels by class id."""
    valid: int
    """Pixels with data."""
    levels: dict[str, Any]
    """Sums over the levels of a regression, see `geoseg.tiling.heads.level_sums`; else empty."""
    nodata: int
    """Pixels of nodata in blocks that are mapped."""
    tiles: int
    """Tiles that went through the network."""
    skipped: int
    """Tiles without one valid pixel."""
    seconds: dict[str, float]
    """Seconds by step."""
    unlike: int
    """Pixels unlike the training pixels."""
    measured: int
    """Pixels that were held to them; 0 where their bundle does not say how they vary."""
    network: Traffic
    """What the blocks read over the network."""

    @classmethod
    def of(cls, counts: Iterable[Mapping[str, Any]]) -> "Totals":
        """Add up the counts of all blocks."""
        counts = list(counts)
        classes: Counter[int] = Counter()
        seconds: Counter[str] = Counter()
        numbers: Counter[str] = Counter()
        for block in counts:
            classes.update({int(k): n for k, n in block["classes"].items()})
            seconds.update(block["seconds"])
            numbers.update({k: block[k] for k in ("tiles", "skipped", "nodata")})
            numbers.update({k: block.get(k, 0) for k in ("unlike", "measured")})
            numbers["valid"] += block.get("valid", sum(block["classes"].values()))
        return cls(
            classes={k: classes[k] for k in sorted(classes)},
            valid=numbers["valid"],
            levels=add_levels(b["levels"] for b in counts if "levels" in b),
            nodata=numbers["nodata"],
            tiles=numbers["tiles"],
            skipped=numbers["skipped"],
            seconds={k: round(v, 3) for k, v in seconds.items()},
            unlike=numbers["unlike"],
            measured=numbers["measured"],
            network=sum((Traffic(**b["network"]) for b in counts if "network" in b), Traffic()),
        )

    def of_map(self, class_map: Path) -> "Totals":
        """Return the sums with the pixels of the class map that was written, after post-processing."""
        classes = class_pixels(class_map)
        classes.pop(NODATA, None)
        return replace(self, classes=classes, valid=sum(classes.values()))


def trouble_of(counts: Mapping[tuple[int, int], dict[str, Any]], plan: Plan) -> tuple[Trouble, list[str]]:
    """Return the incidents of all blocks, and a warning for each kind that changed the map."""
    names = {p: plan.blocks.block(*p).name for p, c in counts.items() if c.keys() & _TROUBLE}
    unread = {names[p]: counts[p]["unread"] for p in sorted(names) if "unread" in counts[p]}
    # A block may be read for its fringe alone.
    for block in counts.values():
        unread |= {name: why for name, why in block.get("beside", {}).items() if name not in unread}
    batches = {names[p]: counts[p]["batch"] for p in sorted(names) if "batch" in counts[p]}
    trouble = Trouble(
        read_again=sum(c.get("retries", 0) for c in counts.values()),
        unread_blocks=unread,
        smaller_batches=batches,
    )
    lines = []
    if full := sum(c.get("full", 0) for c in counts.values()):
        lines.append(
            f"{full} of {sum(c['tiles'] for c in counts.values())} tiles have as many detections as the "
            "network gives, and may lack objects; a smaller tiling.tile has fewer in each"
        )
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
    return trouble, lines


@dataclass(frozen=True)
class Circumstances:
    """Facts about a run besides its result."""

    finished: datetime
    resumed: bool
    trouble: Trouble
    warnings: list[str]
    predict_seconds: float
    output_seconds: float
    total_seconds: float


def make_record(
    plan: Plan,
    totals: Totals,
    files: Iterable[Path],
    about: Circumstances,
    masked: Mapping[str, Totals] | None = None,
    objects: RecordedObjects | None = None,
) -> RunRecord:
    """Return the record of a run whose files lie in its workspace.

    Parameters
    ----------
    plan
        The plan.
    totals
        Sums over its blocks.
    files
        The outputs, the class map among them.
    about
        Facts about the run.
    masked
        Sums over the blocks of the masks of the plan, by the fingerprint of their own plans.
    objects
        Those that a network found.
    """
    masked = masked or {}
    traffic = sum((t.network for t in masked.values()), totals.network)
    legend, task = plan.bundle.card.legend, plan.bundle.card.task
    outputs = {f.name: f for f in files}
    slugs = {i: c.slug for i, c in legend.by_id().items()}
    values = recorded_values(plan, totals)
    pixels = {s: totals.classes.get(i, 0) for i, s in slugs.items()} if values is None else {}
    area = None
    if task == "multilabel":
        area = label_areas_m2(outputs[RunFile.LABELS], plan.scene.geobox, legend)
    elif values is None:
        area = class_areas_m2(outputs[RunFile.CLASSES], plan.scene.geobox, legend)
    return RunRecord(
        format=FORMAT,
        name=plan.name,
        finished=about.finished.isoformat(),
        command=provenance.command(),
        fingerprint=plan.fingerprint,
        identity=plan.identity(),
        plan=RecordedPlan.model_validate(plan.summary()),
        pipeline=redacted(plan.pipeline.model_dump(mode="json")),
        scene=_entry_of(plan.scene),
        resumed=about.resumed,
        tiles_predicted=totals.tiles,
        tiles_skipped=totals.skipped,
        trouble=about.trouble,
        task=task,
        # Of labels in the order of their bands.
        classes=[
            RecordedClass(**asdict(c))
            for c in (legend.classes if task == "multilabel" else legend.by_id().values())
        ],
        values=values,
        pixels={
            **(pixels if values is None else {"values": totals.valid}),
            "nodata": nodata_of(plan, totals),
        },
        area_m2=area,
        strangeness=strangeness_of(totals),
        objects=objects,
        seconds=RunSeconds(
            predict=about.predict_seconds,
            outputs=about.output_seconds,
            total=about.total_seconds,
            tasks=totals.seconds,
        ),
        reading=Reading(**asdict(traffic + network.take())) if plan.scene.remote else None,
        memory_bytes=RunMemory(announced_per_worker=plan.memory.total, peak_of_this_process=peak_bytes()),
        machine=provenance.machine(),
        versions=provenance.versions(_VERSIONED),
        warnings=redacted(about.warnings),
        outputs={name: OutputFile(**output_entry(f)) for name, f in outputs.items()},
        aoi=_area(plan),
        masks=_masks(plan, masked) or None,
        model=_model(plan.bundle.card),
        acquired=_acquired(plan.scene),
    )


def _model(card: Card) -> RecordedModel:
    """Return what a card says of accuracy and limits: a page is made again where there is no bundle."""
    return RecordedModel(
        name=card.name,
        version=card.version,
        title=card.title,
        metrics=_without_large(card.metrics),
        limitations=list(card.limitations),
    )


def _without_large(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of a card without what is long, also of its classes."""
    kept = {k: v for k, v in metrics.items() if k not in _LARGE}
    if isinstance(rows := kept.get("classes"), list):
        kept["classes"] = [
            {k: v for k, v in row.items() if k not in _LARGE} if isinstance(row, dict) else row
            for row in rows
        ]
    return kept


def _acquired(scene: Scene) -> tuple[str, str] | None:
    if scene.period is None:
        return None
    first, last = scene.period
    return first.isoformat(), last.isoformat()


def _masks(plan: Plan, masked: Mapping[str, Totals]) -> list[RecordedMask]:
    """Return what masks found, summed over the members of a mosaic."""
    found = []
    for mask, plans in alike(plan.masks):
        card = mask.bundle.card
        parts = [masked[p.fingerprint] for p in plans]
        pixels = {c.slug: sum(t.classes.get(i, 0) for t in parts) for i, c in card.legend.by_id().items()}
        found.append(
            RecordedMask(
                model=f"{card.name} {card.version}",
                sha256=mask.bundle.sha256,
                invalid=mask.slugs,
                dilate=mask.dilate,
                pixels={**pixels, "nodata": sum(t.nodata for t in parts)},
            )
        )
    return found


def _entry_of(scene: Scene) -> dict[str, Any] | None:
    """Return the entry of a scene with the bands that are in use, without credentials."""
    if scene.entry is None:
        return None
    used = {b.name for b in scene.bands}
    bands = {n: b for n, b in scene.entry.bands.items() if n in used}
    entry = scene.entry.model_copy(update={"bands": bands})
    return dict(redacted(entry.model_dump(mode="json", exclude_none=True, exclude_defaults=True)))


def nodata_of(plan: Plan, totals: Totals) -> int:
    """Return the pixels of the map without data, also those outside of an area of interest."""
    height, width = plan.scene.shape
    return height * width - totals.valid


def strangeness_of(totals: Totals) -> RecordedStrangeness | None:
    """Return how many pixels are unlike the training pixels; None where that was not measured."""
    if not totals.measured:
        return None
    share = round(totals.unlike / totals.measured, 6)
    return RecordedStrangeness(unlike=totals.unlike, measured=totals.measured, share=share)


def recorded_values(plan: Plan, totals: Totals) -> RecordedValues | None:
    """Return what a map of numbers holds; None of other maps."""
    target, head, sums = plan.bundle.card.target, plan.head, totals.levels
    if target is None or not isinstance(head, ValueHead) or not sums:
        return None
    mean = sums["sum"] / totals.valid
    variance = (sums["squares"] - sums["sum"] ** 2 / totals.valid) / totals.valid
    least, most = head.values(np.array([sums["least"], sums["most"]], np.uint16)).tolist()
    return RecordedValues(
        name=target.name, title=target.title or target.name, unit=target.unit, min=target.min,
        max=target.max, step=head.step, mean=target.min + head.step * mean,
        std=head.step * math.sqrt(max(0.0, variance)), least=least, most=most, at_min=sums["bins"][0],
        at_max=sums["bins"][-1], histogram=sums["bins"],
    )  # fmt: skip


def _area(plan: Plan) -> RecordedArea | None:
    if plan.aoi is None:
        return None
    place = footprint(plan.scene.geobox, plan.aoi.geometry)
    wkt = None if place is None else shapely.to_wkt(place, rounding_precision=7)
    short = wkt if wkt is not None and len(wkt) <= _LONGEST_WKT else None
    return RecordedArea(source=plan.aoi.source, sha256=plan.aoi.sha256, pixels=plan.pixels, wkt=short)


def with_output(record: RunRecord, file: Path) -> RunRecord:
    """Return the record with an entry for a file, which is added or replaced."""
    return record.model_copy(
        update={"outputs": {**record.outputs, file.name: OutputFile(**output_entry(file))}}
    )


def as_json(record: RunRecord) -> str:
    """Return the content of `run.json`."""
    # Not pydantic's writer, which turns a NaN in the identity into null.
    return json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False)


def write_record(store: Store, record: RunRecord) -> None:
    """Write `run.json` into a run folder."""
    store.write(RunFile.RECORD, (as_json(record) + "\n").encode())


def read_record(store: Store) -> RunRecord:
    """Read the `run.json` of a finished run.

    Raises
    ------
    OutputError
        When the folder holds no finished run, or its record is damaged or of another format.
    """
    place = store.at(RunFile.RECORD)
    with as_output_error(place, "read"):
        data = store.read(RunFile.RECORD)
    if data is None:
        raise no_finished_run(store)
    return parse_record(data, place)


def no_finished_run(store: Store) -> OutputError:
    """Return the error of a folder that has no record."""
    return OutputError.absent(
        f"{store.at()}: holds no finished run ({RunFile.RECORD} is missing); name the folder that "
        "`geoseg run` wrote, or finish it with the same command"
    )


def parse_record(data: bytes, place: Path | str) -> RunRecord:
    """Return the record in the content of a `run.json`.

    Parameters
    ----------
    data
        The content.
    place
        The file or URI, for messages.

    Raises
    ------
    OutputError
        When the record is damaged or of another format.
    """
    content = as_object(data, place, OutputError, "as `geoseg run` writes it")
    found = content.get("format", FORMAT)  # records written before the release of 0.1.0 have none
    if found != FORMAT:
        raise OutputError(
            f"{place}: is of the format {found!r}, and this geoseg reads {FORMAT!r}; use the version that "
            "wrote it, or run it again"
        )
    try:
        return RunRecord.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        missing = [".".join(map(str, p["loc"])) for p in problems if p["type"] == "missing"]
        what = f"has no {', '.join(missing)}" if missing else ": ".join(first_of(error, content))
        raise OutputError(f"{place}: {what}; was it written by another version? Run it again") from None


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage, in which a process inherits the peak of its parent.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
