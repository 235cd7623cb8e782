// SlideViewer: OpenSeadragon for the pixels, SlideLayer for the map, SlideTools for drawing; tiles by messages.
async function draw(context) {
  const { model, el: host } = context;
  const { el } = pano, facts = model.get("facts"), map = facts.map, { mpp } = facts, [H, W] = facts.size, [paddedH, paddedW] = facts.padded;
  const f = pano.frame(model, host, "slide viewer");
  f.root.classList.add("pano-slide");

  // ---- questions to Python, each with its answer
  const pending = new Map();
  let seq = 0, silence = null;
  function ask(kind, content = {}) {
    return new Promise((resolve, reject) => {
      pending.set(++seq, { resolve, reject });
      silence ||= setTimeout(() => f.alarm("No answer from Python for 20 seconds: it is busy with a cell, or it was restarted. "
        + "Run this cell again if it stays so."), 20000);
      model.send({ kind, seq, ...content });
    });
  }
  f.listen("msg:custom", (message, buffers) => {
    if (message.kind === "changed") return layer?.outdate(message.box);
    const waiting = pending.get(message.seq);
    if (!waiting) return; // another view of this widget asked
    pending.delete(message.seq);
    clearTimeout(silence);
    silence = null;
    if (message.fault) { f.alarm(message.fault); waiting.reject(new Error(message.fault)); }
    else { if (!model.get("fault")) f.alarm(""); waiting.resolve({ message, buffers }); }
  });

  // ---- pixels
  const stage = el("div", { class: "pano-slide-stage", tabindex: 0, role: "application", "aria-roledescription": "slide with zoom",
    "aria-label": `slide ${model.get("title")}`, "aria-description": "Arrow keys move, plus and minus zoom, 0 shows all. "
      + "u walks through the least certain nuclei, l through the largest, n and p go on and back. r draws a rectangle, g a polygon, "
      + "m measures: Enter sets a corner at the cross in the middle, Escape ends. Enter alone selects the nucleus in the middle." });
  const glass = el("div", { class: "pano-slide-glass" });
  stage.append(glass);
  const layer = map ? new SlideLayer(ask, map, facts.tile, () => redraw()) : null;
  if (layer) stage.append(layer.canvas);
  const bar = el("div", { class: "pano-bar" }), side = el("div", { class: "pano-side" });
  f.body.append(bar, el("div", { class: "pano-split" }, el("div", { class: "pano-left" }, stage, f.status), side));

  const source = { width: paddedW, height: paddedH, tileSize: facts.tile, tileOverlap: 0, minLevel: 0, maxLevel: facts.depth - 1,
    getTileUrl: (level, x, y) => `${level}/${x}/${y}`,
    getTileHashKey: (level, x, y) => `${level}/${x}/${y}`,
    hasTransparency: () => false,
    downloadTileStart: (job) => {
      const [level, column, row] = job.src.split("/").map(Number);
      ask("color", { level: facts.depth - 1 - level, row, column }).then(
        ({ buffers }) => job.finish(new Blob([buffers[0]], { type: "image/jpeg" }), null, "rasterBlob"), (e) => job.fail(e.message, null));
    },
    downloadTileAbort: () => {} };
  const first = URL.createObjectURL(new Blob([model.get("overview")], { type: "image/jpeg" }));
  const viewer = OpenSeadragon({ element: glass, drawer: "canvas", showNavigationControl: false, keyboardNavEnabled: false,
    tileSources: [{ tileSource: { type: "image", url: first }, width: W / paddedW }, { tileSource: source }],
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false }, gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: false },
    animationTime: 0.35, imageLoaderLimit: 6, timeout: 2 ** 30, maxZoomPixelRatio: Math.max(4, 4 * (mpp / 0.25)), minZoomImageRatio: 0.7,
    visibilityRatio: 0.4, zoomPerScroll: 1.25, silenceMultiImageWarnings: true, maxImageCacheCount: 400 });
  viewer.canvas.tabIndex = -1; // the stage has the focus, and the keys
  await new Promise((resolve, reject) => {
    viewer.addOnceHandler("open", resolve);
    viewer.addOnceHandler("open-failed", (e) => reject(new Error(e.message)));
  });
  const image = viewer.world.getItemAt(1), point = (x, y) => new OpenSeadragon.Point(x, y);
  image.setClip(new OpenSeadragon.Rect(0, 0, W, H)); // without the rim that makes the sizes of all levels whole
  const toScreen = ({ row, column }) => image.imageToViewerElementCoordinates(point(column, row));
  const toSlide = (x, y) => { const at = image.viewerElementToImageCoordinates(point(x, y)); return { row: at.y, column: at.x }; };
  const middle = () => toSlide(glass.clientWidth / 2, glass.clientHeight / 2);
  const boxOf = (top, left, bottom, right) => image.imageToViewportRectangle(left, top, right - left, bottom - top);
  const home = (at = false) => { context.moved = false; viewer.viewport?.fitBounds(boxOf(0, 0, H, W), at); };
  const [top, left, bottom, right] = model.get("view");
  if (context.moved) viewer.viewport.fitBounds(boxOf(top, left, bottom, right), true); else home(true);

  // ---- what is drawn
  const hidden = () => new Set(model.get("hidden"));
  let hovered = 0, regionAnswer = null, distance = null;
  function frame() {
    const dpr = Math.min(window.devicePixelRatio || 1, 2), { clientWidth: w, clientHeight: h } = glass;
    const density = viewer.isAnimating() && w * h * dpr * dpr > 2e6 ? 1 : dpr; // quick while it moves, sharp when it rests
    const a = toScreen({ row: 0, column: 0 }), b = toScreen({ row: 0, column: W });
    return { density, k: (b.x - a.x) / W * density, left: a.x * density, top: a.y * density, width: Math.round(w * density), height: Math.round(h * density) };
  }
  function paint() {
    const view = frame();
    if (!view.width || !view.height) return;
    layer?.paint(view, { hidden: hidden(), types: model.get("types"), fill: model.get("fill"),
      strong: new Set([hovered, model.get("selected")].filter(Boolean)) });
    const dpr = Math.min(window.devicePixelRatio || 1, 2);
    tools.paint(dpr, model.get("region").map(([row, column]) => ({ row, column })), distance);
    const g = tools.canvas.getContext("2d"), k = view.k / view.density * dpr;
    g.setTransform(1, 0, 0, 1, 0, 0);
    pano.drawScaleBar({ context: g, density: dpr, canvas: tools.canvas, frame: { k, left: 0, top: 0 }, view: { height: tools.canvas.height / k } }, mpp);
    const c = middle();
    stage.dataset.seen = [view.k / view.density, c.row, c.column].map((v) => v.toPrecision(7)).join(" ");
    stage.dataset.missing = layer ? layer.missing : 0;
    stage.dataset.asked = layer ? layer.asked : 0;
  }
  let due = false;
  function redraw() {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; paint(); });
  }
  let telling = null;
  function told() { // Python hears what is seen when the view rests
    clearTimeout(telling);
    telling = setTimeout(() => {
      const a = toSlide(0, 0), b = toSlide(glass.clientWidth, glass.clientHeight);
      f.put("view", [a.row, a.column, b.row, b.column].map(Math.round));
    }, 120);
  }

  // ---- words
  const kinds = new Map((map?.categories || []).map((c) => [c.id, c])), known = new Map();
  const nameOf = (kind) => (kind.isthing && !model.get("types") ? map.plain.name : kind.name);
  function about(n) {
    const score = n.score === null || n.score === undefined ? "" : ` · score ${n.score.toFixed(2)}`;
    return `${nameOf(kinds.get(n.category_id))}, no. ${n.id}${score} · ${slidePanel.area(n.area_um2)}`;
  }
  const place = ({ row, column }) => `${slidePanel.length(column * mpp)} from the left, ${slidePanel.length(row * mpp)} from the top`;
  let resting = null, pointing = null;
  function tell(x, y, at) {
    const { id, category } = layer ? layer.at(x * frame().density, y * frame().density) : { id: 0, category: 0 };
    clearTimeout(resting);
    if (facts.live) { // what lies under the pointer is looked at first
      clearTimeout(pointing);
      pointing = setTimeout(() => f.put("cursor", [at.row, at.column].map(Math.round)), 200);
    }
    if (hovered !== id) { hovered = id; redraw(); }
    if (!map) return f.say(place(at));
    if (!category) return f.say(`${map && facts.live ? "not looked at yet" : "not looked at"} · ${place(at)}`);
    const kind = kinds.get(category);
    if (!id) return f.say(`${kind.name} (tissue) · ${place(at)}`);
    if (known.has(id)) return f.say(about(known.get(id)));
    f.say(`${nameOf(kind)}, no. ${id}`);
    resting = setTimeout(async () => { const n = await lookup(id); if (n && hovered === id) f.say(about(n)); }, 80);
  }
  async function lookup(id) {
    if (known.has(id)) return known.get(id);
    const { message } = await ask("nucleus", { id }).catch(() => ({ message: {} }));
    if (message.nucleus && !facts.live) known.set(id, message.nucleus);
    return message.nucleus;
  }
  async function select(id) {
    const chosen = id && id === model.get("selected") ? 0 : id;
    f.put("selected", chosen);
    if (!chosen) return f.say("nothing selected");
    const n = await lookup(chosen);
    if (n) f.say(`selected: ${about(n)}`);
  }

  // ---- the walk
  let walk = null;
  async function start(by, words) {
    f.say("looking them up …");
    const { message } = await ask("ranked", { by }).catch(() => ({ message: {} }));
    if (!message.nuclei?.length) return f.say("There is no nucleus yet.");
    walk = { list: message.nuclei, at: -1, words };
    step(1);
  }
  function step(by) {
    if (!walk) return f.say("Choose the least certain (u) or the largest (l) first.");
    walk.at = (walk.at + by + walk.list.length) % walk.list.length;
    const n = walk.list[walk.at], around = Math.max(1.5 * Math.max(n.bottom - n.top, n.right - n.left), 25 / mpp);
    context.moved = true;
    viewer.viewport.fitBounds(boxOf(n.row - around, n.column - around, n.row + around, n.column + around));
    f.put("selected", n.id);
    f.say(`${walk.at + 1} of ${walk.list.length} ${walk.words}: ${about(n)}`);
  }

  // ---- drawing
  const tools = new SlideTools(stage, { toScreen, toSlide, middle, onchange: redraw, onwheel: (e, { x, y }) => {
    e.preventDefault();
    viewer.viewport.zoomBy(1.25 ** -Math.sign(e.deltaY), viewer.viewport.pointFromPixel(point(x, y), true));
    viewer.viewport.applyConstraints();
  }, ondone: (tool, corners) => {
    take("");
    if (tool === "distance") {
      const [a, b] = corners, um = Math.hypot(a.row - b.row, a.column - b.column) * mpp;
      distance = { corners, words: slidePanel.length(um) };
      return f.say(`distance: ${slidePanel.length(um)}`);
    }
    return count(corners.map(({ row, column }) => [row, column]));
  } });
  async function count(corners) {
    f.put("region", corners);
    if (!map) return f.say("Nothing was found on this slide yet, so there is nothing to count.");
    const { message } = await ask("region", { corners }).catch((e) => ({ message: null, said: e.message }));
    regionAnswer = message;
    region.set(message, map, model.get("types"));
    return message ? f.say(slidePanel.sentence(message, map, model.get("types"))) : f.put("region", []);
  }
  const toolButtons = new Map();
  function take(tool) {
    const taken = tools.tool === tool ? "" : tool;
    tools.take(taken);
    toolButtons.forEach((button, name) => button.setAttribute("aria-pressed", name === taken));
    if (taken) f.say({ rectangle: "Rectangle: drag, or two clicks.", polygon: "Polygon: click its corners; double-click, or the first corner again, closes it.",
      distance: "Distance: drag, or two clicks." }[taken]);
  }
  function clear() {
    take("");
    distance = regionAnswer = null;
    region.set(null);
    Object.entries({ region: [], selected: 0 }).forEach(([name, value]) => model.set(name, value));
    model.save_changes();
    redraw();
  }

  // ---- panel
  const region = slidePanel.region(), toolButton = (name, text, key) => {
    const button = pano.button(text, () => take(name), { title: `${name} (key ${key})`, pressed: false });
    toolButtons.set(name, button);
    return button;
  };
  const zoomBy = (factor) => { context.moved = true; viewer.viewport.zoomBy(factor); viewer.viewport.applyConstraints(); };
  bar.append(el("div", { class: "pano-group", role: "group", "aria-label": "zoom" }, pano.button("+", () => zoomBy(1.5), { title: "zoom in" }),
    pano.button("−", () => zoomBy(1 / 1.5), { title: "zoom out" }), pano.button("whole slide", () => home(), {})),
  el("div", { class: "pano-group", role: "group", "aria-label": "draw" }, map ? toolButton("rectangle", "▭ rectangle", "r") : null,
    map ? toolButton("polygon", "⬠ polygon", "g") : null, toolButton("distance", "↔ distance", "m"), pano.button("clear", clear, {})));
  let legend = null, opacity = null, types = null, note = null, fill = null;
  const look = el("div", { class: "pano-slide-look" });
  function makeLegend() {
    const made = slidePanel.legend(map, { types: model.get("types"), hidden: hidden(), onhide: (ids, on) => {
      const rest = model.get("hidden").filter((id) => !ids.includes(id));
      f.put("hidden", on ? rest : [...rest, ...ids]);
    } });
    legend ? legend.replaceWith(made) : look.append(made);
    legend = made;
  }
  if (map) {
    opacity = pano.slider("opacity", { step: 0.05, value: model.get("opacity"), oninput: (v) => f.put("opacity", v) });
    types = pano.checkbox(map.note ? "show types (demonstration)" : "show types", model.get("types"), (on) => f.put("types", on));
    types.hidden = map.categories.filter((kind) => kind.isthing).length < 2; // a plain map has none
    note = el("p", { class: "pano-note", role: "note", hidden: !model.get("types") || !map.note }, map.note);
    fill = pano.checkbox("fill nuclei", model.get("fill"), (on) => f.put("fill", on));
    makeLegend();
    side.append(look, el("div", { class: "pano-slide-looks" }, opacity, types, fill), note, el("div", { class: "pano-group", role: "group", "aria-label": "walk" },
      pano.button("least certain", () => start("certain", "least certain"), { title: "least certain nuclei (key u)" }),
      pano.button("largest", () => start("large", "largest"), { title: "largest nuclei (key l)" }),
      pano.button("◀", () => step(-1), { title: "back (key p)" }), pano.button("▶", () => step(1), { title: "next (key n)" })), region);
  }
  const progress = el("p", { class: "pano-slide-progress", role: "status", "aria-live": "polite" }, model.get("progress"));
  side.append(progress);
  f.root.append(el("p", { class: "pano-help" }, "Drag to move; the wheel zooms after a click on the slide or with Ctrl. Keys: arrows, + − 0; "
    + "u least certain, l largest, n p on and back; r rectangle, g polygon, m distance, Enter sets a corner or selects, Esc clears. Not for diagnosis."));

  // ---- events
  const pan = (dx, dy) => { context.moved = true; viewer.viewport.panBy(viewer.viewport.deltaPointsFromPixels(point(dx, dy))); viewer.viewport.applyConstraints(); };
  const stepX = () => glass.clientWidth * 0.15, stepY = () => glass.clientHeight * 0.15;
  const keys = { ArrowUp: () => pan(0, -stepY()), ArrowDown: () => pan(0, stepY()), ArrowLeft: () => pan(-stepX(), 0), ArrowRight: () => pan(stepX(), 0),
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), _: () => zoomBy(1 / 1.5), 0: () => home(),
    m: () => take("distance"), Escape: clear, ...(map ? { u: () => start("certain", "least certain"), l: () => start("large", "largest"),
      n: () => step(1), p: () => step(-1), r: () => take("rectangle"), g: () => take("polygon") } : {}),
    Enter: () => (tools.tool ? tools.key() : layer && select(layer.at(layer.canvas.width / 2, layer.canvas.height / 2).id)) };
  stage.addEventListener("keydown", (e) => {
    const act = keys[e.key.length === 1 ? e.key.toLowerCase() : e.key];
    if (!act || e.ctrlKey || e.metaKey || e.altKey) return;
    act();
    e.preventDefault();
    e.stopPropagation();
  }, true);
  const inside = (e) => { const box = glass.getBoundingClientRect(); return { x: e.clientX - box.left, y: e.clientY - box.top }; };
  stage.addEventListener("pointermove", (e) => { if (e.buttons || tools.tool) return; const { x, y } = inside(e); tell(x, y, toSlide(x, y)); });
  stage.addEventListener("pointerleave", () => { clearTimeout(resting); if (hovered) { hovered = 0; redraw(); } });
  viewer.addHandler("canvas-click", (e) => {
    stage.focus({ preventScroll: true });
    if (e.quick && layer) select(layer.at(e.position.x * frame().density, e.position.y * frame().density).id);
  });
  viewer.addHandler("canvas-scroll", (e) => { // the page goes on scrolling until the slide was clicked
    if (e.originalEvent.ctrlKey || stage.contains(stage.getRootNode().activeElement)) { context.moved = true; return; }
    Object.assign(e, { preventDefaultAction: true, preventDefault: false });
  });
  ["canvas-drag", "canvas-pinch"].forEach((name) => viewer.addHandler(name, () => { context.moved = true; }));
  viewer.addHandler("resize", () => { if (!context.moved) setTimeout(() => home(true)); }); // nobody chose another place yet
  viewer.addHandler("update-viewport", paint);
  ["animation-finish", "resize", "open"].forEach((name) => viewer.addHandler(name, () => { redraw(); told(); }));
  f.listen("hidden", () => { legend?.set(hidden()); redraw(); });
  const shine = () => { if (layer) layer.canvas.style.opacity = model.get("opacity"); };
  f.listen("opacity", () => { opacity?.set(model.get("opacity")); shine(); });
  f.listen("types", () => { types.set(model.get("types")); note.hidden = !model.get("types") || !map.note; makeLegend(); region.set(regionAnswer, map, model.get("types")); redraw(); });
  f.listen("fill", () => { fill.set(model.get("fill")); redraw(); });
  f.listen("selected", redraw);
  f.listen("region", redraw);
  f.listen("progress", () => { progress.textContent = model.get("progress"); });
  f.onclose(() => {
    [silence, telling, resting, pointing].forEach(clearTimeout);
    layer?.close();
    viewer.destroy();
    URL.revokeObjectURL(first);
  });
  tools.take("");
  shine();
  redraw();
  told();
  f.root.dataset.ready = "1";
  return f.close;
}
// Another map: everything is made anew, in the same place.
async function render(context) {
  let made = draw(context);
  const anew = () => { made = made.then((close) => { close(); return draw(context); }); };
  context.model.on("change:facts", anew);
  await made;
  return () => { context.model.off("change:facts", anew); made.then((close) => close()); };
}
export default { render: pano.guarded(render) };
