// The legend: a class alone at a click, before the others while the pointer is on it.
const classes = [...document.querySelectorAll("[data-only]")];
function showOnly(indexes) {
  only.clear();
  indexes.forEach((i) => only.add(i));
  classes.forEach((button) => button.setAttribute("aria-pressed", only.has(+button.dataset.only)));
  return recolour();
}
const choose = (name) => { const choice = choices.find((c) => c.value === name); if (choice) choice.checked = true; };
classes.forEach((button) => {
  const index = +button.dataset.only;
  button.addEventListener("click", (event) => {
    choose("classes");
    const more = event.ctrlKey || event.metaKey || event.shiftKey;
    const others = more ? [...only].filter((i) => i !== index) : [];
    showOnly(only.has(index) && (more || only.size === 1) ? others : [...others, index]);
  });
  const hover = (to) => () => { hovered = to; recolour(); };
  button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") hover(index)(); });
  button.addEventListener("pointerleave", hover(null));
});
document.querySelectorAll(".side input").forEach((input) => input.addEventListener("input", redraw));
document.querySelectorAll("[data-place]").forEach((button) => button.addEventListener("click", () => {
  const [left, top, right, bottom] = data.places[button.dataset.place];
  const near = Math.min(size()[0] / (right - left), size()[1] / (bottom - top));
  byId("show-places").checked = true;
  moveTo((left + right) / 2, (top + bottom) / 2, near / 2);
  map.focus({ preventScroll: true });
  byId("map-title").scrollIntoView();
}));
