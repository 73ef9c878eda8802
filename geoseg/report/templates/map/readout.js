// What lies at a place is read from the pictures: their colours are those of the legend.
const probe = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
function pixel(picture, col, row) {
  probe.clearRect(0, 0, 1, 1);
  probe.drawImage(picture, col, row, 1, 1, 0, 0, 1, 1);
  return probe.getImageData(0, 0, 1, 1).data;
}
const along = (at, length, pixels) => Math.min(pixels - 1, Math.floor((at * pixels) / length));
function meaning({ name, colors }, x, y) {
  const picture = layer(name), { naturalWidth, naturalHeight } = picture;
  const [r, g, b, a] = pixel(picture, along(x, data.width, naturalWidth), along(y, data.height, naturalHeight));
  return a ? colors.filter((c) => c[0] === r && c[1] === g && c[2] === b).map((c) => c[3]).join(" or ") : "";
}
function meanings(x, y) {
  const found = data.layers.map((l) => meaning(l, x, y)).filter(Boolean);
  return found.length ? found : [data.none];
}

// Probabilities lie below one another in one grey picture, in per cent.
function probabilities(x, y) {
  const picture = layer("probabilities");
  if (!picture) return [];
  const { names } = data.probabilities, rows = picture.naturalHeight / names.length;
  const col = along(x, data.width, picture.naturalWidth), row = along(y, data.height, rows);
  const found = names.map((name, i) => [name, pixel(picture, col, i * rows + row)[0]]);
  return found.some(([, percent]) => percent > 100) ? [] : found.sort((a, b) => b[1] - a[1]);
}

const degrees = (value, letters, digits) => `${Math.abs(value).toFixed(digits)}° ${letters[+(value < 0)]}`;
const latLon = (lon, lat, digits) => `${degrees(lat, "NS", digits)}, ${degrees(((((lon + 180) % 360) + 360) % 360) - 180, "EW", digits)}`;
const inside = (x, y) => x >= 0 && y >= 0 && x < data.width && y < data.height;

// A place in the CRS of the map, or in pixels without one.
function grounded(x, y) {
  if (!data.transform) return `column ${Math.floor(x)}, row ${Math.floor(y)}`;
  const [a, b, c, d, e, f] = data.transform, east = a * x + b * y + c, north = d * x + e * y + f;
  if (data.geographic) return latLon(east, north, 5);
  const digits = data.gsd && data.gsd < 1 ? 2 : 0;
  return `${east.toFixed(digits)} E, ${north.toFixed(digits)} N`;
}
// The same in degrees: `geoseg.report.lonlat` says how.
function geographic(x, y) {
  const fit = data.lonlat;
  if (!fit) return "";
  const terms = (t) => { const found = [1, t]; while (found.length <= fit.degree) found.push(2 * t * found.at(-1) - found.at(-2)); return found; };
  const cols = terms((2 * x) / data.width - 1), rows = terms((2 * y) / data.height - 1);
  const sum = (part) => part.reduce((s, v, i) => s + v * cols[Math.floor(i / rows.length)] * rows[i % rows.length], 0);
  const [east, north, up] = [sum(fit.x), sum(fit.y), sum(fit.z)], turn = 180 / Math.PI;
  return latLon(Math.atan2(north, east) * turn, Math.atan2(up, Math.hypot(east, north)) * turn, fit.digits);
}

function tell(left, top) {
  const [x, y] = toScene(left, top);
  map.querySelector(".readout").textContent = inside(x, y) ? [...meanings(x, y), grounded(x, y)].join(" · ") : "";
}
const hush = () => { map.querySelector(".readout").textContent = ""; };
