import pytest
from odc.geo.crs import CRS

from geoseg.config.pipeline import Instances, Vectorize
from geoseg.core.errors import ConfigError
from geoseg.core.legend import Legend, LegendClass
from geoseg.vector.recipe import (
    Components,
    Generalize,
    Objects,
    Recipe,
    Rules,
    Watershed,
    resolve_objects,
    resolve_recipe,
)
from tests.vector.maps import LEGEND


def resolved(gsd=0.5, pixel=0.25, **wanted):
    return resolve_recipe(Vectorize.model_validate(wanted), LEGEND, gsd, pixel)


def test_nothing_asked_for_keeps_every_pixel():
    recipe = resolved()
    assert recipe == Recipe(Rules(LEGEND), Generalize(), 0, 0.5, None)
    assert not recipe.how.needs_corners


def test_metres_become_pixels():
    recipe = resolved(simplify=2, smooth=1, minimum_area=10, method="douglas-peucker")
    assert recipe.how == Generalize(4.0, "douglas-peucker", 2.0)
    assert recipe.minimum_pixels == 40
    assert resolved(minimum_area=10.1).minimum_pixels == 41


@pytest.mark.parametrize("gsd", [0.5, None])
def test_pixels_stay_pixels(gsd):
    recipe = resolved(gsd, gsd, simplify="1.5 px", smooth="2px", minimum_area="20 px")
    assert recipe.how == Generalize(1.5, "visvalingam", 2.0)
    assert recipe.minimum_pixels == 20
    assert recipe.how.needs_corners
    assert resolved(gsd, gsd, smooth="1 px").how.needs_corners


def test_names_become_ids():
    recipe = resolved(
        leave_out=("c0", "c3"), minimum_confidence=0.4, low_confidence=0.6, crs="EPSG:3035", dissolve=True
    )
    assert recipe.rules == Rules(LEGEND, frozenset([0, 3]), 0.4, True, False, CRS("EPSG:3035"))
    assert recipe.low_confidence == 0.6


def test_objects_come_along():
    recipe = resolved(instances={"method": "components", "classes": ["c2"], "boundary": "c1"})
    assert recipe.rules.with_objects
    assert recipe.objects == Objects(frozenset([2]), Components(), 1)


NO_METRES = (
    "vectorize.{}: 2 is in metres, but the scene has no CRS; write it in pixels ('2 px') or leave it at 0"
)
NO_CLASS = (
    "vectorize.leave_out: the model has no class 'c2x'; did you mean 'c2'? (it has c0, c1, c2, c3, c4, c5)"
)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"gsd": None, "simplify": 2}, NO_METRES.format("simplify")),
        ({"gsd": None, "smooth": 2}, NO_METRES.format("smooth")),
        ({"pixel": None, "minimum_area": 2}, NO_METRES.format("minimum_area")),
        (
            {"gsd": None, "crs": "EPSG:4326"},
            "vectorize.crs: the scene has no CRS to come from; leave it out",
        ),
        ({"crs": "EPSG:nowhere"}, "vectorize.crs: 'EPSG:nowhere' is no CRS; write it like EPSG:4326"),
        (
            {"leave_out": ("c2x",)},
            NO_CLASS,
        ),
    ],
)
def test_what_the_map_lacks_is_told(wanted, message):
    with pytest.raises(ConfigError) as caught:
        resolved(**wanted)
    assert str(caught.value) == message


TOWN = Legend(tuple(LegendClass(i, s, s, "#000000") for i, s in ((4, "house"), (0, "road"), (2, "edge"))))


def resolved_objects(gsd=0.5, **wanted):
    return resolve_objects(Instances(**wanted), TOWN, gsd)


def test_names_of_objects_become_ids_and_metres_pixels():
    wanted = {"method": "watershed", "classes": ("house",), "minimum_distance": 8, "depth": 1}
    assert resolved_objects(**wanted) == Objects(frozenset([4]), Watershed(16, 2), None)
    assert resolved_objects(gsd=4, **wanted).method == Watershed(2, 0.25)


def test_no_classes_mean_all_but_the_boundary():
    assert resolved_objects(method="components") == Objects(frozenset([0, 2, 4]), Components(), None)
    assert resolved_objects(method="components", boundary="edge") == Objects(
        frozenset([0, 4]), Components(), 2
    )


def test_without_a_crs_distances_stay_automatic():
    assert resolved_objects(gsd=None, method="watershed").method == Watershed(0, 1)


NO_OBJECT_CLASS = (
    "vectorize.instances.{}: the model has no class {!r}; did you mean {!r}? (it has house, road, edge)"
)
NO_OBJECT_METRES = (
    "vectorize.instances: distances are in metres, but the scene has no CRS; leave minimum_distance at 0 and "
    "depth at auto"
)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"classes": ("huose",)}, NO_OBJECT_CLASS.format("classes", "huose", "house")),
        ({"boundary": "Edge"}, NO_OBJECT_CLASS.format("boundary", "Edge", "edge")),
        ({"gsd": None, "minimum_distance": 3}, NO_OBJECT_METRES),
        ({"gsd": None, "depth": 3}, NO_OBJECT_METRES),
    ],
)
def test_what_the_map_lacks_for_objects_is_told(wanted, message):
    with pytest.raises(ConfigError) as caught:
        resolved_objects(method="watershed", **wanted)
    assert str(caught.value) == message
