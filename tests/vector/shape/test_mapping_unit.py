"""The minimum mapping unit against the plainest way to say what it is."""

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label as scipy_label

from geoseg.core.errors import OutputError
from geoseg.core.legend import NODATA
from geoseg.vector.shape.mapping_unit import write_generalized
from tests import processes
from tests.vector.maps import HERE, Elsewhere, Workers, many, maps, patches, save, with_hole


def generalized(folder, classes, minimum, *, block=1024, workers=HERE):
    path = folder / "out.tif"
    write_generalized(save(folder, classes), path, minimum, workers, block=block)
    with rasterio.open(path) as src:
        assert src.nodata == NODATA
        assert src.transform.a == 10
        return src.read(1)


def regions_of(classes):
    """Return labels and, from label 1, (size, first pixel, label)."""
    labels, sizes = np.zeros(classes.shape, int), []
    for value in np.unique(classes[classes != NODATA]):
        own, count = scipy_label(classes == value)
        labels[own > 0] = own[own > 0] + len(sizes)
        for i in range(1, count + 1):
            sizes.append((int((own == i).sum()), int(np.flatnonzero(own == i)[0]), len(sizes) + 1))
    return labels, sizes


def plainly(classes, minimum):
    """Join one region at a time, and look at the whole map again."""
    classes = classes.copy()
    while True:
        labels, regions = regions_of(classes)
        for size, _, i in sorted(regions):
            if size >= minimum:
                return classes
            shared = {}
            for a, b in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
                for here, there in ((a, b), (b, a)):
                    for other in there[(here == i) & (there != i) & (there > 0)].tolist():
                        shared[other] = shared.get(other, 0) + 1
            if shared:
                best = max(shared, key=lambda o: (shared[o], regions[o - 1][0], -regions[o - 1][1]))
                classes[labels == i] = classes[labels == best][0]
                break
        else:
            return classes


@many(15)
@given(maps(side=5, classes=4), st.sampled_from([2, 4, 9, 40]))
def test_the_map_is_that_of_the_plain_way_for_any_block_size(tmp_path, classes, minimum):
    expected = plainly(classes, minimum)
    for block in (1, 3, 1024):
        assert (generalized(tmp_path, classes, minimum, block=block) == expected).all()


def test_a_larger_map_is_the_same_for_any_block_size_and_order(tmp_path):
    classes = with_hole(patches(2, (90, 80), width=0.8))
    expected = generalized(tmp_path, classes, 12)
    assert (expected != classes).any()
    for block in (16, 33):
        assert (generalized(tmp_path, classes, 12, block=block) == expected).all()
    assert (generalized(tmp_path, classes, 12, block=16, workers=Workers(Elsewhere(), 5)) == expected).all()
    _, regions = regions_of(expected)
    labels, _ = regions_of(expected)
    framed = np.pad(labels, 1)
    for size, _, i in regions:
        if size < 12:  # only what nodata and the frame surround
            y, x = np.nonzero(framed == i)
            around = np.concatenate([framed[y - 1, x], framed[y + 1, x], framed[y, x - 1], framed[y, x + 1]])
            assert set(around.tolist()) <= {0, i}


def test_nodata_neither_receives_nor_joins_and_its_islands_stay(tmp_path):
    classes = np.full((12, 12), NODATA, np.uint8)
    classes[4:6, 4:6] = 1
    classes[8:11, 1:11] = 2
    classes[9, 5] = NODATA
    classes[10, 8] = 1
    for block in (4, 1024):
        out = generalized(tmp_path, classes, 10, block=block)
        assert ((out == NODATA) == (classes == NODATA)).all()
        assert (out[4:6, 4:6] == 1).all()
        assert out[10, 8] == 2


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([0, 0, 0, 2, 1, 1, 1], 0),  # equal borders, equal sizes: the earlier
        ([0, 0, 2, 1, 1, 1, 1], 1),  # equal borders: the larger
    ],
)
def test_ties_are_settled(tmp_path, columns, expected):
    classes = np.tile(np.array(columns, np.uint8), (2, 1))
    at = columns.index(2)
    assert (generalized(tmp_path, classes, 3)[:, at] == expected).all()


def test_the_longest_border_wins_over_the_largest_neighbour(tmp_path):
    classes = np.zeros((9, 9), np.uint8)
    classes[2:6, 2:6] = 1
    classes[3:5, 3:6] = 2  # seven edges with 1, two with 0
    assert (generalized(tmp_path, classes, 8)[3:5, 3:6] == 1).all()


def test_corners_do_not_join(tmp_path):
    classes = np.zeros((8, 8), np.uint8)
    classes[3, 3] = classes[4, 4] = 1
    assert (generalized(tmp_path, classes, 2) == 0).all()


def test_everything_is_nodata(tmp_path):
    classes = np.full((300, 600), NODATA, np.uint8)
    assert (generalized(tmp_path, classes, 9, block=256) == NODATA).all()


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(OutputError, match=r"gone/g\.tif: cannot be written: "):
        write_generalized(save(tmp_path, patches(0)), tmp_path / "gone" / "g.tif", 4, HERE)


def test_a_damaged_file_in_the_way_is_replaced(tmp_path):
    classes = patches(3)
    expected = generalized(tmp_path, classes, 9)
    (tmp_path / "out.tif").write_bytes((tmp_path / "out.tif").read_bytes()[:200])
    assert (generalized(tmp_path, classes, 9) == expected).all()


FULL = """\
import resource, signal, sys
sys.dont_write_bytecode = True  # a short write would leave a damaged file
from pathlib import Path
from geoseg.core.errors import OutputError
from geoseg.vector.shape.mapping_unit import write_generalized
from tests.vector.maps import HERE
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
said = []
for limit in map(int, sys.argv[3:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_generalized(Path(sys.argv[1]), Path(sys.argv[2]), 2, HERE, block=256)
        said.append("done")
    except OutputError as error:
        said.append(str(error))
# What is said goes to a file, too.
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(*said, sep="\\n")
"""


def test_a_full_disk_is_told(tmp_path):
    """A limit on the size of files stands in for a full disk; GDAL meets it when it closes the file."""
    path = save(tmp_path, np.random.default_rng(0).integers(0, 4, (600, 700)).astype(np.uint8))
    write_generalized(path, tmp_path / "whole.tif", 2, HERE)
    size = (tmp_path / "whole.tif").stat().st_size
    limits = (100, size // 2, size - 50, size)
    done = processes.run_code(FULL, path, tmp_path / "g.tif", *limits)
    assert done.returncode == 0, done.stderr
    *failed, last = done.stdout.splitlines()
    assert last == "done"
    assert len(failed) == 3
    assert all("g.tif: cannot be written: " in line for line in failed), failed
