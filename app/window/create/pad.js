// The blend pad: the nearer its dot to a style, the more of it.

import { el } from "../dom.js";
import { cornersOf, edgeOf, fitsPad, placeOf, sharesOf, weightsAt } from "./pad_geometry.js";

const WIDTH = 260;
const MARGIN = 22;
const KEY_STEP = 0.05;
const LONGEST_NAME = 15; // letters

export class BlendPad {
  #words;
  #put;
  #rows = [];
  #place = [0.5, 0.5];
  #sum = 1;
  #held = false;

  // `put(weights, isDone)` is told of new weights by the style's id.
  constructor(words, put) {
    this.#words = words;
    this.#put = put;
    this.ground = el("svg:g", {});
    this.puck = el("svg:circle", { r: 11, class: "puck" });
    this.drawing = el(
      "svg:svg",
      {
        class: "pad",
        tabindex: "0",
        role: "slider",
        "aria-label": words.pad,
        "aria-valuemin": "0",
        "aria-valuemax": "100",
        onpointerdown: (event) => {
          this.#held = true;
          this.drawing.setPointerCapture(event.pointerId);
          this.#drag(event, false);
        },
        onpointermove: (event) => {
          if (this.#held) this.#drag(event, false);
        },
        onpointerup: (event) => {
          if (this.#held) this.#drag(event, true);
        },
        onpointercancel: () => {
          this.#held = false;
        },
        onkeydown: (event) => this.#pressed(event),
      },
      this.ground,
      this.puck,
    );
    this.note = el("p", { class: "quiet" });
    this.element = el("div", { class: "pad-box" }, this.drawing, this.note);
  }

  // Show the styles that are heard; while the puck is held, it is the puck that says where it is.
  show(rows) {
    const isSame =
      rows.length === this.#rows.length &&
      rows.every((row, corner) => row.style === this.#rows[corner].style && row.name === this.#rows[corner].name);
    const fits = fitsPad(rows.length);
    this.#rows = rows;
    this.element.hidden = rows.length < 2;
    this.drawing.toggleAttribute("hidden", !fits);
    this.drawing.style.display = fits ? "" : "none";
    this.note.textContent = fits ? this.#words.pad_help : this.#words.pad_many;
    if (!fits) return;
    if (!isSame || !this.ground.childNodes.length) this.#drawGround();
    if (this.#held) return;
    const { shares, sum } = sharesOf(rows.map((row) => row.weight));
    if (sum > 0) this.#sum = sum;
    this.#drawPuck(shares);
  }

  get #height() {
    return this.#rows.length === 2 ? 66 : 200;
  }

  // A place of the drawing, for one in the box of 1 by 1.
  #drawn([x, y]) {
    return [MARGIN + x * (WIDTH - 2 * MARGIN), MARGIN + y * (this.#height - 2 * MARGIN)];
  }

  #go(x, y, isDone) {
    const { shares, weights } = weightsAt(x, y, this.#rows.length, this.#sum);
    this.#held &&= !isDone;
    this.#place = placeOf(shares);
    this.#put(Object.fromEntries(this.#rows.map((row, corner) => [row.style, weights[corner]])), isDone);
    this.#drawPuck(shares);
  }

  #drag(event, isDone) {
    const box = this.drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const y = ((event.clientY - box.top) / box.height) * this.#height;
    this.#go((x - MARGIN) / (WIDTH - 2 * MARGIN), (y - MARGIN) / (this.#height - 2 * MARGIN), isDone);
  }

  #pressed(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [x, y] = this.#place;
    this.#go(x + step[0] * KEY_STEP, y + step[1] * KEY_STEP, true);
  }

  #drawPuck(shares) {
    this.#place = placeOf(shares);
    const [x, y] = this.#drawn(this.#place);
    const percent = shares.map((share) => Math.round(100 * share));
    this.puck.setAttribute("cx", x);
    this.puck.setAttribute("cy", y);
    this.drawing.setAttribute("aria-valuenow", String(percent[0]));
    const spoken = this.#rows.map((row, corner) => `${row.name} ${percent[corner]} %`);
    this.drawing.setAttribute("aria-valuetext", spoken.join(", "));
  }

  #drawGround() {
    const corners = cornersOf(this.#rows.length).map((corner) => this.#drawn(corner));
    const edge = edgeOf(corners.length).map((corner) => corners[corner].join(","));
    const corner = (place, number) =>
      el(
        "svg:g",
        {},
        el("svg:circle", { cx: place[0], cy: place[1], r: 4, class: "corner" }),
        this.#label(place, number),
      );
    this.ground.replaceChildren(el("svg:polygon", { points: edge.join(" ") }), ...corners.map(corner));
    this.drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${this.#height}`);
  }

  #label([x, y], corner) {
    const { name } = this.#rows[corner];
    const above = this.#rows.length === 2 ? y - 16 : y - 9;
    const isBelow = this.#rows.length > 2 && y >= this.#height / 2;
    const about = {
      x: Math.min(Math.max(x, 4), WIDTH - 4),
      y: isBelow ? y + 17 : above,
      "text-anchor": anchorAt(x),
    };
    return el("svg:text", about, name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name);
  }
}

function anchorAt(x) {
  if (x < WIDTH / 3) return "start";
  return x > (WIDTH * 2) / 3 ? "end" : "middle";
}
