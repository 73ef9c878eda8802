import json

import pytest

from geoseg.training.start.names import ClassName, lists_beside, lists_in

PAM = """<PAMDataset><PAMRasterBand band="1">
<CategoryNames><Category></Category><Category>Water</Category><Category>Forest</Category></CategoryNames>
{rat}</PAMRasterBand></PAMDataset>"""
RAT = """<GDALRasterAttributeTable>
<FieldDefn index="0"><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>
<FieldDefn index="1"><Name>Class</Name><Type>2</Type><Usage>2</Usage></FieldDefn>
<FieldDefn index="2"><Name>R</Name><Type>0</Type><Usage>6</Usage></FieldDefn>
<FieldDefn index="3"><Name>G</Name><Type>0</Type><Usage>7</Usage></FieldDefn>
<FieldDefn index="4"><Name>B</Name><Type>0</Type><Usage>8</Usage></FieldDefn>
<Row index="0"><F>10</F><F>Tree cover</F><F>0</F><F>100</F><F>0</F></Row>
</GDALRasterAttributeTable>"""
QML = '<qgis><pipe><paletteEntry value="3" color="#ff0000" label="Built"/></pipe></qgis>'


def test_tables_beside_a_raster_come_before_its_colours(tmp_path):
    raster = tmp_path / "a.tif"
    (tmp_path / "a.tif.aux.xml").write_text(PAM.format(rat=RAT))
    (tmp_path / "a.qml").write_text(QML)
    found = list(lists_beside(raster, {7: "#010203"}))
    assert [n.source for n in found] == ["a.tif.aux.xml", "a.qml", "a.tif"]
    assert found[0].classes == (ClassName(10, "Tree cover", "#006400"),)
    assert found[1].of_codes() == {3: ClassName(3, "Built", "#ff0000")}
    assert found[2].classes == (ClassName(7, "", "#010203"),)
    (tmp_path / "a.tif.aux.xml").write_text(PAM.format(rat=""))
    assert next(iter(lists_beside(raster, {}))).classes == (ClassName(1, "Water"), ClassName(2, "Forest"))


WATER, ROAD = ClassName(1, "Water"), ClassName(2, "Road")


@pytest.mark.parametrize(
    ("name", "text", "classes"),
    [
        ("classes.txt", "Water\nRoad\n", (ClassName(0, "Water"), ClassName(1, "Road"))),
        ("classes.txt", "# codes\n1 Water\n2: Road\n", (WATER, ROAD)),
        ("label_colors.txt", "0 0 255\tWater\n", (ClassName(None, "Water", "#0000ff"),)),
        ("class_dict.csv", "name,r,g,b\nWater,0,0,255\n", (ClassName(None, "Water", "#0000ff"),)),
        ("classes.csv", "code;name\n1;Water\n2;Road\n", (WATER, ROAD)),
        ("labels.json", json.dumps({"1": "Water", "2": "Road"}), (WATER, ROAD)),
        ("labels.json", json.dumps({"Water": 1, "Road": 2}), (WATER, ROAD)),
        ("classes.json", '{"categories": [{"id": 1, "name": "Water"}]}', (WATER,)),
        ("palette.json", json.dumps({"Water": [0, 0, 255]}), (ClassName(None, "Water", "#0000ff"),)),
        (
            "legend.yaml", "classes:\n- {id: 9, slug: w, title: Water, color: '#0000ff', codes: [1, 2]}\n",
            (ClassName(1, "Water", "#0000ff"), ClassName(2, "Water", "#0000ff")),
        ),
    ],
)  # fmt: skip
def test_lists_of_classes_are_read_as_people_write_them(tmp_path, name, text, classes):
    (tmp_path / name).write_text(text)
    assert [n.classes for n in lists_in(tmp_path)] == [classes]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.json", "{"), ("classes.json", "7"), ("classes.csv", ""), ("classes.yaml", "a: [b"),
        ("classes.json", '{"1": {"name": {}}}'), ("readme.txt", "Water"), ("classes.txt", "1.5 2.5 3\n"),
        ("classes.json", "[[1]]"), ("classes.csv", "name,r,g,b\nWater,x,y,z\n"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_skipped(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert not any(c.title == "Water" for n in lists_in(tmp_path) for c in n.classes)


def test_names_hold_nothing_that_a_terminal_obeys(tmp_path):
    (tmp_path / "classes.json").write_text(json.dumps({"1": "Wa\x1b[2Jter\n  x"}))
    assert next(iter(lists_in(tmp_path))).classes[0].title == "Wa\\x1b[2Jter x"
