"""Read and write what a run of many scenes reads and writes, in one process that may open few files.

`python -m tests.runs.many_scenes FOLDER COUNT LIMIT`: the folder holds a scene, a class map and a confidence
map. All are tiny and no network runs, so that hundreds take seconds; threads last as those of workers do.
Prints the number of open files after each scene as JSON.
"""

import json
import os
import resource
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from geoseg.config.pipeline import Vectorize
from geoseg.config.run_record import RunRecord
from geoseg.core.geometry import Window
from geoseg.core.legend import Legend, LegendClass
from geoseg.core.ordered import Workers
from geoseg.core.run_files import RunFile
from geoseg.runs.folder import finished_identity, open_run_folder
from geoseg.runs.log import event_log
from geoseg.scenes.catalog import resolve_scene
from geoseg.vector.recipe import Generalize, resolve_recipe
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.coverage import polygons
from geoseg.vector.vectorize import vectorize

LEGEND = Legend(tuple(LegendClass(i, f"c{i}", f"C{i}", "#112233") for i in (1, 2)))
FORMATS = ("gpkg", "parquet")
OUTPUTS = [RunFile.CLASSES, RunFile.CONFIDENCE, *(RunFile.polygons(f) for f in FORMATS)]


EACH = 15
"""One scene in so many has its polygons written, which takes most of the time; those of others are traced."""


def one_scene(folder: Path, number: int, executor: ThreadPoolExecutor) -> None:
    """Open and read a scene in threads, trace its polygons, and write its run folder."""
    name = f"s{number:03}"
    scene_file = Path(shutil.copy(folder / "scene.tif", folder / f"{name}.tif"))
    scene = resolve_scene(str(scene_file), name)
    height, width = scene.shape
    halves = Window.of(0, 0, height, width // 2), Window.of(0, width // 2, height, width - width // 2)
    list(executor.map(scene.read, halves))
    place, identity = folder / "out" / name, {"scene": json.loads(json.dumps(scene.identity()))}
    assert finished_identity(place) is None
    with open_run_folder(place, identity, OUTPUTS, overwrite=False) as run, event_log(run) as log:
        log.add("begun")
        maps = [Path(shutil.copy(folder / n, run.workspace / n)) for n in OUTPUTS[:2]]
        workers, files = Workers(executor, 2), []
        if number % EACH:
            list(polygons(MapFiles(*maps), workers, how=Generalize(1.0), folder=run.workspace))
        else:
            recipe = resolve_recipe(Vectorize(simplify="1 px"), LEGEND, 10.0, 100.0)
            files = vectorize(
                MapFiles(*maps), recipe, workers, run.workspace, layer=name, formats=FORMATS, provenance={}
            )
        record = RunRecord.model_construct(
            name=name, finished="now", identity=identity, outputs=dict.fromkeys(OUTPUTS), classes=[]
        )
        run.publish([*maps, *files], record)
    assert scene.changed_file() is None


def main() -> None:
    """Go through the scenes."""
    folder, count, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    open_files = []
    with ThreadPoolExecutor(2) as executor:
        for number in range(count):
            one_scene(folder, number, executor)
            open_files.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
    print(json.dumps(open_files))


if __name__ == "__main__":
    main()
