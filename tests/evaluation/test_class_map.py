import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from geoseg.core.errors import ConfigError, SceneError
from geoseg.core.geometry import Window
from geoseg.evaluation.class_map import open_class_map
from tests.conftest import write_raster
from tests.evaluation.conftest import LEGEND, SHAPE


def test_a_map_is_read_as_channels_of_its_legend(class_map, mapped):
    opened = open_class_map(class_map, LEGEND)
    found = opened.read(Window.of(-2, 0, SHAPE[0] + 2, SHAPE[1]))
    assert (found[:2] == 255).all()
    expected = np.select([mapped == 4, mapped == 1, mapped == 2], [0, 1, 2], 255)
    np.testing.assert_array_equal(found[2:], expected)


def test_names_and_colours_beside_the_map_are_its_legend(class_map):
    legend = open_class_map(class_map).legend
    assert [(c.id, c.slug, c.title, c.color) for c in legend.classes] == [
        (1, "tree-cover", "Tree cover", "#1b7837"),
        (2, "cropland", "Cropland", "#f2cf63"),
        (4, "open-water", "Open water", "#2b7bba"),
    ]


def test_category_names_alone_will_do(class_map):
    aux = class_map.with_name("classes.tif.aux.xml")
    text = aux.read_text()
    start, stop = text.index("<GDALRasterAttributeTable"), text.index("</PAMRasterBand>")
    aux.write_text(text[:start] + text[stop:])
    assert [c.id for c in open_class_map(class_map).legend.classes] == [1, 2, 4]


@pytest.mark.parametrize(
    ("rgb", "color"),
    [
        (("0.1", "0.5", "1"), "#1a80ff"),
        (("1", "0", "1"), "#ff00ff"),
        (("26", "128.0", "255"), "#1a80ff"),
        (("0.1", "red", "1"), "#808080"),
        (("26", "128", "300"), "#808080"),
        (("-1", "0", "0"), "#808080"),
        (("nan", "inf", ""), "#808080"),
    ],
)
def test_colours_of_other_programs_are_read_or_left_grey(class_map, rgb, color):
    aux = class_map.with_name("classes.tif.aux.xml")
    root = ET.parse(aux)  # noqa: S314
    for row in root.iterfind(".//Row"):
        for cell, text in zip(row.findall("F")[2:5], rgb, strict=True):
            cell.text = text
    root.write(aux)
    legend = open_class_map(class_map).legend
    assert [(c.id, c.title) for c in legend.classes] == [
        (1, "Tree cover"),
        (2, "Cropland"),
        (4, "Open water"),
    ]
    assert {c.color for c in legend.classes} == {color}


@pytest.mark.parametrize(("cell", "text"), [(0, "one"), (0, "-1"), (4, None)])
def test_a_table_of_other_content_is_no_legend(class_map, cell, text):
    aux = class_map.with_name("classes.tif.aux.xml")
    root = ET.parse(aux)  # noqa: S314
    row = root.find(".//Row")
    if text is None:
        row.remove(row.findall("F")[cell])
    else:
        row.findall("F")[cell].text = text
    root.write(aux)
    with pytest.raises(ConfigError, match="--legend"):
        open_class_map(class_map)


def test_the_bundle_of_the_run_knows_the_slugs(class_map, bundle, tmp_path):
    manifest = {"outputs": {"classes.tif": {}}, "pipeline": {"model": str(bundle.folder)}}
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    assert open_class_map(class_map).legend == bundle.card.legend


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "<PAMDataset>",
        "<a/>",
        "<?xml version='1.0' encoding='x'?><a/>",
        "<?xml version='1.0' encoding='utf-32'?><a/>",
    ],
)
def test_a_map_without_names_asks_for_a_legend(class_map, damaged):
    class_map.with_name("classes.tif.aux.xml").write_text(damaged)
    with pytest.raises(ConfigError, match=r"classes\.tif: nothing beside it says.*--legend"):
        open_class_map(class_map)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("int8", -1), ("int8", None), ("int16", -9999), ("uint16", 65535), ("int32", 0), ("uint8", 3)],
)
def test_ids_of_any_whole_type_and_their_nodata_are_read(tmp_path, dtype, nodata):
    fill = 4 if nodata is None else nodata
    path = write_raster(tmp_path / "x.tif", np.array([[1, fill, 2, 4]], dtype=dtype), nodata=nodata)
    found = open_class_map(path, LEGEND).read(Window.of(0, 0, 1, 4))
    assert found.tolist() == [[1, 0 if nodata is None else 255, 2, 0]]


def test_what_is_no_class_map_is_told(tmp_path):
    confidence = write_raster(tmp_path / "confidence.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(SceneError, match="is no class map: it holds 1 band of float32"):
        open_class_map(confidence, LEGEND)
    picture = write_raster(tmp_path / "rgb.tif", np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(SceneError, match="holds 3 bands of uint8"):
        open_class_map(picture, LEGEND)
    values = np.array([[1, 4, 7, 300, -5]], dtype=np.int16)
    with pytest.raises(
        SceneError, match=r"holds -5, 7, 300, no class of its legend \(1 tree, 2 crop, 4 water\)"
    ):
        open_class_map(write_raster(tmp_path / "x.tif", values), LEGEND).read(Window.of(0, 0, 1, 5))
