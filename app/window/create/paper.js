// Shape, number and seed. `props.value` is what app/create/form.py reads as Paper.

import { el, iconButton } from "../dom.js";

// Short enough to be typed.
const SEEDS = 2 ** 32;
// Of each shape the width and height of its sign.
const SHAPES = { square: [14, 14], portrait: [11, 15], landscape: [15, 11], own: [15, 15] };

export function rolledSeed(random = crypto) {
  return String(random.getRandomValues(new Uint32Array(1))[0] % SEEDS);
}

// The nearest number of pictures that can be asked for.
export function countOf(text, most) {
  return Math.min(most, Math.max(1, Math.round(Number(text)) || 1));
}

export function mount({ element, props, watch }) {
  const piece = new PaperPiece(props);
  element.classList.add("piece", "paper");
  element.replaceChildren(...piece.parts());
  watch("value", () => piece.take());
  // Each picture that is asked for gets a new seed, unless it is locked; drafts keep the one that stands there.
  document.addEventListener("atelier:paint", () => {
    if (element.isConnected) piece.rollUnlessLocked();
  });
  piece.take();
}

class PaperPiece {
  #props;
  #paper = { shape: "square", width: "", height: "", count: 1, seed: "", locked: false };

  constructor(props) {
    const { words, most } = props;
    const count = (value) => this.#put({ count: countOf(value, most) });
    const button = (label, sign, onclick) =>
      el("button", { type: "button", class: "plain", "aria-label": label, onclick }, sign);
    this.#props = props;
    this.shapes = Object.keys(SHAPES).map((shape) => this.#shape(shape));
    this.width = this.#side("width");
    this.height = this.#side("height");
    this.own = el(
      "div",
      { class: "own" },
      this.width,
      el("span", { "aria-hidden": "true" }, "×"),
      this.height,
      el("span", {}, words.pixels),
    );
    this.count = el("input", {
      type: "number",
      min: 1,
      max: most,
      step: 1,
      "aria-label": words.count,
      onchange: () => count(this.count.value),
    });
    this.less = button(words.less, "−", () => count(this.#paper.count - 1));
    this.more = button(words.more, "+", () => count(this.#paper.count + 1));
    this.seed = el("input", {
      type: "text",
      inputmode: "numeric",
      "aria-label": words.seed,
      spellcheck: "false",
      oninput: () => this.#put({ seed: this.seed.value.trim(), locked: true }),
    });
    this.lock = el("span", {});
  }

  parts() {
    const { words } = this.#props;
    const labelled = (kind, label, ...inputs) =>
      el("div", { class: kind }, el("span", {}, label), el("div", { class: "stepper" }, ...inputs));
    const dice = iconButton("dice", words.dice, () => this.#put({ seed: rolledSeed() }));
    return [
      el("div", { class: "shapes", role: "radiogroup", "aria-label": words.shape }, ...this.shapes),
      this.own,
      el(
        "div",
        { class: "numbers" },
        labelled("labelled", words.count, this.less, this.count, this.more),
        labelled("labelled grow", words.seed, this.seed, dice, this.lock),
      ),
    ];
  }

  #shape(shape) {
    const [width, height] = SHAPES[shape];
    const dashes = shape === "own" ? "3 2" : null;
    const about = { x: 12 - width / 2, y: 12 - height / 2, width, height, rx: 1.5, "stroke-dasharray": dashes };
    const sign = el("svg:svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, el("svg:rect", about));
    const choose = () => this.#put({ shape });
    const input = el("input", { type: "radio", name: "paper-shape", value: shape, onchange: choose });
    return el("label", { class: "shape" }, input, sign, this.#props.words[shape]);
  }

  #side(name) {
    const { words } = this.#props;
    return el("input", {
      type: "text",
      inputmode: "numeric",
      "aria-label": words[name],
      placeholder: words[`${name}_short`],
      oninput: (event) => this.#put({ [name]: event.target.value }),
    });
  }

  take() {
    this.#paper = { ...this.#paper, ...(this.#props.value ?? {}) };
    if (this.#paper.seed === "") this.#put({ seed: rolledSeed() });
    this.#draw();
  }

  rollUnlessLocked() {
    if (!this.#paper.locked) this.#put({ seed: rolledSeed() });
  }

  #put(about) {
    Object.assign(this.#paper, about);
    this.#draw();
    this.#props.value = { ...this.#paper };
  }

  #draw() {
    const { shape, width, height, count, seed, locked } = this.#paper;
    const { words, most } = this.#props;
    for (const label of this.shapes) label.firstChild.checked = label.firstChild.value === shape;
    this.own.hidden = shape !== "own";
    const texts = [
      [this.width, width],
      [this.height, height],
      [this.seed, seed],
    ];
    for (const [input, text] of texts) if (input.value.trim() !== text) input.value = text;
    this.count.value = count;
    this.less.disabled = count <= 1;
    this.more.disabled = count >= most;
    const toggle = () => this.#put({ locked: !locked });
    const about = { "aria-pressed": String(locked) };
    this.lock.replaceChildren(iconButton(locked ? "locked" : "unlocked", words.keep_seed, toggle, about));
  }
}
