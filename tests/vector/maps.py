"""Small maps, their polygons, and executors that make trouble."""

import pickle
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import shapely
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.features import shapes

from geoseg.core.legend import NODATA, Legend, LegendClass
from geoseg.core.ordered import Workers
from geoseg.vector.recipe import Generalize
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.coverage import polygons
from geoseg.vector.trace.stats import Stats
from tests.conftest import write_raster

LEGEND = Legend(tuple(LegendClass(i, f"c{i}", f"Class & {i}", f"#{i * 20:02x}4000") for i in range(6)))
EXACT = Generalize()


class Here(Executor):
    """Does everything at once, where it is."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Elsewhere(Executor):
    """Does the last task first, on a copy that went through pickle, as a cluster may."""

    def __init__(self):
        self.waiting = []
        self.most = 0

    def submit(self, fn, /, *args, **kwargs):
        future = _Late(self)
        self.waiting.append((future, pickle.dumps((fn, args, kwargs))))
        self.most = max(self.most, len(self.waiting))
        return future


class _Late(Future):
    def __init__(self, owner):
        super().__init__()
        self._owner = owner

    def result(self, timeout=None):
        while self._owner.waiting:
            future, data = self._owner.waiting.pop()
            fn, args, kwargs = pickle.loads(data)  # noqa: S301
            future.set_result(pickle.loads(pickle.dumps(fn(*args, **kwargs))))  # noqa: S301
        return super().result(timeout)


HERE = Workers(Here(), 3)


def maps(side=6, classes=3):
    """Strategy: maps of a few classes and nodata, small or of 2 x 2 px."""
    shape = st.tuples(st.integers(1, side), st.integers(1, side))
    values = st.sampled_from([*range(classes), NODATA])
    small = arrays(np.uint8, shape, elements=values)
    return small | small.map(lambda m: m.repeat(2, axis=0).repeat(2, axis=1))


def many(examples):
    # Every map goes through files and several block sizes: to shrink one takes minutes, and gains little.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    calm = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, phases=phases, suppress_health_check=calm)


def patches(seed, shape=(60, 70), classes=5, width=2.0):
    """Give a map with winding boundaries."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=(classes, *shape))
    return gaussian_filter(noise, (0, width, width)).argmax(axis=0).astype(np.uint8)


def with_hole(classes, seed=0):
    """Take winding parts of a map out."""
    holes = patches(seed + 1000, classes.shape, classes=3, width=3.0) == 0
    return np.where(holes, np.uint8(NODATA), classes)


def spiral(size):
    """Give one region that winds through the whole map, and another between its turns."""
    classes = np.zeros((size, size), np.uint8)
    y = x = 0
    dy, dx = 0, 1
    classes[0, 0] = 1

    def blocked(y, x):
        return not (0 <= y < size and 0 <= x < size) or classes[y, x] == 1

    while True:
        if blocked(y + dy, x + dx) or (
            0 <= y + 2 * dy < size and 0 <= x + 2 * dx < size and classes[y + 2 * dy, x + 2 * dx] == 1
        ):
            dy, dx = dx, -dy
            if (
                blocked(y + dy, x + dx)
                or classes[min(max(y + 2 * dy, 0), size - 1), min(max(x + 2 * dx, 0), size - 1)] == 1
            ):
                return classes
        y, x = y + dy, x + dx
        classes[y, x] = 1


def save(folder: Path, classes, name="map.tif", **options) -> Path:
    return write_raster(folder / name, classes, nodata=NODATA, **options)


def found(files, how=EXACT, *, block=1024, threshold=50, workers=HERE):
    """Return geometries in pixels (x, y) and sums of a map's regions, an entry for each polygon."""
    many_ = list(
        polygons(files, workers, how=how, threshold=threshold, folder=files.classes.parent, block=block)
    )
    geometry = [
        shapely.from_ragged_array(
            shapely.GeometryType.POLYGON,
            p.rings.vertices[:, ::-1].astype(np.float64),
            (p.rings.offsets, p.rings.polygons),
        )
        for p in many_
    ]
    if not many_:
        return np.empty(0, object), None
    return np.concatenate(geometry), Stats.concatenate([p.stats for p in many_])


def polygons_of(folder, classes, how=EXACT, **options):
    return found(MapFiles(save(folder, classes)), how, **options)


def rasterio_polygons(classes):
    """Return polygons and values as `rasterio.features.shapes` gives them."""
    pairs = list(shapes(classes, mask=classes != NODATA, connectivity=4))
    return np.array([shapely.geometry.shape(g) for g, _ in pairs], object), [int(v) for _, v in pairs]


def simplest(geometry, values):
    """Return what polygons are, whatever their order, where their rings begin and what lies on an edge."""
    lean = shapely.normalize([_without_straight(g) for g in geometry])
    return sorted(zip(values, shapely.to_wkb(lean), strict=True))


def _without_straight(polygon):
    rings = [_turns(ring) for ring in (polygon.exterior, *polygon.interiors)]
    return shapely.Polygon(rings[0], rings[1:])


def _turns(ring):
    xy = shapely.get_coordinates(ring)[:-1]
    into, out = xy - np.roll(xy, 1, axis=0), np.roll(xy, -1, axis=0) - xy
    return xy[into[:, 0] * out[:, 1] != into[:, 1] * out[:, 0]]
