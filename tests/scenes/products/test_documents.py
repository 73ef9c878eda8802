import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.errors import SceneError
from geoseg.scenes.products.documents import as_cloud_cover, as_number, parse_mtl, parse_xml, text_of
from tests.scenes.products.makers import WRITE_MTL

DEEP = 100_000


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("05.10", 5.1),
        (3, 3),
        (2.5, 2.5),
        (" 1e-4 ", 0.0001),
        ("nan", None),
        ("inf", None),
        (1e400, None),
        (10**400, None),
        (True, None),
        (None, None),
        ([], None),
        ({}, None),
        ("", None),
        ("1_000", 1000),
        ("a", None),
    ],
)
def test_numbers(value, number):
    assert as_number(value) == number


@pytest.mark.parametrize(
    ("value", "cover"),
    [("12.5", 12.5), (0, 0), (100, 100), (-1, None), ("-1", None), (101, None), ("NaN", None)],
)
def test_cloud_cover(value, cover):
    assert as_cloud_cover(value) == cover


def test_elements_are_found_in_any_namespace():
    root = parse_xml(b"<a xmlns='one' xmlns:t='two'><t:b> </t:b><c><t:b> text </t:b></c></a>", "x.xml")
    assert text_of(root, "b") == "text"
    assert text_of(root, "none", "b") == "text"
    assert text_of(root, "none") is None


def test_a_byte_order_mark_is_no_damage():
    assert parse_xml("\ufeff<?xml version='1.0' encoding='UTF-8'?><a/>".encode(), "x.xml").tag == "a"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x.xml: is damaged; get the product again"),
        (b"<a><b></a>", "x.xml: is damaged; get the product again"),
        (b"<a>&b;</a>", "x.xml: is damaged; get the product again"),
        (b"\xff\xfe<\x00", "x.xml: is damaged; get the product again"),
        ("<!DOCTYPE a><a/>".encode("utf-16"), "x.xml: is damaged"),
        (
            b"<?xml version='1.0'?><!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
            "x.xml: declares a document type",
        ),
        (b"<!DOCTYPE a [<!ENTITY b '1'><!ENTITY c '&b;&b;'>]><a>&c;</a>", "x.xml: declares a document type"),
    ],
)
def test_damaged_and_hostile_xml_is_one_line(data, message):
    with pytest.raises(SceneError, match=message):
        parse_xml(data, "x.xml")


def test_deep_xml_ends_no_process():
    root = parse_xml(b"<a>" * DEEP + b"1" + b"</a>" * DEEP, "x.xml")
    assert text_of(root, "a") == "1"


def test_the_groups_of_a_text_may_be_inside_each_other():
    text = 'GROUP = A\n GROUP = B\n  K = "a = b"\n  N = 2\n END_GROUP = B\n L = 3\nEND_GROUP = A\nEND\n'
    assert parse_mtl(text.encode(), "x_MTL.txt", "x") == {"B": {"K": "a = b", "N": "2"}, "L": "3"}


@settings(max_examples=20)
@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True),
        st.from_regex(r"\w[\w .:+-]{0,8}\w", fullmatch=True),
    )
)
@pytest.mark.parametrize("kind", ["json", "txt", "xml"])
def test_what_is_written_is_read(kind, keys):
    mtl = {"GROUP_A": keys, "GROUP_B": {"KEY": "1"}}
    assert parse_mtl(WRITE_MTL[kind](mtl).encode(), f"x_MTL.{kind}", "x") == mtl


@given(st.binary(max_size=60) | st.text('GROUPEND_=\n"{}[]<>/a1 :', max_size=60).map(str.encode))
@pytest.mark.parametrize("kind", ["json", "txt", "xml"])
def test_any_bytes_are_groups_or_one_line(kind, data):
    try:
        found = parse_mtl(data, f"x_MTL.{kind}", "x")
    except SceneError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(found, dict)
