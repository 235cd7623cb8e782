// The panoptic map of a slide over its pixels: tiles of ids and classes, asked for when seen, coloured at screen size.
class SlideLayer {
  // ask(kind, content) -> Promise of {message, buffers}; facts: {scale, shapes, categories, plain}; changed() redraws.
  constructor(ask, facts, tile, changed) {
    Object.assign(this, { ask, facts, tile, changed, tiles: new Map(), flying: 0, wanted: [], asked: 0, closed: false, epoch: 0 });
    this.kinds = new Map(facts.categories.map((kind) => [kind.id, kind]));
    this.canvas = pano.el("canvas", { class: "pano-slide-map", "aria-hidden": "true" });
    this.context = this.canvas.getContext("2d");
    this.numbers = new Uint32Array(0);
    this.classes = new Uint8Array(0);
  }

  // The level whose pixels are nearest to those of the screen, and never much finer; k: screen pixels per level-0 pixel.
  levelFor(k) {
    const level = Math.floor(Math.log2(1 / (k * this.facts.scale)) + 0.3);
    return Math.min(Math.max(level, 0), this.facts.shapes.length - 1);
  }

  key(level, row, column) { return `${level}/${row}/${column}`; }

  // A tile for painting, or the nearest coarser one that is here: {tile, shift, row, column}; the right one is wished for.
  find(level, row, column) {
    for (let shift = 0; level + shift < this.facts.shapes.length; shift++) {
      const place = [level + shift, row >> shift, column >> shift], tile = this.tiles.get(this.key(...place));
      if (tile?.ids || tile?.empty) return { tile, shift, row: place[1], column: place[2] };
    }
    return null;
  }

  wish(level, row, column, distance) {
    const key = this.key(level, row, column), tile = this.tiles.get(key);
    if (tile) { this.tiles.delete(key); this.tiles.set(key, tile); } // looked at last: kept longest
    if (!tile || (tile.stale && !tile.flying)) this.wanted.push({ key, level, row, column, distance });
  }

  // Asks for what is seen, nearest to the middle first; what left the screen before its turn is not asked for at all.
  fetch() {
    this.wanted.sort((a, b) => a.distance - b.distance);
    while (this.flying < 6 && this.wanted.length && !this.closed) this.load(this.wanted.shift());
  }

  async load({ key, level, row, column }) {
    const tile = this.tiles.get(key) || {};
    if (tile.flying) return;
    Object.assign(tile, { flying: true, stale: false });
    this.tiles.set(key, tile);
    this.flying++;
    this.asked++;
    try {
      const { message, buffers } = await this.ask("ids", { level, row, column });
      if (message.empty) Object.assign(tile, { empty: true, ids: null });
      else await this.decode(tile, buffers);
    } catch {
      if (!tile.ids) this.tiles.delete(key);
    } finally {
      tile.flying = false;
      this.flying--;
    }
    while (this.tiles.size > 400) this.tiles.delete(this.tiles.keys().next().value);
    this.changed();
  }

  // Ids above, classes below; a table where ids did not fit into 24 bits.
  async decode(tile, buffers) {
    const { width, height, ids } = await pano.decodeIds(buffers[0]), half = width * height / 2;
    tile.classes = Uint8Array.from(ids.subarray(half));
    tile.ids = ids.slice(0, half);
    tile.width = width;
    tile.empty = false;
    if (buffers[1]) {
      const names = buffers[1];
      for (let i = 0; i < half; i++) tile.ids[i] = names.getUint32(4 * tile.ids[i], true);
    }
  }

  // A map in the making: what lies in this box (top, left, bottom, right, level-0 pixels) is asked for again when seen.
  outdate([top, left, bottom, right]) {
    for (const [key, tile] of this.tiles) {
      const [level, row, column] = key.split("/").map(Number), step = this.facts.scale * 2 ** level * this.tile;
      if ((row + 1) * step > top && row * step < bottom && (column + 1) * step > left && column * step < right) tile.stale = true;
    }
    this.changed();
  }

  // ---- painting
  // view: {k, left, top} in device pixels (per level-0 pixel; place of its corner), width, height, density.
  // look: {hidden: Set, types, fill, strong: Set of ids}.
  paint(view, look) {
    const { width: w, height: h } = view;
    if (!w || !h) return;
    if (this.canvas.width !== w || this.canvas.height !== h) {
      Object.assign(this.canvas, { width: w, height: h });
      this.numbers = new Uint32Array(w * h);
      this.classes = new Uint8Array(w * h);
      this.picture = new ImageData(w, h);
    }
    this.numbers.fill(0);
    this.classes.fill(0);
    this.gather(view);
    this.color(view, look);
    this.context.putImageData(this.picture, 0, 0);
    this.fetch();
  }

  // Which pixel of the map lies under each pixel of the screen.
  gather({ k, left, top, width, height, density }) {
    const level = this.levelFor(k / density), [rows, columns] = this.facts.shapes[level], T = this.tile;
    const step = k * this.facts.scale * 2 ** level; // screen pixels for one pixel of the map
    const along = (n, start) => Int32Array.from({ length: n }, (_, i) => Math.floor((i + 0.5 - start) / step));
    const xs = along(width, left), ys = along(height, top);
    const spans = (places, length) => { // [tile, first, end] along one side
      const found = [];
      for (let i = 0; i < places.length;) {
        const t = Math.floor(places[i] / T);
        let j = i + 1;
        while (j < places.length && Math.floor(places[j] / T) === t) j++;
        if (t >= 0 && t * T < length) found.push([t, i, j]);
        i = j;
      }
      return found;
    };
    const across = spans(xs, columns);
    this.wanted = [];
    this.missing = 0;
    for (const [row, y0, y1] of spans(ys, rows)) {
      for (const [column, x0, x1] of across) {
        this.wish(level, row, column, Math.hypot((x0 + x1 - width) / 2, (y0 + y1 - height) / 2));
        const found = this.find(level, row, column);
        if (!found || found.shift) this.missing++;
        if (found && !found.tile.empty) this.copy(found, xs, ys, [x0, x1, y0, y1], width, [rows, columns]);
      }
    }
  }

  copy({ tile, shift, row, column }, xs, ys, [x0, x1, y0, y1], width, [rows, columns]) {
    const T = this.tile, last = tile.ids.length / tile.width - 1;
    for (let y = y0; y < y1; y++) {
      if (ys[y] < 0 || ys[y] >= rows) continue;
      const from = Math.min((ys[y] >> shift) - row * T, last) * tile.width;
      for (let x = x0, i = y * width + x0; x < x1; x++, i++) {
        if (xs[x] < 0 || xs[x] >= columns) continue;
        const at = from + Math.min((xs[x] >> shift) - column * T, tile.width - 1);
        this.numbers[i] = tile.ids[at];
        this.classes[i] = tile.classes[at];
      }
    }
  }

  // What each class looks like now: packed colours, and how its line is broken.
  table({ hidden, types, fill }) {
    const pack = ([r, g, b], a) => ((Math.round(a * 255) << 24) | (b << 16) | (g << 8) | r) >>> 0;
    const made = { shown: new Uint8Array(256), thing: new Uint8Array(256), line: new Uint32Array(256), gap: new Uint32Array(256),
      fill: new Uint32Array(256), on: new Float32Array(256).fill(1), length: new Float32Array(256).fill(1), hatch: [] };
    for (const kind of this.facts.categories) {
      const seen = kind.isthing && !types ? this.facts.plain : kind, i = kind.id;
      made.shown[i] = hidden.has(i) ? 0 : 1;
      made.thing[i] = kind.isthing ? 1 : 0;
      made.line[i] = pack(kind.quiet ? [150, 150, 150] : seen.color, kind.isthing ? 1 : 0.9);
      made.gap[i] = pack(seen.gap, 1);
      [made.on[i], made.length[i]] = seen.line;
      made.fill[i] = kind.quiet ? 0 : pack(seen.color, kind.isthing ? (fill ? 0.45 : 0) : kind.fill ? 0.15 : 0);
      made.hatch[i] = kind.quiet || kind.isthing ? null : [pack(seen.color, 0.4), ...kind.hatch];
    }
    return made;
  }

  color({ k, left, top, width: w, height: h, density }, look) {
    const t = this.table(look), ids = this.numbers, classes = this.classes, out = new Uint32Array(this.picture.data.buffer);
    const near = k / density * this.facts.scale; // screen pixels for one pixel of the map
    const thick = Math.max(1, Math.round((near < 0.3 ? 1 : near < 1.2 ? 1.6 : 3) * density));
    const rim = near < 0.3 ? 0 : Math.max(1, Math.round(density * 0.8)); // dark around light lines, on tissue of any colour
    const period = 18 * density, px = Math.round(left), py = Math.round(top), fine = Math.max(1, thick >> 1);
    const mod = (a, m) => ((a % m) + m) % m;
    const isThing = (i) => ids[i] && t.thing[classes[i]] && t.shown[classes[i]];
    const other = (i, x, y, id, d) => (x >= d && ids[i - d] !== id) || (x + d < w && ids[i + d] !== id)
      || (y >= d && ids[i - d * w] !== id) || (y + d < h && ids[i + d * w] !== id);
    const edge = (j, c) => !ids[j] && classes[j] && classes[j] !== c; // to other tissue; a nucleus's border is its own
    for (let y = 0, i = 0; y < h; y++) {
      for (let x = 0; x < w; x++, i++) {
        const c = classes[i], id = ids[i];
        if (id && t.shown[c]) {
          const strong = look.strong.has(id);
          if (strong && other(i, x, y, id, 2 * thick)) out[i] = other(i, x, y, id, thick) ? 0xff000000 : 0xffffffff;
          else if (other(i, x, y, id, thick)) {
            const on = t.on[c], length = 1.6 * t.length[c] * thick / on; // long enough to be seen from the last row
            out[i] = on < 1 && mod(x - px + y - py, length) >= on * length ? t.gap[c] : t.line[c];
          } else out[i] = t.fill[c];
          continue;
        }
        if (rim && ((x >= rim && isThing(i - rim)) || (x + rim < w && isThing(i + rim))
          || (y >= rim && isThing(i - rim * w)) || (y + rim < h && isThing(i + rim * w)))) { out[i] = 0x8c000000; continue; }
        if (id || !t.shown[c] || !c) { out[i] = 0; continue; }
        if ((x >= fine && edge(i - fine, c)) || (x + fine < w && edge(i + fine, c))
          || (y >= fine && edge(i - fine * w, c)) || (y + fine < h && edge(i + fine * w, c))) { out[i] = t.line[c]; continue; }
        const lines = t.hatch[c];
        out[i] = lines && mod((y - py) * lines[1] + (x - px) * lines[2], period) < density ? lines[0] : t.fill[c];
      }
    }
  }

  // {id, category} under a place of the screen, in device pixels, as it was painted last.
  at(x, y) {
    const i = Math.floor(y) * this.canvas.width + Math.floor(x);
    if (x < 0 || y < 0 || x >= this.canvas.width || y >= this.canvas.height) return { id: 0, category: 0 };
    return { id: this.numbers[i] || 0, category: this.classes[i] || 0 };
  }

  close() { this.closed = true; this.tiles.clear(); }
}
