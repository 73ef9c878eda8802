from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from geoseg.training.sheet import Sheet, links_of


@dataclass(frozen=True)
class Chip:
    image: np.ndarray


def card(*names):
    return SimpleNamespace(bands=[SimpleNamespace(common_name=n) for n in names])


def test_equal_values_have_equal_colours_in_all_chips():
    rng = np.random.default_rng(0)
    grass = Chip(rng.normal(0.0, 0.01, (4, 16, 16)).astype(np.float32))
    city = Chip(rng.normal(0.0, 1.0, (4, 16, 16)).astype(np.float32))
    grass.image[:, 0, 0] = city.image[:, 0, 0] = 0.5
    sheet = Sheet.of([grass, city], card("blue", "green", "red", "nir"), {})
    assert sheet.bands == (2, 1, 0)
    one, other = sheet.rgb(grass), sheet.rgb(city)
    assert (one[0, 0] == other[0, 0]).all()
    assert one.std() < other.std() / 4


def test_what_has_no_true_colour_and_no_chips_is_shown_all_the_same():
    sheet = Sheet.of([], card("vv", "vh"), {})
    assert sheet.rgb(Chip(np.zeros((2, 3, 3), np.float32))).shape == (3, 3, 3)


def labelled(name, path):
    band = SimpleNamespace(source=SimpleNamespace(path=str(path)))
    return SimpleNamespace(name=name, scene=SimpleNamespace(bands=[band]))


def test_chips_lead_to_their_files_relative_to_the_page(tmp_path):
    (tmp_path / "data").mkdir()
    place = tmp_path / "data" / "a b.tif"
    place.touch()
    links = links_of([labelled("a b", place)], tmp_path / "outputs/try")
    assert links == {"a b": "../../data/a%20b.tif"}
    sheet = Sheet.of([], card("red"), links)
    assert sheet.link("a b, rows 0-64, columns 64-128") == "../../data/a%20b.tif"
    assert (sheet.link("a b"), sheet.link("b, rows 0-64, columns 64-128")) == ("../../data/a%20b.tif", "")


@pytest.mark.parametrize(
    ("place", "link"),
    [
        ("https://example.org/a.tif?signature=secret", "https://example.org/a.tif"),
        ("https://me:secret@example.org/a.tif", None),
        ("s3://bucket/a.tif", ""),
        ("/vsizip/a.zip/b.tif", ""),
        ("gone.tif", ""),
    ],
)
def test_addresses_hold_no_credentials_and_lead_somewhere(tmp_path, place, link):
    found = links_of([labelled("a", place)], tmp_path).get("a", "")
    assert found == link if link is not None else "secret" not in found
