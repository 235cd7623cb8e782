// SlideChooser: folders and slides below a start folder, a question for the pixel size, what is wrong in words.
function render({ model, el: host }) {
  const { el } = pano, f = pano.frame(model, host, "slide chooser");
  const list = el("ul", { class: "pano-chooser-list", "aria-label": "folders and slides" });
  const where = el("div", { class: "pano-chooser-where" }), said = el("div", { class: "pano-fault", role: "alert" });
  const size = el("input", { type: "number", min: 0.05, max: 20, step: "any", class: "pano-chooser-mpp" });
  const open = (name, mpp = null) => { f.say(`opening ${name} …`); model.send({ kind: "open", name, mpp }); };
  const give = () => { if (Number(size.value) > 0) open(model.get("asks"), Number(size.value)); };
  size.addEventListener("keydown", (e) => { if (e.key === "Enter") give(); });
  const question = el("div", { class: "pano-bar" }, el("label", { class: "pano-check" }, "micrometres per pixel", size), pano.button("open", give, { kind: "pano-strong" }));
  const again = pano.button("choose another slide", () => model.send({ kind: "again" }));
  const choose = el("div", { class: "pano-body" }, el("p", { class: "pano-help" },
    "Choose a slide. Nothing leaves this computer. For research and teaching, not for diagnosis."), where, list);
  f.body.append(el("div", { class: "pano-bar" }, again), choose, said, question);
  function fill() {
    const entries = model.get("entries"), chosen = model.get("chosen");
    again.hidden = !chosen;
    choose.hidden = Boolean(chosen);
    where.textContent = model.get("folder");
    said.textContent = model.get("said");
    question.hidden = !model.get("asks");
    if (model.get("said") || chosen) f.say("");
    list.replaceChildren(...entries.map(({ name, kind }) => el("li", {}, el("button", { type: "button", class: `pano-chooser-${kind}`,
      onclick: () => (kind === "slide" ? open(name) : model.send({ kind: "enter", name })) }, kind === "up" ? "one folder up" : name))));
    if (!entries.some((e) => e.kind === "slide")) list.append(el("li", { class: "pano-note" }, "No slide in this folder."));
  }
  ["entries", "chosen", "folder", "said", "asks"].forEach((name) => f.listen(name, fill));
  fill();
  f.root.dataset.ready = "1";
  return f.close;
}
export default { render: pano.guarded(render) };
