// A print shows what is folded away on the screen.
const folded = [...document.querySelectorAll("details.printed")];
window.addEventListener("beforeprint", () => folded.forEach((d) => { d.dataset.was = d.open; d.open = true; }));
window.addEventListener("afterprint", () => folded.forEach((d) => { d.open = d.dataset.was === "true"; }));

new ResizeObserver(() => (all ? showAll() : moveTo(view.x, view.y, view.scale))).observe(map);
window.addEventListener("hashchange", recall);
document.documentElement.classList.add("live");
Promise.all([...map.querySelectorAll("img")].map((picture) => picture.decode())).then(() => {
  ready = true;
  recall();
  map.dataset.ready = "yes";
});
