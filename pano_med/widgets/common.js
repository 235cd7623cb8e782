// Shared by every widget of pano_med: page elements, a status line, a picture with zoom and pan, segments drawn on it.
// This text stands in front of each widget's own .js; everything hangs on `pano`. Nothing is fetched from anywhere.
const pano = (() => {
  // ---- elements -----------------------------------------------------------------------------------------------
  // el("button", {class: "x", onclick: f, "aria-label": "y"}, "text", child): a DOM element.
  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }

  let count = 0;
  const page = Math.random().toString(36).slice(2, 9); // each widget runs a copy of this text; their ids must differ
  const uid = (stem) => `pano-${stem}-${page}-${++count}`;

  function button(label, onclick, { title, pressed, kind = "" } = {}) {
    const node = el("button", { type: "button", class: `pano-button ${kind}`, title, onclick }, label);
    if (title) node.setAttribute("aria-label", title);
    if (pressed !== undefined) node.setAttribute("aria-pressed", pressed);
    return node;
  }

  // A labelled slider; `oninput(value)` while it moves, `onchange(value)` when it rests. Has .set(value), .value.
  function slider(label, { min = 0, max = 1, step = 0.01, value, unit = "", show, oninput, onchange } = {}) {
    const id = uid("slider"), decimals = (String(step).split(".")[1] || "").length;
    const text = show || ((v) => `${v.toFixed(decimals)}${unit ? ` ${unit}` : ""}`);
    const input = el("input", { type: "range", id, min, max, step });
    const output = el("output", { for: id, class: "pano-value" });
    const set = (v) => {
      input.value = v;
      output.textContent = text(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => { set(input.value); oninput?.(Number(input.value)); });
    input.addEventListener("change", () => onchange?.(Number(input.value)));
    set(value);
    const node = el("div", { class: "pano-slider" }, el("label", { for: id }, label), input, output);
    return Object.assign(node, { set, input, get value() { return Number(input.value); } });
  }

  function checkbox(label, checked, onchange) {
    const input = el("input", { type: "checkbox" });
    input.checked = checked;
    input.addEventListener("change", () => onchange(input.checked));
    const node = el("label", { class: "pano-check" }, input, ...[label].flat());
    return Object.assign(node, { input, set: (on) => { input.checked = on; } });
  }

  // options: ["a", "b"] or [["value", "text"], ...]. Has .set(value).
  function radios(label, options, value, onchange) {
    const name = uid("radio"), inputs = new Map();
    const node = el("fieldset", { class: "pano-radios" }, el("legend", {}, label));
    for (const option of options) {
      const [key, text] = Array.isArray(option) ? option : [option, option];
      const input = el("input", { type: "radio", name, value: key, onchange: () => onchange(key) });
      inputs.set(key, input);
      node.append(el("label", {}, input, text));
    }
    const set = (key) => { if (inputs.has(key)) inputs.get(key).checked = true; };
    set(value);
    return Object.assign(node, { set });
  }

  // A table that people can sort. columns: [{key, name, number: true, show: (value, row) => text or node}].
  function table(caption, columns, { onpick, sort, limit = 500 } = {}) {
    const body = el("tbody"), note = el("p", { class: "pano-note" });
    const heads = columns.map((c) => el("th", { scope: "col", class: c.number ? "pano-number" : "" },
      el("button", { type: "button", class: "pano-sort", onclick: () => resort(c.key) }, c.name)));
    let rows = [], order = sort || { key: columns[0].key, down: false }, chosen = null;
    function resort(key) {
      const column = columns.find((c) => c.key === key);
      order = { key, down: order.key === key ? !order.down : Boolean(column.number) };
      fill();
    }
    function fill() {
      const sign = order.down ? -1 : 1, gone = (v) => v === null || v === undefined;
      const sorted = [...rows].sort((a, b) => {
        const x = a[order.key], y = b[order.key];
        if (gone(x) || gone(y)) return gone(x) - gone(y); // what is not known stands last either way
        return sign * (x < y ? -1 : x > y ? 1 : 0);
      });
      heads.forEach((h, i) => h.setAttribute("aria-sort",
        columns[i].key !== order.key ? "none" : order.down ? "descending" : "ascending"));
      body.replaceChildren(...sorted.slice(0, limit).map((row) => {
        const line = el("tr", { "data-key": row.key, "aria-selected": row.key === chosen ? "true" : undefined },
          columns.map((c) => el("td", { class: c.number ? "pano-number" : "" },
            c.show ? c.show(row[c.key], row) : row[c.key] ?? "–")));
        if (onpick) {
          line.tabIndex = 0;
          line.addEventListener("click", () => onpick(row));
          line.addEventListener("keydown", (e) => {
            if (e.key === "Enter" || e.key === " ") { onpick(row); e.preventDefault(); e.stopPropagation(); }
          });
        }
        return line;
      }));
      note.textContent = !rows.length ? "None here." : rows.length > limit
        ? `The first ${limit} of ${rows.length.toLocaleString("en")} rows in this order; sort to see others.` : "";
    }
    const node = el("div", { class: "pano-table", tabindex: 0, role: "region", "aria-label": caption },
      el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, heads)), body), note);
    const set = (list) => { rows = list; fill(); };
    const choose = (key, scroll = true) => {
      chosen = key;
      for (const line of body.children) {
        const on = line.dataset.key === String(key);
        if (on) line.setAttribute("aria-selected", "true"); else line.removeAttribute("aria-selected");
        if (on && scroll) node.scrollTop = line.offsetTop - node.clientHeight / 2; // moves the table, not the page
      }
    };
    return Object.assign(node, { set, choose });
  }

  // ---- the frame of a widget ----------------------------------------------------------------------------------
  // frame(model, el, name): the box every widget stands in. say(text) speaks, alarm(text) warns; faults that Python
  // catches in callbacks (trait `fault`) appear by themselves. listen(trait, f) is undone by close().
  function frame(model, host, name) {
    const status = el("div", { class: "pano-status", role: "status", "aria-live": "polite" });
    const warning = el("div", { class: "pano-fault", role: "alert" });
    const body = el("div", { class: "pano-body" });
    const title = model.get("title");
    // JupyterLab keeps its one-letter shortcuts away from elements with this attribute.
    const root = el("section", { class: `pano pano-${name}`, "aria-label": title || name, "data-lm-suppress-shortcuts": "true" },
      title ? el("div", { class: "pano-title" }, title) : null, body, status, warning);
    // Lumino looks at the focused element before it looks at what surrounds it, so each carries the attribute itself.
    root.addEventListener("focusin", (e) => e.target.setAttribute("data-lm-suppress-shortcuts", "true"));
    const hide = el("style", {}, `.${model.get("still_class") || "pano-none"} { display: none !important; }`);
    host.append(hide, root); // while this view lives, its static picture is hidden
    const undo = [];
    const listen = (event, f) => {
      const names = (event.startsWith("msg:") ? event : `change:${event}`);
      model.on(names, f);
      undo.push(() => model.off(names, f));
    };
    const alarm = (text) => { warning.textContent = text || ""; };
    listen("fault", () => alarm(model.get("fault")));
    alarm(model.get("fault"));
    return {
      root, body, status, listen, alarm,
      say: (text) => { if (status.textContent !== text) status.textContent = text; },
      put: (trait, value) => { model.set(trait, value); model.save_changes(); },
      onclose: (f) => undo.push(f),
      close: () => { undo.forEach((f) => f()); root.remove(); hide.remove(); },
    };
  }

  // render = guarded(async ({model, el}) => close): what goes wrong while drawing is said on the page.
  const guarded = (render) => async (context) => {
    try {
      return await render(context);
    } catch (error) {
      context.el.append(el("div", { class: "pano" }, el("div", { class: "pano-fault", role: "alert" },
        `The widget could not be drawn: ${error.message}`)));
      return () => {};
    }
  };

  // ---- bytes --------------------------------------------------------------------------------------------------
  function bitmap(bytes) {
    const view = bytes instanceof DataView ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes;
    return createImageBitmap(new Blob([view]), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  }

  // A lossless PNG whose pixel is R + 256 G + 65536 B -> {width, height, ids: Uint32Array}.
  async function decodeIds(bytes) {
    const picture = await bitmap(bytes), { width, height } = picture;
    const canvas = el("canvas", { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    const data = context.getImageData(0, 0, width, height).data, ids = new Uint32Array(width * height);
    for (let i = 0, j = 0; i < ids.length; i++, j += 4) ids[i] = data[j] + 256 * data[j + 1] + 65536 * data[j + 2];
    return { width, height, ids };
  }

  // ---- a picture with zoom and pan ----------------------------------------------------------------------------
  // What is seen of a picture of `width` x `height` pixels; stages that share a View move together.
  class View {
    constructor(width, height) {
      Object.assign(this, { width, height, zoom: 1, col: width / 2, row: height / 2, cursor: null, stages: new Set() });
    }
    changed() { this.stages.forEach((stage) => stage.draw()); }
    // Zoom 1 shows the whole picture; the nearest is 32 screen pixels for one of its own, and never less than 4 times.
    get most() { return Math.max(4, ...[...this.stages].map((stage) => 32 / stage.fitScale)); }
    move(row, col, zoom = this.zoom) {
      this.zoom = Math.min(Math.max(zoom, 1), this.most);
      const [stage] = this.stages;
      const seen = (pixels) => (stage ? pixels(stage.canvas) / stage.scale : Infinity);
      const clamp = (v, length, part) => (part >= length ? length / 2 : Math.min(Math.max(v, part / 2), length - part / 2));
      this.col = clamp(col, this.width, seen((c) => c.clientWidth));
      this.row = clamp(row, this.height, seen((c) => c.clientHeight));
      this.changed();
    }
    fit() { this.move(this.height / 2, this.width / 2, 1); }
    // Zoom so that the pixel under (row, col) stays where it is.
    zoomBy(factor, row = this.row, col = this.col) {
      const zoom = Math.min(Math.max(this.zoom * factor, 1), this.most), keep = this.zoom / zoom;
      this.move(row + (this.row - row) * keep, col + (this.col - col) * keep, zoom);
    }
    point(place, from = null) { this.cursor = place ? { ...place, from } : null; this.changed(); }
  }

  // One canvas. paint(stage) draws in device pixels; hover({row, col} | null), pick({row, col}) in picture pixels;
  // keys(event) -> true where it used the key. drag({row, col}, phase) -> true takes the drag away from panning.
  class Stage {
    constructor(view, { label, caption, help, height = 480, paint, hover, pick, keys, drag }) {
      Object.assign(this, { view, height, paint, hover, pick, keys, drag, waiting: false });
      this.canvas = el("canvas", { class: "pano-canvas", tabindex: 0, role: "application", "aria-label": label,
        "aria-roledescription": "picture with zoom", "aria-description": help });
      Object.assign(this.canvas.style, { aspectRatio: `${view.width} / ${view.height}`, maxHeight: `${height}px` });
      this.node = el("figure", { class: "pano-stage" },
        caption ? el("figcaption", { class: "pano-caption" }, caption) : null, this.canvas);
      this.context = this.canvas.getContext("2d");
      this.watch = new ResizeObserver(() => view.move(view.row, view.col));
      this.watch.observe(this.canvas);
      view.stages.add(this);
      this.listen();
    }
    get density() { return Math.min(window.devicePixelRatio || 1, 2); }
    // Screen pixels (CSS) for one picture pixel: when all is seen, and now.
    get fitScale() {
      const { clientWidth: w, clientHeight: h } = this.canvas;
      return Math.max(Math.min(w / this.view.width, h / this.view.height), 1e-6);
    }
    get scale() { return this.fitScale * this.view.zoom; }
    // Device pixels of the picture's upper left corner, and device pixels for one of its own.
    get frame() {
      const k = this.scale * this.density;
      return { k, left: this.canvas.width / 2 - this.view.col * k, top: this.canvas.height / 2 - this.view.row * k };
    }
    // Picture pixel under an event, null beside the picture.
    at(event, anywhere = false) {
      const box = this.canvas.getBoundingClientRect(), { k, left, top } = this.frame;
      const col = ((event.clientX - box.left) * this.density - left) / k;
      const row = ((event.clientY - box.top) * this.density - top) / k;
      const inside = row >= 0 && col >= 0 && row < this.view.height && col < this.view.width;
      return anywhere ? { row, col } : inside ? { row: Math.floor(row), col: Math.floor(col) } : null;
    }
    draw() {
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => {
        this.waiting = false;
        const w = Math.round(this.canvas.clientWidth * this.density), h = Math.round(this.canvas.clientHeight * this.density);
        if (!w || !h) return;
        if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
        this.canvas.dataset.seen = [this.view.zoom, this.view.row, this.view.col].map((v) => v.toFixed(2)).join(" ");
        this.context.setTransform(1, 0, 0, 1, 0, 0);
        this.context.clearRect(0, 0, w, h);
        this.paint(this);
        const cursor = this.view.cursor;
        if (cursor && cursor.from !== this) this.cross(cursor);
      });
    }
    drawPicture(picture) {
      const { k, left, top } = this.frame;
      this.context.imageSmoothingEnabled = k < 3 * this.density; // pixels are seen as pixels when near
      this.context.imageSmoothingQuality = "high";
      this.context.drawImage(picture, left, top, this.view.width * k, this.view.height * k);
    }
    cross({ row, col }) {
      const { k, left, top } = this.frame, d = this.density, g = this.context;
      const x = left + (col + 0.5) * k, y = top + (row + 0.5) * k;
      for (const [style, width] of [["white", 5], ["black", 2]]) {
        g.strokeStyle = style; g.lineWidth = width * d; g.beginPath();
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          g.moveTo(x + 4 * d * dx, y + 4 * d * dy); g.lineTo(x + 13 * d * dx, y + 13 * d * dy);
        }
        g.stroke();
      }
    }
    listen() {
      const c = this.canvas, view = this.view;
      let down = null;
      c.addEventListener("wheel", (e) => {
        if (!e.ctrlKey && document.activeElement !== c) return; // the page goes on scrolling
        e.preventDefault();
        const { row, col } = this.at(e, true);
        view.zoomBy(2 ** (-Math.max(-200, Math.min(200, e.deltaY)) / 250), row, col);
      }, { passive: false });
      c.addEventListener("pointerdown", (e) => {
        if (e.button) return;
        c.focus({ preventScroll: true });
        try { c.setPointerCapture(e.pointerId); } catch { /* a pointer that is gone already */ }
        const taken = Boolean(this.drag && this.drag(this.at(e, true), "start"));
        down = { x: e.clientX, y: e.clientY, row: view.row, col: view.col, moved: false, taken };
      });
      c.addEventListener("pointermove", (e) => {
        if (down?.taken) { this.drag(this.at(e, true), "move"); return; }
        if (down) {
          const dx = e.clientX - down.x, dy = e.clientY - down.y;
          down.moved ||= Math.hypot(dx, dy) > 4;
          if (down.moved) view.move(down.row - dy / this.scale, down.col - dx / this.scale);
          return;
        }
        const place = this.at(e);
        view.point(place, this);
        this.hover?.(place);
      });
      c.addEventListener("pointerup", (e) => {
        const was = down;
        down = null;
        if (was?.taken) this.drag(this.at(e, true), "end");
        else if (was && !was.moved) { const place = this.at(e); if (place) this.pick?.(place); }
      });
      c.addEventListener("pointercancel", () => { if (down?.taken) this.drag(null, "end"); down = null; });
      c.addEventListener("pointerleave", () => { if (!down) { view.point(null); this.hover?.(null); } });
      c.addEventListener("keydown", (e) => {
        if (e.ctrlKey || e.metaKey || e.altKey) return;
        const step = 0.15 / this.scale, w = c.clientWidth * step, h = c.clientHeight * step;
        const moves = { ArrowUp: [-h, 0], ArrowDown: [h, 0], ArrowLeft: [0, -w], ArrowRight: [0, w] };
        if (this.keys?.(e)) { /* the widget's own key */ }
        else if (moves[e.key]) view.move(view.row + moves[e.key][0], view.col + moves[e.key][1]);
        else if (e.key === "+" || e.key === "=") view.zoomBy(1.5);
        else if (e.key === "-" || e.key === "_") view.zoomBy(1 / 1.5);
        else if (e.key === "0") view.fit();
        else return;
        e.preventDefault();
        e.stopPropagation();
      });
    }
    close() { this.watch.disconnect(); this.view.stages.delete(this); }
  }

  // The left column of a pano-split: stages in a row, never wider than their height asks for, then further nodes
  // (the status line belongs here: right under the picture).
  function stages(list, ...below) {
    const wide = list.map(({ view, height }) => Math.max(300, (height * view.width) / view.height));
    const all = wide.reduce((sum, w) => sum + w + 8, -8), basis = Math.min(all, list.length > 1 ? 360 * list.length : 520);
    list.forEach((stage, i) => { stage.node.style.maxWidth = `${wide[i]}px`; });
    return el("div", { class: "pano-left", style: `flex-basis: ${basis}px; max-width: ${all}px` },
      el("div", { class: "pano-stages" }, list.map((stage) => stage.node)), below);
  }

  // Buttons + - and "all" for a view.
  function zoomButtons(view) {
    return el("div", { class: "pano-group", role: "group", "aria-label": "zoom" },
      button("+", () => view.zoomBy(1.5), { title: "zoom in" }),
      button("−", () => view.zoomBy(1 / 1.5), { title: "zoom out" }),
      button("whole picture", () => view.fit(), { kind: "pano-wide" }));
  }

  // ---- segments -----------------------------------------------------------------------------------------------
  // From what base.layer() made in Python: {width, height, ids (dense numbers 1..n, 0 = void), categories, segments,
  // labels} plus tables by number. segments is columns: id, category (index), score, area, row, col, place.
  async function loadLayer(state) {
    const { width, height, ids } = await decodeIds(state.ids), { categories, segments, labels } = state;
    return { width, height, ids, categories, segments, labels, category: Int16Array.from([-1, ...segments.category]) };
  }

  const numberAt = (layer, place) => (place ? layer.ids[place.row * layer.width + place.col] : 0);

  // Columns -> one object for each segment, key = its number in the layer.
  function rowsOf(layer) {
    const { id, category, score, area, row, col, place } = layer.segments;
    return id.map((_, i) => ({ key: i + 1, id: id[i], category: category[i], name: layer.categories[category[i]].name,
      score: score[i], area: area[i], row: row[i], col: col[i], place: place[i] }));
  }

  const scratch = el("canvas");
  // Draws a layer over a stage. mode "contours" or "fill"; opacity of the fill 0..1 (lines are full from 0.5 up);
  // hidden: Set of category ids; strong: Set of segment numbers outlined in black and white; only: Set of numbers
  // drawn at all (others as if not there); color(number) -> [r, g, b] instead of the class's; ink: [r, g, b] of all lines
  // around things; voids: hatch void.
  function drawLayer(stage, layer, { mode = "contours", opacity = 0.5, hidden = new Set(), strong = new Set(),
    only = null, color = null, ink: lineColor = null, line = stage.scale < 0.6 ? 1 : stage.scale < 1.5 ? 2 : 3, voids = true, letters = true } = {}) {
    const W = stage.canvas.width, H = stage.canvas.height, { k, left, top } = stage.frame, d = stage.density;
    const x0 = Math.max(0, Math.ceil(left)), y0 = Math.max(0, Math.ceil(top));
    const x1 = Math.min(W, Math.floor(left + layer.width * k)), y1 = Math.min(H, Math.floor(top + layer.height * k));
    const w = x1 - x0, h = y1 - y0;
    if (w < 1 || h < 1) return;
    const cols = Int32Array.from({ length: w }, (_, x) => Math.min(layer.width - 1, Math.floor((x + x0 + 0.5 - left) / k)));
    const seen = new Uint32Array(w * h);
    for (let y = 0, i = 0; y < h; y++) {
      const base = Math.min(layer.height - 1, Math.floor((y + y0 + 0.5 - top) / k)) * layer.width;
      for (let x = 0; x < w; x++) seen[i++] = layer.ids[base + cols[x]];
    }
    const n = layer.category.length, kinds = layer.categories, S = layer.segments;
    const shown = new Uint8Array(n), bold = new Uint8Array(n);
    const turns = new Float32Array(n); // dashes around a contour
    for (let s = 1; s < n; s++) {
      const kind = kinds[layer.category[s]];
      shown[s] = !hidden.has(kind.id) && (!only || only.has(s)) ? 1 : 0;
      bold[s] = shown[s] && strong.has(s) ? 1 : 0;
      const [on, length] = kind.line, around = 2 * Math.PI * Math.sqrt(S.area[s - 1] / Math.PI) * k;
      turns[s] = kind.isthing && on < 1 ? Math.max(3, Math.round(around * on / (length * line * d))) : 0;
    }
    const picture = new ImageData(w, h), data = picture.data, t = Math.max(1, Math.round(line * d));
    const lines = Math.min(1, 2 * opacity) * 255, fills = mode === "fill" ? opacity * 255 : 0;
    const px = Math.round(left) - x0, py = Math.round(top) - y0; // patterns move with the picture
    const things = Uint8Array.from({ length: n }, (_, s) => (s && kinds[layer.category[s]].isthing ? 1 : 0));
    const isThing = things.map((thing, s) => thing & shown[s]);
    const foreign = (other, s, stuff) => other !== s && !(stuff && things[other]); // a nucleus's border is its own
    const differs = (i, x, y, s, t, stuff) => (x >= t && foreign(seen[i - t], s, stuff)) || (x + t < w && foreign(seen[i + t], s, stuff))
      || (y >= t && foreign(seen[i - t * w], s, stuff)) || (y + t < h && foreign(seen[i + t * w], s, stuff));
    const rim = Math.max(1, Math.round(d)); // a pale rim outside things lifts dark lines off dark nuclei
    const beside = (i, x, y) => (x >= rim && isThing[seen[i - rim]]) || (x + rim < w && isThing[seen[i + rim]])
      || (y >= rim && isThing[seen[i - rim * w]]) || (y + rim < h && isThing[seen[i + rim * w]]);
    const put = (i, rgb, alpha) => { const j = 4 * i; data[j] = rgb[0]; data[j + 1] = rgb[1]; data[j + 2] = rgb[2]; data[j + 3] = alpha; };
    const mod = (a, m) => ((a % m) + m) % m, period = Math.round(10 * d);
    for (let y = 0, i = 0; y < h; y++) {
      for (let x = 0; x < w; x++, i++) {
        const s = seen[i];
        if (!isThing[s] && line > 1 && beside(i, x, y)) { put(i, [255, 255, 255], lines * 0.5); continue; }
        if (!s) { // void: faint hatching
          if (voids && mod(x - px + y - py, 1.8 * period) < d) put(i, [130, 130, 130], lines * 0.6);
          continue;
        }
        if (!shown[s]) continue;
        const kind = kinds[layer.category[s]], rgb = color ? color(s) : kind.color;
        if (bold[s] && differs(i, x, y, s, 2 * t, !kind.isthing)) {
          put(i, differs(i, x, y, s, t, !kind.isthing) ? [0, 0, 0] : [255, 255, 255], 255);
        } else if (differs(i, x, y, s, kind.isthing ? t : Math.max(1, t >> 1), !kind.isthing)) {
          let ink = kind.quiet ? [150, 150, 150] : kind.isthing && lineColor ? lineColor : rgb;
          if (turns[s]) {
            const row = (y + y0 - top) / k - S.row[s - 1], col = (x + x0 - left) / k - S.col[s - 1];
            if (mod(Math.atan2(row, col) / (2 * Math.PI) * turns[s], 1) >= kind.line[0]) ink = kind.gap;
          }
          put(i, ink, lines);
        } else if (fills) {
          const hatch = mod((y - py) * kind.hatch[0] + (x - px) * kind.hatch[1], period) < d * 2;
          if (kind.quiet) { if (hatch) put(i, [150, 150, 150], fills * 0.6); }
          else if (kind.fill || color) put(i, rgb, fills * (kind.isthing ? 0.85 : hatch ? 0.8 : 0.55)); // things stand out
          else if (hatch) put(i, rgb, fills);
        }
      }
    }
    Object.assign(scratch, { width: w, height: h });
    scratch.getContext("2d").putImageData(picture, 0, 0);
    stage.context.drawImage(scratch, x0, y0);
    if (letters && opacity > 0.05) drawLetters(stage, layer, shown);
  }

  function text(stage, words, x, y, size = 18) {
    const g = stage.context, d = stage.density;
    Object.assign(g, { font: `bold ${size * d}px system-ui, sans-serif`, textAlign: "center", textBaseline: "middle",
      lineJoin: "round", lineWidth: 4 * d, strokeStyle: "white", fillStyle: "black" });
    g.strokeText(words, x, y);
    g.fillText(words, x, y);
  }

  // labels: [segment number, row, col] of stuff; the letter of its class stands there.
  function drawLetters(stage, layer, shown) {
    const { k, left, top } = stage.frame;
    for (const [number, row, col] of layer.labels) {
      const kind = layer.categories[layer.category[number]];
      if (shown[number] && !kind.quiet) text(stage, kind.letter, left + (col + 0.5) * k, top + (row + 0.5) * k);
    }
  }

  // A bar of a round length, lower left; nothing where the size of a pixel is not known.
  function drawScaleBar(stage, pixelSize) {
    if (!pixelSize) return;
    const g = stage.context, d = stage.density, { k, left, top } = stage.frame;
    const x = Math.max(0, left), H = Math.min(stage.canvas.height, top + stage.view.height * k); // in the picture's own corner
    const longest = (Math.min(160 * d, stage.canvas.width / 3) / k) * pixelSize, power = 10 ** Math.floor(Math.log10(longest));
    const length = Math.max(...[1, 2, 5].map((f) => f * power).filter((v) => v <= longest * (1 + 1e-9)));
    const words = length >= 1000 ? `${length / 1000} mm` : `${Number(length.toPrecision(3))} µm`, w = (length / pixelSize) * k;
    g.fillStyle = "rgba(255, 255, 255, 0.92)";
    g.font = `bold ${15 * d}px system-ui, sans-serif`;
    g.fillRect(x + 8 * d, H - 46 * d, Math.max(w, g.measureText(words).width) + 20 * d, 38 * d);
    g.fillStyle = "black";
    Object.assign(g, { textAlign: "left", textBaseline: "alphabetic" });
    g.fillText(words, x + 18 * d, H - 26 * d);
    g.fillRect(x + 18 * d, H - 20 * d, w, 5 * d);
  }

  // A small sample of a class, as its line or fill is drawn.
  function swatch(kind) {
    const rgb = `rgb(${kind.color})`, [on, length] = kind.line;
    const dash = on < 1 ? `${length * 2} ${(length * 2 * (1 - on)) / on}` : "none";
    const line = (color, dashes) => `<line x1="3" x2="31" y1="10" y2="10" stroke="${color}" stroke-width="5" stroke-dasharray="${dashes}"/>`;
    const region = `<rect x="1" y="1" width="32" height="18" fill="${rgb}" opacity="${kind.fill && !kind.quiet ? 0.4 : 0}"/>`
      + `<text x="17" y="15" text-anchor="middle" font-size="14" font-weight="bold" stroke="white" stroke-width="3" paint-order="stroke">`
      + `${kind.quiet ? "" : kind.letter}</text>`;
    const node = el("span", { class: "pano-swatch", "aria-hidden": "true" });
    node.innerHTML = `<svg width="34" height="20" viewBox="0 0 34 20"><rect x="0.5" y="0.5" width="33" height="19" fill="#f3ecf3" `
      + `stroke="#777"/>${kind.isthing ? line(`rgb(${kind.gap})`, "none") + line(rgb, dash) : region}</svg>`;
    return node;
  }

  const areaText = (pixels, pixelSize) => `${pixels.toLocaleString("en")} px`
    + (pixelSize ? `, ${Number((pixels * pixelSize ** 2).toPrecision(3)).toLocaleString("en")} µm²` : "");

  // A model that lives in the page alone (no kernel): for a widget saved as a file. Same calls as anywidget's model.
  function pageModel(state) {
    const listeners = {}, values = { ...state };
    const on = (name, f) => (listeners[name] ||= new Set()).add(f);
    return {
      get: (name) => values[name],
      set: (name, value) => {
        values[name] = value;
        [...(listeners[`change:${name}`] || [])].forEach((f) => f());
      },
      save_changes: () => {}, send: () => {}, on, off: (name, f) => listeners[name]?.delete(f),
    };
  }
  // {"$bytes": "base64"} anywhere in a state -> DataView.
  function revive(value) {
    if (Array.isArray(value)) return value.map(revive);
    if (value === null || typeof value !== "object") return value;
    if ("$bytes" in value) return new DataView(Uint8Array.from(atob(value.$bytes), (c) => c.charCodeAt(0)).buffer);
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, revive(part)]));
  }

  return { el, uid, button, slider, checkbox, radios, table, frame, guarded, bitmap, decodeIds, View, Stage, stages, zoomButtons, loadLayer,
    numberAt, rowsOf, drawLayer, drawScaleBar, text, swatch, areaText, pageModel, revive };
})();
