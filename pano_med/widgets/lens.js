// LayerLens: a table of modules, a grid of the strongest maps, one map large, and the image with what a cell sees.
async function render({ model, el }) {
  const f = pano.frame(model, el, "lens");
  const lut = bytes(model.get("colors")), [H, W] = model.get("size");
  const photo = model.get("image").byteLength ? await pano.bitmap(model.get("image")) : null;
  let layer = null, place = 0, cell = null; // what is shown, the map in the order of strength, [row, column] of a cell

  function bytes(data) { return data instanceof DataView ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data); }

  // One map as a small canvas of its own colours.
  function painted(index) {
    const [, h, w] = layer.cells, canvas = pano.el("canvas", { width: w, height: h }), picture = new ImageData(w, h);
    for (let i = 0, at = index * h * w; i < h * w; i++, at++) {
      for (let c = 0; c < 3; c++) picture.data[4 * i + c] = lut[3 * layer.data[at] + c];
      picture.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return canvas;
  }
  const number = (v) => (Math.abs(v) >= 1000 || (v && Math.abs(v) < 0.01) ? v.toExponential(1) : v.toFixed(2));
  const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

  // Python holds the maps of the other modules; a kernel that is gone cannot send them.
  let waiting = null;
  function ask(key) {
    if (key === model.get("chosen")) return;
    f.put("chosen", key);
    clearTimeout(waiting);
    waiting = setTimeout(() => f.alarm("Python does not answer: is the kernel busy or gone? Run this cell again."), 4000);
  }

  // ---- the table of modules -----------------------------------------------------------------------------------
  const list = model.get("layers");
  const table = pano.table("Modules, in the order in which the image reaches them", [
    { key: "name", name: "module" }, { key: "kind", name: "type" }, { key: "size", name: "output" },
    { key: "parameters", name: "parameters", number: true, show: (v) => v.toLocaleString("en") },
  ], { sort: { key: "key", down: false }, onpick: (row) => ask(row.key) });
  table.set(list.map((row, key) => ({ key, ...row })));
  table.addEventListener("keydown", (e) => { // arrows walk through the rows
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key], row = e.target.closest("tr[data-key]");
    if (!step || !row) return;
    const next = step > 0 ? row.nextElementSibling : row.previousElementSibling;
    if (next) { next.focus(); ask(Number(next.dataset.key)); }
    e.preventDefault(); e.stopPropagation();
  });

  // ---- grid, slider, map, image -------------------------------------------------------------------------------
  const grid = pano.el("div", { class: "pano-lens-grid", role: "group", "aria-label": "strongest maps" });
  const bar = pano.el("div", { class: "pano-bar" }), facts = pano.el("p", { class: "pano-lens-facts" });
  const mapCaption = pano.el("div", { class: "pano-caption" }), scale = pano.el("canvas", { width: 256, height: 1, class: "pano-lens-scale", "aria-hidden": "true" });
  const low = pano.el("span"), high = pano.el("span");
  let mapStage = null, slider = null, large = null;
  const mapBox = pano.el("div", { class: "pano-lens-map" });

  let imageStage = null;
  if (photo) {
    const view = new pano.View(W, H);
    imageStage = new pano.Stage(view, {
      label: "the image, with the chosen cell and how far it looks", help: "arrows move, plus and minus zoom", height: 300,
      paint: (s) => { s.drawPicture(photo); drawField(s); },
      hover: (at) => { if (at && layer.sees) choose(cellAt(at)); },
      pick: (at) => { if (layer.sees) choose(cellAt(at)); },
    });
    view.fit();
  }

  // Pixels of the image that belong to a cell of the map: [top, left, bottom, right].
  function block([row, col]) {
    const [, h, w] = layer.cells, [, rows, cols] = layer.shape, n = layer.shrunk, y = layer.span[0] / rows, x = layer.span[1] / cols;
    return [row * n * y, col * n * x, Math.min((row + 1) * n, rows) * y, Math.min((col + 1) * n, cols) * x];
  }
  function cellAt({ row, col }) {
    const [, rows, cols] = layer.shape, [high, wide] = layer.span;
    return [Math.floor((row * rows) / high / layer.shrunk), Math.floor((col * cols) / wide / layer.shrunk)];
  }
  function fields() { // half, and 95 %, of the gradient around the middle of the cell
    const [top, left, bottom, right] = block(cell), y = (top + bottom) / 2, x = (left + right) / 2;
    return layer.sees.map(([up, l, down, r]) => [Math.max(0, y - up), Math.max(0, x - l), Math.min(H, y + down), Math.min(W, x + r)]);
  }
  function outline(s, [top, left, bottom, right], dash, width) {
    const { k, left: x0, top: y0 } = s.frame, g = s.context, d = s.density;
    for (const [style, extra] of [["white", 3], ["black", 0]]) {
      g.setLineDash(style === "black" ? dash.map((v) => v * d) : []);
      Object.assign(g, { strokeStyle: style, lineWidth: (width + extra) * d });
      g.strokeRect(x0 + left * k, y0 + top * k, (right - left) * k, (bottom - top) * k);
    }
    g.setLineDash([]);
  }
  function drawField(s) {
    if (!cell || !layer?.sees) return;
    const [half, most] = fields();
    outline(s, most, [7, 5], 2); outline(s, half, [], 2);
    const b = block(cell), { k, left, top } = s.frame;
    s.context.fillStyle = "#e69f00";
    s.context.fillRect(left + b[1] * k, top + b[0] * k, Math.max(3, (b[3] - b[1]) * k), Math.max(3, (b[2] - b[0]) * k));
    outline(s, b, [], 1);
  }

  function choose(next) {
    const [, h, w] = layer.cells;
    cell = next && [Math.min(Math.max(next[0], 0), h - 1), Math.min(Math.max(next[1], 0), w - 1)];
    mapStage?.draw(); imageStage?.draw();
    if (!cell) return;
    const [, , width] = layer.cells, at = place * h * width + cell[0] * width + cell[1];
    const value = layer.low[place] + ((layer.high[place] - layer.low[place]) * layer.data[at]) / 255;
    let words = `channel ${layer.channels[place]}, row ${cell[0]}, column ${cell[1]}: ${number(value)}`;
    if (layer.sees && photo) {
      const [half] = fields();
      words += `; half of what it looks at lies within ${Math.round(half[2] - half[0])} × ${Math.round(half[3] - half[1])} pixels`;
    }
    f.say(words);
  }

  function show(index) { // the map at this place in the order of strength
    place = index; large = painted(place);
    [...grid.children].forEach((node, i) => node.setAttribute("aria-pressed", i === place));
    mapCaption.textContent = `channel ${layer.channels[place]}`;
    low.textContent = number(layer.low[place]); high.textContent = number(layer.high[place]);
    choose(cell);
  }

  function fill() {
    clearTimeout(waiting);
    f.alarm(model.get("fault"));
    const state = model.get("shown"), [count, h, w] = state.cells;
    layer = { ...state, data: bytes(state.data) };
    const row = list[model.get("chosen")], [channels] = layer.shape;
    place = Math.min(place, count - 1);
    grid.replaceChildren(...Array.from({ length: Math.min(16, count) }, (_, i) => {
      const node = pano.button("", () => { slider.set(i + 1); show(i); }, { title: `channel ${layer.channels[i]}`, pressed: false, kind: "pano-lens-thumb" });
      node.append(painted(i));
      return node;
    }));
    slider = pano.slider("map", { min: 1, max: count, step: 1, value: place + 1, oninput: (v) => show(v - 1), show: (v) => `${v} of ${count}` });
    slider.input.disabled = count === 1;
    bar.replaceChildren(slider);
    const kept = count < channels ? `the ${count} strongest of ${channels} channels` : plural(channels, "channel");
    const small = layer.shrunk > 1 ? `; each square is the mean of ${layer.shrunk} × ${layer.shrunk} cells` : "";
    const where = layer.sees ? "" : "; a cell is no fixed place of the image, the maps belong to one cut-out region or to no image";
    facts.textContent = `${row.name}, ${row.kind}: ${kept} of ${layer.shape[1]} × ${layer.shape[2]} cells${small}; ${plural(row.parameters.toLocaleString("en"), "parameter")}${where}.`;
    if (mapStage) mapStage.close();
    const view = new pano.View(w, h);
    mapStage = new pano.Stage(view, {
      label: `map of ${row.name}`, help: "arrows move the chosen cell, plus and minus zoom", height: 300,
      paint: (s) => sharp(s, view),
      hover: (at) => { if (at) choose([at.row, at.col]); }, pick: (at) => choose([at.row, at.col]),
      keys: (e) => {
        const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
        if (move) choose(cell ? [cell[0] + move[0], cell[1] + move[1]] : [h >> 1, w >> 1]);
        return Boolean(move);
      },
    });
    mapBox.replaceChildren(mapCaption, mapStage.node, pano.el("div", { class: "pano-bar" }, low, scale, high));
    view.fit();
    cell = photo && layer.sees ? [h >> 1, w >> 1] : null;
    table.choose(model.get("chosen"));
    show(place);
    f.say(`${row.name}: ${row.kind}, output ${row.size}`);
  }
  function sharp(s, view) { // cells are seen as cells, at any zoom
    const { k, left, top } = s.frame;
    s.context.imageSmoothingEnabled = false;
    s.context.drawImage(large, left, top, view.width * k, view.height * k);
    if (cell) outline(s, [cell[0], cell[1], cell[0] + 1, cell[1] + 1], [], 2);
  }

  const ramp = new ImageData(256, 1);
  for (let i = 0; i < 256; i++) ramp.data.set([lut[3 * i], lut[3 * i + 1], lut[3 * i + 2], 255], 4 * i);
  scale.getContext("2d").putImageData(ramp, 0, 0);
  const imageBox = imageStage ? pano.el("div", { class: "pano-lens-map" }, pano.el("div", { class: "pano-caption" }, "where it looks"), imageStage.node,
    pano.el("p", { class: "pano-help" }, "small square: the cell · solid line: half of what it looks at · dashed: 95 %")) : null;
  f.body.append(facts, pano.el("div", { class: "pano-lens-main" }, mapBox, imageBox, pano.el("div", { class: "pano-lens-choice" }, grid, bar)), table);
  f.listen("shown", fill);
  fill();
  return () => { clearTimeout(waiting); mapStage?.close(); imageStage?.close(); f.close(); };
}
export default { render };
