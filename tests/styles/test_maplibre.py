"""The style of vector tiles: its text, and what MapLibre draws with it."""

import base64
import gzip
import importlib.util
import io
import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from PIL import Image

from geoseg.core.legend import Legend, LegendClass
from geoseg.styles.maplibre import polygon_style
from geoseg.styles.polygons import write_web_style
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.write.pmtiles import view_of
from tests.report import browser
from tests.vector.maps import LEGEND, patches
from tests.vector.write.test_formats import made

_PAGE = """<!doctype html><body style="margin:0"><div id="map" style="width:800px;height:700px"></div>
<script src="maplibre-gl.js"></script><script>
const tiles = TILES, style = STYLE;
maplibregl.addProtocol("pmtiles", async ({url, type}) => {
  if (type === "json") return {data: {tiles: [`${url}/{z}/{x}/{y}`], minzoom: 0, maxzoom: MAXZOOM}};
  const found = tiles[url.split("/").slice(-3).join("/")];
  return {data: found ? Uint8Array.from(atob(found), (c) => c.charCodeAt(0)).buffer : new ArrayBuffer(0)};
});
const errors = [];
const map = new maplibregl.Map({container: "map", style});
map.on("error", (e) => errors.push(String(e.error)));
map.once("idle", () => { document.body.dataset.ready = "yes"; });
</script>"""


def test_every_class_is_a_named_layer():
    classes = LegendClass(7, "b", "Wald & <Wiese>", "#010203"), LegendClass(1, "a", "水体", "#ff0000")
    legend = Legend(classes)
    style = polygon_style(
        "x.pmtiles", "land", legend, "class_id", center=(1.5, 2), zoom=9.5, attribution="s &amp; t"
    )
    assert style == json.loads(json.dumps(style))
    *fills, outlines = style["layers"]
    assert [(f["id"], f["filter"], f["paint"]["fill-color"]) for f in fills] == [
        ("1 水体", ["==", ["get", "class_id"], 1], "#ff0000"),
        ("7 Wald & <Wiese>", ["==", ["get", "class_id"], 7], "#010203"),
    ]
    assert {layer["source-layer"] for layer in (*fills, outlines)} == {"land"}
    (source,) = style["sources"].values()
    assert source["url"] == "pmtiles://x.pmtiles"
    assert (style["center"], style["zoom"], source["attribution"]) == ([1.5, 2], 9.5, "s &amp; t")


@pytest.mark.skipif(browser.CHROMIUM is None, reason="needs chromium")
def test_maplibre_draws_every_polygon_in_the_colour_of_its_class(tmp_path):
    reader = pytest.importorskip("pmtiles.reader", reason="tiles are read with: pip install pmtiles")
    package = importlib.util.find_spec("maplibre")
    if package is None:
        pytest.skip("MapLibre comes with: pip install maplibre")
    files = made(tmp_path / "made", patches(21), formats=("gpkg", "pmtiles"))
    view = view_of(MapFiles(tmp_path / "made/map.tif").geobox())
    style = write_web_style(
        tmp_path / "polygons.style.json", "polygons.pmtiles", "land cover", LEGEND, center=view.center,
        zoom=view.zoom, attribution="a &amp; b",
    )  # fmt: skip
    with files["pmtiles"].open("rb") as file:
        source = reader.MmapSource(file)
        finest = reader.Reader(source).header()["max_zoom"]
        tiles = {
            "/".join(map(str, place)): base64.b64encode(gzip.decompress(data)).decode()
            for place, data in reader.all_tiles(source)
        }
    shutil.copy(Path(package.origin).parent / "srcjs/maplibre-gl.js", tmp_path)
    page = _PAGE.replace("TILES", json.dumps(tiles)).replace("STYLE", style.read_text(encoding="utf-8"))
    (tmp_path / "map.html").write_text(page.replace("MAXZOOM", str(finest)), encoding="utf-8")
    frame = gpd.read_file(files["gpkg"], layer="land cover", fid_as_index=True)
    frame = frame.to_crs(4326)[frame.area_m2 > 3000]
    places = [[p.x, p.y] for p in frame.representative_point()]
    with browser.opened(tmp_path / "map.html", 800, 700, flags=browser.WEBGL) as shown:
        picture = np.asarray(Image.open(io.BytesIO(shown.screenshot())).convert("RGB")).astype(int)
        found = json.loads(
            shown.js(
                f"JSON.stringify({json.dumps(places)}.map((p) => map.project(p)).map((p) => [p.x, p.y, "
                "map.queryRenderedFeatures(p).filter((f) => f.layer.type === 'fill').map((f) => f.id)]))"
            )
        )
        assert shown.js("errors") == []
        said = shown.js("document.querySelector('.maplibregl-ctrl-attrib-inner').textContent")
    assert said.startswith("a & b")
    assert len(found) > 10
    for (x, y, ids), feature in zip(found, frame.itertuples(), strict=True):
        assert 0 <= x < 800 and 0 <= y < 700, "the whole map is seen at first"  # noqa: PT018
        assert ids == [feature.Index]
        color = LEGEND.by_id()[feature.class_id].rgb
        assert np.abs(picture[int(y), int(x)] - color).max() <= 3
