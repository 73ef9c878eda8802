"""The map of a run that is served: what its tiles hold, who gets an answer, and how a browser shows it."""

import gzip
import http.client
import io
import json
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from pyproj import Transformer
from rasterio.warp import reproject

from geoseg.core import extras
from geoseg.core.errors import ConfigError, OutputError
from geoseg.runs.viewer.server import open_server
from tests.conftest import BAND_NAMES, make_bundle, reflectance, write_pipeline, write_raster
from tests.report import browser

for module in ("rio_tiler", "pmtiles", "maplibre"):
    pytest.importorskip(module, reason="the map is served with: pip install 'geoseg[view]'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a finished run with vector tiles; its scene has a gap and white pixels."""
    from geoseg.runs.prepare import prepare
    from geoseg.runs.run import run

    where = tmp_path_factory.mktemp("viewer")
    planes = reflectance(300, 260)
    planes[:, 100:140, 200:] = 0
    planes[:, 20:40, 20:60] = 9_000
    scene = write_raster(where / "scene.tif", planes, names=BAND_NAMES, scale=0.0001, nodata=0)
    outputs = f"outputs: {{folder: {where / 'out'}, polygons: [gpkg, pmtiles]}}"
    pipeline = write_pipeline(where, scene, make_bundle(where / "bundle").folder)
    text = pipeline.read_text().splitlines()
    pipeline.write_text("\n".join([*(line for line in text if "outputs:" not in line), outputs]))
    run(prepare(pipeline))
    return where / "out"


@pytest.fixture(scope="module")
def server(folder):
    with open_server(folder) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def get(server, path, method="GET", **headers):
    """Ask for a path as it stands; the client of a browser would tidy it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def asked(server, path):
    return get(server, f"/{server.secret}/{path}")


def about(server):
    return json.loads(asked(server, "map.json")[1])


def tile_of(lon, lat, z):
    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform(lon, lat)
    half, side = 20037508.342789244, 2 * 20037508.342789244 / (1 << z)
    col, row = int((x + half) // side), int((half - y) // side)
    return (z, col, row), Affine(side / 256, 0, col * side - half, 0, -side / 256, half - row * side)


def middle(server):
    west, south, east, north = server.site.bounds
    return (west + east) / 2, (south + north) / 2


def picture(server, name, place):
    status, data, headers = asked(server, f"tiles/{name}/{'/'.join(map(str, place))}.png")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


def reprojected(path, transform, fill, bands=1):
    with rasterio.open(path) as src:
        out = np.full((256, 256), fill, src.dtypes[0])
        reproject(
            rasterio.band(src, bands), out, dst_transform=transform, dst_crs="EPSG:3857", dst_nodata=fill
        )
    return out


@pytest.mark.parametrize("z", [13, 15, 17])
def test_a_tile_is_what_rasterio_reprojects(server, folder, z):
    place, transform = tile_of(*middle(server), z)
    classes = reprojected(folder / "classes.tif", transform, 255)
    with rasterio.open(folder / "classes.tif") as src:
        table = np.array([src.colormap(1)[i] for i in range(256)])
    table[255] = 0
    shown = picture(server, "classes", place)
    assert (classes != 255).mean() > 0.05
    assert (shown == table[classes]).all(axis=2).mean() > (0.995 if z > 13 else 0.9)
    sure = reprojected(folder / "confidence.tif", transform, 255)
    shown = picture(server, "confidence", place)
    assert ((shown[..., 3] > 0) == (sure <= 1)).mean() > 0.99
    # light is sure
    known = (sure <= 1) & (shown[..., 3] > 0)
    assert np.corrcoef(shown[known][:, :3].sum(axis=1), sure[known])[0, 1] > (0.95 if z > 13 else 0.8)


@pytest.mark.parametrize("z", [13, 17])
def test_the_scene_is_stretched_transparent_where_empty_and_white_where_white(server, folder, z):
    to_earth = Transformer.from_crs(32633, 4326, always_xy=True)
    shades = []
    for col, row in ((230, 120), (40, 30), (120, 200)):
        place, transform = tile_of(*to_earth.transform(500_000 + 10 * col, 4_500_000 - 10 * row), z)
        shown = picture(server, "scene", place)
        x, y = Transformer.from_crs(32633, 3857, always_xy=True).transform(
            500_000 + 10 * col, 4_500_000 - 10 * row
        )
        i, j = (int(v) for v in ~transform @ (x, y))
        shades.append(shown[j, i].tolist())
    assert shades[0] == [0, 0, 0, 0]
    assert shades[1] == [255, 255, 255, 255]
    assert shades[2][3] == 255
    assert shades[2][:3] != [255, 255, 255]


def test_where_there_is_nothing_a_tile_is_empty(server):
    assert not picture(server, "classes", (8, 0, 0)).any()
    assert not picture(server, "scene", (8, 0, 0)).any()


def test_polygons_are_single_tiles_of_the_archive(server, folder):
    from pmtiles.reader import MmapSource, Reader

    with (folder / "polygons.pmtiles").open("rb") as file:
        archive = Reader(MmapSource(file))
    told = about(server)["polygons"]
    (z, x, y), _ = tile_of(*middle(server), told["maxzoom"])
    status, data, headers = asked(server, f"polygons/{z}/{x}/{y}.mvt")
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert data == archive.get(z, x, y)
    assert told["layer"].encode() in gzip.decompress(data)
    assert asked(server, "polygons/9/0/0.mvt")[0] == 204


def test_a_pixel_says_its_class_and_confidence(server, folder):
    with rasterio.open(folder / "classes.tif") as src:
        classes = src.read(1)
    with rasterio.open(folder / "confidence.tif") as src:
        sure = src.read(1)
    titles = {c.id: c.title for c in server.site.run.record.classes}
    to_earth = Transformer.from_crs(32633, 4326, always_xy=True)
    for row, col in ((7, 9), (250, 200), (120, 230)):
        lon, lat = to_earth.transform(500_000 + 10 * (col + 0.5), 4_500_000 - 10 * (row + 0.5))
        said = dict(json.loads(asked(server, f"pixel.json?lon={lon}&lat={lat}")[1])["rows"])
        assert said["Pixel"] == f"column {col}, row {row}"
        assert said["Classes"] == titles.get(classes[row, col], "no data")
        assert said["Confidence"] == ("no data" if row == 120 else f"{100 * sure[row, col]:.0f} %")
    (outside,) = json.loads(asked(server, "pixel.json?lon=0&lat=0")[1])["rows"]
    assert outside[0] == "Place"


@pytest.mark.parametrize(
    "query", ["", "lon=1", "lon=a&lat=b", "lon=nan&lat=1", "lon=1e999&lat=1", "lon=0&lat=1e9"]
)
def test_no_place_breaks_the_pixel(server, query):
    assert asked(server, f"pixel.json?{query}")[0] in {200, 404}


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_another_host_is_refused(server, host):
    # a page of elsewhere whose name was made to point to this machine
    status, data, _ = get(server, f"/{server.secret}/map.json", Host=host.format(port=server.port))
    assert (status, data) == (403, b"this address is not served here\n")


def test_both_names_of_this_machine_are_served_and_other_pages_are_not(server):
    path, own = f"/{server.secret}/map.json", f"localhost:{server.port}"
    assert get(server, path, Host=own)[0] == 200
    assert get(server, path, Host=own, Origin=f"http://{own}")[0] == 200
    for origin in ("null", "http://evil.example", f"https://{own}", "http://localhost:1"):
        status, _, headers = get(server, path, Host=own, Origin=origin)
        assert status == 403
        assert not [name for name in headers if name.lower().startswith("access-control")]
    _, _, headers = get(server, path, Host=own)
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        "{s}/../run.json", "{s}/run.json", "{s}/classes.tif", "{s}/%2e%2e/run.json", "{s}//etc/passwd",
        "{s}/tiles/../../run.json", "{s}/tiles/classes/1/1/..%2f..%2frun.json", "{s}/view.html",
        "{s}/tiles/classes/1/2/0.png", "{s}/tiles/classes/99/0/0.png", "{s}/tiles/nothing/0/0/0.png",
        "{s}/tiles/classes/0/0/0.mvt", "{s}/tiles/polygons/0/0/0.png", "{s}/polygons/0/0/0.png",
        "{s}/polygons.json", "{s}/maplibre-gl.js/../pywidget.js", "{s}", "", "wrong/map.json", "map.json",
        "wrong/tiles/classes/0/0/0.png", "é/map.json",
    ],
)  # fmt: skip
def test_nothing_else_is_handed_out(server, path):
    from urllib.parse import quote

    assert get(server, "/" + quote(path.format(s=server.secret), safe="/%."))[0] == 404


def test_it_is_read_only_and_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert get(server, f"/{server.secret}/map.json", method)[0] == 501
    status, data, headers = get(server, f"/{server.secret}/map.json", "HEAD")
    assert (status, data) == (200, b"")
    assert int(headers["Content-Length"]) > 100


def test_a_file_that_has_gone_is_told_and_stops_nothing(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "run")
    from geoseg.runs.viewer.site import open_site

    site = open_site(copy)
    assert site.polygons is not None
    (copy / "polygons.pmtiles").unlink()
    site = open_site(copy)
    assert site.polygons.about == {"kind": "geojson"}
    features = json.loads(gzip.decompress(site.answer("polygons.json").body))["features"]
    assert features[0]["geometry"]["type"].endswith("Polygon")
    assert features[0]["properties"]["class_name"]
    west, south, east, north = site.bounds
    lon, lat = np.ravel(features[0]["geometry"]["coordinates"][0])[:2]
    assert west - 1e-3 < lon < east + 1e-3
    assert south - 1e-3 < lat < north + 1e-3
    with open_server(copy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        (copy / "confidence.tif").unlink()
        (z, x, y), _ = tile_of(*middle(server), 15)
        status, data, _ = asked(server, f"tiles/confidence/{z}/{x}/{y}.png")
        assert (status, data.count(b"\n")) == (500, 1)
        assert asked(server, f"tiles/classes/{z}/{x}/{y}.png")[0] == 200
        server.shutdown()
        thread.join()


def test_a_missing_extra_a_busy_port_and_a_map_without_a_place_are_one_line(
    server, folder, tmp_path, monkeypatch
):
    with pytest.raises(ConfigError, match=f"--port {server.port}: .*leave it out for a free one"):
        open_server(folder, server.port)
    copy = shutil.copytree(folder, tmp_path / "run")
    with rasterio.open(copy / "classes.tif") as src:
        pixels = src.read()
    write_raster(copy / "classes.tif", pixels, crs=None)
    with pytest.raises(OutputError, match=r"no place on the earth, .* report.html shows it whole"):
        open_server(copy)
    with pytest.raises(OutputError):
        open_server(tmp_path)
    for module in ("rio_tiler", "maplibre"):
        monkeypatch.setattr(extras, "find_spec", lambda name, gone=module: None if name == gone else object())
        with pytest.raises(ConfigError, match=rf"{module} is not installed; .* 'geoseg\[view\]'"):
            open_server(folder)


def test_the_command_serves_until_it_is_interrupted(folder):
    # Where the tests run in the background of a shell, SIGINT is ignored, and that is inherited.
    listen = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
    module = listen + "runpy.run_module('geoseg', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", module, "view", folder, "--serve", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            port = int(url.split(":")[2].partition("/")[0])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/" + url.split("/", 3)[3])
            assert b"<h1>" in connection.getresponse().read()
            connection.close()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Ctrl-C ends it" in said
    assert "Traceback" not in said


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_shows_the_map_and_reads_a_pixel(server):
    with browser.opened(server.url, 1000, 700, flags=browser.WEBGL) as page:
        page.js("document.getElementById('opacity').value = 100")
        page.js("document.getElementById('opacity').dispatchEvent(new Event('input', {bubbles: true}))")
        page.js("new Promise((done) => geosegMap.once('idle', () => done(1)) && geosegMap.triggerRepaint())")
        shown = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
        lon, lat = middle(server)
        x, y = page.js(f"(({{x, y}}) => [x, y])(geosegMap.project([{lon}, {lat}]))")
        said = dict(json.loads(asked(server, f"pixel.json?lon={lon}&lat={lat}")[1])["rows"])
        colors = {c.title: c.color for c in server.site.run.record.classes}
        wanted = [int(colors[said["Classes"]][i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(shown[int(y), int(x)] - wanted).max() <= 3
        legend = page.js("[...document.querySelectorAll('#legend li')].map((e) => e.textContent.trim())")
        assert legend == list(colors)
        page.js("document.getElementById('polygons').click()")
        page.js("new Promise((done) => geosegMap.once('idle', () => done(1)))")
        page.drag((x, y), (x, y))
        page.js(
            "new Promise((done) => { const look = () => document.querySelector('#said tr') ? done(1) "
            ": setTimeout(look, 20); look(); })"
        )
        cells = (
            "[...document.querySelectorAll('#said tr')].map((r) => [...r.cells].map((c) => c.textContent))"
        )
        told = dict(page.js(cells))
        assert page.js("document.getElementById('notes').textContent") == ""
        assert told["Classes"] == said["Classes"] == told["class_name"]
        assert float(told["area_m2"]) > 0
        # a machine without a GPU is slow, and the driver says so
        assert [c for c in page.complaints if c.get("entry", {}).get("source") != "rendering"] == []
        assert all(url.startswith((server.url, "data:image/", "blob:")) for url in page.requests)
