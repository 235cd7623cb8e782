// PanopticViewer: one stage, or truth and prediction side by side; legend, table, pins.
async function render({ model, el: host }) {
  const { el } = pano;
  const f = pano.frame(model, host, "viewer"), pixelSize = model.get("pixel_size");
  const picture = await pano.bitmap(model.get("image"));
  const names = model.get("truth").ids ? ["truth", "panoptic"] : ["panoptic"];
  const sides = {};
  for (const name of names) {
    const layer = await pano.loadLayer(model.get(name)), trait = name === "truth" ? "pinned_truth" : "pinned";
    sides[name] = { name, layer, trait, words: name === "truth" ? "truth" : names.length > 1 ? "prediction" : "",
      rows: pano.rowsOf(layer), number: new Map(layer.segments.id.map((id, i) => [id, i + 1])), hovered: 0, voids: layer.ids.includes(0) };
  }
  const main = sides.panoptic, all = Object.values(sides), view = new pano.View(main.layer.width, main.layer.height);
  let current = null; // what n and p walk along: {side, number}
  const pinOf = (side) => side.number.get(model.get(side.trait)) || 0;
  const hidden = () => new Set(model.get("hidden"));

  // ---- words
  function tell(side, number) {
    const where = side.words ? `${side.words}: ` : "";
    if (!number) return `${where}void, no class here`;
    const row = side.rows[number - 1], kind = side.layer.categories[row.category];
    const what = kind.isthing ? `${row.name}, instance ${row.id}` : `${row.name} (stuff), segment ${row.id}`;
    const score = row.score === null ? "" : ` · score ${row.score.toFixed(2)}`;
    return `${where}${what}${score} · ${pano.areaText(row.area, pixelSize)}${hidden().has(kind.id) ? " · hidden" : ""}`;
  }
  function tellPins() {
    const pins = all.filter((side) => pinOf(side));
    if (!pins.length) return f.say(all.some((side) => side.rows.length) ? "" : "This map has no segments: every pixel is void.");
    const pair = pins.length > 1 ? ` · IoU ${overlap(pins[0], pinOf(pins[0]), pins[1], pinOf(pins[1])).iou.toFixed(2)}` : "";
    f.say(`pinned ${pins.map((side) => tell(side, pinOf(side))).join(" | ")}${pair}`);
  }
  const zoomTold = () => (view.zoom > 1.01 ? `zoom ${view.zoom.toFixed(1)}` : "whole picture; + zooms in, then the arrows move");

  // ---- pairs: pixels that two segments share, looked up in the box of the first
  function shared(side, number, other) {
    const [r0, c0, r1, c1] = side.rows[number - 1].place, counts = new Map(), w = side.layer.width;
    for (let r = r0; r < r1; r++) {
      for (let i = r * w + c0; i < r * w + c1; i++) {
        if (side.layer.ids[i] === number) counts.set(other.layer.ids[i], (counts.get(other.layer.ids[i]) || 0) + 1);
      }
    }
    return counts;
  }
  function overlap(side, number, other, partner) {
    const both = shared(side, number, other).get(partner) || 0;
    return { iou: both / (side.rows[number - 1].area + other.rows[partner - 1].area - both) };
  }
  function partnerOf(side, number, other) {
    const isthing = (s, n) => s.layer.categories[s.layer.category[n]].isthing;
    const found = [...shared(side, number, other).keys()]
      .filter((n) => n && isthing(other, n) === isthing(side, number))
      .map((n) => [overlap(side, number, other, n).iou, n]).sort((a, b) => b[0] - a[0]);
    return found.length ? found[0][1] : 0;
  }

  // ---- pin, hover, walk
  function pin(side, number) {
    const again = number && pinOf(side) === number, chosen = again ? 0 : number;
    current = chosen ? { side, number: chosen } : null;
    model.set(side.trait, chosen ? side.rows[chosen - 1].id : 0);
    for (const other of all.filter((s) => s !== side)) {
      const partner = chosen ? partnerOf(side, chosen, other) : 0;
      model.set(other.trait, partner ? other.rows[partner - 1].id : 0);
    }
    model.save_changes();
    marked();
  }
  let timer = null;
  function hover(place) {
    all.forEach((side) => { side.hovered = pano.numberAt(side.layer, place); });
    if (place) f.say(all.map((side) => tell(side, side.hovered)).join(" | ")); else tellPins();
    clearTimeout(timer); // Python hears where the pointer rests, not every pixel of its way
    timer = setTimeout(() => {
      const id = main.hovered ? main.rows[main.hovered - 1].id : 0;
      if (model.get("hovered") !== id) f.put("hovered", id);
    }, 60);
    view.changed();
  }
  function walk(side, step) {
    const off = hidden(), rows = side.rows.filter((row) => !off.has(side.layer.categories[row.category].id));
    if (!rows.length) return f.say("No segment is shown.");
    const at = rows.findIndex((row) => current?.side === side && row.key === current.number);
    const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : (at + step + rows.length) % rows.length;
    current = { side, number: rows[next].key };
    view.move(rows[next].row, rows[next].col);
    f.say(`${next + 1} of ${rows.length}: ${tell(side, current.number)}`);
  }
  function keys(side, event) {
    if (event.key === "n" || event.key === "N") walk(side, 1);
    else if (event.key === "p" || event.key === "P") walk(side, -1);
    else if (event.key === "Enter") {
      const middle = { row: Math.min(Math.floor(view.row), view.height - 1), col: Math.min(Math.floor(view.col), view.width - 1) };
      pin(side, current?.side === side ? current.number : pano.numberAt(side.layer, middle));
    } else if (event.key === "Escape") pin(side, 0);
    else {
      if (["+", "-", "=", "_", "0"].includes(event.key)) setTimeout(() => f.say(zoomTold()));
      return false;
    }
    return true;
  }

  // ---- stages
  const help = "Arrow keys move, plus and minus zoom, 0 shows all, n and p go to the next and previous segment, Enter pins.";
  for (const side of all) {
    side.stage = new pano.Stage(view, {
      label: `${side.words || "image with panoptic map"}, ${side.rows.length} segments`, caption: side.words, help,
      paint: (stage) => {
        stage.drawPicture(picture);
        const walked = current?.side === side ? current.number : 0;
        pano.drawLayer(stage, side.layer, { mode: model.get("mode"), opacity: model.get("opacity"), hidden: hidden(),
          strong: new Set([side.hovered, pinOf(side), walked].filter(Boolean)) });
        pano.drawScaleBar(stage, pixelSize);
        mark(stage, side);
      },
      hover, pick: (place) => pin(side, pano.numberAt(side.layer, place)), keys: (event) => keys(side, event),
    });
  }
  function mark(stage, side) { // a pinned thing carries its number
    const number = pinOf(side);
    if (!number || !side.layer.categories[side.layer.category[number]].isthing) return;
    const { k, left, top } = stage.frame, row = side.rows[number - 1];
    pano.text(stage, `${row.id}`, left + (row.col + 0.5) * k, top + (row.row + 0.5) * k);
  }

  // ---- panel
  const mode = pano.radios("draw", ["contours", "fill"], model.get("mode"), (v) => f.put("mode", v));
  const opacity = pano.slider("opacity", { step: 0.05, value: model.get("opacity"), oninput: (v) => f.put("opacity", v) });
  const legend = el("fieldset", { class: "pano-legend" }, el("legend", {}, all.length > 1 ? "classes (truth | prediction)" : "classes"));
  const checks = new Map();
  main.layer.categories.forEach((kind, index) => {
    const amounts = all.map((side) => side.rows.filter((row) => row.category === index).length);
    if (!amounts.some(Boolean)) return;
    const much = kind.isthing ? ` ${amounts.map((n) => n.toLocaleString("en")).join(" | ")}` : "";
    const check = pano.checkbox([pano.swatch(kind), el("span", {}, kind.name, el("small", {}, much))], !hidden().has(kind.id),
      (on) => f.put("hidden", on ? model.get("hidden").filter((id) => id !== kind.id) : [...model.get("hidden"), kind.id]));
    checks.set(kind.id, check);
    legend.append(check);
  });
  if (all.some((side) => side.voids)) legend.append(el("div", { class: "pano-check" }, el("span", { class: "pano-void" }), "void: no class"));

  const areaName = pixelSize ? "area, µm²" : "area, px", scored = all.some((side) => side.rows.some((row) => row.score !== null));
  const digits = (v) => (v < 1000 ? { minimumFractionDigits: 1, maximumFractionDigits: 1 } : { maximumFractionDigits: 0 });
  const table = pano.table("segments", [
    { key: "id", name: "no.", number: true },
    { key: "name", name: "class", show: (name, row) => el("span", {}, pano.swatch(main.layer.categories[row.category]), ` ${name}`) },
    { key: "area", name: areaName, number: true,
      show: (v) => (pixelSize ? (v * pixelSize ** 2).toLocaleString("en", digits(v * pixelSize ** 2)) : v.toLocaleString("en")) },
    ...(scored ? [{ key: "score", name: "score", number: true, show: (v) => (v === null ? "–" : v.toFixed(2)) }] : []),
  ], { sort: { key: "area", down: true }, onpick: (row) => {
    if (pinOf(listed) !== row.key) pin(listed, row.key);
    const [r0, c0, r1, c1] = row.place, near = 0.35 * Math.min(view.height / (r1 - r0), view.width / (c1 - c0));
    view.move(row.row, row.col, Math.max(view.zoom, Math.min(near, 6)));
  } });
  let listed = main;
  const list = (side) => { listed = side; table.set(side.rows); table.choose(pinOf(side), false); };
  const which = all.length > 1 ? pano.radios("table of", [["panoptic", "prediction"], ["truth", "truth"]], "panoptic",
    (name) => list(sides[name])) : null;

  const hint = el("p", { class: "pano-help" }, "Click a segment to pin it. Drag to move; the wheel zooms after a click on the "
    + "picture or with Ctrl. Keys: arrows, + − 0, n p, Enter, Esc.");
  f.body.append(
    el("div", { class: "pano-bar" }, pano.zoomButtons(view), mode, opacity),
    el("div", { class: "pano-split" },
      pano.stages(all.map((side) => side.stage), f.status),
      el("div", { class: "pano-side" }, legend, el("p", { class: "pano-note", role: "note" }, model.get("panoptic").note),
        el("div", {}, which, table))));
  f.root.append(hint);

  // ---- Python moves things too
  function marked() { table.choose(pinOf(listed)); tellPins(); view.changed(); }
  f.listen("mode", () => { mode.set(model.get("mode")); view.changed(); });
  f.listen("opacity", () => { opacity.set(model.get("opacity")); view.changed(); });
  f.listen("hidden", () => { const off = hidden(); checks.forEach((check, id) => check.set(!off.has(id))); view.changed(); });
  all.forEach((side) => f.listen(side.trait, marked));
  f.onclose(() => { clearTimeout(timer); all.forEach((side) => side.stage.close()); });
  list(main);
  view.fit();
  marked();
  f.root.dataset.ready = "1";
  return f.close;
}
export default { render: pano.guarded(render) };
