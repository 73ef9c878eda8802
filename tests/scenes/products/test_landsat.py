import json
import math

import numpy as np
import pytest

from geoseg.core.errors import SceneError
from geoseg.scenes.products.entry import read_product
from tests.s3 import BUCKET
from tests.scenes.products.makers import (
    SUN_ELEVATION,
    as_odl,
    landsat_metadata,
    of_numbers,
    opened,
    physical,
    tarred,
    write_landsat,
    zipped,
)

CLOUDS = 0b11111
"""QA_PIXEL's bits of fill, dilated cloud, cirrus, cloud and cloud shadow."""


@pytest.fixture(scope="module")
def level2(tmp_path_factory):
    return write_landsat(tmp_path_factory.mktemp("l2"))


def test_level_2_is_read_by_its_path(level2):
    path, numbers = level2
    entry = read_product(str(path))
    assert list(entry.bands) == [*(f"B{i}" for i in range(1, 8)), "ST_B10"]
    assert (entry.product, entry.level, entry.sensor) == ("landsat-c2-l2", "surface", "landsat-8")
    assert (entry.platform, entry.cloud_cover, entry.baseline) == ("Landsat 8", 21.07, "LPGS_16.4.0")
    assert entry.datetime.isoformat() == "2024-06-02T16:04:05.123456+00:00"
    found, valid = physical(path, "swir22")
    # Level 1's numbers stand in the same file, under the same keys.
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers["SR_B7"], 2.75e-5, -0.2)[valid])
    np.testing.assert_array_equal(valid, (numbers["SR_B7"] != 0) & (numbers["QA_PIXEL"] & CLOUDS == 0))
    assert valid.any()
    assert [b.common_name for b in opened(path).bands] == [
        "coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "lwir11",
    ]  # fmt: skip


def test_surface_temperature_is_in_kelvin(level2):
    path, numbers = level2
    found, valid = physical(path, "lwir11")
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers["ST_B10"], 0.00341802, 149)[valid])


def test_level_1_is_divided_by_the_sine_of_the_elevation_of_the_sun(tmp_path):
    path, numbers = write_landsat(tmp_path, level=1)
    found, valid = physical(path, "red")
    sine = math.sin(math.radians(SUN_ELEVATION))
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers["B4"], 2e-5 / sine, -0.1 / sine)[valid])
    entry = read_product(str(path))
    assert (entry.product, entry.level) == ("landsat-c2-l1", "toa")
    assert "B10" not in entry.bands  # thermal: it has radiance


def test_bands_of_the_thematic_mapper_are_its_own(tmp_path):
    path, numbers = write_landsat(tmp_path, satellite="5")
    names = [b.common_name for b in opened(path).bands]
    assert names == ["blue", "green", "red", "nir", "swir16", "swir22", "lwir"]
    found, valid = physical(path, "nir")
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers["SR_B4"], 2.75e-5, -0.2)[valid])


@pytest.mark.parametrize("kind", ["json", "txt", "xml"])
def test_all_kinds_of_metadata_say_the_same(tmp_path, level2, kind):
    path, _ = write_landsat(tmp_path, kinds=(kind,))
    by_file = read_product(str(path / f"{path.name}_MTL.{kind}"))
    assert by_file == read_product(str(path))
    expected = read_product(str(level2[0])).model_dump_json().replace(str(level2[0]), str(path))
    assert by_file.model_dump_json() == expected


@pytest.mark.parametrize("form", ["tar", "tar with ./", "tar with folder", "zip", "flat zip"])
def test_archives_are_the_same_scene(level2, tmp_path, form):
    path, _ = level2
    if "zip" in form:
        place = zipped(path, tmp_path / "x.ZIP", inside=form == "zip")
    else:
        prefix = {"tar with ./": "./", "tar with folder": f"{path.name}/"}.get(form, "")
        place = tarred(path, tmp_path / "x.tar", prefix)
    np.testing.assert_array_equal(physical(place, "red")[0], physical(path, "red")[0])


def test_a_product_in_a_bucket_is_the_same_scene(level2, s3):
    path, _ = level2
    uri = s3.upload(f"c2/{path.name}", *path.iterdir())
    np.testing.assert_array_equal(physical(uri, "red")[0], physical(path, "red")[0])
    tar = s3.upload("tars", tarred(path, path.parent / "x.tar"))
    np.testing.assert_array_equal(physical(f"{tar}/x.tar", "red")[0], physical(path, "red")[0])
    assert uri.startswith(f"s3://{BUCKET}/")


@pytest.mark.parametrize(("satellite", "expected"), [("8", ["green", "red"]), ("5", ["red", "nir"])])
def test_without_metadata_names_tell_the_sensor_and_level_2_has_fixed_scales(tmp_path, satellite, expected):
    path, numbers = write_landsat(tmp_path, satellite=satellite, kinds=())
    scene = opened(path, *expected)
    assert [b.name for b in scene.bands] == ["SR_B3", "SR_B4"]
    found, valid = physical(path, *expected)
    for i, stem in enumerate(("SR_B3", "SR_B4")):
        np.testing.assert_array_equal(found[i][valid], of_numbers(numbers[stem], 2.75e-5, -0.2)[valid])
    assert 0 < valid.sum() < np.count_nonzero(numbers["QA_PIXEL"] & CLOUDS == 0) + 1
    assert (scene.level, len(scene.masks)) == ("surface", 1)
    assert {b.common_name for b in opened(path).bands} >= {"lwir11" if satellite == "8" else "lwir"}


def test_tiles_of_the_united_states_have_no_metadata(tmp_path):
    path, numbers = write_landsat(tmp_path, satellite="5", kinds=())
    for file in path.iterdir():
        file.rename(path / file.name.replace("L2SP_021039", "CU_021039").replace("_02_T1", "_02"))
    assert (path / "LT05_CU_021039_19950602_20200911_02_SR_B4.TIF").is_file()
    found, valid = physical(path, "nir")
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers["SR_B4"], 2.75e-5, -0.2)[valid])


def test_level_1_without_metadata_has_no_scale(tmp_path):
    path, _ = write_landsat(tmp_path, level=1, kinds=())
    assert [(b.name, b.declared) for b in opened(path, "red").bands] == [("B4", False)]


def test_a_missing_file_is_an_incomplete_download(tmp_path):
    path, _ = write_landsat(tmp_path)
    next(path.glob("*_SR_B4.TIF")).unlink()
    for place in (path, tarred(path, tmp_path / "x.tar")):
        with pytest.raises(
            SceneError, match=r"SR_B4.TIF: is listed .* as B4 but not there; the download is incompl"
        ):
            opened(place, "red")


def change_of(group, **keys):
    return lambda mtl: mtl[group].update(keys)


def collection_1(mtl):
    mtl.clear()
    mtl["PRODUCT_METADATA"] = {"SPACECRAFT_ID": "LANDSAT_8"}


@pytest.mark.parametrize(
    ("level", "change", "message"),
    [
        (
            2,
            collection_1,
            "is of Landsat Collection 1, which was retired; get the same scene of Collection 2",
        ),
        (
            2,
            change_of("PRODUCT_CONTENTS", COLLECTION_NUMBER="01"),
            "is of Landsat Collection 01, which was retired",
        ),
        (2, dict.clear, "is of Landsat no known collection, which was retired"),
        (1, change_of("IMAGE_ATTRIBUTES", SENSOR_ID="MSS"), "is of LANDSAT_8 MSS; geoseg reads TM, ETM"),
        (
            1,
            change_of("IMAGE_ATTRIBUTES", SPACECRAFT_ID="LANDSAT_3"),
            "is of LANDSAT_3 OLI_TIRS; geoseg reads",
        ),
        (1, change_of("IMAGE_ATTRIBUTES", SUN_ELEVATION="-3"), "the sun stands at -3 degrees"),
        (1, change_of("IMAGE_ATTRIBUTES", SUN_ELEVATION="0"), "the sun stands at 0 degrees"),
        (1, change_of("IMAGE_ATTRIBUTES", SUN_ELEVATION="91"), "the sun stands at 91 degrees"),
        (
            1,
            change_of("IMAGE_ATTRIBUTES", SUN_ELEVATION="nan"),
            "has no number SUN_ELEVATION; get the product",
        ),
        (1, change_of("IMAGE_ATTRIBUTES", SUN_ELEVATION=""), "has no number SUN_ELEVATION"),
        (1, lambda mtl: mtl["LEVEL1_RADIOMETRIC_RESCALING"].clear(), "names no band with reflectance"),
        (
            2,
            change_of("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", REFLECTANCE_MULT_BAND_4="inf"),
            "has no number REFLECTANCE_MULT_BAND_4",
        ),
        (
            2,
            change_of("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", REFLECTANCE_MULT_BAND_4="-1"),
            "scale in its metadata: ",
        ),
        (2, change_of("IMAGE_ATTRIBUTES", DATE_ACQUIRED="1024-06-02"), "datetime in its metadata: "),
        (
            2,
            change_of("PRODUCT_CONTENTS", FILE_NAME_BAND_4="../x.TIF"),
            r"'\.\./x\.TIF', which does not lie in the",
        ),
        (
            2,
            change_of("PRODUCT_CONTENTS", FILE_NAME_BAND_4="/etc/passwd"),
            "'/etc/passwd', which does not lie in",
        ),
        (
            2,
            change_of("PRODUCT_CONTENTS", FILE_NAME_QUALITY_L1_PIXEL="../q"),
            r"'\.\./q', which does not lie in",
        ),
        (2, change_of("PRODUCT_CONTENTS", FILE_NAME_BAND_4=""), "'', which does not lie in the product"),
    ],
)
@pytest.mark.parametrize("kind", ["json", "txt", "xml"])
def test_what_cannot_be_read_is_one_line(tmp_path, level, change, message, kind):
    path, _ = write_landsat(tmp_path, level=level, kinds=(kind,), change=change)
    with pytest.raises(SceneError, match=message) as caught:
        read_product(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("json", ""),
        ("json", "[]"),
        ("json", '{"LANDSAT_METADATA_FILE": 3}'),
        ("json", "[" * 10_000),
        ("json", '{"a": {"IMAGE_ATTRIBUTES": 1, "PRODUCT_CONTENTS": []}}'),
        ("json", '{"a": "\\ud800"}'),
        ("json", '{"a": {"IMAGE_ATTRIBUTES": {"SPACECRAFT_ID": {}}, "PRODUCT_CONTENTS": {"b": null}}}'),
        ("txt", ""),
        ("txt", "END_GROUP = x"),
        ("txt", "a = 1"),
        ("txt", "GROUP = a\nb = 1"),
        ("txt", "=\n=\n"),
        ("xml", ""),
        ("xml", "<a>"),
        ("xml", "<a/>"),
        ("xml", "<!DOCTYPE a><a/>"),
        ("xml", "<a><IMAGE_ATTRIBUTES><b><c/></b></IMAGE_ATTRIBUTES></a>"),
    ],
)
def test_damaged_metadata_are_one_line(tmp_path, kind, text):
    (tmp_path / f"x_MTL.{kind}").write_text(text)
    with pytest.raises(SceneError, match=r"x_MTL\.\w+: (is damaged|is of|is no JSON|declares)"):
        read_product(str(tmp_path / f"x_MTL.{kind}"))


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    for kind in ("txt", "xml", "json"):
        (tmp_path / f"x_MTL.{kind}").write_bytes(b"\xff\xfe\x00GROUP")
        with pytest.raises(
            SceneError, match=r"x_MTL\.\w+: is (damaged; get the product again|no JSON, or damaged)"
        ):
            read_product(str(tmp_path / f"x_MTL.{kind}"))
        (tmp_path / f"x_MTL.{kind}").unlink()


def test_several_products_in_a_folder_are_refused(tmp_path):
    for satellite in "85":
        path, _ = write_landsat(tmp_path, satellite=satellite)
        for file in path.iterdir():
            file.rename(tmp_path / file.name)
    with pytest.raises(SceneError, match=r"holds 2 Landsat products; name the \*_MTL.json of one"):
        read_product(str(tmp_path))
    assert read_product(str(next(tmp_path.glob("LT05*MTL.txt")))).sensor == "landsat-5"
    for file in tmp_path.glob("*MTL*"):
        file.unlink()
    with pytest.raises(SceneError, match="holds 2 Landsat products; give each a folder of its own"):
        read_product(str(tmp_path))


def test_lower_case_names_are_taken(tmp_path):
    path, numbers = write_landsat(tmp_path, kinds=())
    mtl = landsat_metadata(path.name, 2, "8", [f"SR_B{i}" for i in range(1, 8)])
    (path / f"{path.name}_mtl.txt").write_text(as_odl(mtl))
    (path / f"{path.name}_mtl.JSON").write_text(json.dumps({"LANDSAT_METADATA_FILE": mtl}))
    found, valid = physical(path, "red")
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers["SR_B4"], 2.75e-5, -0.2)[valid])
