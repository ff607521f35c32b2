// The styles of the mix: chips of their words, a card with a slider each, what there is to say about the mix.

import { el, smallButton } from "../dom.js";
import { announce, ask, pageId } from "../messages.js";
import { rounded } from "../words.js";
import { MixAdvice } from "./advice.js";
import { BlendShelf } from "./blends.js";
import { Mix } from "./mix_state.js";
import { BlendPad } from "./pad.js";
import { PaintTimer } from "./paint_timer.js";
import { room, takeStyle } from "./room.js";
import { StyleSearch } from "./search.js";
import { styleCard } from "./style_card.js";

const MODES = ["sum", "take turns", "average guidance"];
// Where a browser keeps how it shows the mix.
const VIEW = "atelier.create.view";
const STYLE_TAG = /<(?:lora|lyco|lycoris|locon|loha|hypernet)\s*:[^<>\n]*>/i;

export function mount(page) {
  const piece = new MixPiece(page);
  page.element.classList.add("piece", "mix");
  page.element.replaceChildren(...piece.parts());
  page.watch("value", () => piece.take());
  document.addEventListener("atelier:visited", () => piece.visit());
  document.addEventListener("atelier:base", () => piece.advice.tell());
  document.addEventListener("atelier:form", () => piece.advice.look());
  document.addEventListener("visibilitychange", () => {
    // What is half typed would be lost.
    const isTyping = piece.cards.contains(document.activeElement);
    if (!document.hidden && page.element.offsetParent && !isTyping) piece.visit();
  });
  // A tag of a style that is pasted or typed to its end, as A1111 has them.
  document.addEventListener("input", ({ target }) => {
    if (target.closest?.("#create-prompt") && STYLE_TAG.test(target.value))
      page.trigger("tagged", { prompt: target.value });
  });
  piece.take().then(() => piece.takeSent());
}

class MixPiece {
  #props;
  #server;
  #timer;
  #lastCompared = "";

  constructor({ props, trigger, server }) {
    const { words } = props;
    this.#props = props;
    this.#server = server;
    this.words = words;
    this.mix = new Mix((style, name) => ask(server.style, { style, name }), words, props.most_rows);
    this.view = { live: true, strengths: false, ...JSON.parse(localStorage.getItem(VIEW) ?? "{}") };
    // The ids of the styles whose cards show all their knobs.
    this.opened = new Set();
    const paint = (what) => () => {
      trigger(what, { page: pageId() });
      announce("asked");
    };
    this.#timer = new PaintTimer(paint("moved"), paint("released"));
    this.paintSheet = (kind, style = "") => {
      trigger("sheet", { kind, style, page: pageId() });
      announce("asked", { sheet: true });
    };
    this.suit = (fields) => {
      room.suiting = fields;
      trigger("suit");
    };
    this.advice = new MixAdvice(this, server);
    this.pad = new BlendPad(words, (weights, isDone) => {
      this.mix.setWeights(weights);
      this.drawWeights();
      isDone ? this.released() : this.moved();
    });
    this.search = new StyleSearch(
      words,
      server,
      (style) => this.add(style),
      () => this.mix.rows.map((row) => row.style),
    );
    this.chips = el("div", { class: "chips", role: "group", "aria-label": words.chips });
    this.cards = el("div", { class: "style-rows" });
    this.live = el("input", {
      type: "checkbox",
      onchange: () => {
        this.look({ live: this.live.checked });
        this.#timer.stop();
      },
    });
    this.strengths = el("input", { type: "checkbox", onchange: () => this.#showStrengths() });
    const choices = MODES.map((mode) => el("option", { value: mode }, words[`mode_${mode.replace(" ", "_")}`]));
    this.mode = el("select", { "aria-label": words.mode, onchange: () => this.#setMode() }, ...choices);
    this.mixing = this.#mixing();
  }

  parts() {
    const { words } = this;
    const inline = (input, text, title) => el("label", { class: "inline", title }, input, text);
    const head = el(
      "div",
      { class: "mix-head" },
      el("h2", {}, words.styles),
      inline(this.strengths, words.strengths, words.strengths_help),
      inline(this.live, words.live, words.live_help),
    );
    const { search, advice } = this;
    const shelf = new BlendShelf(this, this.#server);
    return [this.chips, head, this.cards, search.element, search.status, advice.element, this.mixing, shelf.element];
  }

  #mixing() {
    const { words } = this;
    const sheet = (label, kind) => smallButton(label, () => this.paintSheet(kind));
    return el(
      "div",
      { class: "mixing" },
      el("label", { class: "inline" }, el("span", {}, words.mode), this.mode),
      this.pad.element,
      el(
        "div",
        { class: "compare", role: "group", "aria-label": words.compare },
        el("span", { class: "quiet" }, words.compare),
        sheet(words.map, "blend map"),
        sheet(words.leave_out, "leave one out"),
      ),
    );
  }

  // What follows what the artist does

  // What is done while another mix is on its way is kept with that one.
  #keep() {
    if (this.mix.isComing) return;
    this.#props.value = this.mix.value();
    this.advice.tell();
  }

  // A slider moves.
  moved() {
    this.#keep();
    this.view.live ? this.#timer.moved() : this.#timer.stop();
  }

  // A slider was let go.
  released() {
    this.#keep();
    this.view.live ? this.#timer.released() : this.#timer.stop();
  }

  changed() {
    this.draw();
    this.released();
  }

  remove(row) {
    this.mix.remove(row);
    this.changed();
  }

  // Answers with what went wrong, in words, or with "".
  async add(style) {
    const problem = await this.mix.add(style);
    if (!problem) this.changed();
    return problem;
  }

  // Bring a style back from the trash. Answers as `add` does.
  async restore(row) {
    const answer = await ask(this.#server.restore, { style: row.style });
    if (!answer || answer.problem) return answer ? answer.problem : this.words.no_server;
    await this.visit();
    this.released();
    return "";
  }

  // A word that is left out stays so.
  async takeBlend(value) {
    const silent = new Set(this.mix.rows.filter((row) => !row.word).map((row) => row.style));
    const rows = value.rows.map((row) => ({ ...row, word: !silent.has(row.style) }));
    if (await this.mix.put({ ...value, rows })) this.changed();
  }

  #setMode() {
    this.mix.mode = this.mode.value;
    this.changed();
  }

  look(about) {
    Object.assign(this.view, about);
    localStorage.setItem(VIEW, JSON.stringify(this.view));
  }

  #showStrengths() {
    const show = () => {
      this.look({ strengths: this.strengths.checked });
      this.draw();
    };
    const areKnown = this.mix.rows.every((row) => row.style in this.advice.strengths);
    if (this.strengths.checked && !areKnown) this.advice.measure(show);
    else show();
  }

  // What the slider of a style counts in.
  unitOf(row) {
    return (this.view.strengths && this.advice.strengths[row.style]) || 1;
  }

  // What comes from elsewhere

  async take() {
    const value = JSON.parse(JSON.stringify(this.#props.value ?? {}));
    if (await this.mix.put(value, room.isRestored)) this.#drawPut();
  }

  // The room is visited again: styles may have been changed or taken away meanwhile, and another room may send one.
  async visit() {
    await this.mix.refresh();
    this.#drawPut();
    await this.takeSent();
  }

  async takeSent() {
    const style = takeStyle();
    if (!style) return;
    const problem = await this.mix.addAlone(style);
    this.search.say(problem);
    if (!problem) this.changed();
  }

  // What the server says of the styles is not what is shown: they were changed elsewhere, as in another tab.
  compare(here) {
    const now = JSON.stringify(here);
    if (!here || now === this.#lastCompared) return;
    this.#lastCompared = now;
    if (!this.mix.isAsOn(here)) this.visit();
  }

  // Drawing

  #drawPut() {
    this.#keep();
    this.draw();
  }

  draw() {
    const { mix } = this;
    this.cards.replaceChildren(...mix.rows.map((row) => styleCard(this, row)));
    if (!mix.rows.length) this.cards.append(el("p", { class: "quiet" }, this.words.nothing));
    this.search.element.hidden = mix.isFull;
    this.mixing.hidden = mix.rows.length < 2;
    this.mode.value = mix.mode;
    this.drawView();
    this.drawWeights();
  }

  drawView() {
    this.live.checked = this.view.live;
    this.strengths.checked = this.view.strengths;
  }

  // What changes with each move of a slider.
  drawWeights() {
    const { mix } = this;
    for (const row of mix.rows) this.#drawWeight(row);
    this.#drawChips();
    this.pad.show(mix.padRows);
    announce("mix", { rows: mix.rows.map((row) => ({ style: row.style, name: mix.nameOf(row) })) });
  }

  #drawWeight(row) {
    const card = this.cards.querySelector(`[data-style="${CSS.escape(row.style)}"]`);
    if (!card) return;
    card.classList.toggle("silent", !this.mix.isHeard(row));
    for (const input of card.querySelectorAll(".weight input")) {
      const isTyped = input.type === "number" && input === document.activeElement && input.dataset.typing;
      if (!isTyped) input.value = rounded(row.weight * this.unitOf(row));
    }
  }

  #drawChips() {
    const { words, mix } = this;
    const rows = mix.wordedRows;
    const chip = (row) => {
      const about = {
        type: "button",
        class: mix.wordIsUsed(row) ? "chip" : "chip off",
        "aria-pressed": String(row.word),
        title: row.word ? words.chip_out : words.chip_in,
        onclick: () => {
          row.word = !row.word;
          this.changed();
        },
      };
      return el("button", about, mix.card(row).trigger);
    };
    this.chips.replaceChildren(...rows.map(chip));
    this.chips.hidden = !rows.length;
    if (rows.length) this.chips.prepend(el("span", { class: "quiet" }, words.chips));
  }
}
