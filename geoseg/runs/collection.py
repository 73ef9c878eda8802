"""What the run folders of many pictures have in common: one folder of masks, one of overlays, one table.

All of it is made from finished run folders, so that after an interruption the same bytes come.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from geoseg.config.run_record import RunRecord
from geoseg.config.scene import SceneEntry
from geoseg.core.errors import ConfigError
from geoseg.core.files import as_output_error
from geoseg.core.run_files import RunFile
from geoseg.core.text import printable
from geoseg.runs.prepare import Batch
from geoseg.runs.record import read_record
from geoseg.runs.run import Outcome
from geoseg.scenes.listing import ListedScene
from geoseg.storage.store import open_store

MASKS = "masks"
OVERLAYS = "overlays"
RESULTS = "results.csv"
COLUMNS = ("image", "class", "pixels", "share", "mean_confidence")

_FINISHED = {"done", "finished before"}


def picture_names(scenes: Sequence[ListedScene]) -> dict[str, str]:
    """Return the file name of each scene, by its name; the name itself where two would share one stem."""
    names = {s.name: _file_name(s) for s in scenes}
    stems = Counter(Path(n).stem.casefold() for n in names.values())
    return {name: file if stems[Path(file).stem.casefold()] == 1 else name for name, file in names.items()}


def _file_name(listed: ListedScene) -> str:
    scene = listed.scene
    place = scene.uri if isinstance(scene, SceneEntry) else None
    if place is None or "://" in place or place.startswith("/vsi"):
        return listed.name
    return printable(Path(place).name) or listed.name


@dataclass
class Collection:
    """The files that the scenes of a batch share."""

    batch: Batch
    records: dict[str, RunRecord] = field(default_factory=dict)
    """Records of finished scenes, by name."""

    def __post_init__(self) -> None:
        self.files = picture_names(self.batch.scenes)
        wanted = self.batch.pipeline.outputs
        self.folders: dict[str, RunFile] = {}
        if wanted.mask is not None:
            self.folders[MASKS] = RunFile.MASK
        if wanted.overlay is not None:
            self.folders[OVERLAYS] = RunFile.overlay(wanted.overlay)
        if taken := self.folders.keys() & self.files.keys():
            raise ConfigError(
                f"scenes: {min(taken)} is the name of a scene, and of the folder with the {min(taken)} of "
                "all; name the scene in a table with the columns name and path"
            )

    def add(self, outcome: Outcome) -> Outcome:
        """Copy the pictures of a finished scene; return its outcome, with a warning where it has none.

        Raises
        ------
        OutputError
            When a file cannot be read or written.
        """
        if not self.folders or outcome.state not in _FINISHED:
            return outcome
        outcome = replace(outcome, picture=self.files[outcome.name])
        run, missing = open_store(outcome.folder), []
        self.records[outcome.name] = read_record(run)
        for folder, file in self.folders.items():
            with as_output_error(run.at(file), "read"):
                data = run.read(file)
            if data is None:
                missing.append(file)
                continue
            store = open_store(self.batch.folder).child(folder)
            name = Path(self.files[outcome.name]).stem + Path(file).suffix
            with as_output_error(store.at(name), "read"):
                same = store.read(name) == data
            if not same:
                store.create()
                store.write(name, data)
        if not missing:
            return outcome
        line = f"was finished without {' and '.join(missing)}; to have them, run it again with --overwrite"
        return replace(outcome, warnings=(*outcome.warnings, line))

    def write_table(self) -> None:
        """Write the table of all finished scenes; none when no mask is asked for.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        if MASKS in self.folders:
            rows = [
                row
                for s in self.batch.scenes
                if s.name in self.records
                for row in table_rows(self.files[s.name], self.records[s.name])
            ]
            store = open_store(self.batch.folder)
            store.create()
            store.write(RESULTS, table(rows).encode())


def table_rows(image: str, record: RunRecord) -> Iterator[dict[str, Any]]:
    """Yield the rows of a picture: pixels, share of all with a class, and mean confidence of each class."""
    counted = sum(n for slug, n in record.pixels.items() if slug != "nodata")
    confidence = record.mean_confidence or {}
    for c in record.classes:
        pixels = record.pixels.get(c.slug, 0)
        yield {
            "image": image,
            "class": c.slug,
            "pixels": pixels,
            "share": f"{pixels / counted if counted else 0:.6f}",
            "mean_confidence": "" if c.slug not in confidence else f"{confidence[c.slug]:.4f}",
        }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
