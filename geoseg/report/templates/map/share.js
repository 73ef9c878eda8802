// What is seen lies in the address, after the #: whoever opens it sees the same.
const switches = ["outlines", "show-seams", "show-places", "show-doubt"];
const numbers = (text, count) => {
  const found = (text || "").split(",").map((word) => (word ? Number(word) : NaN));
  return found.length === count && found.every(Number.isFinite) ? found : null;
};

function address() {
  const parts = new URLSearchParams();
  if (!all) parts.set("view", [view.x.toFixed(2), view.y.toFixed(2), view.scale.toPrecision(6)]);
  if (choices[0].value !== over()) parts.set("show", over());
  if (opacity.value !== "100") parts.set("blend", opacity.value);
  if (shown.swipe) parts.set("swipe", shown.swipe.toFixed(0));
  if (only.size) parts.set("only", [...only].sort((a, b) => a - b).map((i) => encodeURIComponent(data.legend[i])));
  const on = switches.filter(checked);
  if (on.length) parts.set("with", on.map((id) => id.replace("show-", "")));
  if (shown.pin) parts.set("pin", shown.pin.map((v) => v.toFixed(2)));
  return parts.toString().replaceAll("%2C", ",");
}

let writing = 0, ready = false;
function remember() {
  if (!ready) return;
  clearTimeout(writing);
  // Browsers refuse addresses that change many times in a second.
  writing = setTimeout(() => {
    const text = address();
    history.replaceState(null, "", text ? `#${text}` : location.href.split("#")[0]);
  }, 250);
}

// Anyone may write an address: what is no number, no layer and no class of this page is left out.
function recall() {
  const parts = new URLSearchParams(location.hash.slice(1)), words = (key) => (parts.get(key) || "").split(",");
  if (location.hash && ![...parts.values()].some(Boolean)) return;
  choose(parts.has("show") ? parts.get("show") : choices[0].value);
  const [blend] = numbers(parts.get("blend"), 1) || [100], [swiped] = numbers(parts.get("swipe"), 1) || [0];
  opacity.value = between(0, parts.has("blend") ? blend : 100, 100);
  swipe(swiped);
  switches.forEach((id) => { const box = byId(id); if (box) box.checked = words("with").includes(id.replace("show-", "")); });
  const slugs = words("only").map((word) => { try { return decodeURIComponent(word); } catch { return word; } });
  showOnly(slugs.map((slug) => data.legend.indexOf(slug)).filter((i) => i >= 0));
  const wanted = numbers(parts.get("view"), 3), pinned = numbers(parts.get("pin"), 2);
  if (wanted && wanted[2] > 0) moveTo(...wanted); else showAll();
  if (pinned) pin(...pinned); else unpin();
}
