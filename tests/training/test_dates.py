"""A scene of several dates is bands of several files, whose names tell the date."""

import textwrap

import numpy as np
import pytest

from geoseg.core.errors import GeosegError
from geoseg.core.geometry import Window
from geoseg.scenes.catalog import resolve_scene
from geoseg.training.prepare import prepare
from tests.conftest import BAND_NAMES, reflectance, write_raster
from tests.training.test_train import LEGEND
from tests.training.worlds import labelled_scene

BANDS = ["red@2024-05", "nir@2024-05", "red@2024-08", "nir@2024-08"]


def entry(*files):
    """The bands red and nir of a file for each date, as YAML."""
    rows = [
        f"{name}@{date}: {{uri: {file}, band: {band}}}"
        for date, file in files
        for name, band in (("red", 3), ("nir", 4))
    ]
    return "{bands: {" + ", ".join(rows) + "}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dates")
    for i in range(3):
        origin = (5e5 + 5000 * i, 4.5e6)
        labelled_scene(folder, f"may{i}", (64, 64), seed=i, origin=origin, keep=False)
        later = reflectance(32, 32, seed=10 + i)
        # Half as fine: it is brought to the grid of the finest bands.
        write_raster(folder / f"august{i}.tif", later, names=BAND_NAMES, scale=1e-4, origin=origin, gsd=20)
    return folder


def test_the_dates_are_bands_in_the_order_that_the_training_names(folder, tmp_path):
    scenes = "\n".join(
        f"    - {{scene: {entry(('2024-05', f'may{i}.tif'), ('2024-08', f'august{i}.tif'))}, "
        f"labels: may{i}_labels.tif, part: {part}}}"
        for i, part in enumerate(("train", "val", "test"))
    )
    path = tmp_path / "training.yaml"
    path.write_text(
        f"name: dates\ndataset:\n  kind: scenes\n  folder: {folder}\n  scenes:\n{scenes}\n"
        f"bands: [{', '.join(BANDS)}]\nsplit: {{by: given}}\nchips: {{size: 32}}\n"
        f"output: {tmp_path / 'out'}\n{textwrap.dedent(LEGEND)}"
    )
    prepared = prepare(path)
    assert prepared.band_names == BANDS
    values = prepared.labelled[0].read(Window.of(0, 0, 64, 64)).values
    assert values.shape == (4, 64, 64)
    may = resolve_scene(str(folder / "may0.tif"), "may", ["red", "nir"])
    expected = may.physical(may.read(Window.of(0, 0, 64, 64)))
    assert np.array_equal(values[:2], expected)
    assert np.allclose(values[2].mean(), reflectance(32, 32, seed=10)[2].mean() * 1e-4, rtol=0.05)


def test_a_scene_that_lacks_a_date_is_refused_in_one_line(folder):
    with pytest.raises(GeosegError, match="no band red@2024-05") as error:
        resolve_scene(str(folder / "may0.tif"), "may", BANDS)
    assert "\n" not in str(error.value)
