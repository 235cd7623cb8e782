// FusionLab: six linked pictures of the steps of a fusion, sliders, the fate of each instance, and the logits of one.
// Python (or, in a saved page, a table of precomputed answers) merges; nothing is decided here.
const LEFTOVER = 1 << 14, VOID = 1 << 15, OWNER = LEFTOVER - 1;
const LETTER = { score: "S", nms: "D", overlap: "O", empty: "E", "lost every pixel": "L" };
const FATE = { kept: "kept", score: "S: low score", nms: "D: double", overlap: "O: overlap", empty: "E: empty mask",
  "lost every pixel": "L: lost every pixel" };
const BLUE = [0, 114, 178], ORANGE = [213, 94, 0];

// ---- bytes: zlib, 16-bit floats ---------------------------------------------------------------------------------
async function inflate(bytes) {
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stream = new Blob([view]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
});
const floats = async (bytes) => Float32Array.from(new Uint16Array(await inflate(bytes)), (bits) => HALVES[bits]);

// ---- lines ------------------------------------------------------------------------------------------------------
// Lines between neighbours of a w x h array that differ, in picture coordinates from (x0, y0).
function borders(values, w, h, x0 = 0, y0 = 0) {
  const path = new Path2D();
  for (let y = 0; y < h; y++) {
    for (let x = 0, from = -1; x <= w; x++) {
      const differs = x < w && y > 0 && values[y * w + x] !== values[(y - 1) * w + x];
      if (differs && from < 0) from = x;
      if (!differs && from >= 0) { path.moveTo(x0 + from, y0 + y); path.lineTo(x0 + x, y0 + y); from = -1; }
    }
  }
  for (let x = 1; x < w; x++) {
    for (let y = 0, from = -1; y <= h; y++) {
      const differs = y < h && values[y * w + x] !== values[y * w + x - 1];
      if (differs && from < 0) from = y;
      if (!differs && from >= 0) { path.moveTo(x0 + x, y0 + from); path.lineTo(x0 + x, y0 + y); from = -1; }
    }
  }
  return path;
}

// Closed lines around the true cells of a mask, so that dashes run along them.
function rings(mask, w, h, x0, y0) {
  const path = new Path2D(), next = new Map(), on = (x, y) => x >= 0 && y >= 0 && x < w && y < h && mask[y * w + x];
  const edge = (ax, ay, bx, by) => {
    const key = ay * (w + 1) + ax;
    if (next.has(key)) next.get(key).push([bx, by]); else next.set(key, [[bx, by]]);
  };
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      if (!mask[y * w + x]) continue;
      if (!on(x, y - 1)) edge(x, y, x + 1, y);
      if (!on(x + 1, y)) edge(x + 1, y, x + 1, y + 1);
      if (!on(x, y + 1)) edge(x + 1, y + 1, x, y + 1);
      if (!on(x - 1, y)) edge(x, y + 1, x, y);
    }
  }
  for (const start of [...next.keys()]) {
    for (let key = start, was = 0; next.get(key)?.length;) {
      const [x, y] = next.get(key).pop(), at = y * (w + 1) + x, cx = key % (w + 1), cy = Math.floor(key / (w + 1));
      if (!was) path.moveTo(x0 + cx, y0 + cy);
      else if (was !== at - key) path.lineTo(x0 + cx, y0 + cy); // corners only
      [was, key] = [at - key, at];
      if (key === start && !next.get(key).length) path.closePath();
    }
  }
  return path;
}

// Strokes a path in picture coordinates; widths and dashes in CSS pixels: [[colour, width, dash], ...].
function stroke(s, path, styles) {
  const g = s.context, { k, left, top } = s.frame, px = s.density / k;
  g.save();
  g.setTransform(k, 0, 0, k, left, top);
  for (const [color, width, dash = []] of styles) {
    Object.assign(g, { strokeStyle: color, lineWidth: width * px, lineJoin: "round" });
    g.setLineDash(dash.map((v) => v * px));
    g.stroke(path);
  }
  g.restore();
}

// ---- pictures: painted in the device pixels of a stage, from typed arrays and look-up tables, so that a slider is quick ----
const rgba = ([red, green, blue], alpha = 255) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const INK = rgba([0, 0, 0]), PAPER = rgba([255, 255, 255]), GREY = rgba([95, 95, 95]);
// Blue below 0, white at 0, orange above; 1025 steps from -limit to +limit.
const HEAT = Uint32Array.from({ length: 1025 }, (_, i) => {
  const v = (i - 512) / 512, t = Math.abs(v) ** 0.8, end = v < 0 ? BLUE : ORANGE;
  return rgba(end.map((c) => Math.round(255 + (c - 255) * t)));
});
function limitOf(values) { // a round number that few absolute values exceed
  const sorted = Float32Array.from(values, Math.abs).sort(), high = sorted[Math.floor(0.98 * (sorted.length - 1))] || 1;
  return [0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 40, 60, 80].find((v) => v >= high) || Math.ceil(high);
}
const scratch = pano.el("canvas"), scratchContext = scratch.getContext("2d", { willReadFrequently: true });
// The device pixels of a stage that show its picture, and which row and column of the picture each one shows.
const places = new WeakMap();
function grid(s) {
  const { k, left, top } = s.frame, { width: W, height: H } = s.view, id = [k, left, top, W, H, s.canvas.width, s.canvas.height].join();
  if (places.get(s)?.id === id) return places.get(s);
  const x0 = Math.max(0, Math.ceil(left)), x1 = Math.min(s.canvas.width, Math.floor(left + W * k));
  const y0 = Math.max(0, Math.ceil(top)), y1 = Math.min(s.canvas.height, Math.floor(top + H * k));
  const w = Math.max(0, x1 - x0), h = Math.max(0, y1 - y0);
  const place = (n, zero, from, most) => Int32Array.from({ length: n }, (_, i) => Math.min(most - 1, Math.floor((i + zero + 0.5 - from) / k)));
  const image = w && h ? new ImageData(w, h) : null;
  const found = { id, x0, y0, w, h, cols: place(w, x0, left, W), rows: place(h, y0, top, H).map((row) => row * W),
    image, out: image && new Uint32Array(image.data.buffer) };
  places.set(s, found);
  return found;
}
function lay(s, { image, x0, y0, w, h }) {
  if (scratch.width !== w || scratch.height !== h) Object.assign(scratch, { width: w, height: h });
  scratchContext.putImageData(image, 0, 0);
  s.context.drawImage(scratch, x0, y0);
}
// A map of codes. look: ink of each code, key (a line is drawn where keys differ), stripe (1: grey stripes).
// extra: pixels with black stripes, or null.
function paintMap(s, codes, { ink, key, stripe }, extra = null) {
  const g = grid(s), { cols, rows, out, w, h } = g, t = Math.max(1, Math.round(s.density));
  if (!g.image) return;
  for (let y = 0, i = 0; y < h; y++) {
    const base = rows[y], up = rows[y < t ? 0 : y - t], down = rows[y + t < h ? y + t : h - 1];
    for (let x = 0; x < w; x++, i++) {
      const col = cols[x], v = codes[base + col], q = key[v];
      if (q !== key[codes[base + cols[x < t ? 0 : x - t]]] || q !== key[codes[up + col]]) out[i] = INK;
      else if (extra !== null && extra[base + col] && (x + 10000 * t - y) % (5 * t) < 2 * t) out[i] = INK;
      else if (q !== key[codes[base + cols[x + t < w ? x + t : w - 1]]] || q !== key[codes[down + col]]) out[i] = PAPER;
      else out[i] = stripe[v] && (x + y) % (7 * t) < 2 * t ? GREY : ink[v];
    }
  }
  lay(s, g);
}
// Values from blue to orange, with a black line where the sign changes; nothing at -Infinity.
function paintValues(s, values, limit) {
  const g = grid(s), { cols, rows, out, w, h } = g, t = Math.max(1, Math.round(1.5 * s.density)), scale = 512 / limit;
  if (!g.image) return;
  for (let y = 0, i = 0; y < h; y++) {
    const base = rows[y], up = rows[y < t ? 0 : y - t];
    for (let x = 0; x < w; x++, i++) {
      const col = cols[x], v = values[base + col], positive = v > 0;
      if (positive !== values[base + cols[x < t ? 0 : x - t]] > 0 || positive !== values[up + col] > 0) out[i] = INK;
      else out[i] = v === -Infinity ? 0 : HEAT[512 + Math.max(-512, Math.min(512, Math.round(v * scale)))];
    }
  }
  lay(s, g);
}
function number(v) {
  if (v === 0) return "0";
  return Math.abs(v) < 0.095 ? v.toPrecision(2) : Math.abs(v) < 9.95 ? v.toFixed(1) : v.toFixed(0);
}
const signed = (v) => (v === undefined ? "–" : Math.abs(v) < 0.01 && v !== 0 ? v.toPrecision(2) : v.toFixed(2)).replace("-", "−");

async function render({ model, el: host }) {
  const { el } = pano, f = pano.frame(model, host, "fusion-lab"), setup = model.get("setup"), answers = model.get("answers");
  if (typeof DecompressionStream === "undefined") {
    f.alarm("This browser is too old for the fusion lab (it lacks DecompressionStream): use one from 2023 or later.");
    return f.close;
  }
  const { size: [H, W], categories: kinds, channels, num_stuff: stuff, instances, grids, pixel_size: pixel } = setup;
  const photo = await pano.bitmap(model.get("image")), planes = await floats(setup.semantic);
  const plane = (c) => planes.subarray(c * W * H, (c + 1) * W * H);
  const kindOf = (owner) => kinds[owner <= stuff ? channels[owner - 1] : instances[owner - stuff - 1].category];
  const nameOf = (owner) => !owner ? "nobody" : owner <= stuff ? kindOf(owner).name
    : `#${instances[owner - stuff - 1].number} (${kindOf(owner).name})`;

  // -- what never changes: best class, best stuff, masks ----------------------------------------------------------
  const best = new Uint8Array(W * H), top = new Float32Array(W * H).fill(-Infinity);
  const stuffBest = new Float32Array(W * H).fill(-Infinity), stuffName = new Uint8Array(W * H);
  channels.forEach((_, c) => plane(c).forEach((v, i) => {
    if (v > top[i]) { top[i] = v; best[i] = c; }
    if (c < stuff && v > stuffBest[i]) { stuffBest[i] = v; stuffName[i] = c; }
  }));
  const windows = {};
  for (const rule of setup.rules) {
    const found = setup.windows[rule];
    if (typeof found === "string") { windows[rule] = windows[found]; continue; }
    const data = await floats(found.data), own = { fused: found.fused, at: new Map() };
    let next = 0;
    for (const [i, [y0, x0, y1, x1]] of Object.entries(found.places)) {
      const w = x1 - x0, h = y1 - y0, take = () => data.subarray(next, next += w * h);
      own.at.set(Number(i), { x0, y0, w, h, a: take(), ...(found.fused ? { b: take(), fl: take() } : {}) });
    }
    own.limit = limitOf([...own.at.values()].flatMap((p) => [...(p.fl || p.a)]));
    windows[rule] = own;
  }
  // A rule may name another rule's windows before they were read: names always point backwards, so this is complete.
  instances.forEach((thing, i) => {
    const place = windows[setup.rules[0]].at.get(i);
    Object.assign(thing, { key: i, name: kinds[thing.category].name });
    if (!place) return;
    thing.mask = Uint8Array.from(place.a, (v) => (v > 0 ? 1 : 0));
    thing.outline = rings(thing.mask, place.w, place.h, place.x0, place.y0);
  });
  const truth = setup.truth ? borders(new Uint16Array(await inflate(setup.truth)), W, H) : null;

  // -- state ------------------------------------------------------------------------------------------------------
  const at = (list, value) => list.findIndex((v) => v === value), start = setup.start;
  const now = { rule: start.rule, score: at(grids.score, start.score), overlap: at(grids.overlap, start.overlap),
    min_area: at(grids.min_area, start.min_area) };
  let shown = null, chosen = null, kept = null, showTruth = false, began = performance.now();

  // -- asking -----------------------------------------------------------------------------------------------------
  let busy = false, again = false, timer = 0;
  function ask(first = true) {
    if (first) began = performance.now();
    if (answers) {
      const found = answers.list[answers.index[now.rule][now.score][now.overlap][now.min_area]];
      show({ ...settings(), ...found, fates: found.fates.map((n) => answers.words[n]), maps: answers.maps[found.maps] });
      return;
    }
    if (busy) { again = true; return; } // only the newest setting is asked for when Python is ready again
    busy = true;
    timer = setTimeout(unanswered, 8000);
    try { model.send({ kind: "ask", ...settings() }); } catch { unanswered(); }
  }
  function unanswered() {
    clearTimeout(timer);
    busy = again = false;
    f.alarm("Python does not answer: run this cell again (and the cells above it, if the kernel was restarted).");
  }
  const settings = () => ({ rule: now.rule, score: grids.score[now.score], overlap: grids.overlap[now.overlap],
    min_area: grids.min_area[now.min_area] });
  function free() {
    clearTimeout(timer);
    busy = false;
    if (again) { again = false; ask(false); }
  }
  f.listen("msg:custom", (message, buffers) => {
    if (message.kind !== "answer") return;
    f.alarm(model.get("fault"));
    free();
    show({ ...message, maps: buffers[0] });
  });
  f.listen("fault", free);

  // -- one answer -------------------------------------------------------------------------------------------------
  let turn = 0;
  async function show(answer, quiet = false) {
    const mine = ++turn, maps = new Uint16Array(await inflate(answer.maps));
    if (mine !== turn) return; // a newer one came
    const before = shown, owner = new Uint16Array(W * H), final = new Uint16Array(W * H);
    for (let i = 0; i < maps.length; i++) {
      owner[i] = maps[i] & OWNER;
      final[i] = maps[i] & VOID ? 0 : owner[i];
    }
    shown = { ...answer, owner, final, maps, letters: letterPlaces(final) };
    shown.values = bestValues();
    const same = before && before.fates.every((fate, i) => fate[0] === shown.fates[i][0]);
    shown.paths = same ? before.paths : outlines();
    compare();
    renew();
    if (!quiet) f.say(summary(before));
    requestAnimationFrame(() => setTimeout(() => { f.root.dataset.milliseconds = (performance.now() - began).toFixed(1); }));
    clearTimeout(show.later); // the table may come a moment after the pictures
    show.later = setTimeout(fillTable, 250);
  }
  // [owner, x, y, area]: for each owner the place farthest from its edge (in steps to all eight sides), on a coarse grid.
  function letterPlaces(map) {
    const step = Math.max(1, Math.floor(Math.sqrt(W * H) / 96)), w = Math.ceil(W / step), h = Math.ceil(H / step);
    const o = new Uint16Array(w * h), depth = new Uint16Array(w * h).fill(1);
    for (let y = 0, i = 0; y < h; y++) for (let x = 0; x < w; x++, i++) o[i] = map[y * step * W + x * step];
    for (let y = 1; y < h - 1; y++) { // the rim stays 1 deep, and so does whatever has another owner beside it
      for (let x = 1, i = y * w + 1; x < w - 1; x++, i++) {
        const v = o[i];
        if (o[i - 1] === v && o[i + 1] === v && o[i - w] === v && o[i + w] === v && o[i - w - 1] === v && o[i - w + 1] === v
          && o[i + w - 1] === v && o[i + w + 1] === v) depth[i] = 1 + Math.min(depth[i - 1], depth[i - w], depth[i - w - 1], depth[i - w + 1]);
      }
    }
    for (let y = h - 2; y > 0; y--) {
      for (let x = w - 2, i = y * w + x; x > 0; x--, i--) {
        if (depth[i] > 1) depth[i] = Math.min(depth[i], 1 + Math.min(depth[i + 1], depth[i + w], depth[i + w + 1], depth[i + w - 1]));
      }
    }
    const most = stuff + 1 + instances.length, n = new Int32Array(most), sx = new Float64Array(most), sy = new Float64Array(most);
    const deepest = new Uint16Array(most), nearest = new Float64Array(most), spot = new Int32Array(most);
    for (let y = 0, i = 0; y < h; y++) for (let x = 0; x < w; x++, i++) { n[o[i]]++; sx[o[i]] += x; sy[o[i]] += y; }
    for (let y = 0, i = 0; y < h; y++) {
      for (let x = 0; x < w; x++, i++) { // of equally deep places the one nearest the middle
        const v = o[i];
        if (depth[i] < deepest[v]) continue;
        const away = (x - sx[v] / n[v]) ** 2 + (y - sy[v] / n[v]) ** 2;
        if (depth[i] > deepest[v] || away < nearest[v]) { deepest[v] = depth[i]; nearest[v] = away; spot[v] = i; }
      }
    }
    return [...spot.keys()].filter((v) => v && n[v])
      .map((v) => [v, (spot[v] % w) * step + 0.5, Math.floor(spot[v] / w) * step + 0.5, n[v] * step * step]);
  }
  const competed = (i) => shown.fates[i][0] || shown.fates[i][1] === "lost every pixel";
  const reasons = (fates) => Object.entries(LETTER).map(([reason]) => [reason, fates.filter((t) => t[1] === reason).length]).filter(([, n]) => n);
  const fateOf = (i) => `${shown.fates[i][0] ? "kept" : "dropped"}: ${shown.fates[i][2]}`;
  const percent = (v) => `${(100 * v).toFixed(1)} %`;
  function summary(before) {
    const out = reasons(shown.fates).map(([reason, n]) => `${n} ${FATE[reason].split(": ")[1]}`), keeps = shown.fates.filter((t) => t[0]).length;
    const changed = before ? shown.fates.map((t, i) => [i, t]).filter(([i, t]) => t[1] !== before.fates[i][1]) : [];
    const told = changed.slice(0, 3).map(([i, t]) => `#${instances[i].number} ${t[0] ? "is kept" : FATE[t[1]].split(": ")[1]}`);
    return `${shown.rule}: ${keeps} kept, ${instances.length - keeps} dropped${out.length ? ` (${out.join(", ")})` : ""}; void ${percent(shown.void)}`
      + shown.scores.map((s) => `; PQ ${s.name} ${s.pq === null ? "–" : s.pq.toFixed(3)}`).join("")
      + (told.length ? `. Changed: ${told.join(", ")}${changed.length > 3 ? ` and ${changed.length - 3} more` : ""}` : "");
  }

  // -- the six pictures -------------------------------------------------------------------------------------------
  const view = new pano.View(W, H), detail = new pano.View(8, 8);
  const bases = new WeakMap(); // the photo as a stage shows it; scaling it anew for each answer would take long
  const dim = (s, white = 0) => {
    const { id } = grid(s), base = bases.get(s) || {};
    if (base.id === id && base.canvas) { s.context.drawImage(base.canvas, 0, 0); return; }
    s.drawPicture(photo);
    const { k, left, top: y } = s.frame;
    s.context.fillStyle = `rgba(255, 255, 255, ${white})`;
    if (white) s.context.fillRect(left, y, W * k, H * k);
    const canvas = base.id === id ? el("canvas", { width: s.canvas.width, height: s.canvas.height }) : null;
    canvas?.getContext("2d", { willReadFrequently: true }).drawImage(s.canvas, 0, 0); // from the second time in one place
    bases.set(s, { id, canvas });
  };
  const mark = (s) => { // the chosen instance, in every picture
    if (chosen !== null && instances[chosen].outline) stroke(s, instances[chosen].outline, [["white", 6], ["black", 3]]);
  };
  const letters = (s, only = () => true) => {
    const { k, left, top: y } = s.frame;
    for (const [owner, col, row, area] of shown.letters) {
      const kind = kindOf(owner);
      if (only(owner) && !kind.quiet && Math.sqrt(area) * k > 24 * s.density) pano.text(s, kind.letter, left + col * k, y + row * k, owner > stuff ? 13 : 18);
    }
  };
  // Ink, key and stripes of every code; tables of all 65536 codes, made once.
  const look = (paint) => {
    const table = { ink: new Uint32Array(65536), key: new Uint16Array(65536), stripe: new Uint8Array(65536) };
    for (let v = 0; v < 65536; v++) {
      const owner = v & OWNER;
      if (owner <= stuff + instances.length) [table.ink[v], table.key[v], table.stripe[v]] = paint(owner, v);
    }
    return table;
  };
  const inkOf = (owner, things, region) => (owner ? rgba(kindOf(owner).color, owner > stuff ? things : region) : 0);
  const winnerLook = look((o) => [inkOf(o, 215, 95), o, 0]);
  const thingLook = look((o, v) => (o > stuff ? [inkOf(o, 215, 0), o, 0] : [0, 0, v & LEFTOVER ? 1 : 0]));
  const finalLook = look((o, v) => (v & VOID || !o ? [PAPER, 0, 1] : [inkOf(o, 170, 80), o, 0]));
  const classMap = Uint16Array.from(best, (c) => c + 1), classLetters = letterPlaces(classMap);
  const classLook = { ink: Uint32Array.from([0, ...channels.map((c) => rgba(kinds[c].color, 130))]),
    key: Uint16Array.from(["", ...channels], (_, c) => c), stripe: new Uint8Array(channels.length + 1) };
  let classHeat = null;
  function paintSemantic(s) {
    if (classHeat) { paintValues(s, classHeat.values, classHeat.limit); cells(s, classHeat.values, W, H, 14); mark(s); return; }
    dim(s);
    paintMap(s, classMap, classLook);
    const { k, left, top: y } = s.frame;
    for (const [c, col, row, area] of classLetters) {
      const kind = kinds[channels[c - 1]];
      if (!kind.quiet && Math.sqrt(area) * k > 24 * s.density) pano.text(s, kind.letter, left + col * k, y + row * k, 16);
    }
    mark(s);
  }
  function paintInstances(s) {
    dim(s, 0.15);
    const { k, left, top: y } = s.frame;
    for (const [color, path] of shown.paths) {
      const halo = instances.length > 150 ? [] : [["white", 4.5]]; // many outlines: half the strokes
      stroke(s, path, color ? [...halo, [color, 2.8]] : [...halo, ["black", 1.8, [4, 3]]]);
    }
    mark(s);
    instances.forEach((thing, i) => {
      const [x0, y0, x1, y1] = thing.box, [ok, reason] = shown.fates[i];
      if (Math.min(x1 - x0, y1 - y0) * k < 15 * s.density && i !== chosen) return;
      pano.text(s, `${thing.number}${ok ? "" : LETTER[reason]}`, left + ((x0 + x1) / 2) * k, y + ((y0 + y1) / 2) * k, ok ? 12 : 14);
    });
  }
  function outlines() { // [colour or "" for the dropped, all their outlines in one path]
    const paths = new Map();
    instances.forEach((thing, i) => {
      if (!thing.outline) return;
      const color = shown.fates[i][0] ? `rgb(${kinds[thing.category].color})` : "";
      if (!paths.has(color)) paths.set(color, new Path2D());
      paths.get(color).addPath(thing.outline);
    });
    return [...paths];
  }
  function bestValues() { // the best FL (or mask logit, where a rule has no FL) of those that competed
    const own = windows[shown.rule], value = new Float32Array(W * H).fill(-Infinity);
    for (const [i, p] of own.at) {
      if (!competed(i)) continue;
      const from = own.fused ? p.fl : p.a;
      for (let y = 0, j = 0; y < p.h; y++) {
        for (let x = 0, n = (p.y0 + y) * W + p.x0; x < p.w; x++, n++, j++) if (from[j] > value[n]) value[n] = from[j];
      }
    }
    return value;
  }
  function paintFused(s) {
    dim(s, 0.75);
    paintValues(s, shown.values, windows[shown.rule].limit);
    cells(s, shown.values, W, H, 14);
    mark(s);
  }
  const paintWinner = (s) => { dim(s, 0.3); paintMap(s, shown.maps, winnerLook); letters(s); mark(s); };
  const paintThings = (s) => { dim(s, 0.6); paintMap(s, shown.maps, thingLook); letters(s, (owner) => owner > stuff); mark(s); };
  function paintFinal(s) {
    dim(s);
    paintMap(s, shown.maps, finalLook, kept && kept.differs);
    letters(s);
    if (showTruth && truth) stroke(s, truth, [["white", 4.5], ["black", 2.6, [3, 3]]]);
    mark(s);
    pano.drawScaleBar(s, pixel);
  }
  const panel = (title, note, label, paint) => {
    const stage = new pano.Stage(view, { label, paint: (s) => shown && paint(s), pick, keys, hover,
      help: "arrows move, plus and minus zoom, n and p choose the next or previous thing" });
    const words = el("span", {}, note);
    stage.node.prepend(el("div", { class: "pano-caption" }, title));
    stage.node.append(el("p", { class: "pano-note" }, words));
    return Object.assign(stage, { words });
  };
  const classChoice = el("select", { "aria-label": "what the semantic head shows", onchange: () => chooseClass(Number(classChoice.value)) },
    el("option", { value: -1 }, "largest logit"), channels.map((k, c) => el("option", { value: c }, `logit: ${kinds[k].name}`)));
  const panels = [
    panel("1 Semantic head", "How much each pixel looks like each class. Show: ", "semantic head", paintSemantic),
    panel("2 Instance head", "Solid: kept. Dashed: dropped, S low score, D double, O overlap, E empty, L lost every pixel.", "instance head, kept and dropped instances", paintInstances),
    panel("3 Fused logits FL", "", "fused logits", paintFused),
    panel("4 Who wins each pixel", "Largest of the stuff logits and every FL.", "winner of each pixel", paintWinner),
    panel("5 Things on the canvas", "Hatched: the semantic head sees a thing here, but no instance took the pixel.", "things on the canvas", paintThings),
    panel("6 Final map", "Stuff fills the rest. Hatched grey on white: void.", "final map", paintFinal),
  ];
  panels[0].words.after(classChoice);
  function chooseClass(c) {
    classHeat = c < 0 ? null : { values: plane(c), limit: limitOf(plane(c)) };
    panels[0].words.textContent = c < 0 ? "How much each pixel looks like each class. Show: "
      : `Blue below 0, white 0, orange above, up to ±${classHeat.limit}; black line: 0. Show: `;
    view.changed();
  }

  // -- choosing an instance -----------------------------------------------------------------------------------------
  function pick({ row, col }) {
    const inside = (i, masked) => {
      const p = windows[shown.rule].at.get(i);
      if (!p || row < p.y0 || col < p.x0 || row >= p.y0 + p.h || col >= p.x0 + p.w) return false;
      return !masked || instances[i].mask[(row - p.y0) * p.w + col - p.x0];
    };
    const order = instances.map((_, i) => i).sort((a, b) => instances[a].number - instances[b].number);
    let here = order.filter((i) => inside(i, true));
    if (!here.length) here = order.filter((i) => inside(i, false));
    const place = here.indexOf(chosen);
    choose(here.length ? here[(place + 1) % here.length] : null, { row, col }); // a second click takes the next one below
  }
  function choose(i, cursor = null) {
    chosen = i;
    table.choose(i === null ? null : i);
    fillDetail(cursor);
    view.changed();
    if (i !== null) f.say(`#${instances[i].number}, ${instances[i].name}, score ${instances[i].score.toFixed(2)}, ${fateOf(i)}`);
  }
  function keys(e) {
    if (e.key !== "n" && e.key !== "p") return false;
    const order = instances.map((_, i) => i).sort((a, b) => instances[a].number - instances[b].number);
    const step = e.key === "n" ? 1 : -1, place = order.indexOf(chosen);
    if (order.length) choose(order[(place < 0 ? (step > 0 ? 0 : order.length - 1) : place + step + order.length) % order.length]);
    return true;
  }
  function hover(place) { readout.textContent = place && shown ? tell(place) : HINT; }
  function tell({ row, col }) {
    const i = row * W + col, m = shown.maps[i];
    const said = channels[best[i]] === undefined ? "" : `semantic head: ${kinds[channels[best[i]]].name} ${signed(top[i])}`;
    const end = m & VOID ? "void" : nameOf(m & OWNER);
    return `Row ${row}, column ${col} · ${said} · best stuff: ${kinds[channels[stuffName[i]]].name} ${signed(stuffBest[i])} · winner: ${nameOf(m & OWNER)} · final: ${end}`;
  }

  // -- the logits of the chosen one ---------------------------------------------------------------------------------
  let part = null;
  const heats = ["ML_A: its own mask", "ML_B: semantic head", "FL: both fused", "best stuff logit"].map((title, n) => {
    const stage = new pano.Stage(detail, { label: title, help: "arrows move the cursor by one pixel, plus and minus zoom",
      paint: (s) => part && paintHeat(s, n), hover: (p) => point(p, false), pick: (p) => point(p, true), keys: (e) => walk(e) });
    const words = el("span"), scale = el("span", { class: "pano-scale" });
    stage.node.prepend(el("div", { class: "pano-caption" }, title));
    stage.node.append(el("p", { class: "pano-note" }, scale, words));
    return Object.assign(stage, { words });
  });
  function fillDetail(cursor = null) {
    const p = chosen === null || !shown ? null : windows[shown.rule].at.get(chosen);
    detailBox.hidden = !p;
    detailNone.hidden = Boolean(p);
    if (!p) { part = null; return; }
    const local = new Float32Array(p.w * p.h), won = new Uint8Array(p.w * p.h);
    for (let y = 0, j = 0; y < p.h; y++) for (let x = 0; x < p.w; x++, j++) {
      const i = (p.y0 + y) * W + p.x0 + x;
      local[j] = stuffBest[i];
      won[j] = shown.owner[i] === stuff + 1 + chosen ? 1 : 0;
    }
    const pair = limitOf(p.b ? [...p.a, ...p.b] : p.a), old = part;
    part = { ...p, chosen, values: [p.a, p.b, p.fl, local], limits: [pair, pair, p.fl ? limitOf(p.fl) : 1, limitOf(local)],
      won: rings(won, p.w, p.h, 0, 0), any: won.some(Boolean) };
    heats.forEach((s, n) => {
      s.node.hidden = !part.values[n];
      s.words.textContent = `−${part.limits[n]} … 0 … +${part.limits[n]}`;
    });
    const thing = instances[chosen], moved = !old || old.chosen !== chosen;
    detailTitle.textContent = `#${thing.number} ${thing.name}, score ${thing.score.toFixed(3)}, ${fateOf(chosen)}`;
    f.root.style.setProperty("--part", `${p.w} / ${p.h}`);
    if (moved) { Object.assign(detail, { width: p.w, height: p.h, cursor: null }); detail.fit(); }
    if (cursor && cursor.row >= p.y0 && cursor.col >= p.x0 && cursor.row < p.y0 + p.h && cursor.col < p.x0 + p.w) {
      point({ row: cursor.row - p.y0, col: cursor.col - p.x0 }, false);
    } else point(detail.cursor, false);
    detail.changed();
  }
  function cells(s, values, w, h, size = 16) { // the numbers themselves, where pixels are large enough
    const { k, left, top: y0 } = s.frame, x0 = Math.max(0, Math.floor(-left / k)), x1 = Math.min(w, Math.ceil((s.canvas.width - left) / k));
    if (k < 30 * s.density) return;
    for (let y = Math.max(0, Math.floor(-y0 / k)); y < Math.min(h, Math.ceil((s.canvas.height - y0) / k)); y++) for (let x = x0; x < x1; x++) {
      const v = values[y * w + x];
      if (Number.isFinite(v)) pano.text(s, number(v).replace("-", "−"), left + (x + 0.5) * k, y0 + (y + 0.5) * k, Math.min(size, k / s.density / 2.9));
    }
  }
  function paintHeat(s, n) {
    if (!part.values[n]) return;
    paintValues(s, part.values[n], part.limits[n]);
    if (part.any) stroke(s, part.won, [["white", 5], ["black", 3, [6, 4]]]);
    cells(s, part.values[n], part.w, part.h);
  }
  function point(place, aloud) {
    detail.point(place, null);
    if (!part || !place) { numbers.textContent = "Point at a pixel, or focus a picture and use the arrow keys, to read the numbers."; return; }
    const j = place.row * part.w + place.col, row = place.row + part.y0, col = place.col + part.x0, i = row * W + col;
    const values = part.values.map((v) => v && v[j]), m = shown.maps[i];
    const words = [`Row ${row}, column ${col}`, `ML_A ${signed(values[0])}`]
      .concat(part.b ? [`ML_B ${signed(values[1])}`, `FL ${signed(values[2])}`] : [])
      .concat([`best stuff: ${kinds[channels[stuffName[i]]].name} ${signed(values[3])}`, `winner: ${nameOf(m & OWNER)}`])
      .concat(m & VOID ? ["in the end void"] : []);
    numbers.textContent = words.join(" · ");
    if (aloud) f.say(numbers.textContent);
  }
  function walk(e) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
    if (!step || !part) return keys(e);
    const c = detail.cursor || { row: part.h >> 1, col: part.w >> 1 }, clamp = (v, n) => Math.min(n - 1, Math.max(0, v));
    point({ row: clamp(c.row + step[0], part.h), col: clamp(c.col + step[1], part.w) }, true);
    return true;
  }

  // -- a remembered result ------------------------------------------------------------------------------------------
  function remember() {
    kept = kept ? null : { ...shown };
    rememberButton.textContent = kept ? "forget it" : "remember this result";
    rememberButton.setAttribute("aria-pressed", String(Boolean(kept)));
    compare();
    renew();
    f.say(kept ? "Remembered. Pixels that differ from it are hatched black in the final map." : "Forgotten.");
  }
  function compare() {
    if (!kept) return;
    kept.differs = Uint8Array.from(kept.final, (owner, i) => (owner !== shown.final[i] ? 1 : 0));
    kept.count = kept.differs.reduce((sum, v) => sum + v, 0);
  }
  function scoreboard() {
    const cell = (v) => el("td", { class: "pano-number" }, v), fixed = (v) => (v === null ? "–" : v.toFixed(3));
    const heads = ["", "rule", "score", "overlap", "area (px)", "kept", "void", ...shown.scores.flatMap((s) => [`PQ ${s.name}`, "SQ", "RQ", "match / false / missed"])];
    const line = (name, a) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, a.rule), cell(a.score.toFixed(2)), cell(a.overlap.toFixed(2)),
      cell(a.min_area), cell(a.fates.filter((t) => t[0]).length), cell(percent(a.void)),
      a.scores.flatMap((s) => [el("td", { class: "pano-number pano-big" }, fixed(s.pq)), cell(fixed(s.sq)), cell(fixed(s.rq)), cell(`${s.tp} / ${s.fp} / ${s.fn}`)]));
    board.replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, heads.map((h) => el("th", { scope: "col" }, h)))),
      el("tbody", {}, line("now", shown), kept ? line("remembered", kept) : null)));
    differ.textContent = kept ? `${kept.count.toLocaleString("en")} of ${(W * H).toLocaleString("en")} pixels have another owner than in the remembered result.` : "";
  }
  const lines = instances.map((t) => ({ ...t, fate: "", why: "" }));
  function fillTable() { // a new table is slow where there are many things: only cells that change are written
    const changed = new Set();
    lines.forEach((line, i) => {
      const fate = FATE[shown.fates[i][1]], why = shown.fates[i][2];
      if (line.why !== why || line.fate !== fate) changed.add(String(i));
      Object.assign(line, { fate, why });
    });
    const rows = [...table.querySelectorAll("tbody tr")];
    if (rows.length) rows.filter((row) => changed.has(row.dataset.key)).forEach((row) => {
      const { fate, why } = lines[row.dataset.key], cells = row.querySelectorAll("td");
      [cells[3].textContent, cells[4].textContent] = [fate, why];
    });
    else table.set(lines);
    table.choose(chosen, false);
  }
  function renew() {
    const own = windows[shown.rule];
    panels[2].node.querySelector(".pano-caption").textContent = own.fused ? "3 Fused logits FL" : "3 Mask logits ML_A";
    panels[2].words.textContent = own.fused ? "The largest FL of all that compete. Blue below 0, white 0, orange above; black line: 0."
      : "This rule fuses nothing: the better score takes the pixels of its mask. Black line: 0.";
    scoreboard();
    fillDetail(detail.cursor && part && { row: detail.cursor.row + part.y0, col: detail.cursor.col + part.x0 });
    view.changed();
  }

  // -- the page -----------------------------------------------------------------------------------------------------
  const HINT = "Point at a picture to read its numbers; click a thing to see its logits.";
  const stop = (label, key, text) => pano.slider(label, { min: 0, max: grids[key].length - 1, step: 1, value: now[key],
    show: (i) => text(grids[key][i]), oninput: (i) => { now[key] = i; ask(); } });
  const readout = el("p", { class: "pano-readout" }, HINT), numbers = el("p", { class: "pano-readout" });
  const board = el("div", { class: "pano-board", tabindex: 0, role: "region", "aria-label": "scores" }), differ = el("p", { class: "pano-note" });
  const rememberButton = pano.button("remember this result", remember, { pressed: "false" });
  const table = pano.table("Every instance and its fate", [{ key: "number", name: "#", number: true, show: (v) => `#${v}` }, { key: "name", name: "class" },
    { key: "score", name: "score", number: true, show: (v) => v.toFixed(3) }, { key: "fate", name: "fate" }, { key: "why", name: "why" }],
  { onpick: (row) => choose(row.key), sort: { key: "number", down: false }, limit: 150 });
  const detailTitle = el("h3", { class: "pano-part" }), detailNone = el("p", { class: "pano-note" }, "No thing is chosen: click one in a picture or in the table, or press n in a picture.");
  const detailBox = el("div", { class: "pano-detail" }, detailTitle, el("div", { class: "pano-heats" }, heats.map((s) => s.node)),
    numbers, el("p", { class: "pano-note" }, "Blue below 0, white 0, orange above. Thin black line: 0. Thick dashed line: the pixels that it got."));
  f.root.style.setProperty("--shape", `${W} / ${H}`);
  f.body.append(
    el("div", { class: "pano-bar" },
      pano.radios("Rule", setup.rules, now.rule, (rule) => { now.rule = rule; ask(); }),
      stop("score above", "score", (v) => v.toFixed(2)),
      stop("overlap up to", "overlap", (v) => `${Math.round(100 * v)} %`),
      stop("stuff from", "min_area", (v) => pano.areaText(v, pixel))),
    el("div", { class: "pano-bar" }, rememberButton, truth ? pano.checkbox("outlines of the truth in 6", false, (on) => { showTruth = on; view.changed(); }) : null, pano.zoomButtons(view)),
    f.status, board, differ,
    el("div", { class: "pano-six" }, panels.map((s) => s.node)),
    readout, detailNone, detailBox, table,
    el("div", { class: "pano-bar pano-kinds" }, kinds.map((kind) => el("span", {}, pano.swatch(kind), ` ${kind.isthing ? `${kind.letter} = ` : ""}${kind.name}`))));
  f.onclose(() => [...panels, ...heats].forEach((s) => s.close()));
  await show({ ...settings(), ...model.get("first") }, true);
  f.say(summary(null));
  fillTable();
  view.fit();
  return f.close;
}
export default { render: pano.guarded(render) };
