--- The page's figures, computed on the loaded model, and what fits where.
return [==[
openers.figures = async () => {
  const body = $("figures-body");
  if (body.childElementCount && facts) return;
  body.replaceChildren();
  const card = add(body, "div", "card");
  await fill(card, async () => {
    const m = await model_facts();
    add(card, "h2", "", "Figures of this model");
    add(card, "p", "note", "Everything here is computed now, on the weights that are loaded.");
    const bar = add(card, "div", "bar"), name = select(bar, "tensor", matrices(m), usual(m));
    const parts = [rounding, outputs, alpha].map(f => ({ f, box: add(body, "div", "card") }));
    const draw = async () => { for (const p of parts) { p.box.replaceChildren(); await fill(p.box, () => p.f(p.box, name.value)); } };
    name.addEventListener("change", draw);
    draw();
  });
};

// Neighbouring weights, and what so many bits leave of them.
async function rounding(card, name) {
  add(card, "h2", "", "Rounding");
  const r = await ask("/inspect/rounding", { name });
  add(card, "p", "note", "Row " + r.row + ", " + r.source.length + " weights side by side, and what is left of them. Move through the types: "
    + "the steps get finer.");
  const bar = add(card, "div", "bar"), slider = add(add(bar, "label", "", "bits "), "input"), said = add(bar, "output"), out = add(card, "div");
  Object.assign(slider, { type: "range", min: 0, max: r.types.length - 1, value: Math.min(2, r.types.length - 1) });
  const draw = () => {
    const t = r.types[+slider.value];
    said.textContent = t.type + ": " + short(t.bits) + " bits per weight, error " + (100 * t.error).toFixed(2) + " %";
    out.replaceChildren();
    const points = list => list.map((v, i) => [r.column + i, v]);
    lines(out, "weights and rounded weights", [points(r.source), points(t.values)], ["weights", t.type], [false, true]);
  };
  slider.addEventListener("input", draw);
  draw();
  bars(card, "error by type", r.types.map(t => t.type), [r.types.map(t => t.error)]);
}

async function outputs(card, name) {
  add(card, "h2", "", "Errors of weights and of outputs");
  const r = await ask("/inspect/outputs", { name });
  add(card, "p", "note", "What counts is not how far the weights move but what comes out of the matrix. Both relative, the inputs those of a "
    + "short text.");
  const percent = v => (100 * v).toFixed(3) + " %", names = ["weights", "outputs"];
  bars(card, "error of weights and outputs by type", r.types.map(t => t.type), names.map(n => r.types.map(t => t[n])), names);
  table(card, ["type", "bits", ...names], r.types.map(t => [t.type, short(t.bits), percent(t.weights), percent(t.outputs)]), [1, 2, 3]);
}

async function alpha(card, name) {
  add(card, "h2", "", "AWQ's alpha");
  const r = await ask("/inspect/alpha", { name });
  const best = r.alphas.reduce((a, b) => b.error !== null && b.error < a.error ? b : a);
  add(card, "p", "note", "Columns that meet large inputs are stretched by their size to the power alpha before " + r.type
    + " rounds them, and shrunk again behind it. 0 leaves them as they are. "
    + "Here the error of the outputs is smallest at " + best.alpha + " (" + (100 * best.error).toFixed(3) + " %).");
  lines(card, "error of outputs by alpha", [r.alphas.map(a => [a.alpha, a.error])]);
}

openers.fit = async () => {
  const body = $("fit-body");
  if (body.childElementCount) return;
  const card = add(body, "div", "card"), bar = add(card, "div", "bar"), out = add(card, "pre", "wide");
  add(bar, "h2", "", "What fits");
  const ram = select(bar, "memory", ["1G", "2G", "4G", "8G", "16G", "24G", "32G", "64G", "128G", "256G"], "16G");
  const draw = () => fill(card, async () => {
    for (const f of card.querySelectorAll(".failed")) f.remove();
    out.textContent = (await ask("/inspect/fit", { ram: ram.value })).text;
  });
  ram.addEventListener("change", draw);
  draw();
  const r = await fetch("/report", { headers: headers() });
  if (!r.ok) return;
  const link = add(add(body, "div", "card"), "a", "", "The comparison with what it was made from");
  link.href = URL.createObjectURL(new Blob([await r.text()], { type: "text/html" }));
  link.target = "_blank";
};
]==]
