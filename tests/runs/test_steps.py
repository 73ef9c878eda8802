import pytest

from geoseg.core.run_files import RunFile
from geoseg.runs.progress import Progress
from geoseg.runs.steps import OutputSteps, step_seconds

FILES = [
    "classes.tif", "classes.tif.aux.xml", "classes.qml", "probabilities.tif", "new.tif", "polygons.gpkg",
    "polygons.fgb", "polygons.pmtiles", "quicklook.png", "report.html", "item.json",
]  # fmt: skip


def test_every_file_that_takes_time_is_a_step():
    steps = step_seconds(FILES, 4_000_000, bands=6)
    assert list(steps) == [
        "classes.tif", "probabilities.tif", "new.tif", "polygons", "polygons.fgb", "polygons.pmtiles",
        "quicklook.png", "report.html",
    ]  # fmt: skip
    assert steps["probabilities.tif"] == pytest.approx(6 * steps["new.tif"])
    assert step_seconds(FILES, 8_000_000)["polygons"] == pytest.approx(2 * steps["polygons"])
    assert step_seconds(FILES, 8_000_000)["report.html"] == steps["report.html"]


class Log:
    def __init__(self):
        self.files = []

    def add(self, event, **facts):
        assert event == "output"
        self.files.append(facts["file"])


def walk(formats, *events):
    log, told = Log(), []
    steps = OutputSteps(log, "s", told.append, step_seconds(FILES, 1_000_000), formats)
    for event in events:
        steps(event)
    steps.end()
    return log, told


def test_the_share_of_each_step_is_told():
    log, told = walk(
        ("gpkg", "fgb"), Progress("classes.tif"), Progress("polygons"), Progress("polygons", part=0.5),
        Progress("polygons.fgb"), Progress("of another kind"), Progress("quicklook.png"),
    )  # fmt: skip
    assert log.files == ["classes.tif", "polygons", "polygons.fgb", "of another kind", "quicklook.png"]
    seconds = step_seconds(FILES, 1_000_000)
    done = [event.work.done for event in told]
    assert done == sorted(done)
    assert done[2] - done[1] == pytest.approx(seconds["polygons"] / 2)
    assert {event.work.total for event in told} == {sum(seconds.values())}
    assert [event.text for event in told][1:5] == [
        "polygons 1 of 2 formats", "polygons 1 of 2 formats", "polygons 2 of 2 formats", "of another kind",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("formats", "texts"),
    [
        (("gpkg",), ["polygons"]),
        (("fgb",), ["polygons", "polygons"]),
        (("fgb", "pmtiles"), ["polygons", "polygons 1 of 2 formats", "polygons 2 of 2 formats"]),
        (("fgb", "gpkg"), ["polygons 1 of 2 formats", "polygons 2 of 2 formats"]),
    ],
)
def test_formats_are_counted_as_they_are_asked_for(formats, texts):
    events = [Progress("polygons"), *(Progress(RunFile.polygons(f)) for f in formats if f != "gpkg")]
    _, told = walk(formats, *events)
    assert [event.text for event in told] == texts
