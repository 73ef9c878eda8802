import pytest

from geoseg.core.bands import SENSORS, WAVELENGTH_UM, common_name, designation_in


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
        ("sr_b5", None, "nir"),
        ("B02", "sentinel-2", "blue"),
        ("B2", "sentinel-2", "blue"),
        ("B8", "sentinel-2", "nir"),
        ("b8a", "sentinel-2", "nir08"),
        ("B11", "sentinel-2", "swir16"),
        ("B5", "sentinel-2", "rededge071"),
        ("B5", "landsat-8", "nir"),
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
    optical = {n for names in SENSORS.values() for n in names.values()} - {"pan", "lwir11", "lwir12"}
    assert optical == set(WAVELENGTH_UM)
