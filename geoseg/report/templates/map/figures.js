// Figures as pictures, and their numbers as tables.
function save(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
const named = (name) => `${document.title.replace(/[^\p{L}\p{N}.-]+/gu, "-").replace(/^[.-]+/, "")}-${name}`;

// RFC 4180. A spreadsheet takes a text that begins with one of these signs for a formula.
function csv(rows) {
  const cell = (value) => {
    const text = value === null ? "" : typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `\ufeff${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

// The style of a drawing lies in the page: each element takes along what it looks like.
const LOOKS = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity", "font-family", "font-size", "font-weight", "paint-order"];
async function drawn(svg) {
  const copied = svg.cloneNode(true), { width, height } = svg.viewBox.baseVal;
  const from = [svg, ...svg.querySelectorAll("*")], to = [copied, ...copied.querySelectorAll("*")];
  from.forEach((element, i) => { const look = getComputedStyle(element); LOOKS.forEach((l) => to[i].style.setProperty(l, look.getPropertyValue(l))); });
  copied.setAttribute("width", 2 * width);
  copied.setAttribute("height", 2 * height);
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copied))}`;
  await picture.decode();
  const paper = make("canvas", { width: 2 * width + 40, height: 2 * height + 40 }), on = paper.getContext("2d");
  on.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--card");
  on.fillRect(0, 0, paper.width, paper.height);
  on.drawImage(picture, 20, 20);
  return new Promise((done) => { paper.toBlob(done, "image/png"); });
}

document.querySelectorAll("[data-csv]").forEach((button) => {
  const name = button.dataset.csv;
  button.setAttribute("aria-label", `CSV: save the numbers of ${name}`);
  button.addEventListener("click", () => save(named(`${name}.csv`), new Blob([csv(data.tables[name])], { type: "text/csv" })));
});
document.querySelectorAll("[data-png]").forEach((button) => {
  const name = button.dataset.png;
  button.setAttribute("aria-label", `PNG: save the picture of ${name}`);
  button.addEventListener("click", async () => save(named(`${name}.png`), await drawn(button.closest("figure").querySelector("svg.chart"))));
});
