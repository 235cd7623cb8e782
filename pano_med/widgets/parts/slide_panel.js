// The panel beside a slide: legend with switches, the walk through nuclei, the figures of a region.
const slidePanel = (() => {
  const { el } = pano;
  const number = (value, digits = 3) => Number(value.toPrecision(digits)).toLocaleString("en");
  const area = (um2) => (um2 >= 1e5 ? `${number(um2 / 1e6)} mm²` : `${number(um2)} µm²`);
  const length = (um) => (um >= 1000 ? `${number(um / 1000)} mm` : `${number(um)} µm`);
  const counted = (n) => n.toLocaleString("en");

  // One line of the legend for each class, or for all nuclei together; onhide(ids, on).
  function legend(facts, { types, hidden, onhide }) {
    const node = el("fieldset", { class: "pano-legend" }, el("legend", {}, "classes")), checks = [];
    const things = facts.categories.filter((c) => c.isthing), stuff = facts.categories.filter((c) => !c.isthing);
    const rows = [...(types ? things.map((kind) => [kind, [kind.id]]) : [[facts.plain, things.map((c) => c.id)]]),
      ...stuff.map((kind) => [kind, [kind.id]])];
    for (const [kind, ids] of rows) {
      const check = pano.checkbox([pano.swatch(kind), el("span", {}, kind.name)], !ids.every((id) => hidden.has(id)), (on) => onhide(ids, on));
      checks.push([check, ids]);
      node.append(check);
    }
    return Object.assign(node, { set: (off) => checks.forEach(([check, ids]) => check.set(!ids.every((id) => off.has(id)))) });
  }

  // The answer to a region as rows of a table, and in one sentence.
  function rowsOf(answer, facts, types) {
    const kinds = new Map(facts.categories.map((c) => [String(c.id), c]));
    const found = Object.entries(answer.nuclei).map(([id, [count, density]]) => ({ kind: kinds.get(id), count, density }));
    const all = { kind: facts.plain, count: found.reduce((n, r) => n + r.count, 0), density: found.reduce((n, r) => n + r.density, 0) };
    const nuclei = types && found.length ? found : [all];
    return [...nuclei.map((r) => ({ key: r.kind.id, name: r.kind.name, much: counted(r.count), density: `${number(r.density)} /mm²` })),
      ...Object.entries(answer.tissue).map(([id, um2]) => ({ key: `t${id}`, name: kinds.get(id).name, much: area(um2),
        density: answer.seen ? `${number(100 * um2 / answer.seen, 2)} %` : "–" }))];
  }

  function sentence(answer, facts, types) {
    const rows = rowsOf(answer, facts, types).map((r) => (String(r.key).startsWith("t") ? `${r.name} ${r.much}` : `${r.much} × ${r.name}, ${r.density}`));
    return `Region of ${area(answer.area)}: ${rows.join("; ")}`;
  }

  function region() {
    const body = el("tbody"), caption = el("caption", {}, "region");
    const head = el("tr", {}, ["class", "amount", "density, share"].map((text) => el("th", { scope: "col" }, text)));
    const note = el("p", { class: "pano-note" }), node = el("div", { class: "pano-table pano-slide-region", hidden: true },
      el("table", {}, caption, el("thead", {}, head), body), note);
    function set(answer, facts, types) {
      node.hidden = !answer;
      if (!answer) return;
      caption.textContent = `region, ${area(answer.area)}`;
      body.replaceChildren(...rowsOf(answer, facts, types).map((row) => el("tr", {}, el("td", {}, row.name),
        el("td", { class: "pano-number" }, row.much), el("td", { class: "pano-number" }, row.density))));
      const part = answer.area ? answer.seen / answer.area : 0;
      note.textContent = (part < 0.985 ? `${number(100 * part, 2)} % of it was looked at (${area(answer.seen)}); densities are of that part. ` : "")
        + "Tissue without the nuclei on it.";
    }
    return Object.assign(node, { set });
  }

  return { legend, region, sentence, area, length, number };
})();
