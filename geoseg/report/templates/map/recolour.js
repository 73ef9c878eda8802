// Classes shown alone or before the others: the opacity of each colour is written into the indexed PNG itself, and
// the browser decodes it again. So even classes of one colour are told apart.
const bytesOf = (picture) => Uint8Array.from(atob(picture.src.split(",")[1]), (c) => c.charCodeAt(0));

const crcs = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
const crc = (bytes) => (bytes.reduce((sum, b) => crcs[(sum ^ b) & 255] ^ (sum >>> 8), 0xffffffff) ^ 0xffffffff) >>> 0;

// PNG, third edition, 11.3.1.1: tRNS has a byte of opacity for each entry of the palette.
function withOpacity(png, opacityOf) {
  const bytes = png.slice(), words = new DataView(bytes.buffer);
  for (let at = 8; at < bytes.length; at += 12 + words.getUint32(at)) {
    const length = words.getUint32(at), name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (name !== "tRNS") continue;
    // The last entry is that of pixels without a class.
    for (let i = 0; i < length - 1; i++) bytes[at + 8 + i] = opacityOf(i);
    words.setUint32(at + 8 + length, crc(bytes.subarray(at + 4, at + 8 + length)));
  }
  return bytes;
}

const only = new Set();
let hovered = null, tinted = null, wanted = "", source = null;

async function recolour() {
  const key = `${[...only].sort()}|${hovered}`, plain = !only.size && hovered === null;
  if (key === wanted) return;
  wanted = key;
  const finish = (picture) => {
    if (wanted !== key) { picture?.close(); return; }
    tinted?.close();
    tinted = picture;
    map.dataset.only = key;
    redraw();
  };
  if (plain) return finish(null);
  source ||= bytesOf(layer("classes"));
  const seen = (i) => (only.size && !only.has(i) && i !== hovered ? 0 : hovered === null || i === hovered ? 255 : 60);
  finish(await createImageBitmap(new Blob([withOpacity(source, seen)], { type: "image/png" })));
}
