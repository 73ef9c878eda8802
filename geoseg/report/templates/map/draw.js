// Drawing: the scene, the map over it (right of the swipe handle), lines, frames, the pinned place, the scale.
const scratch = new OffscreenCanvas(1, 1), sketch = scratch.getContext("2d", { willReadFrequently: true });

function place(on) {
  const zoomed = view.scale * ratio(), [width, height] = size();
  on.setTransform(zoomed, 0, 0, zoomed, (width / 2 - view.x * view.scale) * ratio(), (height / 2 - view.y * view.scale) * ratio());
}
function put(on, picture, smooth = true) {
  place(on);
  // Pixels stay crisp once they are larger than those of the screen.
  on.imageSmoothingEnabled = smooth && (view.scale * ratio() * data.width) / (picture.naturalWidth || picture.width) < 1;
  on.imageSmoothingQuality = "high";
  on.drawImage(picture, 0, 0, data.width, data.height);
}

// The edges of areas of one colour, as thin as the screen allows at every zoom.
function outlined(picture) {
  const { width, height } = canvas, wide = Math.max(1, Math.round(1.5 * ratio()));
  [scratch.width, scratch.height] = [width, height];
  put(sketch, picture, false);
  const found = sketch.getImageData(0, 0, width, height), pixels = new Uint32Array(found.data.buffer);
  const kept = new ImageData(width, height), edge = new Uint32Array(kept.data.buffer);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const here = pixels[i];
      if (!here) continue;
      const beside = (x >= wide && pixels[i - wide] !== here) || (x + wide < width && pixels[i + wide] !== here);
      const above = (y >= wide && pixels[i - wide * width] !== here) || (y + wide < height && pixels[i + wide * width] !== here);
      if (beside || above) edge[i] = here;
    }
  }
  sketch.putImageData(kept, 0, 0);
  return scratch;
}

function draw() {
  const [width, height] = size(), name = over(), scene = layer("scene");
  canvas.width = Math.round(width * ratio());
  canvas.height = Math.round(height * ratio());
  if (scene) put(pen, scene);
  if (!shown.alone) {
    const left = scene ? (shown.swipe / 100) * canvas.width : 0, picture = (name === "classes" && tinted) || layer(name);
    pen.save();
    pen.resetTransform();
    pen.beginPath();
    pen.rect(left, 0, canvas.width - left, canvas.height);
    pen.clip();
    pen.globalAlpha = opacity.value / 100;
    if (checked("outlines")) {
      const lines = outlined(picture);
      pen.resetTransform();
      pen.drawImage(lines, 0, 0);
    } else put(pen, picture);
    pen.restore();
  }
  place(pen);
  if (checked("show-seams")) seams();
  if (checked("show-places")) frames();
  if (checked("show-doubt")) doubts();
  if (shown.pin) mark(...toView(...shown.pin));
  drawScale();
}

function twice(path, wide) {
  for (const [color, width] of [["#000c", 2 * wide], ["#fff", wide]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width / view.scale;
    pen.stroke(path);
  }
}
function seams() {
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
// Rings are drawn together, so that holes stay free.
function doubts() {
  data.doubt.forEach(({ color, lines }) => {
    const path = new Path2D();
    lines.forEach((line) => {
      let [x, y] = line;
      path.moveTo(x, y);
      for (let i = 2; i < line.length; i += 2) path.lineTo((x += line[i]), (y += line[i + 1]));
      path.closePath();
    });
    pen.fillStyle = `${color}59`;
    pen.fill(path, "evenodd");
    for (const [ink, width] of [["#fff", 3], [color, 1.5]]) {
      pen.strokeStyle = ink;
      pen.lineWidth = width / view.scale;
      pen.stroke(path);
    }
  });
}
function mark(left, top) {
  pen.setTransform(ratio(), 0, 0, ratio(), left * ratio(), top * ratio());
  for (const [color, width] of [["#000", 5], ["#fff", 2]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.beginPath();
    pen.arc(0, 0, 7, 0, 2 * Math.PI);
    for (const [x, y] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { pen.moveTo(7 * x, 7 * y); pen.lineTo(13 * x, 13 * y); }
    pen.stroke();
  }
}

function drawScale() {
  const bar = map.querySelector(".scale");
  if (!data.gsd) return;
  const longest = (110 / view.scale) * data.gsd, power = 10 ** Math.floor(Math.log10(longest));
  const length = [5, 2, 1].map((f) => f * power).find((l) => l <= longest);
  bar.style.width = `${(length / data.gsd) * view.scale}px`;
  bar.textContent = length >= 1000 ? `${length / 1000} km` : `${+length.toPrecision(1)} m`;
}
