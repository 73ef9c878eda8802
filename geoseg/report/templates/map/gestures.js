// Mouse, fingers and keys.
const fingers = new Map();
const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
function grip() {
  const points = [...fingers.values()], [p, q = p] = points;
  return [(p[0] + q[0]) / 2, (p[1] + q[1]) / 2, Math.hypot(p[0] - q[0], p[1] - q[1]) || 1];
}
// Where a finger went down, until it moves or a second one comes: a click.
let pressed = null;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, at(event));
  pressed = fingers.size === 1 && event.button === 0 ? at(event) : null;
});
canvas.addEventListener("pointermove", (event) => {
  tell(...at(event));
  if (!fingers.has(event.pointerId) || fingers.size > 2) return;
  if (pressed && Math.hypot(at(event)[0] - pressed[0], at(event)[1] - pressed[1]) > 4) pressed = null;
  const [left, top, wide] = grip();
  fingers.set(event.pointerId, at(event));
  const [newLeft, newTop, newWide] = grip();
  moveTo(view.x - (newLeft - left) / view.scale, view.y - (newTop - top) / view.scale, view.scale);
  if (newWide !== wide) zoom(newWide / wide, newLeft, newTop);
});
canvas.addEventListener("pointerup", (event) => {
  fingers.delete(event.pointerId);
  if (pressed) pin(...toScene(...pressed));
  pressed = null;
});
canvas.addEventListener("pointercancel", (event) => { fingers.delete(event.pointerId); pressed = null; });
canvas.addEventListener("pointerleave", hush);
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
const alone = (yes) => () => { if (shown.alone !== yes) { shown.alone = yes; redraw(); } };
const keys = {
  ArrowLeft: step(-1, 0), ArrowRight: step(1, 0), ArrowUp: step(0, -1), ArrowDown: step(0, 1),
  "+": deeds.in, "=": deeds.in, "-": deeds.out, "−": deeds.out, 0: showAll, Home: showAll,
  Enter: () => pin(view.x, view.y), Escape: unpin,
  ...(layer("scene") ? { " ": alone(true) } : {}),
};
map.addEventListener("keydown", (event) => {
  // Buttons and the handle on the map have their own keys.
  if (event.target !== map || !keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  keys[event.key]();
});
map.addEventListener("keyup", (event) => { if (event.key === " ") alone(false)(); });
map.addEventListener("blur", alone(false));
map.querySelectorAll("[data-do]").forEach((button) => button.addEventListener("click", deeds[button.dataset.do]));

// The handle between the scene on its left and the map on its right.
const handle = byId("swipe");
function swipe(percent) {
  shown.swipe = between(0, percent, 100);
  if (!handle) return;
  handle.style.left = `${shown.swipe}%`;
  handle.setAttribute("aria-valuenow", Math.round(shown.swipe));
  handle.setAttribute("aria-valuetext", shown.swipe ? `scene on ${Math.round(shown.swipe)} % of the width` : "map all over");
  redraw();
}
handle?.addEventListener("pointerdown", (event) => { handle.setPointerCapture(event.pointerId); handle.focus({ preventScroll: true }); });
handle?.addEventListener("pointermove", (event) => { if (handle.hasPointerCapture(event.pointerId)) swipe((100 * at(event)[0]) / size()[0]); });
handle?.addEventListener("keydown", (event) => {
  const to = { ArrowLeft: shown.swipe - 5, ArrowRight: shown.swipe + 5, ArrowDown: shown.swipe - 5, ArrowUp: shown.swipe + 5, Home: 0, End: 100 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  swipe(to);
});
