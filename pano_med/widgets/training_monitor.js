// TrainingMonitor: losses on a log axis, validation PQ below, time left, a button that ends the run; numbers as tables.
async function render({ model, el: host }) {
  const { el } = pano;
  const f = pano.frame(model, host, "training"), looks = model.get("looks");
  const NS = Object.assign(document.createElement("div"), { innerHTML: "<svg/>" }).firstChild.namespaceURI;
  const svg = (tag, attributes = {}, ...children) => {
    const node = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  let parts = true;

  // ---- scales
  const ticksOf = (most) => { // 3 to 6 round numbers from 0
    const raw = most / 5, power = 10 ** Math.floor(Math.log10(raw || 1)), step = Math.max(1, [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw) || 1);
    return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
  };
  function decades(low, high) { // ticks of a log axis: 1, 2, 5 where few decades are seen, else powers of ten
    const few = Math.log10(high / low) < 2.2, out = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
      for (const k of few ? [1, 2, 5] : [1]) { const v = k * 10 ** e; if (v >= low * 0.999 && v <= high * 1.001) out.push(v); }
    }
    return out;
  }
  const short = (v) => Number(v.toPrecision(3)).toString();

  // ---- one panel: frame, ticks, lines, names at the right end of lines
  function panel(g, box, y, ticks, xTicks, x, label) {
    const { left, right, top, bottom } = box;
    for (const v of ticks) {
      g.append(svg("line", { x1: left, x2: right, y1: y(v), y2: y(v), stroke: "currentColor", "stroke-opacity": 0.18 }),
        svg("text", { class: "pano-axis", x: left - 6, y: y(v) + 4, "text-anchor": "end" }, short(v)));
    }
    for (const v of xTicks) g.append(svg("line", { x1: x(v), x2: x(v), y1: bottom, y2: bottom + 4, stroke: "currentColor" }));
    g.append(svg("path", { d: `M${left} ${top}V${bottom}H${right}`, fill: "none", stroke: "currentColor" }),
      svg("text", { x: left + 6, y: top - 7, "font-weight": 600 }, label));
  }
  function path(xs, ys, x, y) {
    let d = "", pen = false;
    xs.forEach((step, i) => {
      if (ys[i] === null || ys[i] === undefined) { pen = false; return; }
      d += `${pen ? "L" : "M"}${x(step).toFixed(1)} ${y(ys[i]).toFixed(1)}`;
      pen = true;
    });
    return d;
  }
  const lastOf = (values) => values.filter((v) => v !== null && v !== undefined).at(-1);
  // ends: [{at, name, color, dashes, sign}] -> names right of the plot, pushed apart, each with a piece of its line
  function names(g, ends, right, top, bottom) {
    ends.sort((a, b) => a.at - b.at);
    let before = top - 10;
    for (const end of ends) { end.y = Math.max(end.at, before + 19); before = end.y; }
    let after = bottom + 12;
    for (const end of [...ends].reverse()) { end.y = Math.min(end.y, after - 1); after = end.y - 18; }
    for (const { y, name, color, dashes, width, sign } of ends) {
      g.append(svg("line", { x1: right + 6, x2: right + 34, y1: y, y2: y, stroke: color, "stroke-width": width, "stroke-dasharray": dashes.join(" ") || undefined }));
      if (sign) g.append(mark(sign, right + 20, y, color));
      g.append(svg("text", { x: right + 40, y: y + 5 }, name));
    }
  }
  function mark(sign, x, y, color) {
    const d = { o: `M${x - 5} ${y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0`, "^": `M${x} ${y - 6}L${x + 6} ${y + 5}H${x - 6}Z`, s: `M${x - 5} ${y - 5}h10v10h-10Z` }[sign];
    return svg("path", { d, fill: color, stroke: "var(--pano-paper)", "stroke-width": 1 });
  }

  // ---- the picture
  const plot = el("div", { class: "pano-plot" });
  let width = 0;
  function draw() {
    width = plot.clientWidth;
    if (width < 50) return;
    const curve = model.get("curve"), scores = model.get("scores"), state = model.get("state");
    const side = width > 640 ? 256 : 0, left = 52, right = width - Math.max(side, 12);
    const above = { left, right, top: 26, bottom: 270 }, below = { left, right, top: 312, bottom: 442 };
    const done = Math.max(1, state.step || 0, curve.step.at(-1) || 0, ...scores.map((s) => s.step));
    const most = Math.max(done, Math.min(state.total || 0, 4 * done)); // room for what comes, but a quarter is curve
    const x = (v) => left + (v / most) * (right - left), xTicks = ticksOf(most);
    const g = svg("svg", { viewBox: `0 0 ${width} 480`, role: "img", "aria-label": words() });

    const shown = Object.entries(curve.lines).filter(([name]) => name === "loss" || parts);
    const values = shown.flatMap(([, line]) => line).concat(curve.high, curve.low).filter((v) => v > 0);
    const low = values.length ? Math.min(...values) / 1.1 : 0.1, high = values.length ? Math.max(...values) * 1.1 : 10;
    const y = (v) => above.bottom - (Math.log(v / low) / Math.log(high / low)) * (above.bottom - above.top);
    panel(g, above, y, decades(low, high), xTicks, x, "loss in training (log axis, smoothed)");
    if (curve.step.length > 1) {
      const both = curve.step.map((step, i) => [step, curve.high[i], curve.low[i]]).filter(([, a, b]) => a !== null && b !== null);
      const back = [...both].reverse();
      g.append(svg("path", { d: `M${both.map(([s, v]) => `${x(s).toFixed(1)} ${y(v).toFixed(1)}`).join("L")}L${back.map(([s, , v]) => `${x(s).toFixed(1)} ${y(v).toFixed(1)}`).join("L")}Z`,
        fill: "currentColor", "fill-opacity": 0.16 }));
    }
    const ends = [];
    for (const [name, line] of shown) {
      const whole = name === "loss", [label, color, dashes] = looks.parts[name] || [name, "#777777", [4, 4]];
      const look = { color: whole ? "currentColor" : color, dashes: whole ? [] : dashes, width: whole ? 3.2 : 2, name: whole ? "whole loss" : label };
      g.append(svg("path", { d: path(curve.step, line, x, y), fill: "none", stroke: look.color, "stroke-width": look.width,
        "stroke-dasharray": look.dashes.join(" ") || undefined, "stroke-linejoin": "round", "data-line": name }));
      ends.push({ ...look, at: y(lastOf(line)) });
    }
    if (!curve.step.length) g.append(svg("text", { x: (left + right) / 2, y: 150, "text-anchor": "middle" }, "no step yet"));
    if (side) names(g, ends, right, above.top, above.bottom);

    const pq = (v) => below.bottom - v * (below.bottom - below.top);
    panel(g, below, pq, [0, 0.25, 0.5, 0.75, 1], xTicks, x, "validation PQ");
    const marks = [];
    for (const [key, [label, color, dashes, sign]] of Object.entries(looks.scores)) {
      const known = scores.filter((s) => s[key] !== null && s[key] !== undefined);
      if (!known.length) continue;
      g.append(svg("path", { d: path(known.map((s) => s.step), known.map((s) => s[key]), x, pq), fill: "none", stroke: color, "stroke-width": 2.4,
        "stroke-dasharray": dashes.join(" ") || undefined, "data-line": key }), ...known.map((s) => mark(sign, x(s.step), pq(s[key]), color)));
      marks.push({ at: pq(known.at(-1)[key]), name: `${known.at(-1)[key].toFixed(2)} ${label}`, color, dashes, width: 2.4, sign });
    }
    if (!marks.length) g.append(svg("text", { x: (left + right) / 2, y: 382, "text-anchor": "middle" }, "no validation yet"));
    if (side) names(g, marks, right, below.top, below.bottom);
    for (const v of xTicks) g.append(svg("text", { class: "pano-axis", x: x(v), y: below.bottom + 18, "text-anchor": "middle" }, v.toLocaleString("en")));
    g.append(svg("text", { x: right, y: below.bottom + 34, "text-anchor": "end" }, "step"));
    plot.replaceChildren(g);
    legend.hidden = Boolean(side);
    legend.replaceChildren(...(side ? [] : [...ends, ...marks].map(({ name, color, dashes, width: w, sign }) => {
      const small = svg("svg", { width: 34, height: 16, viewBox: "0 0 34 16", style: "display: inline-block; width: 34px; vertical-align: middle" },
        svg("line", { x1: 1, x2: 33, y1: 8, y2: 8, stroke: color, "stroke-width": w, "stroke-dasharray": dashes.join(" ") || undefined }));
      if (sign) small.append(mark(sign, 17, 8, color));
      return el("span", {}, small, ` ${name}`);
    })));
  }

  // ---- words and numbers
  const many = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;
  function words() {
    const { curve, scores } = { curve: model.get("curve"), scores: model.get("scores") }, last = scores.at(-1);
    const loss = lastOf(curve.lines.loss || []);
    const judged = last ? Object.entries(looks.scores).filter(([key]) => last[key] !== null && last[key] !== undefined)
      .map(([key, [label]]) => `${label} ${last[key].toFixed(2)}`).join(", ") : "";
    return `Training after ${many(model.get("state").step, "step")}${loss === undefined ? "" : `, smoothed loss ${short(loss)}`}`
      + `${last ? `; validation PQ in step ${last.step}: ${judged}` : ""}. The same as tables below.`;
  }
  const now = el("span", { class: "pano-now" }), bar = el("progress", { "aria-label": "steps done" });
  const losses = pano.table("losses", [{ key: "name", name: "loss" }, { key: "first", name: "first step", number: true, show: (v) => (v === null ? "–" : short(v)) },
    { key: "smooth", name: "now, smoothed", number: true, show: (v) => (v === undefined ? "–" : short(v)) }], { sort: { key: "smooth", down: true } });
  const show = (v) => (v === null || v === undefined ? "–" : v.toFixed(3));
  const judged = pano.table("validations (PQ)", [{ key: "step", name: "step", number: true },
    ...Object.entries(looks.scores).map(([key, [label]]) => ({ key, name: label, number: true, show }))], { sort: { key: "step", down: true } });
  const legend = el("div", { class: "pano-bar pano-note", "aria-hidden": "true" });
  function numbers() {
    const curve = model.get("curve");
    losses.set(Object.entries(curve.lines).map(([key, line]) => ({ key, name: key === "loss" ? "whole loss" : looks.parts[key]?.[0] || key,
      first: curve.first[key], smooth: lastOf(line) })));
    judged.set(model.get("scores").map((row) => ({ ...row, key: row.step })));
  }

  // ---- the run
  let timer = null, heard = "";
  const halt = pano.button("■ Stop, keep checkpoint", () => {
    f.put("stop", true);
    halt.disabled = true;
    timer = setTimeout(() => f.alarm("Python does not answer while its cell is running. Use the notebook's own stop button (interrupt the kernel): "
      + "the run then ends the same way, with a checkpoint."), 8000);
  }, { title: "End the run after this step; its checkpoint is kept" });
  function tell() {
    const { step, total, left, phase, words: said } = model.get("state");
    now.textContent = [`step ${step.toLocaleString("en")}${total ? ` of ${total.toLocaleString("en")}` : ""}`, left].filter(Boolean).join(" · ");
    if (total) { bar.max = total; bar.value = step; } else if (phase === "training") bar.removeAttribute("value"); else bar.value = 0;
    halt.disabled = phase !== "training";
    if (phase !== "training") { clearTimeout(timer); if (timer) f.alarm(model.get("fault")); timer = null; }
    if (said && said !== heard) f.say(said);
    if (phase === "training" && !said && heard) f.say("");
    heard = said;
    f.root.dataset.phase = phase;
    f.root.dataset.step = step;
  }
  let waiting = false;
  function change() { // several values come at once; draw once
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); numbers(); });
  }
  const watch = new ResizeObserver(() => { if (plot.clientWidth !== width) change(); });
  watch.observe(plot);
  const check = pano.checkbox("parts of the loss", parts, (on) => { parts = on; draw(); });
  f.body.append(el("div", { class: "pano-bar" }, now, bar, halt, check), plot, legend,
    el("details", {}, el("summary", {}, "The numbers as tables"), losses, judged));
  f.listen("state", tell);
  f.listen("curve", change);
  f.listen("scores", () => {
    change();
    const last = model.get("scores").at(-1);
    if (last) f.say(`Validated in step ${last.step}: ${Object.entries(looks.scores).filter(([key]) => last[key] !== null && last[key] !== undefined)
      .map(([key, [label]]) => `${label} PQ ${last[key].toFixed(2)}`).join(", ")}.`);
  });
  f.onclose(() => { watch.disconnect(); clearTimeout(timer); });
  tell();
  change();
  f.root.dataset.ready = "1";
  return f.close;
}
export default { render: pano.guarded(render) };
