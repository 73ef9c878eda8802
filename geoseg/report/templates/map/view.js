// The view: pictures of the whole scene are drawn on a canvas that moves and zooms.
const data = JSON.parse(document.getElementById("map-data").textContent);
const byId = (id) => document.getElementById(id);
const map = byId("map"), canvas = map.querySelector("canvas"), pen = canvas.getContext("2d");
const layer = (name) => byId(`layer-${name}`);
const opacity = byId("opacity");
const checked = (id) => Boolean(byId(id)?.checked);
const choices = [...document.querySelectorAll("input[name=over]")];
const over = () => choices.find((c) => c.checked).value;
const between = (low, value, high) => Math.min(Math.max(value, low), high);
const ratio = () => window.devicePixelRatio || 1;

// The pixel of the scene in the middle of the view, and CSS pixels for each pixel of the scene.
const view = { x: data.width / 2, y: data.height / 2, scale: 0 };
// What is shown beside that: the pinned place, how much of the map is swiped away, the scene alone.
const shown = { pin: null, swipe: 0, alone: false };
let all = true, asked = 0;
// Not clientWidth, which is rounded.
const size = () => { const { width, height } = canvas.getBoundingClientRect(); return [width, height]; };
const fitting = () => Math.min(size()[0] / data.width, size()[1] / data.height);
const closest = () => Math.max(32, fitting());

function moveTo(x, y, scale) {
  view.scale = between(fitting(), scale, closest());
  // No farther than the map's edge at the view's edge; a map that is smaller than the view stays in the middle.
  [["x", x, data.width, size()[0]], ["y", y, data.height, size()[1]]].forEach(([axis, at, length, room]) => {
    const half = Math.min(room / view.scale, length) / 2;
    view[axis] = between(half, at, length - half);
  });
  // A finger scrolls the page past a map that shows all, and moves a map that is zoomed in.
  all = view.scale <= fitting() * 1.001;
  canvas.style.touchAction = all ? "pan-x pan-y" : "none";
  map.dataset.view = [view.x, view.y, view.scale].map((v) => v.toFixed(4)).join(" ");
  redraw();
}
const showAll = () => moveTo(data.width / 2, data.height / 2, 0);
const toScene = (left, top) => [view.x + (left - size()[0] / 2) / view.scale, view.y + (top - size()[1] / 2) / view.scale];
const toView = (x, y) => [(x - view.x) * view.scale + size()[0] / 2, (y - view.y) * view.scale + size()[1] / 2];

function zoom(factor, left = size()[0] / 2, top = size()[1] / 2) {
  const [x, y] = toScene(left, top), scale = between(fitting(), view.scale * factor, closest());
  moveTo(x - (left - size()[0] / 2) / scale, y - (top - size()[1] / 2) / scale, scale);
}

// Whatever changes, one drawing for each frame of the screen; the address follows.
function redraw() {
  if (!asked) asked = requestAnimationFrame(() => { asked = 0; draw(); });
  remember();
}
