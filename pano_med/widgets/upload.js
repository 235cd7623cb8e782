// PictureUpload: a file goes to Python in pieces; the next one leaves when the last has arrived.
const PIECE = 256 * 1024; // below every limit that notebook servers set on one message
async function render({ model, el: host }) {
  const { el } = pano;
  const f = pano.frame(model, host, "upload");
  let file = null, number = 0, timer = null;

  const input = el("input", { type: "file", id: `pano-file-${Math.random().toString(36).slice(2)}`,
    accept: "image/*,.tif,.tiff,.svs,.jp2,.ppm", onchange: () => input.files.length && begin(input.files[0]) });
  const bar = el("progress", { max: 1, value: 0, "aria-label": "upload" });
  bar.hidden = true;
  const picture = el("img", { class: "pano-upload-picture", alt: "" });
  const mpp = el("input", { type: "number", min: 0.01, max: 50, step: "any",
    placeholder: "unknown", onchange: () => f.put("pixel_size", mpp.value === "" ? null : Number(mpp.value)) });
  const take = pano.radios("Too large for this page; use", [["middle", "its middle"], ["whole", "the whole, smaller"]],
    model.get("take"), (value) => f.put("take", value));

  function begin(chosen) {
    file = chosen;
    number = Math.floor(Math.random() * 2 ** 31);
    bar.hidden = false;
    bar.value = 0;
    f.say(`${file.name} is on its way ...`);
    f.alarm("");
    wait();
    model.send({ kind: "begin", id: number, name: file.name, size: file.size });
  }
  function wait() {
    clearTimeout(timer);
    timer = setTimeout(() => f.alarm("Python does not answer yet. If a cell is running, wait for it; if the kernel was " +
      "restarted, run the cell of this widget again and choose the file there."), 10000);
  }
  f.listen("msg:custom", async (content) => {
    if (content.id !== number) return; // an older file
    clearTimeout(timer);
    f.alarm("");
    if (content.kind === "more") {
      bar.value = content.have / file.size;
      const have = content.have, wanted = number;
      try {
        const piece = await file.slice(have, have + PIECE).arrayBuffer();
        if (wanted !== number) return;
        wait();
        model.send({ kind: "part", id: number }, {}, [piece]);
      } catch (error) {
        bar.hidden = true;
        f.say(`${file.name} cannot be read from your computer (${error.message}); choose it again.`);
      }
    } else {
      bar.hidden = true;
      input.value = ""; // the same file may be chosen again
      tell();
    }
  });

  let address = null;
  function draw() {
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([model.get("preview")]));
    picture.src = address;
    take.style.display = model.get("large") ? "" : "none";
    mpp.value = model.get("pixel_size") ?? "";
  }
  function tell() {
    f.say(model.get("said"));
    f.alarm(model.get("refused"));
    picture.alt = model.get("said");
  }
  f.listen("preview", draw);
  f.listen("large", draw);
  f.listen("pixel_size", draw);
  f.listen("take", () => take.set(model.get("take")));
  f.listen("said", tell);
  f.listen("refused", tell);

  const drop = el("div", { class: "pano-drop",
    ondragover: (e) => { e.preventDefault(); e.stopPropagation(); drop.classList.add("pano-over"); },
    ondragleave: () => drop.classList.remove("pano-over"),
    ondrop: (e) => {
      e.preventDefault();
      e.stopPropagation();
      drop.classList.remove("pano-over");
      if (e.dataTransfer.files.length) begin(e.dataTransfer.files[0]);
    } },
    el("label", { for: input.id }, "Choose a picture, or drop one here:"), input, bar);
  f.body.append(drop, picture, el("div", { class: "pano-bar" },
    el("label", { class: "pano-check" }, "Micrometres per pixel, if you know them:", mpp), take));
  draw();
  tell();
  f.onclose(() => clearTimeout(timer));
  f.onclose(() => address && URL.revokeObjectURL(address));
  return f.close;
}
export default { render: pano.guarded(render) };
