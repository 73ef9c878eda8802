from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio

from geoseg.core.errors import OutputError
from geoseg.core.legend import Legend, LegendClass
from geoseg.vector.style import write_raster_styles
from tests.conftest import write_raster

TITLES = ("Wald & <Wiese>", "a \"b\" 'c'", "Forêt – été", "水体")
IDS = (7, 1, 0, 4)
LEGEND = Legend(
    tuple(
        LegendClass(i, f"c{i}", t, c)
        for i, t, c in zip(IDS, TITLES, ("#010203", "#ff0000", "#00FF00", "#0000ff"), strict=True)
    )
)
BY_ID = sorted(zip(IDS, TITLES, strict=True))


@pytest.fixture
def roots(tmp_path):
    """The two style files of a legend."""
    raster = write_raster(tmp_path / "classes.tif", np.zeros((4, 4), np.uint8))
    written = write_raster_styles(raster, LEGEND)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["classes.qml", "classes.tif", "classes.tif.aux.xml"]
    assert sorted(p.name for p in written) == ["classes.qml", "classes.tif.aux.xml"]
    with rasterio.open(raster) as src:
        assert (src.read() == 0).all()
    return {p.suffix: ET.parse(p).getroot() for p in written}  # noqa: S314


def test_qgis_finds_every_class_with_name_and_colour(roots):
    root = roots[".qml"]
    assert root.tag == "qgis"
    renderer = root.find("pipe/rasterrenderer")
    assert (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    entries = renderer.findall("colorPalette/paletteEntry")
    assert [(int(e.get("value")), e.get("label")) for e in entries] == BY_ID
    assert [e.get("color").lower() for e in entries] == ["#00ff00", "#ff0000", "#0000ff", "#010203"]
    assert {e.get("alpha") for e in entries} == {"255"}


def test_gdal_finds_a_name_for_every_value(roots):
    root = roots[".xml"]
    assert root.tag == "PAMDataset"
    band = root.find("PAMRasterBand")
    assert band.get("band") == "1"
    names = [c.text or "" for c in band.findall("CategoryNames/Category")]
    expected = [""] * 8
    for i, title in BY_ID:
        expected[i] = title
    assert names == expected


def test_gdal_finds_an_attribute_table(roots):
    table = roots[".xml"].find("PAMRasterBand/GDALRasterAttributeTable")
    fields = [
        (f.findtext("Name"), f.findtext("Type"), f.findtext("Usage")) for f in table.findall("FieldDefn")
    ]
    assert fields == [
        ("Value", "0", "5"), ("Class", "2", "2"), ("Red", "0", "6"), ("Green", "0", "7"), ("Blue", "0", "8"),
        ("Alpha", "0", "9"),
    ]  # fmt: skip
    rows = [[f.text for f in row.findall("F")] for row in table.findall("Row")]
    assert [(int(r[0]), r[1]) for r in rows] == BY_ID
    assert rows[3] == ["7", TITLES[0], "1", "2", "3", "255"]
    assert [row.get("index") for row in table.findall("Row")] == ["0", "1", "2", "3"]


def test_styles_are_written_again(tmp_path):
    raster = tmp_path / "classes.tif"
    write_raster_styles(raster, LEGEND)
    write_raster_styles(raster, Legend(LEGEND.classes[:1]))
    assert "Wald &amp; &lt;Wiese&gt;" in (tmp_path / "classes.qml").read_text(encoding="utf-8")
    assert "水体" not in (tmp_path / "classes.qml").read_text(encoding="utf-8")


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(OutputError, match=r"gone/classes\.tif\.aux\.xml: cannot be written"):
        write_raster_styles(tmp_path / "gone" / "classes.tif", LEGEND)
