// Helpers: elements from text (never from markup), numbers, and links to a place on this page.
const run = JSON.parse(document.getElementById("data").textContent);
const episodes = run.episodes;
const count = episodes.id.length;
const placeOf = new Map(episodes.id.map((id, place) => [id, place]));

/** An element with attributes; functions listen to events, and all else is set as text. */
function el(tag, given = {}, ...children) {
  const svg = ["svg", "line", "path", "rect", "circle", "text", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

const rate = (value) => (value === null || value === undefined ? "–" : value.toFixed(2).replace("-", "\u2212"));
const span = (it) => (it && it[1] !== null && it[2] !== null ? `[${rate(it[1])}, ${rate(it[2])}]` : "");
const both = (it) => (it ? `${rate(it[0])} ${span(it)}`.trim() : "–");
const outcome = (value) => (value === null ? "" : value ? "success" : "failure");
const place = (...parts) => `#${parts.map(encodeURIComponent).join("/")}`;

/** The parts of the address after #, and the choices after ?. */
function here() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  let parts = path.split("/");
  try { parts = parts.map(decodeURIComponent); } catch { parts = [""]; }
  return { parts, choice: new URLSearchParams(query || "") };
}

function table(kind, heads, rows) {
  const head = heads.map(([text, style]) => el("th", { class: style, scope: "col" }, text));
  return el("div", { class: "wide" }, el("table", { class: kind }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}

/** Two marks with their intervals on one scale from 0 to 1. */
function bars(predicted, measured) {
  const drawn = el("svg", { class: "bar", viewBox: "0 0 100 14", preserveAspectRatio: "none", role: "img", "aria-label": `predicted ${both(predicted)}${measured ? `, ${run.side} ${both(measured)}` : ""}` });
  drawn.append(el("line", { class: "track", x1: 0, x2: 100, y1: 7, y2: 7 }));
  for (const [side, it, y] of [["imagined", predicted, 4], ["real", measured, 10]]) {
    if (!it) continue;
    if (it[1] !== null && it[2] !== null) drawn.append(el("line", { class: side, x1: 100 * it[1], x2: 100 * it[2], y1: y, y2: y }));
    drawn.append(el("rect", { class: side, x: 100 * it[0] - 0.9, width: 1.8, y: y - 3, height: 6 }));
  }
  return drawn;
}

function select(label, options, value, changed) {
  const box = el("select", { change: () => changed(box.value), name: label });
  for (const [name, text] of options) box.append(el("option", { value: name }, text));
  box.value = value;
  return el("label", {}, label, box);
}

function caveats() {
  const lists = [["refusal", "Not a ranking", run.refusals], ["warning", "Read with care", run.warnings]];
  return lists.filter(([, , found]) => found.length).map(([kind, title, found]) =>
    el("div", { class: kind, role: kind === "refusal" ? "alert" : null }, el("h2", {}, title), el("ul", {}, found.map((each) => el("li", {}, each.text)))));
}

/** One line on the pages that do not show the caveats themselves. */
function caveatLine() {
  const [refused, careful] = [run.refusals.length, run.warnings.length];
  if (!refused && !careful) return [];
  const text = refused ? "This must not be read as a ranking" : `${careful} ${careful === 1 ? "caveat" : "caveats"}`;
  return [el("p", { class: refused ? "care refused" : "care" }, text, ": ", el("a", { href: "#caveats" }, "read why"))];
}
