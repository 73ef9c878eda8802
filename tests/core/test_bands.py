import pytest

from geoseg.core.bands import (
    SENSORS,
    WAVELENGTH_UM,
    common_name,
    designation_in,
    may_be,
    named_by_wavelength,
)


@pytest.mark.parametrize(
    ("name", "sensor", "expected"),
    [
        ("red", None, "red"),
        (" Red ", None, "red"),
        ("NIR", None, "nir"),
        ("swir1", None, "swir16"),
        ("SWIR2", None, "swir22"),
        ("Near Infrared", None, "nir"),
        ("rededge2", None, "rededge075"),
        ("B02", None, "blue"),
        ("b04", None, "red"),
        ("B8A", None, "nir08"),
        ("SR_B4", None, "red"),
        ("sr_b5", None, "nir08"),
        ("B02", "sentinel-2", "blue"),
        ("B2", "sentinel-2", "blue"),
        ("B8", "sentinel-2", "nir"),
        ("b8a", "sentinel-2", "nir08"),
        ("B11", "sentinel-2", "swir16"),
        ("B5", "sentinel-2", "rededge071"),
        ("B5", "landsat-8", "nir08"),
        ("SR_B5", "landsat-5", "swir16"),
        ("B05", "hls-l30", "nir08"),
        ("B05", "hls-s30", "rededge071"),
        ("green_i", "planetscope-8b", "green05"),
        ("B2", "landsat-8", "blue"),
        ("SR_B7", "landsat-8", "swir22"),
        ("swir1", "landsat-8", "swir16"),
        ("green", "sentinel-2", "green"),
        ("Canopy", None, "canopy"),
    ],
)
def test_a_band_gets_its_common_name(name, sensor, expected):
    assert common_name(name, sensor) == expected


@pytest.mark.parametrize("name", ["B5", "B8", "B10", "B11", "b1"])
def test_a_designation_that_sensors_share_is_not_guessed(name):
    assert common_name(name) == name.lower()


def test_an_unknown_surface_reflectance_band_stays_as_it_is():
    assert common_name("SR_QA_AEROSOL") == "sr_qa_aerosol"


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("T18SVG_20200101T000000_B8A_20m", "B8A"),
        ("T18SVG_B02_10m", "B02"),
        ("B02", "B02"),
        ("scene-b11", "B11"),
        ("scene.B4", "B4"),
        ("LC08_L2SP_014032_20200101_02_T1_SR_B4", "SR_B4"),
        ("LC08_L1TP_B10", "B10"),
        ("B01_composite_B12", "B12"),
        ("scene_TCI_10m", None),
        ("AB02", None),
        ("B123", None),
        ("B2x", None),
        ("LC08_QA_PIXEL", None),
    ],
)
def test_the_designation_is_found_in_a_file_name(stem, expected):
    assert designation_in(stem) == expected


def test_every_optical_band_of_a_sensor_has_a_wavelength():
    bands = [b for table in SENSORS.values() for b in table.values()]
    thermal = {b.common_name for b in bands if b.wavelength_um > 3}
    assert {b.common_name for b in bands} - thermal - {"pan"} == set(WAVELENGTH_UM)


@pytest.mark.parametrize(
    ("wanted", "offered", "expected"),
    [
        ("nir", "nir08", True),
        ("nir08", "nir", True),
        ("nir", "nir", True),
        ("nir", "nir09", False),
        ("rededge071", "rededge075", False),
        ("red", "rededge071", False),
        ("swir16", "swir22", False),
        ("canopy", "canopy", True),
        ("canopy", "nir", False),
    ],
)
def test_a_band_may_stand_for_another_of_its_kind_that_it_overlaps(wanted, offered, expected):
    assert may_be(wanted, offered) is expected


@pytest.mark.parametrize(
    ("common", "centre", "expected"),
    [
        ("rededge", 0.704, "rededge071"),
        ("rededge", 0.7405, "rededge075"),
        ("rededge", 0.783, "rededge078"),
        ("rededge", 0.65, "rededge"),
        ("rededge", None, "rededge"),
        ("red", 0.704, "red"),
    ],
)
def test_the_wavelength_tells_which_band_of_the_red_edge_is_meant(common, centre, expected):
    assert named_by_wavelength(common, centre) == expected
