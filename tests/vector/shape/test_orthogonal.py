import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio import features

from geoseg.vector.recipe import Generalize
from geoseg.vector.shape.orthogonal import orthogonal_outline, orthogonal_outlines
from geoseg.vector.shape.outlines import Outlines
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.coverage import polygons
from geoseg.vector.vectorize import _with_outlines
from tests.conftest import write_raster
from tests.vector.maps import HERE, many

BUILDING = frozenset({1})


def building(x, y, a, b, turn, notch=0.0):
    """Give a rectangle of 2 a by 2 b, with a corner cut out of it, about a point."""
    shape = shapely.box(-a, -b, a, b).difference(shapely.box(a - notch * a, b - notch * b, a + 1, b + 1))
    return shapely.affinity.translate(shapely.affinity.rotate(shape, turn, origin=(0, 0)), x, y)


def town(shape, buildings):
    return features.rasterize(((g, 1) for g in buildings), out_shape=shape, fill=0, dtype="uint8")


def made(folder, classes, how, block=512):
    files = MapFiles(write_raster(folder / "map.tif", classes, nodata=255))
    files, found = _with_outlines(files, BUILDING, how.tolerance, HERE, folder)
    parts = list(polygons(files, HERE, how=how, folder=folder, outlines=found, block=block))
    geometry = [
        shapely.from_ragged_array(
            shapely.GeometryType.POLYGON,
            p.rings.vertices[:, ::-1].astype(float),
            (p.rings.offsets, p.rings.polygons),
        )
        for p in parts
    ]
    return (np.concatenate(geometry), np.concatenate([p.stats.value for p in parts])), found


@pytest.mark.parametrize("turn", [0, 17, 30, 45, 80])
def test_a_rectangle_comes_back_from_its_pixels(tmp_path, turn):
    wanted = building(40, 40, 16, 9, turn)
    (found, values), new = made(tmp_path, town((80, 80), [wanted]), Generalize())
    assert len(new.keys) == 1
    (got,) = found[values == 1]
    assert len(got.exterior.coords) == 5
    assert got.area == pytest.approx(town((80, 80), [wanted]).sum())
    assert got.symmetric_difference(wanted).area < 0.06 * wanted.area


def test_an_l_keeps_its_six_right_angles():
    wanted = building(40, 40, 18, 14, 25, notch=1.0)
    ring = next(g for g, v in features.shapes(town((80, 80), [wanted])) if v == 1)["coordinates"][0]
    got = orthogonal_outline(np.array(ring, dtype=float), 2.5)
    assert len(got.exterior.coords) == 7
    assert got.intersection(wanted).area > 0.9 * wanted.area
    edges = np.diff(shapely.get_coordinates(got), axis=0)
    assert np.allclose((edges * np.roll(edges, 1, axis=0)).sum(axis=1)[1:], 0, atol=1e-6)


def test_a_disc_stays_as_it_is():
    disc = shapely.Point(40, 40).buffer(20)
    ring = next(g for g, v in features.shapes(town((80, 80), [disc])) if v == 1)["coordinates"][0]
    assert orthogonal_outline(np.array(ring, dtype=float), 2.0) is None


def test_what_touches_a_third_region_the_frame_or_has_a_hole_stays(tmp_path):
    classes = town(
        (60, 60), [shapely.box(10, 10, 20, 20), shapely.box(40, 40, 52, 52), shapely.box(0, 30, 8, 40)]
    )
    classes[20:24, 10:20] = 2
    classes[45, 45] = 0
    files = MapFiles(write_raster(tmp_path / "map.tif", classes, nodata=255))
    found = polygons(files, HERE, how=Generalize(), folder=tmp_path)
    assert orthogonal_outlines(found, files, BUILDING, 2.0) == []


PLACES, SIDES = st.floats(0, 90), st.floats(3, 12)
BUILDINGS = st.lists(
    st.builds(building, PLACES, PLACES, SIDES, SIDES, PLACES, st.sampled_from([0.0, 0.5, 1.0])),
    min_size=1,
    max_size=8,
)
HOWS = st.sampled_from(
    [Generalize(), Generalize(1.5), Generalize(5), Generalize(6, smooth=4), Generalize(4, "douglas-peucker")]
)


@many(20)
@given(BUILDINGS, HOWS, st.integers(0, 5))
def test_polygons_stay_a_coverage_for_any_block(tmp_path, buildings, how, seed):
    classes = town((90, 90), buildings)
    other = features.rasterize(
        ((shapely.Point(*p).buffer(12), 2) for p in np.random.default_rng(seed).uniform(0, 90, (3, 2))),
        out_shape=classes.shape, fill=0, dtype="uint8",
    )  # fmt: skip
    classes[classes == 0] = other[classes == 0]
    whole = None
    for block in (512, 32):
        (found, _), _ = made(tmp_path, classes, how, block)
        assert shapely.is_valid(found).all()
        assert shapely.coverage_is_valid(found)
        assert shapely.area(found).sum() == pytest.approx(classes.size)
        wkb = sorted(shapely.to_wkb(shapely.normalize(found)).tolist())
        whole = whole or wkb
        assert wkb == whole


def test_no_objects_no_outlines(tmp_path):
    _, found = made(tmp_path, np.zeros((20, 20), np.uint8), Generalize())
    assert isinstance(found, Outlines)
    assert len(found.keys) == 0
