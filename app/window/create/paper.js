// Shape, number and seed. `props.value` is what app/create/form.py reads as Paper.

const { words, most } = props;
const SEEDS = 2 ** 32; // short enough to be typed
let paper = { shape: "square", width: "", height: "", count: 1, seed: "", locked: false };

const rolled = () => String(crypto.getRandomValues(new Uint32Array(1))[0] % SEEDS);
const put = (about) => { Object.assign(paper, about); draw(); props.value = { ...paper }; };

const SHAPES = { square: [14, 14], portrait: [11, 15], landscape: [15, 11], own: [15, 15] };
const shapes = Object.entries(SHAPES).map(([shape, [width, height]]) => {
  const about = { x: 12 - width / 2, y: 12 - height / 2, width, height, rx: 1.5, "stroke-dasharray": shape === "own" ? "3 2" : null };
  const input = el("input", { type: "radio", name: "paper-shape", value: shape, onchange: () => put({ shape }) });
  return el("label", { class: "shape" }, input, el("svg:svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, el("svg:rect", about)), words[shape]);
});
const side = (name) => el("input", {
  type: "text", inputmode: "numeric", "aria-label": words[name], placeholder: words[`${name}_short`], oninput: (event) => put({ [name]: event.target.value }),
});
const width = side("width"), height = side("height");
const own = el("div", { class: "own" }, width, el("span", { "aria-hidden": "true" }, "×"), height, el("span", {}, words.pixels));
const count = el("input", {
  type: "number", min: 1, max: most, step: 1, "aria-label": words.count,
  onchange: () => put({ count: Math.min(most, Math.max(1, Math.round(Number(count.value)) || 1)) }),
});
const less = el("button", { type: "button", class: "plain", "aria-label": words.less, onclick: () => put({ count: Math.max(1, paper.count - 1) }) }, "−");
const more = el("button", { type: "button", class: "plain", "aria-label": words.more, onclick: () => put({ count: Math.min(most, paper.count + 1) }) }, "+");
const seed = el("input", {
  type: "text", inputmode: "numeric", "aria-label": words.seed, spellcheck: "false", oninput: () => put({ seed: seed.value.trim(), locked: true }),
});
const lock = el("span", {});

function draw() {
  for (const shape of shapes) shape.firstChild.checked = shape.firstChild.value === paper.shape;
  own.hidden = paper.shape !== "own";
  for (const [input, text] of [[width, paper.width], [height, paper.height], [seed, paper.seed]])
    if (input.value.trim() !== text) input.value = text;
  count.value = paper.count;
  less.disabled = paper.count <= 1;
  more.disabled = paper.count >= most;
  lock.replaceChildren(iconButton(paper.locked ? "locked" : "unlocked", words.keep_seed, () => put({ locked: !paper.locked }),
    { "aria-pressed": String(paper.locked) }));
}

element.classList.add("piece", "paper");
element.replaceChildren(
  el("div", { class: "shapes", role: "radiogroup", "aria-label": words.shape }, ...shapes), own,
  el("div", { class: "numbers" },
    el("div", { class: "labelled" }, el("span", {}, words.count), el("div", { class: "stepper" }, less, count, more)),
    el("div", { class: "labelled grow" }, el("span", {}, words.seed),
      el("div", { class: "stepper" }, seed, iconButton("dice", words.dice, () => put({ seed: rolled() })), lock))),
);

function take() {
  paper = { ...paper, ...(props.value ?? {}) };
  if (paper.seed === "") put({ seed: rolled() });
  draw();
}

watch("value", take);
// Each picture that is asked for gets a new seed, unless it is locked; drafts keep the one that stands there.
document.addEventListener("atelier:paint", () => { if (!paper.locked && element.isConnected) put({ seed: rolled() }); });
take();
