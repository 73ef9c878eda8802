"use strict";
const $ = (id) => document.getElementById(id);
// The worker of MapLibre has no address of its own.
const at = (path) => new URL(".", location.href).href + path;

function element(parent, name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  parent.append(made);
  return made;
}

function styleOf(about) {
  const sources = {}, layers = [];
  const raster = (name, maxzoom, paint) => {
    sources[name] = {type: "raster", tiles: [at(`tiles/${name}/{z}/{x}/{y}.png`)], tileSize: 256, maxzoom};
    layers.push({id: name, type: "raster", source: name, paint: {"raster-fade-duration": 0, ...paint}});
  };
  if (about.scene) raster("scene", about.scene.maxzoom, {});
  for (const {name, maxzoom} of about.layers) raster(name, maxzoom, {"raster-resampling": "nearest"});
  if (about.polygons) {
    const {kind, layer, minzoom, maxzoom} = about.polygons;
    sources.polygons = kind === "tiles"
      ? {type: "vector", tiles: [at("polygons/{z}/{x}/{y}.mvt")], minzoom, maxzoom}
      : {type: "geojson", data: at("polygons.json")};
    const drawn = {source: "polygons", ...(kind === "tiles" && {"source-layer": layer})};
    // A fill that is not seen can be clicked.
    layers.push({id: "areas", type: "fill", ...drawn, paint: {"fill-opacity": 0}});
    layers.push({id: "lines", type: "line", ...drawn, paint: {"line-color": "#111", "line-width": 1.2}});
  }
  return {version: 8, sources, layers};
}

function showLegend({legend, ramp}) {
  $("legend").replaceChildren();
  for (const [color, title] of legend) {
    const item = element($("legend"), "li");
    element(item, "i").style.background = color;
    item.append(title);
  }
  if (!ramp) return;
  const [colors, low, high] = ramp, item = element($("legend"), "li");
  const bar = element(item, "div"), ends = element(item, "div");
  bar.className = "ramp";
  ends.className = "ends";
  for (const color of colors) element(bar, "i").style.background = color;
  element(ends, "span", low);
  element(ends, "span", high);
}

function showRows(rows) {
  const body = $("said").tBodies[0];
  body.replaceChildren();
  for (const [name, value] of rows) {
    const row = element(body, "tr");
    element(row, "th", name).scope = "row";
    element(row, "td", String(value));
  }
}

async function start() {
  const about = await (await fetch("map.json")).json();
  document.title = about.title;
  document.querySelector("h1").textContent = about.title;
  $("notes").textContent = about.notes.join(" ");
  const [west, south, east, north] = about.bounds;
  const map = new maplibregl.Map({
    container: "map", style: styleOf(about), bounds: [[west, south], [east, north]], hash: true,
    fitBoundsOptions: {padding: 20}, attributionControl: false, maxPitch: 0, dragRotate: false,
  });
  map.addControl(new maplibregl.NavigationControl({showCompass: false}), "top-left");
  map.addControl(new maplibregl.ScaleControl());
  map.touchZoomRotate.disableRotation();
  window.geosegMap = map;

  const show = (id, shown) => map.setLayoutProperty(id, "visibility", shown ? "visible" : "none");
  const choose = () => {
    const chosen = document.querySelector("[name=layer]:checked").value;
    for (const layer of about.layers) {
      show(layer.name, layer.name === chosen);
      map.setPaintProperty(layer.name, "raster-opacity", $("opacity").value / 100);
      if (layer.name === chosen) showLegend(layer);
    }
    if (about.scene) show("scene", $("scene").checked);
    if (about.polygons) for (const id of ["areas", "lines"]) show(id, $("polygons").checked);
  };
  about.layers.forEach(({name, title}, i) => {
    const label = element($("layers"), "label"), input = document.createElement("input");
    Object.assign(input, {type: "radio", name: "layer", value: name, checked: i === 0});
    label.append(input, ` ${title}`);
  });
  $("for-scene").hidden = !about.scene;
  $("for-scene").lastElementChild.textContent = about.scene ? `Scene (${about.scene.title})` : "";
  $("for-polygons").hidden = !about.polygons;
  map.on("error", ({error}) => { $("notes").textContent = `Could not be shown: ${error.message}`; });
  map.on("click", async ({point, lngLat: {lng, lat}}) => {
    const here = about.polygons && $("polygons").checked
      ? map.queryRenderedFeatures(point, {layers: ["areas"]}).slice(0, 1) : [];
    const asked = new URLSearchParams({lon: ((lng + 540) % 360) - 180, lat});
    const {rows} = await (await fetch(`pixel.json?${asked}`)).json();
    showRows([...rows, ...here.flatMap(({properties}) => Object.entries(properties))]);
  });
  map.once("load", () => {
    choose();
    document.querySelector("aside").addEventListener("input", choose);
    map.once("idle", () => { document.body.dataset.ready = "yes"; });
  });
}

start().catch((error) => { $("notes").textContent = `The map could not be opened: ${error.message}`; });
