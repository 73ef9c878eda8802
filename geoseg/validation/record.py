"""`run.json`: what a run says of itself."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from geoseg.core.errors import OutputError, one_line
from geoseg.core.files import read_object, sha256
from geoseg.core.legend import Legend, LegendClass
from geoseg.inference.manifest import MANIFEST, STAGING
from geoseg.validation.findings import Failure

_KEYS = (
    "name",
    "finished",
    "fingerprint",
    "identity",
    "plan",
    "pipeline",
    "classes",
    "pixels",
    "area_m2",
    "outputs",
)
_ALWAYS = ("classes.tif", "classes.tif.aux.xml", "classes.qml", "classes.sld", "item.json")
_LEFTOVERS = (".*", "*.tmp*", "*-wal", "*-shm", "*-journal", "*.ovr", "*.msk", STAGING)
"""Unfinished files, databases that somebody is writing, and overviews that hide those inside a map."""


@dataclass(frozen=True)
class Record:
    """A run folder with its `run.json`."""

    folder: Path
    manifest: dict[str, Any]

    @cached_property
    def legend(self) -> Legend:
        """The classes of the map."""
        return Legend(tuple(LegendClass(**c) for c in self.manifest["classes"]))

    @cached_property
    def geobox(self) -> GeoBox:
        """The grid of the map."""
        scene = self.manifest["identity"]["scene"]
        return GeoBox(scene["shape"], Affine(*scene["transform"]), scene["crs"])

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Size and checksum by name."""
        found: dict[str, dict[str, Any]] = self.manifest["outputs"]
        return found

    @property
    def rasters(self) -> list[str]:
        """Names of the rasters, the class map first."""
        return sorted((n for n in self.outputs if n.endswith(".tif")), key=lambda n: (n != "classes.tif", n))

    @property
    def moved_pixels(self) -> float:
        """How far simplifying and smoothing may move an edge, in pixels; 0 when they were not asked for."""
        return self._pixels("simplify") + self._pixels("smooth")

    @property
    def generalised(self) -> bool:
        """Whether the classes of polygons may differ from the map."""
        instances = self._vectorize["instances"] or {}
        return bool(self.moved_pixels or self._pixels("minimum_area") or instances.get("boundary"))

    @property
    def left_out(self) -> list[int]:
        """Ids of the classes that give no polygons."""
        return [c.id for c in self.legend.classes if c.slug in self._vectorize["leave_out"]]

    @property
    def mixed(self) -> bool:
        """Whether small regions of classes that were left out and of others may have joined."""
        return bool(self.left_out) and self.generalised

    @property
    def partial(self) -> bool:
        """Whether polygons may be missing of any class."""
        return self.mixed or self._vectorize["minimum_confidence"] > 0

    @property
    def _vectorize(self) -> dict[str, Any]:
        found: dict[str, Any] = self.manifest["pipeline"]["vectorize"]
        return found

    def _pixels(self, key: str) -> float:
        length = self._vectorize[key]
        if isinstance(length, str):
            return float(length.removesuffix("px"))
        return float(length) / (self.manifest["plan"]["gsd_m"] or 1.0)


def read_record(folder: Path) -> Record | Failure:
    """Read `run.json`; what is wrong with it in one failure."""
    try:
        manifest = read_object(folder / MANIFEST, OutputError, "as geoseg run writes it")
    except OutputError as error:
        return Failure(MANIFEST, "the record of a finished run", "a JSON object", str(error))
    missing = [key for key in _KEYS if key not in manifest]
    if missing:
        return Failure(MANIFEST, "keys", ", ".join(_KEYS), f"no {', '.join(missing)}")
    record = Record(folder, manifest)
    try:
        # Looked at once here, so that later checks may rely on them.
        _ = record.legend, record.geobox, record.generalised, record.left_out, record.partial
        _ = [(o["bytes"], o["sha256"]) for o in record.outputs.values()]
        _ = [manifest["pixels"][c.slug] for c in record.legend.classes], manifest["pixels"]["nodata"]
    except (KeyError, TypeError, ValueError, AttributeError, CRSError) as error:
        found = f"{type(error).__name__}: {one_line(error)}"
        return Failure(MANIFEST, "content", "values as geoseg run writes them", found)
    return record


def check_record(record: Record) -> Iterator[Failure]:
    """Hold the record to itself: fingerprint to what it was made of, pixels to the size of the map."""
    identity = json.dumps(record.manifest["identity"], sort_keys=True, separators=(",", ":"))
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()
    if record.manifest["fingerprint"] != fingerprint:
        yield Failure(MANIFEST, "fingerprint of identity", fingerprint, str(record.manifest["fingerprint"]))
    pixels, size = sum(record.manifest["pixels"].values()), math.prod(record.geobox.shape)
    if pixels != size:
        yield Failure(MANIFEST, "sum of pixels", str(size), str(pixels))
    for name in _ALWAYS:
        if name not in record.outputs:
            yield Failure(MANIFEST, "outputs", name, "not listed")


def check_files(record: Record) -> Iterator[Failure]:
    """Find every output with its size and checksum, and nothing unfinished beside them."""
    for name, facts in record.outputs.items():
        path = record.folder / name
        if not path.is_file():
            yield Failure(name, "file", "present", "missing")
        elif path.stat().st_size != facts["bytes"]:
            yield Failure(name, "size", f"{facts['bytes']} bytes", f"{path.stat().st_size} bytes")
        elif (digest := sha256(path)) != facts["sha256"]:
            yield Failure(name, "sha256", facts["sha256"], digest)
    leftovers = {path.name for pattern in _LEFTOVERS for path in record.folder.glob(pattern)}
    for name in sorted(leftovers - set(record.outputs)):
        yield Failure(name, "file beside the outputs", "none", "present")
