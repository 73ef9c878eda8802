"""The page in a real browser: it loads from a file without a complaint, and the map moves and zooms."""

import base64
import csv
import io
import re

import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import Transformer

from tests.conftest import read_manifest
from tests.report.browser import CHROMIUM, opened
from tests.report.conftest import TITLES

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browser(finished):
    with opened(finished / "report.html") as page:
        yield page


@pytest.fixture
def page(browser):
    """The page as it opens, at the size of a desk; nothing may be on its console afterwards."""
    browser.resize(1280, 1000)
    reload(browser)
    browser.js("document.getElementById('map').scrollIntoView({block: 'center'})")
    yield browser
    assert browser.complaints == []
    assert all(url.startswith(("file:///", "data:image/")) for url in browser.requests)


def reload(page):
    """Load the page without what its address kept, or is about to keep."""
    page.js(
        "(() => { for (let i = setTimeout(() => 0); i; i--) clearTimeout(i);"
        " history.replaceState(null, '', location.href.split('#')[0]); })()"
    )
    page.call("Page.reload")
    page.ready()


def view(page):
    """Column and row in the middle of the map, and CSS pixels for each pixel of the scene."""
    return np.array([float(v) for v in page.js("document.getElementById('map').dataset.view").split()])


def box(page, selector="#map"):
    """Left, top, width and height on the screen."""
    return page.js(
        f"(({{x, y, width, height}}) => [x, y, width, height])(document.querySelector(`{selector}`)"
        ".getBoundingClientRect())"
    )


def middle(page, selector="#map"):
    x, y, width, height = box(page, selector)
    return np.array([x + width / 2, y + height / 2])


def click(page, selector):
    page.js(f"document.querySelector(`{selector}`).scrollIntoView({{block: 'nearest'}})")
    at = middle(page, selector)
    page.drag(at, at)


def scene_at(page, point):
    """Column and row of the scene that lie under a point of the screen."""
    x, y, scale = view(page)
    return np.array([x, y]) + (point - middle(page)) / scale


def picture(page):
    """What the map shows, shape (rows, cols, 3)."""
    page.settle()
    data = page.js("document.querySelector('#map canvas').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGB"))


def set_opacity(page, value):
    page.js(
        f"(({{opacity}}) => {{ opacity.value = {value}; opacity.dispatchEvent(new Event('input')); }})"
        "({opacity: document.getElementById('opacity')})"
    )


def test_it_opens_with_the_whole_map(page):
    _, _, width, height = box(page)
    assert view(page) == pytest.approx([130, 150, min(width / 260, height / 300)], rel=0.01)
    # in the colours of the legend, which a scene that shines through would shift
    shown = picture(page).reshape(-1, 3)
    colors = [
        c[:3] for c in page.js("JSON.parse(document.getElementById('map-data').textContent).layers[0].colors")
    ]
    assert all((shown == color).all(axis=1).mean() > 0.03 for color in colors)
    assert len(page.requests) >= 5


def test_the_mouse_drags_the_map(page):
    click(page, "[data-do=in]")
    click(page, "[data-do=in]")
    before, shown, start = view(page), picture(page), middle(page)
    page.drag(start, start + np.array([60, -40]))
    after = view(page)
    assert after == pytest.approx(before + np.array([-60, 40, 0]) / [before[2], before[2], 1], abs=0.01)
    # and its pixels went along
    assert (picture(page)[:-40, 60:] == shown[40:, :-60]).all(axis=2).mean() > 0.9


def test_the_wheel_scrolls_the_page_past_a_map_that_nobody_took_in_hand(page):
    before, scrolled = view(page), page.js("scrollY")
    page.mouse("mouseWheel", *middle(page), deltaX=0, deltaY=150)
    assert page.js("new Promise((done) => setTimeout(() => done(scrollY), 300))") > scrolled
    assert view(page) == pytest.approx(before)


def test_the_wheel_zooms_a_map_with_ctrl(page):
    before, scrolled = view(page), page.js("scrollY")
    page.mouse("mouseWheel", *middle(page), deltaX=0, deltaY=-400, modifiers=2)
    page.settle()
    assert view(page)[2] > 1.5 * before[2]
    assert page.js("scrollY") == scrolled


def test_the_wheel_lets_go_of_a_map_that_shows_all(page):
    click(page, "[data-do=fit]")
    scrolled = page.js("scrollY")
    page.mouse("mouseWheel", *middle(page), deltaX=0, deltaY=150)
    assert page.js("new Promise((done) => setTimeout(() => done(scrollY), 300))") > scrolled


def test_the_wheel_zooms_where_the_pointer_is(page):
    at = np.floor(middle(page)) + np.array([70, 50])
    page.drag(at, at)  # the click takes the map in hand
    before, under, scrolled = view(page), scene_at(page, at), page.js("scrollY")
    for _ in range(4):
        page.mouse("mouseWheel", *at, deltaX=0, deltaY=-200)
    page.settle()
    assert view(page)[2] > 3 * before[2]
    assert scene_at(page, at) == pytest.approx(under, abs=0.05)
    assert page.js("scrollY") == scrolled  # the page did not move along
    for _ in range(3):
        page.mouse("mouseWheel", *at, deltaX=0, deltaY=400)
    page.settle()
    assert view(page) == pytest.approx(before)


def test_the_keyboard_moves_and_zooms(page):
    page.js("document.getElementById('map').focus()")
    start = view(page)
    page.key("+")
    page.key("+")
    closer = view(page)
    assert closer[2] == pytest.approx(start[2] * 1.5**2, rel=1e-3)
    page.key("ArrowRight")
    page.key("ArrowUp")
    moved = view(page)
    assert moved[0] > closer[0]
    assert moved[1] < closer[1]
    page.key("-")
    assert view(page)[2] == pytest.approx(start[2] * 1.5, rel=1e-3)
    page.key("0")
    assert view(page) == pytest.approx(start)


def test_the_buttons_zoom(page):
    start = view(page)
    click(page, "[data-do=in]")
    assert view(page)[2] == pytest.approx(1.5 * start[2], rel=1e-3)
    click(page, "[data-do=out]")
    assert view(page)[2] == pytest.approx(start[2], rel=1e-3)
    click(page, "[data-do=in]")
    click(page, "[data-do=fit]")
    assert view(page) == pytest.approx(start)


def test_two_fingers_pinch_and_one_drags(page):
    page.resize(390, 844, ratio=2, mobile=True)
    page.js("document.getElementById('map').scrollIntoView({block: 'center'})")
    at, start = middle(page), view(page)
    page.touch("touchStart", at - np.array([30, 0]), at + np.array([30, 0]))
    for wide in (40, 50, 60):
        page.touch("touchMove", at - np.array([wide, 0]), at + np.array([wide, 0]))
    page.touch("touchEnd")
    page.settle()
    closer = view(page)
    assert closer == pytest.approx([start[0], start[1], 2 * start[2]], rel=0.05)
    page.touch("touchStart", at)
    page.touch("touchMove", at + np.array([20, 30]))
    page.touch("touchEnd")
    page.settle()
    assert view(page)[:2] == pytest.approx(closer[:2] - np.array([20, 30]) / closer[2], abs=0.05)


def test_close_up_the_map_shows_the_classes_of_the_raster_with_crisp_pixels(page, finished):
    set_opacity(page, 100)
    for _ in range(12):
        click(page, "[data-do=in]")
    x, y, scale = view(page)
    assert scale == 32
    shown = picture(page)
    with rasterio.open(finished / "classes.tif") as src:
        classes, table = src.read(1), src.colormap(1)
    height, width = shown.shape[:2]
    rows = np.floor(y + (np.arange(height) + 0.5 - height / 2) / scale).astype(int)
    cols = np.floor(x + (np.arange(width) + 0.5 - width / 2) / scale).astype(int)
    colors = np.array([table[i][:3] for i in range(256)])
    assert (shown == colors[classes[rows[:, None], cols]]).all(axis=2).mean() > 0.99


def test_the_slider_goes_from_the_scene_to_the_classes(page):
    set_opacity(page, 0)
    scene = picture(page).astype(int)
    set_opacity(page, 100)
    classes = picture(page).astype(int)
    set_opacity(page, 50)
    assert np.abs(scene - classes).mean() > 5
    assert np.abs(picture(page) - (scene + classes) / 2).max() <= 2


def test_confidence_seams_and_places_are_drawn_when_asked_for(page):
    plain = picture(page)
    for selector in ("[value=confidence]", "#show-seams", "#show-places"):
        click(page, selector)
        other = picture(page)
        assert (other != plain).any(axis=2).mean() > 0.002, selector
        plain = other


def test_the_map_tells_what_lies_under_the_pointer(page, finished):
    with rasterio.open(finished / "classes.tif") as src:
        classes, ids = src.read(1), {1: TITLES[0], 2: TITLES[1], 3: TITLES[2], 255: "no data"}
    with rasterio.open(finished / "confidence.tif") as src:
        percent = np.rint(100 * src.read(1))
    assert set(np.unique(classes)) == set(ids)
    for value, name in ids.items():
        found = np.argwhere(classes == value)
        x, y, scale = view(page)
        wanted = (found[len(found) // 2][::-1] + 0.5 - [x, y]) * scale
        at = np.floor(middle(page) + wanted)  # a mouse moves by whole pixels
        page.mouse("mouseMoved", *at)
        page.settle()
        col, row = np.floor(scene_at(page, at)).astype(int)
        assert classes[row, col] == value
        low = int(min(percent[row, col] // 5, 19)) * 5
        sure = f" · {low} to {low + 5} %" if value != 255 else ""
        told = page.js("document.querySelector('.readout').textContent")
        assert told.startswith(f"{name}{sure} · "), told
        place = [float(n) for n in re.findall(r"(\d+) [EN]\b", told)]
        assert place == pytest.approx(scene_at(page, at) * [10, -10] + [500_000, 4_500_000], abs=1)


def test_a_place_jumps_there(page):
    places = page.js("JSON.parse(document.getElementById('map-data').textContent).places")
    left, top, right, bottom = next(p for p in places if 40 < p[0] < 220 and 40 < p[1] < 260)
    number = places.index([left, top, right, bottom])
    click(page, f"[data-place='{number}']")
    assert view(page)[:2] == pytest.approx([(left + right) / 2, (top + bottom) / 2])
    assert page.js("document.activeElement.id") == "map"
    assert 0 <= box(page)[1] < 900


def shares(page):
    """Share of the map in each colour of the legend."""
    shown, colors = picture(page), legend_colors(page)
    inside = (shown != 0).any(axis=2).sum()
    return [(shown == color).all(axis=2).sum() / inside for color in colors]


def legend_colors(page):
    data = "JSON.parse(document.getElementById('map-data').textContent)"
    return [c[:3] for c in page.js(f"{data}.layers[0].colors")]


def wait(page, condition):
    look = f"const look = () => {condition} ? done(1) : setTimeout(look, 10)"
    page.js(f"new Promise((done) => {{ {look}; look(); }})")
    page.settle()


def address(page):
    """What follows the # once it is written."""
    page.js("new Promise((done) => setTimeout(done, 300))")
    return page.js("location.hash")


def test_a_click_in_the_legend_shows_a_class_alone(page):
    before = shares(page)
    assert min(before) > 0.03
    click(page, "[data-only='1']")
    wait(page, "document.getElementById('map').dataset.only === '1|1'")  # the pointer is on it, too
    page.mouse("mouseMoved", 5, 5)
    wait(page, "document.getElementById('map').dataset.only === '1|null'")
    alone = shares(page)
    assert alone[1] >= before[1]
    assert max(alone[0], alone[2]) < 0.002
    assert page.js("document.querySelector(`[data-only='1']`).ariaPressed") == "true"
    click(page, "[data-only='1']")
    page.mouse("mouseMoved", 5, 5)
    wait(page, "document.getElementById('map').dataset.only === '|null'")
    assert shares(page) == pytest.approx(before)


def test_pointing_at_the_legend_dims_the_other_classes(page):
    before = shares(page)
    page.mouse("mouseMoved", *middle(page, "[data-only='0']"))
    wait(page, "document.getElementById('map').dataset.only === '|0'")
    dimmed = shares(page)
    assert dimmed[0] == pytest.approx(before[0], rel=0.02)
    assert max(dimmed[1:]) < 0.002
    page.mouse("mouseMoved", 5, 5)
    wait(page, "document.getElementById('map').dataset.only === '|null'")


def test_the_handle_swipes_between_scene_and_map(page):
    whole, (left, _, width, _) = picture(page), box(page)
    handle = middle(page, "#swipe i")
    page.drag(handle, np.array([left + width / 2, handle[1]]))
    shown, half = picture(page), whole.shape[1] // 2
    assert (shown[:, half + 5 :] == whole[:, half + 5 :]).all()
    set_opacity(page, 0)
    scene = picture(page)
    assert (shown[:, : half - 5] == scene[:, : half - 5]).all()
    page.key("End")
    assert page.js("document.getElementById('swipe').ariaValueNow") == "100"


def test_space_shows_the_scene_alone_while_it_is_held(page):
    page.js("document.getElementById('map').focus()")
    before, scrolled = picture(page), page.js("scrollY")
    page.call("Input.dispatchKeyEvent", type="keyDown", key=" ")
    alone = picture(page)
    page.call("Input.dispatchKeyEvent", type="keyUp", key=" ")
    assert (alone != before).any(axis=2).mean() > 0.2
    assert (picture(page) == before).all()
    assert page.js("scrollY") == scrolled


def test_outlines_have_the_colours_of_the_classes_and_leave_the_scene_free(page):
    filled = shares(page)
    click(page, "#outlines")
    lines = shares(page)
    assert all(0.002 < line < fill for line, fill in zip(lines, filled, strict=True))


def test_a_click_pins_a_place_and_tells_its_coordinates(page, finished):
    at = np.floor(middle(page)) + np.array([30, 20])
    page.drag(at, at)
    col, row = scene_at(page, at)
    east, north = 500_000 + 10 * col, 4_500_000 - 10 * row
    grounded, degrees = page.js("[...document.querySelectorAll('[data-copy]')].map((b) => b.dataset.copy)")
    assert re.fullmatch(r"\d+ E, \d+ N \(EPSG:32633\)", grounded)
    numbers = [float(n) for n in re.findall(r"\d+", grounded)[:2]]
    assert numbers == pytest.approx([east, north], abs=1)
    longitude, latitude = Transformer.from_crs(32633, 4326, always_xy=True).transform(east, north)
    told = re.fullmatch(r"([\d.]+)° N, ([\d.]+)° E", degrees)
    assert [float(n) for n in told.groups()] == pytest.approx([latitude, longitude], abs=2e-5)
    with rasterio.open(finished / "classes.tif") as src:
        title = TITLES[src.read(1)[int(row), int(col)] - 1]
    assert page.js("document.querySelector('#pin .what').textContent").startswith(title)
    click(page, "[data-copy]")
    assert page.js("document.querySelector('[data-copy]').textContent") == "Copied"
    page.js("document.getElementById('map').focus()")
    page.key("Escape")
    assert page.js("document.getElementById('pin').hidden")


def test_the_address_brings_back_what_was_seen(page):
    for selector in ("[data-do=in]", "[data-only='2']", "#show-seams"):
        click(page, selector)
    page.mouse("mouseMoved", 5, 5)
    set_opacity(page, 70)
    page.js("document.getElementById('map').focus({preventScroll: true})")
    page.key("ArrowRight")
    page.key("Enter")
    wait(page, "document.getElementById('map').dataset.only === '2|null'")
    seen, before, kept = picture(page), view(page), address(page)
    assert {"view", "only", "with", "blend", "pin"} <= set(re.findall(r"[#&](\w+)=", kept)), kept
    reload(page)
    assert (picture(page) != seen).any(axis=2).mean() > 0.2
    page.js(f"location.hash = {kept!r}")
    wait(page, "document.getElementById('map').dataset.only === '2|null'")
    assert view(page) == pytest.approx(before, rel=1e-3)
    # but for lines that lie a hundredth of a pixel further
    assert (np.abs(picture(page).astype(int) - seen) > 12).any(axis=2).mean() < 0.01
    assert not page.js("document.getElementById('pin').hidden")


@pytest.mark.parametrize(
    "hostile",
    [
        "#view=1e999,NaN,-3&show=<b>&blend=abc&swipe=9e9&only=../../x,%25E0%25A4&with=map,pin&pin=NaN,1",
        "#files", "#view=5,5,1e30", "#view=,,&pin=,", "#pin=-4,1e9", "#only=", "#=&==",
        "#show=probabilities",
    ],
)  # fmt: skip
def test_no_address_breaks_the_map(page, hostile):
    whole = view(page)
    page.js(f"location.hash = {hostile!r}")
    page.settle()
    picture(page)
    assert np.isfinite(view(page)).all()
    assert whole[2] <= view(page)[2] <= 32
    assert page.js("document.querySelector('input[name=over]:checked').value") == "classes"
    assert page.js("document.getElementById('pin').hidden")


_CAPTURED = """(() => { window.saved = []; URL.createObjectURL = (b) => { saved.push(b); return "#"; };
  saved.names = [];
  HTMLAnchorElement.prototype.click = function () { saved.names.push(this.download); }; })()"""


def test_figures_are_saved_as_pictures_and_tables(page, finished):
    page.js(_CAPTURED)
    click(page, "[data-csv=classes]")
    (text,) = page.js("Promise.all(saved.map((b) => b.text()))")
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert [r[0] for r in rows] == ["class", *TITLES]
    pixels = read_manifest(finished)["pixels"]
    assert [int(r[2]) for r in rows[1:]] == [n for slug, n in pixels.items() if slug != "nodata"]
    for name in page.js("[...document.querySelectorAll('[data-csv]')].map((b) => b.dataset.csv)"):
        click(page, f"[data-csv={name}]")
    click(page, "[data-png=confidence]")
    wait(page, "saved.at(-1).type === 'image/png'")
    url = page.js(
        "new Promise((done) => { const r = new FileReader(); r.onload = () => done(r.result);"
        " r.readAsDataURL(saved.at(-1)); })"
    )
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
    assert shown.shape[1] == 1120
    # bars of each class in its colour
    assert all((shown == color).all(axis=2).sum() > 500 for color in legend_colors(page))
    assert page.js("saved.names.every((n) => /^[^/]+-[a-z]+\\.(csv|png)$/.test(n))")


def test_the_map_and_its_scale_are_seen_without_scrolling(page):
    page.resize(1280, 720)
    page.js("scrollTo(0, 0)")
    for selector in ("#map", ".scale", ".readout", "[data-only='2']"):
        assert page.js(f"document.querySelector(`{selector}`).getBoundingClientRect().bottom") <= 720, (
            selector
        )
    assert box(page)[3] > 380


def test_a_print_has_no_help_and_shows_the_limits(page):
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        for selector in (".help", ".buttons", "#swipe", ".readout", ".slider", ".save"):
            assert box(page, selector)[2:] == [0, 0], selector
        assert box(page, "#layer-scene")[2] > 100
        assert box(page, "#layer-classes")[2] > 100
        page.js("dispatchEvent(new Event('beforeprint'))")
        assert page.js("document.querySelector('.limits').open")
        page.js("dispatchEvent(new Event('afterprint'))")
        assert not page.js("document.querySelector('.limits').open")
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_makes_the_page_scroll_sideways(page, width):
    page.resize(width, 800, mobile=width < 500)
    assert page.js("document.documentElement.scrollWidth") <= width
    x, _, wide, high = box(page)
    assert x >= 0
    # tables become cards: nothing is cut off
    hidden = (
        "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    )
    assert width > 700 or page.js(hidden) == 0
    assert wide >= 0.55 * width - 20
    assert high >= 150
