"""The steps in which the outputs of a run are made: how long each takes, and which is under way."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter, time

from geoseg.core.run_files import RunFile
from geoseg.runs.log import EventLog
from geoseg.runs.progress import Progress, Work

TRACING = "polygons"
"""The step that traces polygons, which makes the GeoPackage as well."""

_PER_MPX: dict[str, float] = {
    RunFile.CLASSES: 0.35,
    RunFile.CONFIDENCE: 0.3,
    RunFile.INSTANCES: 0.1,
    TRACING: 1.0,
    RunFile.DOUBT: 1.0,
    RunFile.polygons("parquet"): 0.2,
    RunFile.polygons("fgb"): 0.06,
    RunFile.polygons("geojson"): 1.6,
    RunFile.polygons("pmtiles"): 8.0,
}
"""Seconds that a step takes for a million pixels of land cover, on one core: their relation counts."""

_RASTER = 0.25
"""Seconds for a million pixels of a raster that is not listed."""
_PICTURE: dict[str, float] = {RunFile.QUICKLOOK: 0.8, RunFile.PAGE: 0.8}
"""Seconds of a step that draws the whole map with about the same number of pixels."""


def step_seconds(names: Sequence[str], pixels: int, bands: int = 1) -> dict[str, float]:
    """Return the steps of making some outputs, each with about the seconds that it takes.

    Parameters
    ----------
    names
        Names of the files, see `geoseg.runs.outputs.output_names`.
    pixels
        Pixels of the map.
    bands
        Bands of the probabilities.

    Examples
    --------
    >>> list(step_seconds(["classes.tif", "classes.qml", "polygons.gpkg", "polygons.fgb"], 1_000_000))
    ['classes.tif', 'polygons', 'polygons.fgb']
    """
    found: dict[str, float] = {}
    for name in names:
        if name == RunFile.INSTANCES or name.startswith("polygons."):
            found.setdefault(TRACING, _PER_MPX[TRACING] * pixels / 1e6)
        if name in _PICTURE:
            found[name] = _PICTURE[name]
        elif name in _PER_MPX or name.endswith(".tif"):
            times = bands if name == RunFile.PROBABILITIES else 1
            found[name] = _PER_MPX.get(name, _RASTER) * times * pixels / 1e6
    return found


class OutputSteps:
    """Logs each output when the next one begins, and tells the progress as a share of all work."""

    def __init__(
        self,
        log: EventLog,
        scene: str,
        on_event: Callable[[Progress], None],
        seconds: dict[str, float],
        formats: Sequence[str] = (),
    ) -> None:
        self.log, self.scene, self.on_event = log, scene, on_event
        self.left, self.total, self.formats = dict(seconds), sum(seconds.values()), tuple(formats)
        self.step, self.began, self.start = "", 0.0, 0.0

    def __call__(self, event: Progress) -> None:
        """Begin a step, or tell how much of it is done."""
        if event.stage != self.step:
            self.end()
            self.step, self.began, self.start = event.stage, time(), perf_counter()
        current = self.left.get(event.stage, 0.0)
        done = self.total - sum(self.left.values()) + current * event.part
        work = Work(done, self.total, current)
        self.on_event(replace(event, name=self.scene, text=self._text(event.stage), work=work))

    def end(self) -> None:
        """End the current step."""
        if self.step:
            seconds = round(perf_counter() - self.start, 4)
            self.log.add(
                "output", scene=self.scene, file=self.step, began=round(self.began, 4), seconds=seconds
            )
            self.left.pop(self.step, None)
            self.step = ""

    def _text(self, step: str) -> str:
        """Return what a step is called: of several formats of polygons, which one."""
        # Tracing makes the GeoPackage, also where it is not asked for.
        written = sorted(self.formats, key=lambda name: name != "gpkg")
        name = "gpkg" if step == TRACING else step.removeprefix("polygons.")
        if len(written) < 2 or name not in written:
            return TRACING if step.startswith("polygons.") else step
        return f"polygons {written.index(name) + 1} of {len(written)} formats"
