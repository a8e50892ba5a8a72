--- The page's inspector: types, layers, tensors, and a block taken apart.
return [==[
let facts = null;

// The facts of the model, asked for once for each key.
async function model_facts() {
  if (!facts) facts = await ask("/inspect");
  return facts;
}
$("key").addEventListener("change", () => { facts = null; });

const matrices = m => m.tensors.filter(t => t.shape.length > 1 && t.shape[1] > 1).map(t => t.name);
const usual = m => matrices(m).find(n => n.includes("ffn_down")) || matrices(m)[0];
const roles = m => [...new Set(matrices(m).map(n => (n.match(/^blk\.\d+\.(.+)\.weight$/) || [])[1]).filter(Boolean))];

openers.model = async () => {
  const body = $("model-body");
  if (body.childElementCount && facts) return;
  body.replaceChildren();
  const card = add(body, "div", "card");
  await fill(card, async () => {
    const m = await model_facts();
    add(card, "h2", "", m.name);
    add(card, "p", "note", m.architecture + ", " + (m.values / 1e6).toFixed(2) + " million weights, " + human(m.bytes) + ", "
      + m.bits_per_weight.toFixed(2) + " bits per weight");
    table(card, ["type", "tensors", "weights", "bytes", "share"], m.types.map(t => [t.type, t.tensors, t.values.toLocaleString("en"), human(t.bytes),
      (100 * t.bytes / m.bytes).toFixed(1) + " %"]), [1, 2, 3, 4]);
    layers_card(body, m);
    tensors_card(body, m);
  });
};

// Bytes of each layer, or the error of a type there.
function layers_card(body, m) {
  const card = add(body, "div", "card"), bar = add(card, "div", "bar"), out = add(card, "div");
  add(bar, "h2", "", "Layers");
  const what = select(bar, "show", ["bytes", ...roles(m).map(r => "error of " + r)]), type = select(bar, "as", m.encodable, "q4_K");
  const draw = () => fill(out, async () => {
    out.replaceChildren();
    if (what.value === "bytes") return bars(out, "bytes by layer", m.layers.map(l => "" + l.layer), [m.layers.map(l => l.bytes)], null, human);
    const r = await ask("/inspect/layers", { role: what.value.slice(9), type: type.value });
    add(out, "p", "note", "Error of " + r.role + " in " + r.type + ", relative to its weights, by layer (a sample of rows).");
    bars(out, "error by layer", r.layers.map(l => "" + l.layer), [r.layers.map(l => l.error)]);
  });
  what.addEventListener("change", draw);
  type.addEventListener("change", draw);
  draw();
}

function tensors_card(body, m) {
  const card = add(body, "div", "card"), bar = add(card, "div", "bar");
  add(bar, "h2", "", "Tensors");
  const find = add(add(bar, "label", "", "find "), "input"), box = add(card, "div"), detail = add(body, "div", "card");
  box.id = "tensors";
  find.type = "search";
  detail.id = "detail";
  const draw = () => {
    box.replaceChildren();
    const shown = m.tensors.filter(t => t.name.includes(find.value));
    const rows = table(box, ["tensor", "type", "shape", "bytes"], shown.map(t => [t.name, t.type, t.shape.join(" x "), human(t.bytes)]), [3]).rows;
    shown.forEach((t, i) => {
      const open = () => {
        for (const r of rows) r.className = "";
        rows[i].className = "now";
        tensor_card(detail, t, m);
      };
      rows[i].tabIndex = 0;
      rows[i].addEventListener("click", open);
      rows[i].addEventListener("keydown", e => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); open(); } });
    });
  };
  find.addEventListener("input", draw);
  draw();
  tensor_card(detail, m.tensors.find(t => t.name === usual(m)) || m.tensors[0], m);
}

// How a tensor's weights lie, and its blocks.
function tensor_card(card, t, m) {
  card.replaceChildren();
  add(card, "h2", "", t.name);
  fill(card, async () => {
    const d = await ask("/inspect/tensor", { name: t.name });
    add(card, "p", "note", d.type + ", " + d.rows + " rows of " + d.cols + "; of " + d.sampled_rows + " rows: mean " + short(d.mean) + ", deviation "
      + short(d.std) + ", from " + short(d.min) + " to " + short(d.max));
    bars(card, "histogram", d.counts.map((_, i) => short(-d.edge + (i + .5) * 2 * d.edge / d.counts.length)), [d.counts]);
    if (t.shape.length > 1) block_view(card, t, d.quantized ? [t.type, ...m.encodable] : m.encodable, d);
  });
}

// One block: its bytes, scales and weights; a weight tells how it is decoded.
function block_view(card, t, types, d) {
  const bar = add(card, "div", "bar"), out = add(card, "div"), type = select(bar, "block as", types, d.quantized ? t.type : "q4_K");
  const number = (label, most) => {
    const i = add(add(bar, "label", "", label + " "), "input");
    Object.assign(i, { type: "number", min: 1, max: most, value: 1 });
    i.addEventListener("change", draw);
    return i;
  };
  const row = number("row", d.rows), block = number("block", d.cols);
  type.addEventListener("change", draw);
  function draw() {
    return fill(out, async () => {
      const b = await ask("/inspect/block", { name: t.name, row: +row.value, block: +block.value,
        ...(d.quantized && type.value === t.type ? {} : { type: type.value }) });
      block.max = b.blocks;
      show_block(out, b);
    });
  }
  draw();
}

function show_block(out, b) {
  out.replaceChildren();
  add(out, "p", "note", b.type + ", row " + b.row + ", block " + b.block + " of " + b.blocks + ": columns " + b.column + " to " + (b.column + b.n - 1)
    + ", " + b.bytes.length + " bytes");
  if (b.formula) add(out, "p", "", b.formula);
  if (b.d !== null) add(out, "p", "note", "d = " + short(b.d) + (b.dmin !== null ? ", dmin = " + short(b.dmin) : ""));
  const told = add(out, "p", "", "Choose a weight to see how it is decoded.");
  told.setAttribute("aria-live", "polite");
  const grid = add(out, "div", "weights"), sub = b.sub || b.n;
  b.values.forEach((v, i) => {
    const w = add(grid, "button", "", b.levels ? String(b.levels[i]) : short(v)), s = Math.floor(i / sub);
    w.type = "button";
    w.style.background = "color-mix(in srgb, " + COLOURS[s % 2 ? 1 : 0] + " " + (s % 2 ? 12 : 18) + "%, Canvas)";
    w.setAttribute("aria-label", "column " + (b.column + i));
    w.addEventListener("click", () => {
      let text = "Column " + (b.column + i) + ": ";
      if (b.levels) text += "level " + b.levels[i] + ", ";
      const product = (d, codes, sign) => codes && d !== null ? short(d) + " x " + codes[s] + sign : "";
      if (b.scales) text += "scale " + product(b.d, b.scale_codes, " = ") + short(b.scales[s]) + ", ";
      if (b.mins) text += "minimum " + product(b.dmin, b.min_codes, ", subtracted: ") + short(b.mins[s]) + ", ";
      text += "value " + short(v);
      if (b.source) text += "; the weight was " + short(b.source[i]) + ", off by " + short(v - b.source[i]);
      told.textContent = text;
    });
  });
  const points = list => list.map((v, i) => [b.column + i, v]);
  if (b.source) lines(out, "weights and what is left of them", [points(b.source), points(b.values)], ["weights", b.type], [false, true]);
  if (b.scales) {
    const det = add(out, "details");
    add(det, "summary", "", "scales of its " + b.scales.length + " parts");
    const code = (list, i) => list ? list[i] : "";
    table(det, ["columns", "code", "scale", ...(b.mins ? ["min code", "min"] : [])], b.scales.map((s, i) => [
      (b.column + i * sub) + " to " + (b.column + (i + 1) * sub - 1), code(b.scale_codes, i), short(s),
      ...(b.mins ? [code(b.min_codes, i), short(b.mins[i])] : [])]), [1, 2, 3, 4]);
  }
  const det = add(out, "details");
  add(det, "summary", "", "bytes");
  add(det, "div", "bytes", b.bytes.map(x => x.toString(16).padStart(2, "0")).join(" "));
}
]==]
