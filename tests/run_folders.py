"""Run folders that tests fill: finished and interrupted ones, in a folder or an object store."""

from geoseg.config.run_record import RunRecord
from geoseg.runs.folder import open_run_folder

PLAN = {"tile": [64, 64], "scene": {"name": "a"}}
NAMES = ["classes.tif"]


def publish(place, identity=PLAN, *, overwrite=False, names=NAMES):
    with open_run_folder(place, identity, names, overwrite=overwrite) as run:
        files = []
        for name in names:
            (run.workspace / name).write_text(f"{identity}")
            files.append(run.workspace / name)
        # Only what a run folder looks at: the rest of a record is checked where it is read.
        record = RunRecord.model_construct(
            name="n", finished="now", identity=identity, outputs=dict.fromkeys(names)
        )
        run.publish(files, record)
    return run.resumed


def interrupt(place, identity=PLAN, *, overwrite=False):
    with open_run_folder(place, identity, NAMES, overwrite=overwrite) as run:
        run.staging.write("block.tif", b"done")
    return run
