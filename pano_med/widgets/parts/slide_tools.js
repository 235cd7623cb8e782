// Drawing on a slide: a rectangle, a polygon, a distance. Corners are {row, column} in level-0 pixels.
class SlideTools {
  // toScreen(place) -> {x, y} and toSlide(x, y) -> place, in CSS pixels of `host`; ondone(name, corners); onchange().
  constructor(host, { toScreen, toSlide, middle, ondone, onchange, onwheel }) {
    Object.assign(this, { toScreen, toSlide, middle, ondone, onchange, tool: "", corners: [], pointer: null });
    this.canvas = pano.el("canvas", { class: "pano-slide-tools", "aria-hidden": "true" });
    host.append(this.canvas);
    let down = null;
    const at = (e) => { const box = this.canvas.getBoundingClientRect(); return { x: e.clientX - box.left, y: e.clientY - box.top }; };
    const slide = (e) => { const { x, y } = at(e); return this.toSlide(x, y); };
    this.canvas.addEventListener("wheel", (e) => onwheel(e, at(e)), { passive: false });
    this.canvas.addEventListener("pointerdown", (e) => {
      if (e.button || !this.tool) return;
      e.preventDefault();
      try { this.canvas.setPointerCapture(e.pointerId); } catch { /* a pointer that is gone already */ }
      down = { ...at(e), first: this.corners.length === 0 };
      if (this.tool === "polygon" && this.closes(at(e))) { down = null; return this.finish(); }
      this.add(slide(e));
    });
    this.canvas.addEventListener("pointermove", (e) => { this.pointer = slide(e); this.onchange(); });
    this.canvas.addEventListener("pointerleave", () => { this.pointer = null; this.onchange(); });
    this.canvas.addEventListener("pointerup", (e) => { // dragged from the first corner to the second
      const far = down && Math.hypot(at(e).x - down.x, at(e).y - down.y) > 6;
      if (far && down.first && this.tool !== "polygon") this.add(slide(e));
      down = null;
    });
    this.canvas.addEventListener("dblclick", () => { if (this.tool === "polygon" && this.corners.length > 2) this.finish(); });
  }

  // Take a tool in hand, "" for none.
  take(tool) {
    Object.assign(this, { tool, corners: [] });
    this.canvas.style.pointerEvents = tool ? "auto" : "none";
    this.onchange();
  }

  closes({ x, y }) {
    if (this.corners.length < 3) return false;
    const first = this.toScreen(this.corners[0]);
    return Math.hypot(first.x - x, first.y - y) < 10;
  }

  add(place) {
    const last = this.corners.at(-1);
    if (last && last.row === place.row && last.column === place.column) return;
    this.corners.push(place);
    if (this.tool !== "polygon" && this.corners.length === 2) this.finish(); else this.onchange();
  }

  // Enter: a corner in the middle of the picture; on the same place again it closes a polygon.
  key() {
    const place = this.middle(), last = this.corners.at(-1);
    const again = last && Math.abs(last.row - place.row) + Math.abs(last.column - place.column) < 1;
    if (again && this.tool === "polygon" && this.corners.length > 2) this.finish(); else if (!again) this.add(place);
  }

  finish() {
    const { tool, corners } = this, [a, b] = corners;
    const box = () => [a, { row: a.row, column: b.column }, b, { row: b.row, column: a.column }];
    this.corners = [];
    this.ondone(tool, tool === "rectangle" ? box() : corners);
    this.onchange();
  }

  // region: corners that were drawn before; distance: {corners, words}.
  paint(density, region, distance) {
    const box = this.canvas.getBoundingClientRect(), w = Math.round(box.width * density), h = Math.round(box.height * density);
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    const g = this.canvas.getContext("2d");
    g.setTransform(density, 0, 0, density, 0, 0);
    g.clearRect(0, 0, box.width, box.height);
    if (region?.length) this.line(g, region, true);
    if (distance) {
      this.line(g, distance.corners, false);
      const [a, b] = distance.corners.map((c) => this.toScreen(c));
      this.words(g, distance.words, (a.x + b.x) / 2, (a.y + b.y) / 2 - 14);
    }
    if (!this.tool) return;
    const end = this.pointer || this.middle(), drawn = [...this.corners, end], [a] = this.corners;
    if (a && this.tool === "rectangle") {
      this.line(g, [a, { row: a.row, column: end.column }, end, { row: end.row, column: a.column }], true);
    } else if (a) this.line(g, drawn, false);
    if (!this.pointer) this.cross(g, this.toScreen(end));
  }

  line(g, corners, closed) {
    const points = corners.map((c) => this.toScreen(c));
    for (const [style, width, dash] of [["white", 5, []], ["black", 2.5, []], ["#f0e442", 2.5, [7, 6]]]) {
      Object.assign(g, { strokeStyle: style, lineWidth: width, lineJoin: "round" });
      g.setLineDash(dash);
      g.beginPath();
      points.forEach(({ x, y }, i) => (i ? g.lineTo(x, y) : g.moveTo(x, y)));
      if (closed) g.closePath();
      g.stroke();
    }
    g.setLineDash([]);
    for (const { x, y } of points) {
      g.fillStyle = "white"; g.fillRect(x - 4, y - 4, 8, 8);
      g.fillStyle = "black"; g.fillRect(x - 2.5, y - 2.5, 5, 5);
    }
  }

  cross(g, { x, y }) {
    for (const [style, width] of [["white", 5], ["black", 2]]) {
      Object.assign(g, { strokeStyle: style, lineWidth: width });
      g.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { g.moveTo(x + 4 * dx, y + 4 * dy); g.lineTo(x + 14 * dx, y + 14 * dy); }
      g.stroke();
    }
  }

  words(g, text, x, y) {
    Object.assign(g, { font: "bold 16px system-ui, sans-serif", textAlign: "center", textBaseline: "middle", lineJoin: "round",
      lineWidth: 5, strokeStyle: "white", fillStyle: "black" });
    g.strokeText(text, x, y);
    g.fillText(text, x, y);
  }
}
