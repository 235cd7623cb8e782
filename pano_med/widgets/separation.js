// SeparationLab: threshold, watershed, network and truth, two by two; sliders, error marks, lists of errors and nuclei.
async function render({ model, el: host }) {
  const { el } = pano;
  const f = pano.frame(model, host, "separation"), pixel = model.get("pixel_size");
  const unit = pixel ? "µm" : "px", area = pixel ? "µm²" : "px";
  const picture = await pano.bitmap(model.get("image")), view = new pano.View(picture.width, picture.height);
  const titles = { threshold: "threshold", watershed: "watershed", ours: "our network", truth: "truth" };
  const methods = ["threshold", "watershed", "ours"], panes = {};
  const hasTruth = Boolean(model.get("truth").layer), kinds = model.get("kinds"); // [kind, sign, words]
  const shown = new Set(["merge", "split", "missed", "invented"]);
  let chosen = null, hovered = null; // chosen: {own: Set, truth: Set, key}

  // ---- signs: shape and letter tell the kind, colour only helps
  const looks = { merge: ["#d55e00", "white", "square"], split: ["#0072b2", "white", "diamond"], missed: ["white", "black", "circle"],
    invented: ["black", "white", "triangle"], poor: ["#f0e442", "black", "circle"] };
  function outline(shape, x, y, r) {
    const p = { square: [[-1, -1], [1, -1], [1, 1], [-1, 1]], diamond: [[0, -1.35], [1.35, 0], [0, 1.35], [-1.35, 0]],
      triangle: [[0, -1.5], [1.45, 1.05], [-1.45, 1.05]] }[shape];
    const path = new Path2D();
    if (p) { p.forEach(([a, b], i) => path[i ? "lineTo" : "moveTo"](x + a * r, y + b * r)); path.closePath(); } else path.arc(x, y, 1.1 * r, 0, 7);
    return path;
  }
  function sign(g, kind, x, y, r, strong) {
    const [fill, ink, shape] = looks[kind], path = outline(shape, x, y, r);
    const line = (style, width) => { g.strokeStyle = style; g.lineWidth = width; g.stroke(path); };
    if (strong) { line("black", 0.9 * r); line("#f0e442", 0.55 * r); }
    line(ink === "white" ? "white" : "black", 0.3 * r);
    g.fillStyle = fill; g.fill(path);
    Object.assign(g, { fillStyle: ink, font: `bold ${1.7 * r}px system-ui, sans-serif`, textAlign: "center", textBaseline: "middle" });
    g.fillText(kinds.find(([k]) => k === kind)[1], x, y + 0.1 * r);
  }
  function signNode(kind) {
    const d = 2, canvas = el("canvas", { width: 20 * d, height: 20 * d, style: "width: 20px; height: 20px" });
    sign(canvas.getContext("2d"), kind, 10 * d, 10 * d, 6.5 * d, false);
    return el("span", { class: "pano-sign", "aria-hidden": "true" }, canvas);
  }

  // ---- words
  const many = (n, one, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;
  const square = (px) => { const v = pixel ? px * pixel ** 2 : px; return `${v < 100 ? v.toFixed(pixel ? 1 : 0) : Math.round(v).toLocaleString("en")} ${area}`; };
  function counted(name) {
    const { count, errors } = panes[name].state, start = `${titles[name]}: ${many(count, "nucleus", "nuclei")}`;
    return errors ? `${start}, ${many(errors.merge, "merge")}, ${many(errors.split, "split")}, ${errors.missed} missed, `
      + `${errors.invented} invented` : start;
  }
  function tell(name, number) {
    const row = panes[name].rows[number - 1], score = row.score === null ? "" : `, score ${row.score.toFixed(2)}`;
    return `${titles[name]}: ${row.name}, ${square(row.area)}${score}`;
  }
  const at = (name, place) => (panes[name].layer ? pano.numberAt(panes[name].layer, place) : 0);
  function hover(place) {
    hovered = place;
    const found = Object.keys(panes).filter((name) => at(name, place)).map((name) => tell(name, at(name, place)));
    f.say(place ? found.join(" · ") || "no nucleus here in any picture" : counted(model.get("method")));
    view.changed();
  }

  // ---- places
  function go(row, col, reach, own, truth, key) {
    chosen = { own: new Set(own), truth: new Set(truth), key };
    const near = 0.22 * Math.min(view.height, view.width) / Math.max(reach, 4);
    view.move(row, col, Math.max(view.zoom, Math.min(near, 8)));
    view.point({ row, col });
  }
  const reachOf = (pane, numbers) => Math.max(8, ...numbers.map((n) => { const [a, b, c, d] = pane.rows[n - 1].place; return Math.max(c - a, d - b); }));
  function goError(row) {
    const pane = panes[model.get("method")];
    go(row.row, row.col, Math.max(reachOf(pane, row.own), reachOf(panes.truth, row.truth)), row.own, row.truth, row.key);
    errors.choose(row.key);
    f.say(`${titles[model.get("method")]}, error ${listed.indexOf(row) + 1} of ${listed.length}: ${row.kind === "poor" ? "poor outline" : row.kind}, ${row.text}`);
  }
  function goNucleus(row) {
    const name = model.get("method");
    go(row.row, row.col, reachOf(panes[name], [row.key]), [row.key], [], null);
    nuclei.choose(row.key);
    f.say(`${tell(name, row.key)}, eccentricity ${row.eccentricity.toFixed(2)}, haematoxylin ${row.haematoxylin.toFixed(3)}`);
  }
  function pick(name, place) { // a sign first, then the nucleus under the pointer
    if (name === "truth") return;
    const { state, stage } = panes[name], number = at(name, place);
    const away = (m) => Math.hypot(m.row - place.row, m.col - place.col) * stage.scale; // screen pixels
    const [sign] = (state.marks || []).filter((m) => shown.has(m.kind) && away(m) < 10).sort((a, b) => away(a) - away(b));
    if (!sign && !number) return;
    f.put("method", name);
    list();
    step = sign ? listed.findIndex((m) => m.mark === sign) : -1;
    if (sign) goError(listed[step]); else goNucleus(rows.find((row) => row.key === number));
  }
  let step = -1;
  function walk(by) {
    if (!listed.length) return f.say(hasTruth ? "No errors of the kinds that are shown." : "Without a truth nothing can be called an error.");
    step = (step + by + listed.length) % listed.length;
    goError(listed[step]);
  }

  // ---- pictures
  function paint(stage, name) {
    stage.drawPicture(picture);
    const pane = panes[name];
    if (pane.layer) {
      const mine = name === "truth" ? chosen?.truth : name === model.get("method") ? chosen?.own : null;
      const under = at(name, hovered);
      pano.drawLayer(stage, pane.layer, { voids: false, letters: false, strong: new Set([...(mine || []), under].filter(Boolean)) });
    }
    const { k, left, top } = stage.frame, d = stage.density, r = Math.min(9, 4.5 + 1.2 * stage.scale) * d;
    for (const mark of pane.state.marks || []) {
      if (!shown.has(mark.kind)) continue;
      const x = left + (mark.col + 0.5) * k, y = top + (mark.row + 0.5) * k;
      if (x > -r && y > -r && x < stage.canvas.width + r && y < stage.canvas.height + r) sign(stage.context, mark.kind, x, y, r, false);
    }
    pano.drawScaleBar(stage, pixel);
  }
  const controls = {
    threshold: ["stain", "min_area"], watershed: ["seed", "smooth"], ours: model.get("least_score") === null ? [] : ["score"], truth: [],
  };
  const round = (v, n) => Number(v.toPrecision(n)), k = pixel ? 1 : 2; // without a pixel size: twice as many pixels as um
  const ranges = {
    stain: ["stain threshold", { min: 0, max: round(model.get("most_stain"), 2), step: round(model.get("most_stain") / 100, 1), unit: "" }],
    min_area: ["least area (both)", { min: 0, max: 60 * k * k, step: k * k, unit: area }],
    smooth: ["smoothing (both)", { min: 0, max: 2 * k, step: 0.1 * k, unit }],
    seed: ["seed distance", { min: 0.5 * k, max: 8 * k, step: 0.5 * k, unit }],
    score: ["score cut", { min: model.get("least_score") || 0, max: 1, step: 0.01, unit: "" }],
  };
  const sliders = Object.fromEntries(Object.values(controls).flat().map((trait) => {
    const [label, range] = ranges[trait];
    return [trait, pano.slider(label, { ...range, value: model.get(trait), oninput: (v) => moved(trait, v) })];
  }));
  let asked = 0;
  function moved(trait, value) { asked = performance.now(); f.put(trait, value); }
  const help = "Arrow keys move, plus and minus zoom, 0 shows all, n and p go to the next and previous error.";
  for (const name of [...methods, "truth"]) {
    const caption = el("span", {}, titles[name]);
    const stage = new pano.Stage(view, { label: name === "truth" && !hasTruth ? "the image" : titles[name], caption, help, height: 900,
      paint: (s) => paint(s, name), hover,
      pick: (place) => pick(name, place),
      keys: (e) => { const by = { n: 1, N: 1, p: -1, P: -1 }[e.key]; if (by) walk(by); return Boolean(by); } });
    const under = el("div", { class: "pano-controls" }, controls[name].map((trait) => sliders[trait]));
    if (name === "threshold") {
      sliders.stain.append(pano.button("Otsu", () => { sliders.stain.set(model.get("otsu")); moved("stain", model.get("otsu")); },
        { title: "set Otsu's threshold" }));
    }
    stage.node.append(under);
    panes[name] = { name, stage, caption, state: {}, layer: null, rows: [] };
  }

  // ---- lists
  let listed = [], rows = [];
  const counts = el("tbody");
  const signed = kinds.filter(([kind]) => kind !== "poor").map(([kind, , words]) => el("span", { title: words }, signNode(kind), el("span", { class: "pano-unseen" }, words)));
  const head = ["", "nuclei", ...(hasTruth ? ["found", ...signed, "PQ"] : [])];
  const summary = el("div", { class: "pano-table pano-counts", role: "region", "aria-label": "counts", tabindex: 0 }, el("table", {},
    el("caption", {}, "counts"), el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))), counts));
  function fillCounts() {
    counts.replaceChildren(...Object.values(panes).filter((p) => p.layer).map(({ name, state }) => {
      const e = state.errors, cells = [state.count, ...(!hasTruth ? [] : e ? [state.matched, e.merge, e.split, e.missed, e.invented,
        state.pq === null ? "–" : state.pq.toFixed(2)] : ["", "", "", "", "", ""])];
      return el("tr", {}, el("th", { scope: "row" }, titles[name]), cells.map((v) => el("td", {}, `${v}`)));
    }));
  }
  const method = pano.radios("list", methods.map((m) => [m, titles[m]]), model.get("method"), (m) => { f.put("method", m); list(); });
  const filter = el("div", { class: "pano-bar", role: "group", "aria-label": "errors that are shown" }, kinds.map(([kind, , words]) => {
    const check = pano.checkbox([signNode(kind), words], shown.has(kind), (on) => { if (on) shown.add(kind); else shown.delete(kind); list(); view.changed(); });
    return check;
  }));
  const errors = pano.table("errors: click to go there", [
    { key: "order", name: "kind", show: (_, row) => el("span", {}, signNode(row.kind), ` ${row.kind}`) },
    { key: "text", name: "what" },
    { key: "row", name: "row", number: true, show: (v) => Math.round(v) }, { key: "col", name: "column", number: true, show: (v) => Math.round(v) },
  ], { onpick: (row) => { step = listed.indexOf(row); goError(row); }, sort: { key: "order", down: false } });
  const nuclei = pano.table("nuclei: click to go there", [
    { key: "area", name: `area (${area})`, number: true, show: (v) => square(v).replace(` ${area}`, "") },
    { key: "eccentricity", name: "eccentricity", number: true, show: (v) => v.toFixed(2) },
    { key: "haematoxylin", name: "haematoxylin", number: true, show: (v) => v.toFixed(3) },
    { key: "name", name: "class" },
  ], { onpick: goNucleus, sort: { key: "area", down: true } });
  function list() {
    const { state, rows: own } = panes[model.get("method")], order = kinds.map(([kind]) => kind);
    listed = (state.marks || []).filter((m) => shown.has(m.kind)).map((m, i) => ({ ...m, mark: m, key: i, order: order.indexOf(m.kind) }));
    listed.sort((a, b) => a.order - b.order);
    rows = own.map((row, i) => ({ ...row, eccentricity: state.table.eccentricity[i], haematoxylin: state.table.haematoxylin[i] }));
    step = -1;
    chosen = null;
    errors.set(listed);
    nuclei.set(rows);
    [errors, nuclei].forEach((table) => table.choose(null, false));
  }
  const legend = el("div", { class: "pano-bar pano-note", role: "group", "aria-label": "lines" });
  function fillLegend() {
    const seen = new Map();
    for (const { layer } of Object.values(panes)) for (const c of layer?.segments.category || []) seen.set(layer.categories[c].name, layer.categories[c]);
    legend.replaceChildren(...[...seen.values()].map((kind) => el("span", { class: "pano-check" }, pano.swatch(kind), kind.name)));
  }
  async function load(name) {
    const state = model.get(name), pane = panes[name];
    if (!state.layer) return;
    const layer = await pano.loadLayer(state.layer);
    if (model.get(name) !== state) return; // a newer answer has come meanwhile
    Object.assign(pane, { state, layer, rows: pano.rowsOf(layer) });
    const e = state.errors;
    pane.caption.textContent = `${titles[name]}: ${many(state.count, "nucleus", "nuclei")}` + (e ? `, M ${e.merge}, S ${e.split}` : "");
    fillCounts();
    fillLegend();
    if (name === model.get("method")) list();
    if (asked && name !== "truth") { f.root.dataset.answered = Math.round(performance.now() - asked); f.say(counted(name)); }
    view.changed();
  }

  // ---- together
  const note = !hasTruth ? "No truth was given, so nothing is called an error; counts and nuclei are shown." : null;
  const order = [...methods, "truth"].map((name) => panes[name].stage.node);
  if (!hasTruth) panes.truth.caption.textContent = "image (no truth given)";
  f.body.append(
    el("div", { class: "pano-bar" }, pano.zoomButtons(view), hasTruth ? filter : el("span", { class: "pano-note" }, note)),
    el("div", { class: "pano-split" },
      el("div", { class: "pano-left" }, el("div", { class: "pano-four" }, order), f.status),
      el("div", { class: "pano-side" }, summary, legend, method, hasTruth ? errors : null, nuclei)));
  f.root.append(el("p", { class: "pano-help" }, "All pictures move together. Click a sign or a nucleus. Drag to move; the wheel zooms after a click on a picture or with "
    + "Ctrl. Keys on a picture: arrows, + − 0, n and p for the next and previous error."));
  for (const name of Object.keys(panes)) f.listen(name, () => load(name));
  for (const trait of Object.keys(sliders)) f.listen(trait, () => sliders[trait].set(model.get(trait)));
  f.listen("method", () => { method.set(model.get("method")); list(); view.changed(); });
  f.onclose(() => Object.values(panes).forEach((pane) => pane.stage.close()));
  for (const name of Object.keys(panes)) await load(name);
  view.fit();
  f.say(counted(model.get("method")));
  f.root.dataset.ready = "1";
  return f.close;
}
export default { render: pano.guarded(render) };
