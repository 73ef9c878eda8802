from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.core.errors import OutputError
from geoseg.core.legend import Legend, LegendClass
from geoseg.styles.raster import write_object_style, write_raster_styles, write_share_style
from tests.conftest import write_raster

TITLES = ("Wald & <Wiese>", "a \"b\" 'c'", "Forêt – été", "水体")
IDS = (7, 1, 0, 4)
LEGEND = Legend(
    tuple(
        LegendClass(i, f"c{i}", t, c)
        for i, t, c in zip(IDS, TITLES, ("#010203", "#ff0000", "#00FF00", "#0000ff"), strict=True)
    )
)
# Every character that a title may have: no control characters, and what XML can hold.
ANY_TITLE = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"], exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=100,
).filter(str.strip)
SLD = "{http://www.opengis.net/sld}"
BY_ID = sorted(zip(IDS, TITLES, strict=True))


@pytest.fixture
def roots(tmp_path):
    """The style files of a legend."""
    raster = write_raster(tmp_path / "classes.tif", np.zeros((4, 4), np.uint8))
    written = write_raster_styles(raster, LEGEND)
    names = ["classes.qml", "classes.sld", "classes.tif", "classes.tif.aux.xml"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert sorted([*(p.name for p in written), "classes.tif"]) == names
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


def test_geoserver_finds_every_class_with_name_and_colour(roots):
    root = roots[".sld"]
    assert (root.tag, root.get("version")) == (f"{SLD}StyledLayerDescriptor", "1.0.0")
    (colors,) = root.iter(f"{SLD}ColorMap")
    assert colors.get("type") == "values"
    found = [(int(e.get("quantity")), e.get("label"), e.get("color").lower()) for e in colors]
    expected = ["#00ff00", "#ff0000", "#0000ff", "#010203"]
    assert found == [(i, t, c) for (i, t), c in zip(BY_ID, expected, strict=True)]


def test_confidence_is_shown_from_0_to_1(tmp_path):
    (path,) = write_share_style(tmp_path / "confidence.tif")
    assert path == tmp_path / "confidence.qml"
    renderer = ET.parse(path).getroot().find("pipe/rasterrenderer")  # noqa: S314
    assert renderer.get("type") == "singlebandpseudocolor"
    assert (renderer.get("classificationMin"), renderer.get("classificationMax")) == ("0.0", "1.0")
    shader = renderer.find("rastershader/colorrampshader")
    assert shader.get("colorRampType") == "INTERPOLATED"
    stops = [(float(i.get("value")), i.get("label")) for i in shader]
    assert stops == [(0, "0%"), (0.25, "25%"), (0.5, "50%"), (0.75, "75%"), (1, "100%")]
    # Sure is bright: lightness rises along the ramp, also when it is printed in grey.
    grey = [np.dot(LegendClass(0, "c", "C", i.get("color")).rgb, (0.299, 0.587, 0.114)) for i in shader]
    assert grey == sorted(grey)


@pytest.mark.parametrize("objects", [0, 1, 2, 700, 1024, 1025, 3_000_000_000])
def test_every_object_has_a_colour_and_the_file_stays_small(tmp_path, objects):
    (path,) = write_object_style(tmp_path / "instances.tif", objects)
    assert path == tmp_path / "instances.qml"
    shader = ET.parse(path).getroot().find("pipe/rasterrenderer/rastershader/colorrampshader")  # noqa: S314
    numbers = [float(i.get("value")) for i in shader]
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (1, max(objects, 1))
    assert len(numbers) == min(max(objects, 1), 1024)
    colors = np.array([LegendClass(0, "c", "C", i.get("color")).rgb for i in shader], dtype=int)
    assert all(np.abs(np.diff(colors, axis=0)).max(axis=1) > 60), "neighbours in number look different"


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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY_TITLE)
def test_any_title_survives(tmp_path, title):
    written = write_raster_styles(tmp_path / "classes.tif", Legend((LegendClass(0, "c", title, "#123456"),)))
    aux, qml, sld = (ET.parse(p).getroot() for p in written)  # noqa: S314
    assert [e.text for e in aux.iter("Category")] == [title]
    assert [e.text for e in aux.iter("F")][1] == title
    assert [e.get("label") for e in qml.iter("paletteEntry")] == [title]
    assert [e.get("label") for e in sld.iter(f"{SLD}ColorMapEntry")] == [title]


def test_styles_are_written_again(tmp_path):
    raster = tmp_path / "classes.tif"
    write_raster_styles(raster, LEGEND)
    write_raster_styles(raster, Legend(LEGEND.classes[:1]))
    assert "Wald &amp; &lt;Wiese&gt;" in (tmp_path / "classes.qml").read_text(encoding="utf-8")
    assert "水体" not in (tmp_path / "classes.qml").read_text(encoding="utf-8")


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(OutputError, match=r"gone/classes\.tif\.aux\.xml: cannot be written"):
        write_raster_styles(tmp_path / "gone" / "classes.tif", LEGEND)
