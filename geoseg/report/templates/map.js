"use strict";
// The map: pictures of the whole scene, one over the other, drawn on a canvas that moves and zooms.
(() => {
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const map = document.getElementById("map"), canvas = map.querySelector("canvas"), pen = canvas.getContext("2d");
  const layer = (name) => document.getElementById(`layer-${name}`);
  const opacity = document.getElementById("opacity");
  const checked = (id) => document.getElementById(id)?.checked;
  const over = () => document.querySelector("input[name=over]:checked").value;

  // The pixel of the scene in the middle of the view, and CSS pixels for each pixel of the scene.
  const view = { x: data.width / 2, y: data.height / 2, scale: 0 };
  let all = true;
  const size = () => [map.clientWidth, map.clientHeight];
  const fitting = () => Math.min(size()[0] / data.width, size()[1] / data.height);
  const between = (low, value, high) => Math.min(Math.max(value, low), high);

  function moveTo(x, y, scale) {
    view.scale = between(fitting(), scale, Math.max(32, fitting()));
    // No farther than the map's edge at the view's edge; a map that is smaller than the view stays in the middle.
    [["x", x, data.width, size()[0]], ["y", y, data.height, size()[1]]].forEach(([axis, at, length, room]) => {
      const half = Math.min(room / view.scale, length) / 2;
      view[axis] = between(half, at, length - half);
    });
    // A finger scrolls the page past a map that shows all, and moves a map that is zoomed in.
    all = view.scale <= fitting() * 1.001;
    canvas.style.touchAction = all ? "pan-x pan-y" : "none";
    map.dataset.view = [view.x, view.y, view.scale].map((v) => v.toFixed(4)).join(" ");
    requestAnimationFrame(draw);
  }
  const showAll = () => moveTo(data.width / 2, data.height / 2, 0);
  const toScene = (left, top) => [view.x + (left - size()[0] / 2) / view.scale, view.y + (top - size()[1] / 2) / view.scale];

  function zoom(factor, left = size()[0] / 2, top = size()[1] / 2) {
    const [x, y] = toScene(left, top);
    const scale = between(fitting(), view.scale * factor, Math.max(32, fitting()));
    moveTo(x - (left - size()[0] / 2) / scale, y - (top - size()[1] / 2) / scale, scale);
  }

  function draw() {
    const [width, height] = size(), ratio = window.devicePixelRatio || 1, zoomed = view.scale * ratio;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(zoomed, 0, 0, zoomed, (width / 2 - view.x * view.scale) * ratio, (height / 2 - view.y * view.scale) * ratio);
    const put = (picture, alpha) => {
      if (!picture) return;
      // Pixels stay crisp once they are larger than those of the screen.
      pen.imageSmoothingEnabled = (zoomed * data.width) / picture.naturalWidth < 1;
      pen.imageSmoothingQuality = "high";
      pen.globalAlpha = alpha;
      pen.drawImage(picture, 0, 0, data.width, data.height);
      pen.globalAlpha = 1;
    };
    put(layer("scene"), 1);
    put(layer(over()), opacity.value / 100);
    if (checked("show-seams")) lines();
    if (checked("show-places")) frames();
    drawScale();
  }

  function twice(path, wide) {
    for (const [color, width] of [["#000c", 2 * wide], ["#fff", wide]]) {
      pen.strokeStyle = color;
      pen.lineWidth = width / view.scale;
      pen.stroke(path);
    }
  }
  function lines() {
    const path = new Path2D();
    data.rows.forEach((y) => { path.moveTo(0, y); path.lineTo(data.width, y); });
    data.cols.forEach((x) => { path.moveTo(x, 0); path.lineTo(x, data.height); });
    twice(path, 1);
  }
  function frames() {
    const path = new Path2D();
    data.places.forEach(([left, top, right, bottom]) => path.rect(left, top, right - left, bottom - top));
    twice(path, 2);
  }

  function drawScale() {
    const bar = map.querySelector(".scale");
    if (!data.gsd) return;
    const longest = (110 / view.scale) * data.gsd, power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].map((f) => f * power).find((l) => l <= longest);
    bar.style.width = `${(length / data.gsd) * view.scale}px`;
    bar.textContent = length >= 1000 ? `${length / 1000} km` : `${+length.toPrecision(1)} m`;
  }

  // What lies under the pointer is read from the pictures: their colours are those of the legend.
  const probe = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  function under(name, colors, x, y) {
    const picture = layer(name);
    if (!picture) return "";
    const across = picture.naturalWidth / data.width, down = picture.naturalHeight / data.height;
    probe.clearRect(0, 0, 1, 1);
    probe.drawImage(picture, Math.floor(x * across), Math.floor(y * down), 1, 1, 0, 0, 1, 1);
    const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data;
    return a ? colors.filter((c) => c[0] === r && c[1] === g && c[2] === b).map((c) => c[3]).join(" or ") : "";
  }
  const legends = data.legends;
  const degrees = (value, letters) => `${Math.abs(value).toFixed(5)}° ${letters[+(value < 0)]}`;
  function tell(left, top) {
    const [x, y] = toScene(left, top), inside = x >= 0 && y >= 0 && x < data.width && y < data.height;
    const [a, , c, , e, f] = data.transform || [];
    const place = !data.transform ? `column ${Math.floor(x)}, row ${Math.floor(y)}`
      : data.geographic ? `${degrees(f + e * y, "NS")}, ${degrees(((c + a * x + 540) % 360) - 180, "EW")}`
      : `${(c + a * x).toFixed(0)} E, ${(f + e * y).toFixed(0)} N`;
    const found = legends.map(([name, colors]) => under(name, colors, x, y)).filter(Boolean);
    const words = [...(found.length ? found : [data.none || "no data"]), place];
    map.querySelector(".readout").textContent = inside ? words.join(" · ") : "";
  }

  const fingers = new Map();
  const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  function grip() {
    const points = [...fingers.values()], [p, q = p] = points;
    return [(p[0] + q[0]) / 2, (p[1] + q[1]) / 2, Math.hypot(p[0] - q[0], p[1] - q[1]) || 1];
  }
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    tell(...at(event));
    if (!fingers.has(event.pointerId) || fingers.size > 2) return;
    const [left, top, wide] = grip();
    fingers.set(event.pointerId, at(event));
    const [newLeft, newTop, newWide] = grip();
    moveTo(view.x - (newLeft - left) / view.scale, view.y - (newTop - top) / view.scale, view.scale);
    if (newWide !== wide) zoom(newWide / wide, newLeft, newTop);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => { map.querySelector(".readout").textContent = ""; });
  canvas.addEventListener("dblclick", (event) => zoom(2, ...at(event)));
  canvas.addEventListener("wheel", (event) => {
    // The page scrolls past a map that nobody took in hand, and past one that shows all when more is asked for.
    const ctrl = event.ctrlKey || event.metaKey;
    if (!ctrl && (!map.contains(document.activeElement) || (all && event.deltaY > 0))) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...at(event));
  }, { passive: false });

  const step = (dx, dy) => () => moveTo(view.x + (dx * size()[0]) / 5 / view.scale, view.y + (dy * size()[1]) / 5 / view.scale, view.scale);
  const deeds = { in: () => zoom(1.5), out: () => zoom(1 / 1.5), fit: showAll };
  const keys = {
    ArrowLeft: step(-1, 0), ArrowRight: step(1, 0), ArrowUp: step(0, -1), ArrowDown: step(0, 1),
    "+": deeds.in, "=": deeds.in, "-": deeds.out, "−": deeds.out, 0: showAll, Home: showAll,
  };
  map.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  map.querySelectorAll("[data-do]").forEach((button) => button.addEventListener("click", deeds[button.dataset.do]));
  document.querySelectorAll(".controls input").forEach((input) => input.addEventListener("input", draw));
  document.querySelectorAll("[data-place]").forEach((button) => button.addEventListener("click", () => {
    const [left, top, right, bottom] = data.places[button.dataset.place];
    const near = Math.min(size()[0] / (right - left), size()[1] / (bottom - top));
    document.getElementById("show-places").checked = true;
    moveTo((left + right) / 2, (top + bottom) / 2, near / 2);
    map.focus({ preventScroll: true });
    document.getElementById("map-title").scrollIntoView();
  }));

  new ResizeObserver(() => (all ? showAll() : moveTo(view.x, view.y, view.scale))).observe(map);
  map.classList.add("live");
  Promise.all([...map.querySelectorAll("img")].map((picture) => picture.decode())).then(() => {
    showAll();
    map.dataset.ready = "yes";
  });
})();
