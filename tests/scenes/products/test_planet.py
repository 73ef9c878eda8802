import json

import numpy as np
import pytest

from geoseg.core.errors import SceneError
from geoseg.scenes.products.entry import read_product
from tests.conftest import write_raster
from tests.scenes.products.makers import (
    STRIP,
    numbers,
    of_numbers,
    opened,
    physical,
    write_planet,
    write_tif,
    zipped,
)

EIGHT = ["coastal", "blue", "green05", "green", "yellow", "red", "rededge071", "nir08"]


@pytest.mark.parametrize(("bands", "names"), [(8, EIGHT), (4, ["blue", "green", "red", "nir"])])
def test_surface_reflectance_is_read_by_its_path(tmp_path, bands, names):
    image, mask = write_planet(tmp_path, bands)
    entry = read_product(str(tmp_path))
    assert (entry.product, entry.level, entry.platform, entry.cloud_cover) == (
        "planetscope-sr",
        "surface",
        "PSB.SD",
        12,
    )
    assert entry.datetime.isoformat() == "2024-06-01T15:59:01.270000+00:00"
    assert [b.common_name for b in opened(tmp_path).bands] == names
    found, valid = physical(tmp_path, *names)
    np.testing.assert_array_equal(valid, (mask[0] == 1) & np.all(image != 0, axis=0))
    np.testing.assert_array_equal(found[:, valid], of_numbers(image, 1e-4)[:, valid])


@pytest.mark.parametrize(
    "name",
    [
        f"{STRIP}_3B_AnalyticMS_SR_8b.tif",
        f"{STRIP}_3B_AnalyticMS_SR_8b_harmonized_clip.tif",
        f"{STRIP}_3B_AnalyticMS_8b_SR.tif",
        f"{STRIP}_ortho_analytic_8b_sr.tif",
        f"{STRIP}_3B_analyticms_sr_8b.TIF",
    ],
)
def test_names_of_orders_vary(tmp_path, name):
    write_planet(tmp_path, name=name)
    entry = read_product(str(tmp_path))
    assert (entry.sensor, entry.mask is None) == ("planetscope-8b", False)
    assert read_product(str(tmp_path / name)) == entry


@pytest.mark.parametrize("inside", ["PSScene", "files", f"files/PSScene/{STRIP}"])
def test_an_order_is_read_through_its_folders(tmp_path, inside):
    image, _ = write_planet(tmp_path / "order" / inside)
    (tmp_path / "order" / "manifest.json").write_text("{}")
    for place in (tmp_path / "order", zipped(tmp_path / "order", tmp_path / "order.zip")):
        found, valid = physical(place, "red")
        np.testing.assert_array_equal(found[0][valid], of_numbers(image[5], 1e-4)[valid])


def test_the_number_of_bands_is_that_of_the_file(tmp_path):
    # Before eight bands came, names did not say how many there are.
    write_planet(tmp_path, 8, name=f"{STRIP}_3B_AnalyticMS_SR.tif")
    assert read_product(str(tmp_path)).sensor == "planetscope-8b"
    write_tif(tmp_path / f"{STRIP}_3B_AnalyticMS_SR.tif", numbers(1, 30, bands=3), 30)
    with pytest.raises(
        SceneError, match="has 3 bands, and surface reflectance of PlanetScope has four or eight"
    ):
        read_product(str(tmp_path))


def test_radiance_is_refused(tmp_path):
    write_planet(tmp_path, name=f"{STRIP}_3B_AnalyticMS_8b.tif")
    with pytest.raises(
        SceneError, match=r"AnalyticMS_8b.tif: is radiance of PlanetScope; use the surface reflectance"
    ):
        read_product(str(tmp_path))


def test_several_images_in_a_folder_are_refused_and_one_can_be_named(tmp_path):
    write_planet(tmp_path)
    write_planet(tmp_path, strip=f"{STRIP[:-1]}")
    with pytest.raises(
        SceneError, match=r"holds 2 PlanetScope images, as 2024\S+; name one, or give them as a list"
    ):
        read_product(str(tmp_path))
    # The strip of the one begins as that of the other.
    entry = read_product(str(tmp_path / f"{STRIP[:-1]}_3B_AnalyticMS_SR_8b_clip.tif"))
    assert entry.mask.uri.endswith(f"/{STRIP[:-1]}_3B_udm2_clip.tif")


def test_metadata_may_be_xml_or_missing(tmp_path):
    write_planet(tmp_path)
    facts = tmp_path / f"{STRIP}_metadata.json"
    facts.unlink()
    assert read_product(str(tmp_path)).datetime is None
    xml = "<a xmlns:p='p'><p:acquisitionDateTime>2024-06-01T15:59:01+00:00</p:acquisitionDateTime></a>"
    (tmp_path / f"{STRIP}_3B_AnalyticMS_metadata.xml").write_text(xml)
    assert read_product(str(tmp_path)).datetime.hour == 15


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"properties": 1}', '{"properties": {"acquired": []}}', "[" * 9999]
)
def test_damaged_metadata_are_one_line(tmp_path, text):
    write_planet(tmp_path)
    (tmp_path / f"{STRIP}_metadata.json").write_text(text)
    with pytest.raises(
        SceneError, match=r"metadata.json: is damaged; get it again, or del|datetime in its metadata: "
    ):
        read_product(str(tmp_path))


@pytest.mark.parametrize("cover", [None, "much", [], 3, -1])
def test_a_cloud_cover_that_cannot_be_is_none(tmp_path, cover):
    write_planet(tmp_path)
    (tmp_path / f"{STRIP}_metadata.json").write_text(json.dumps({"properties": {"cloud_cover": cover}}))
    assert read_product(str(tmp_path)).cloud_cover is None


def test_other_images_are_none(tmp_path):
    write_raster(tmp_path / f"{STRIP}_3B_Visual.tif", numbers(1, 30, bands=3, high=255, dtype="uint8"))
    write_raster(tmp_path / "Analytics.tif", numbers(1, 30))
    assert read_product(str(tmp_path)) is None
