--- What all of the page uses: elements, requests, tabs, charts in SVG.
return [==[
const $ = id => document.getElementById(id);
const headers = () => ({ "content-type": "application/json", ...($("key").value ? { authorization: "Bearer " + $("key").value } : {}) });

function add(parent, tag, kind, text) {
  const e = document.createElement(tag);
  if (kind) e.className = kind;
  if (text !== undefined) e.textContent = text;
  parent.append(e);
  return e;
}

// Asks the server; what it refuses is an error with its words.
async function ask(path, body) {
  const r = await fetch(path, body ? { method: "POST", headers: headers(), body: JSON.stringify(body) } : { headers: headers() });
  const v = await r.json();
  if (!r.ok) throw new Error(v.error.message);
  return v;
}

// Runs f, which fills a card; a failure is shown in it.
async function fill(card, f) {
  card.setAttribute("aria-busy", "true");
  try { await f(); } catch (e) { add(card, "p", "failed text", e.message); }
  card.removeAttribute("aria-busy");
}

function human(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < 4; i++) n /= 1024;
  return n.toFixed(i ? 1 : 0) + " " + units[i];
}
const short = v => v === 0 ? "0" : Math.abs(v) >= 1e-3 && Math.abs(v) < 1e5 ? String(+v.toPrecision(4)) : v.toExponential(2);

function table(parent, titles, rows, numeric) {
  const t = add(parent, "table"), head = add(add(t, "thead"), "tr"), body = add(t, "tbody");
  titles.forEach((x, i) => add(head, "th", numeric.includes(i) ? "n" : "", x));
  for (const row of rows) {
    const tr = add(body, "tr");
    row.forEach((x, i) => add(tr, "td", numeric.includes(i) ? "n" : "", x));
  }
  return body;
}

function select(parent, label, values, now) {
  const s = add(add(parent, "label", "", label + " "), "select");
  for (const v of values) { const o = add(s, "option", "", v); o.value = v; }
  if (now !== undefined) s.value = now;
  return s;
}

function svg(parent, w, h, title) {
  const s = document.createElementNS("http" + "://www.w3.org/2000/svg", "svg");
  s.setAttribute("viewBox", "0 0 " + w + " " + h);
  s.setAttribute("role", "img");
  s.setAttribute("aria-label", title);
  parent.append(s);
  return s;
}

function shape(parent, tag, attributes, text) {
  const e = document.createElementNS(parent.namespaceURI, tag);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  if (text !== undefined) e.textContent = text;
  parent.append(e);
  return e;
}

const COLOURS = ["var(--a)", "var(--b)", "var(--c)"];

function legend(parent, names) {
  const p = add(parent, "p", "note");
  names.forEach((n, i) => { add(p, "span", "key").style.background = COLOURS[i]; p.append(n); });
}

// Bars from zero: series of equal length, a label below each group.
function bars(parent, title, labels, series, names, said = short) {
  if (names) legend(parent, names);
  const w = 640, h = 200, left = 56, low = 24, top = Math.max(1e-30, ...series.flat().map(v => v || 0));
  const s = svg(parent, w, h, title), step = (w - left) / labels.length, width = Math.max(1, step * .8 / series.length);
  for (const share of [0, .5, 1]) {
    const y = 8 + (h - low - 8) * (1 - share);
    shape(s, "line", { x1: left, x2: w, y1: y, y2: y, stroke: "var(--line)" });
    shape(s, "text", { x: left - 4, y: y + 4, "text-anchor": "end" }, said(top * share));
  }
  labels.forEach((label, i) => {
    series.forEach((list, k) => {
      const v = list[i] || 0, height = (h - low - 8) * v / top;
      const r = shape(s, "rect", { x: left + step * i + step * .1 + k * width, y: h - low - height, width: Math.max(.5, width - .5), height,
        fill: COLOURS[k] });
      shape(r, "title", {}, label + (names ? ", " + names[k] : "") + ": " + said(v));
    });
    if (labels.length <= 16 || i % Math.ceil(labels.length / 12) === 0)
      shape(s, "text", { x: left + step * (i + .5), y: h - 8, "text-anchor": "middle" }, label);
  });
  return s;
}

// Lines over common x; every series is a list of [x, y].
function lines(parent, title, series, names, dots) {
  if (names) legend(parent, names);
  const w = 640, h = 220, left = 56, low = 24, all = series.flat().filter(p => p[1] !== null);
  const x0 = Math.min(...all.map(p => p[0])), x1 = Math.max(...all.map(p => p[0]));
  let y0 = Math.min(...all.map(p => p[1])), y1 = Math.max(...all.map(p => p[1]));
  if (y1 === y0) { y1 += 1e-9; y0 -= 1e-9; }
  const X = x => left + 8 + (w - left - 20) * (x - x0) / (x1 - x0 || 1), Y = y => 10 + (h - low - 18) * (y1 - y) / (y1 - y0);
  const s = svg(parent, w, h, title);
  for (const y of [y0, (y0 + y1) / 2, y1]) {
    shape(s, "line", { x1: left, x2: w, y1: Y(y), y2: Y(y), stroke: "var(--line)" });
    shape(s, "text", { x: left - 4, y: Y(y) + 4, "text-anchor": "end" }, short(y));
  }
  for (const x of [x0, (x0 + x1) / 2, x1]) shape(s, "text", { x: X(x), y: h - 6, "text-anchor": "middle" }, short(x));
  series.forEach((list, k) => {
    const points = list.filter(p => p[1] !== null);
    if (!(dots && dots[k])) {
      const path = points.map(p => X(p[0]) + "," + Y(p[1])).join(" ");
      shape(s, "polyline", { points: path, fill: "none", stroke: COLOURS[k], "stroke-width": 2 });
    }
    for (const p of points) {
      const dot = shape(s, "circle", { cx: X(p[0]), cy: Y(p[1]), r: 3, fill: COLOURS[k] });
      shape(dot, "title", {}, short(p[0]) + ": " + short(p[1]));
    }
  });
  return s;
}

// ---- tabs ----
const TABS = ["chat", "model", "figures", "fit"], openers = {};

function open_tab(name) {
  if (!TABS.includes(name)) name = "chat";
  for (const t of TABS) {
    $(t).hidden = t !== name;
    $("tab-" + t).setAttribute("aria-selected", t === name);
    $("tab-" + t).tabIndex = t === name ? 0 : -1;
  }
  if (openers[name]) openers[name]();
}
for (const t of TABS) {
  $("tab-" + t).addEventListener("click", () => { location.hash = t; });
  $("tab-" + t).addEventListener("keydown", e => {
    const d = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? TABS.length - 1 : 0;
    if (!d) return;
    const next = TABS[(TABS.indexOf(t) + d) % TABS.length];
    location.hash = next;
    $("tab-" + next).focus();
  });
}
addEventListener("hashchange", () => open_tab(location.hash.slice(1)));
addEventListener("load", () => open_tab(location.hash.slice(1)));
]==]
