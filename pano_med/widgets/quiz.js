// StuffThingsQuiz: one region at a time, two answers, a reason; at the end the three kinds of map.
async function render({ model, el: host }) {
  const { el } = pano;
  const f = pano.frame(model, host, "quiz");
  const picture = await pano.bitmap(model.get("image")), layer = await pano.loadLayer(model.get("panoptic"));
  const rows = pano.rowsOf(layer), number = new Map(layer.segments.id.map((id, i) => [id, i + 1]));
  const view = new pano.View(layer.width, layer.height);
  const paint = new Uint8Array(layer.width * layer.height); // what the brush has marked
  let brush = false, hovered = 0, painted = "";

  const kindOf = (n) => layer.categories[layer.category[n]];
  const rightOf = (n) => (kindOf(n).isthing ? "thing" : "stuff");
  const asked = () => number.get(model.get("asked")) || 1;
  const saidOf = (n) => model.get("answers")[String(rows[n - 1].id)];
  const questions = () => model.get("questions");
  const open = () => questions().filter((id) => !saidOf(number.get(id)));

  // ---- words
  function reason(n) {
    const kind = kindOf(n), many = rows.filter((row) => row.category === layer.category[n]).length;
    const name = `“${kind.name}”`;
    return kind.isthing
      ? `${name} is a countable object with an outline of its own. There ${many === 1 ? "is one" : `are ${many}`} here; `
        + "even where two touch, they are two, and each gets its own number."
      : `${name} is an amorphous region: part of it is still ${name}. Nobody asks how many there are, only where it is and `
        + "how much, so it needs a class but no number.";
  }
  function verdict(n) {
    const said = saidOf(n);
    if (!said) return "";
    return said === rightOf(n) ? `✓ Right, ${article(said)}. ${reason(n)}` : `✗ Not ${article(said)}, but ${article(rightOf(n))}. ${reason(n)}`;
  }
  const article = (word) => (word === "thing" ? "a thing" : "stuff");
  function score() {
    const all = Object.entries(model.get("answers")), good = all.filter(([id, said]) => said === rightOf(number.get(Number(id)))).length;
    return all.length ? `${good} of ${all.length} right` : "no answer yet";
  }

  // ---- the picture with the question
  const stage = new pano.Stage(view, {
    label: "image with one outlined region", help: "Is the outlined region stuff or a thing? Press s or t; n and p change the region. "
      + "Arrow keys move, plus and minus zoom.",
    height: 440,
    paint: (s) => {
      s.drawPicture(picture);
      shade(s);
      const done = new Set(Object.keys(model.get("answers")).map((id) => number.get(Number(id))));
      pano.drawLayer(s, layer, { only: new Set([...done, asked(), hovered].filter(Boolean)), strong: new Set([asked(), hovered].filter(Boolean)),
        voids: false, letters: false });
      signs(s, done);
      strokes(s);
      pano.drawScaleBar(s, model.get("pixel_size"));
    },
    hover: (place) => { hovered = brush ? 0 : pano.numberAt(layer, place); stage.draw(); },
    pick: (place) => {
      const n = pano.numberAt(layer, place);
      if (n) ask(n, false); else f.say("Void: no class here. Choose another region.");
    },
    drag: (place, phase) => brush && stroke(place, phase),
  });
  function whole(s, n, value, out) { // 1 where a segment lies, in device pixels: a mask drawn over the stage
    const { k, left, top } = s.frame, [r0, c0, r1, c1] = rows[n - 1].place, image = new ImageData(c1 - c0, r1 - r0);
    for (let r = r0, j = 3; r < r1; r++) for (let c = c0; c < c1; c++, j += 4) image.data[j] = layer.ids[r * layer.width + c] === n ? value : 0;
    const canvas = el("canvas", { width: c1 - c0, height: r1 - r0 });
    canvas.getContext("2d").putImageData(image, 0, 0);
    out.imageSmoothingEnabled = false;
    out.drawImage(canvas, left + c0 * k, top + r0 * k, (c1 - c0) * k, (r1 - r0) * k);
  }
  const veil = el("canvas");
  function shade(s) { // all but the asked region lies in half shade
    const { width, height } = s.canvas, { k, left, top } = s.frame;
    Object.assign(veil, { width, height });
    const g = veil.getContext("2d");
    g.fillStyle = "rgba(255, 255, 255, 0.5)";
    g.fillRect(left, top, layer.width * k, layer.height * k);
    g.globalCompositeOperation = "destination-out";
    whole(s, asked(), 255, g);
    s.context.drawImage(veil, 0, 0);
  }
  function signs(s, done) { // answered regions keep a sign: S or T is right; ! where the answer was not
    const { k, left, top } = s.frame;
    for (const n of done) {
      const label = layer.labels.find(([of]) => of === n), [row, col] = label ? label.slice(1) : [rows[n - 1].row, rows[n - 1].col];
      const good = saidOf(n) === rightOf(n);
      pano.text(s, `${rightOf(n)[0].toUpperCase()} ${good ? "✓" : "!"}`, left + (col + 0.5) * k, top + (row + 0.5) * k, 15);
    }
  }

  // ---- the brush
  let last = null;
  function stroke(place, phase) {
    if (phase === "end") { last = null; judgePaint(); return true; }
    if (phase === "start") { paint.fill(0); last = place; }
    const radius = Math.max(0.6, 11 / stage.scale), way = Math.hypot(place.row - last.row, place.col - last.col);
    const steps = Math.max(1, Math.ceil((2 * way) / radius)); // a quick hand leaves no gaps
    for (let i = 1; i <= steps; i++) dab(last.row + ((place.row - last.row) * i) / steps, last.col + ((place.col - last.col) * i) / steps, radius);
    last = place;
    stage.draw();
    return true;
  }
  function dab(row, col, radius) {
    for (let r = Math.max(0, Math.floor(row - radius)); r <= Math.min(layer.height - 1, row + radius); r++) {
      for (let c = Math.max(0, Math.floor(col - radius)); c <= Math.min(layer.width - 1, col + radius); c++) {
        if ((r + 0.5 - row) ** 2 + (c + 0.5 - col) ** 2 <= radius ** 2) paint[r * layer.width + c] = 1;
      }
    }
  }
  function judgePaint() {
    const hits = new Map();
    let total = 0;
    paint.forEach((on, i) => { if (on) { total++; hits.set(layer.ids[i], (hits.get(layer.ids[i]) || 0) + 1); } });
    const [best] = [...hits].filter(([n]) => n).sort((a, b) => b[1] - a[1]);
    if (!best) { paint.fill(0); f.say("Your paint lies on void only. Paint a region that has a class."); return stage.draw(); }
    const percent = (v) => `${Math.round(100 * v)} %`;
    painted = `Your paint: ${percent(best[1] / total)} of it lies on the outlined region and it covers ${percent(best[1] / rows[best[0] - 1].area)} of that. `;
    ask(best[0], false);
  }
  function strokes(s) {
    if (!paint.includes(1)) return;
    const image = new ImageData(layer.width, layer.height);
    paint.forEach((on, i) => { if (on) image.data.set([240, 228, 66, 150], 4 * i); });
    const canvas = el("canvas", { width: layer.width, height: layer.height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    s.drawPicture(canvas);
  }

  // ---- moves
  function ask(n, nearer = true) {
    if (nearer) painted = "";
    if (nearer || !brush) paint.fill(0);
    f.put("asked", rows[n - 1].id);
    if (nearer) look(n);
    refresh();
  }
  function look(n) {
    const [r0, c0, r1, c1] = rows[n - 1].place, near = 0.22 * Math.min(view.height / (r1 - r0), view.width / (c1 - c0));
    view.move((r0 + r1) / 2, (c0 + c1) / 2, Math.max(1, Math.min(4, near)));
  }
  function step(by) {
    const list = questions(), at = list.indexOf(model.get("asked"));
    const waiting = by > 0 && open().length ? open() : list; // n goes to what is still open, p goes back
    const next = by > 0 && waiting !== list
      ? waiting.find((id) => list.indexOf(id) > at) ?? waiting[0] : list[(at + by + list.length) % list.length];
    ask(number.get(next));
  }
  function answer(said) {
    const n = asked();
    if (saidOf(n)) return f.say(`Already answered. ${verdict(n)}`);
    model.set("answers", { ...model.get("answers"), [String(rows[n - 1].id)]: said });
    if (!open().length) model.set("shown", true);
    model.save_changes();
    paint.fill(0);
    painted = "";
    refresh();
  }

  // ---- panel
  const question = el("div", { class: "pano-question" }), points = el("div", { class: "pano-points" });
  const stuff = pano.button(["stuff ", el("kbd", {}, "S")], () => answer("stuff"), { kind: "pano-large" });
  const thing = pano.button(["thing ", el("kbd", {}, "T")], () => answer("thing"), { kind: "pano-large" });
  const next = pano.button(["next region ", el("kbd", {}, "N")], () => step(1));
  const show = pano.button("show the three maps", () => { f.put("shown", !model.get("shown")); refresh(); });
  const tool = pano.radios("choose a region with", [["click", "click"], ["paint", "brush"]], "click", (v) => {
    brush = v === "paint";
    stage.canvas.classList.toggle("pano-brush", brush);
    f.say(brush ? "Paint over any region; let go to ask about it." : "Click any region to ask about it.");
  });
  const triptych = threeMaps();
  f.body.append(
    el("div", { class: "pano-bar" }, pano.zoomButtons(view), tool),
    el("div", { class: "pano-split" }, pano.stages([stage]),
      el("div", { class: "pano-side pano-asking" }, el("div", {}, question,
        el("div", { class: "pano-bar" }, stuff, thing), f.status, el("div", { class: "pano-bar" }, next, show), points,
        el("p", { class: "pano-help" }, "Keys: s stuff, t thing, n next, p previous; in the picture also arrows, + − 0. Signs: S stuff, T thing, ✓ right, ! answered otherwise.")))),
    triptych.node);
  f.root.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const act = { s: () => answer("stuff"), t: () => answer("thing"), n: () => step(1), p: () => step(-1) }[e.key.toLowerCase()];
    if (!act) return;
    act();
    e.preventDefault();
    e.stopPropagation();
  });

  // ---- semantic, instance, panoptic
  function threeMaps() {
    const kinds = layer.categories, used = kinds.map((_, i) => rows.filter((row) => row.category === i));
    const semantic = { ...layer, ids: layer.ids.map((n) => (n ? layer.category[n] + 1 : 0)), category: Int16Array.from([-1, ...kinds.keys()]),
      labels: layer.labels.map(([n, r, c]) => [layer.category[n] + 1, r, c]),
      segments: { area: used.map((list) => list.reduce((sum, row) => sum + row.area, 1)), row: used.map(() => 0), col: used.map(() => 0) } };
    const plain = (of) => ({ ...of, categories: kinds.map((kind) => ({ ...kind, line: [1, 1] })) }); // no dashes on flat colours
    const colors = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167], [110, 110, 110]];
    const things = new Set(rows.filter((row) => kinds[row.category].isthing).map((row) => row.key));
    const order = new Map([...things].map((n, i) => [n, i])), shared = new pano.View(layer.width, layer.height);
    const numbers = (s) => { // where there is room, a thing carries its number
      const { k, left, top } = s.frame;
      for (const n of things) {
        const row = rows[n - 1], side = Math.sqrt(row.area) * k / s.density;
        if (side > 22) pano.text(s, String(order.get(n) + 1), left + (row.col + 0.5) * k, top + (row.row + 0.5) * k, Math.min(18, side / 2));
      }
    };
    const white = (s) => {
      const { k, left, top } = s.frame;
      s.context.fillStyle = "white";
      s.context.fillRect(left, top, layer.width * k, layer.height * k);
    };
    const draws = {
      "semantic: classes": (s) => { white(s); pano.drawLayer(s, plain(semantic), { mode: "fill", opacity: 1, line: 1 }); },
      "instance: numbers": (s) => {
        white(s);
        pano.drawLayer(s, plain(layer), { mode: "fill", opacity: 1, only: things, color: (n) => colors[order.get(n) % colors.length], voids: false, letters: false });
        numbers(s);
      },
      "panoptic: both": (s) => { white(s); pano.drawLayer(s, plain(layer), { mode: "fill", opacity: 1, ink: [0, 0, 0], line: 1 }); numbers(s); },
    };
    const stages = Object.entries(draws).map(([caption, draw]) => new pano.Stage(shared, { label: caption, caption, height: 300, paint: draw,
      help: "Arrow keys move, plus and minus zoom; the three move together." }));
    const legend = el("div", { class: "pano-bar" }, kinds.map((kind, i) => (used[i].length
      ? el("span", { class: "pano-check" }, pano.swatch(kind), `${kind.name} (${kind.isthing ? `thing, ${used[i].length}` : "stuff"})`) : null)));
    const node = el("div", { class: "pano-triptych", hidden: true },
      pano.stages(stages), legend,
      el("p", { class: "pano-help" }, "Which classes are stuff is a decision that somebody made in the table of classes; the picture does not say it."));
    return { node, view: shared, stages };
  }

  // ---- state -> page
  function refresh() {
    const n = asked(), at = questions().indexOf(model.get("asked")), said = saidOf(n);
    question.textContent = at >= 0 ? `Region ${at + 1} of ${questions().length}: stuff or thing?` : "The region you chose: stuff or thing?";
    for (const [node, word] of [[stuff, "stuff"], [thing, "thing"]]) {
      node.setAttribute("aria-pressed", said === word);
      node.setAttribute("aria-disabled", Boolean(said));
    }
    f.status.classList.toggle("pano-good", Boolean(said) && said === rightOf(n));
    f.status.classList.toggle("pano-bad", Boolean(said) && said !== rightOf(n));
    f.say(said ? verdict(n) : `${painted}Is the outlined region stuff or a thing?`);
    points.textContent = score() + (open().length ? `, ${open().length} to go` : ": all answered");
    next.disabled = !open().length && questions().length < 2;
    const shown = model.get("shown");
    triptych.node.hidden = !shown;
    show.textContent = shown ? "hide the three maps" : "show the three maps";
    show.setAttribute("aria-expanded", shown);
    if (shown) requestAnimationFrame(() => triptych.view.fit());
    stage.draw();
  }
  ["asked", "answers", "shown", "questions"].forEach((trait) => f.listen(trait, refresh));
  f.onclose(() => [stage, ...triptych.stages].forEach((s) => s.close()));
  view.fit();
  refresh();
  requestAnimationFrame(() => look(asked()));
  f.root.dataset.ready = "1";
  return f.close;
}
export default { render: pano.guarded(render) };
