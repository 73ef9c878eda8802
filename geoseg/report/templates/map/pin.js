// A pinned place: what is there, and its coordinates to copy.
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages from a disk may have no clipboard.
    const field = make("textarea", { value: text });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus({ preventScroll: true });
  }
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}
function coordinates(text, about) {
  const button = make("button", { type: "button", textContent: "Copy", ariaLabel: `Copy ${about}` });
  button.dataset.copy = text;
  button.addEventListener("click", () => copy(text, button));
  return make("p", { className: "where" }, make("span", { textContent: text }), button);
}
function chances(x, y) {
  const found = probabilities(x, y).slice(0, 6);
  if (!found.length) return [];
  const list = make("ul", { className: "chances" }, ...found.map(([name, percent]) => {
    const bar = make("i");
    bar.style.width = `${percent}%`;
    return make("li", {}, make("span", { textContent: name }), make("b", { textContent: `${percent} %` }), bar);
  }));
  const { step } = data.probabilities;
  return step > 1 ? [list, make("p", { className: "hint", textContent: `Probabilities: mean of ${step} × ${step} pixels.` })] : [list];
}

function pin(x, y) {
  if (!inside(x, y)) return unpin();
  shown.pin = [x, y];
  const drop = make("button", { type: "button", className: "drop", textContent: "×", ariaLabel: "Remove the pin" });
  drop.addEventListener("click", () => { unpin(); map.focus({ preventScroll: true }); });
  const place = grounded(x, y), degree = data.geographic ? "" : geographic(x, y);
  const lines = [coordinates(data.crs && !data.geographic ? `${place} (${data.crs})` : place, "the coordinates of the map")];
  if (degree) lines.push(coordinates(degree, "latitude and longitude"));
  byId("pin").replaceChildren(drop, make("p", { className: "what", textContent: meanings(x, y).join(" · ") }), ...chances(x, y), ...lines);
  byId("pin").hidden = false;
  redraw();
}
function unpin() {
  shown.pin = null;
  byId("pin").hidden = true;
  redraw();
}
