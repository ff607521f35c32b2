// What there is to say about the mix (app/create/advice.py), and what can be done about it.
// `piece` is the MixPiece of mix.js.

import { el, smallButton } from "../dom.js";
import { ask, pageId } from "../messages.js";
import { filled, rounded } from "../words.js";
import { isSuited, room } from "./room.js";

const PAUSE_MS = 250;
// The meter ends at this much of the limit.
const METER_END = 1.5;

export class MixAdvice {
  #piece;
  #server;
  #timer = 0;
  #turn = 0;
  #isMeasuring = false;
  #latest = null;
  #drawn = null;

  constructor(piece, server) {
    this.#piece = piece;
    this.#server = server;
    this.element = el("div", { class: "advice", role: "status" });
  }

  // How strongly each style acts at a weight of 1, by its id, as far as that is known.
  get strengths() {
    return this.#latest?.at_1 ?? {};
  }

  // Ask soon, once for several changes.
  tell() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), PAUSE_MS);
  }

  async #ask() {
    this.#turn += 1;
    const turn = this.#turn;
    const mix = this.#piece.mix.value();
    const answer = await ask(this.#server.advise, { mix, base: room.base });
    if (turn !== this.#turn || this.#isMeasuring) return;
    if (answer?.problem) {
      const hints = [{ words: answer.problem, action: "" }];
      return this.#draw({ hints, measured: true, total: 0, limit: 1 });
    }
    this.#latest = answer;
    this.#draw(answer);
    if (answer) this.#piece.compare(answer.here);
    if (this.#piece.view.strengths) this.#piece.drawWeights();
  }

  // The form has changed, which may be suited now.
  look() {
    if (this.#drawn?.hints.some((hint) => hint.fields)) this.#draw(this.#drawn);
  }

  #draw(advice) {
    this.#drawn = advice;
    if (!advice) return this.element.replaceChildren();
    const { words } = this.#piece;
    const share = Math.min(1, advice.total / (advice.limit * METER_END));
    const bar = el("span", { style: `width: ${share * 100}%` });
    const total = rounded(Math.round(advice.total * 10) / 10);
    const said = filled(advice.measured ? words.total : words.about, { total, limit: rounded(advice.limit) });
    const hints = advice.hints.filter((hint) => !hint.fields || !isSuited(hint.fields));
    const drawn = ({ words: text, action, fields }) =>
      el(
        "p",
        { class: action ? "warn" : "quiet" },
        text,
        " ",
        action ? smallButton(words[action], () => this.#act(action, fields)) : null,
      );
    const meter = el("div", { class: advice.burns ? "meter hot" : "meter" }, bar, el("i", {}));
    const strength = el("div", { class: "total" }, meter, el("span", { class: "quiet" }, said));
    const hasStyles = this.#piece.mix.rows.length > 0;
    this.element.replaceChildren(...(hasStyles ? [strength] : []), ...hints.map(drawn));
  }

  #act(action, fields) {
    if (action === "suit") return this.#piece.suit(fields);
    const { mix } = this.#piece;
    if (action === "balance") {
      if (!this.#latest.measured) return this.measure(() => this.#act(action));
      for (const row of mix.rows) row.weight = this.#latest.balanced[row.style] ?? row.weight;
    } else {
      mix.mode = "take turns";
    }
    this.#piece.changed();
  }

  // Measure how strong the styles are on this base, then go on.
  async measure(then) {
    const { words, mix } = this.#piece;
    const page = pageId();
    this.#drawn = null;
    const stop = smallButton(words.stop, () => ask(this.#server.stop_measuring, { page }));
    this.element.replaceChildren(el("p", { class: "quiet busy" }, words.measuring, " ", stop));
    this.#isMeasuring = true;
    const answer = await ask(this.#server.measure, { mix: mix.value(), base: room.base, page });
    this.#isMeasuring = false;
    if (!answer || answer.problem) {
      this.#piece.drawView();
      const problem = answer ? answer.problem : words.no_server;
      return this.element.replaceChildren(el("p", { class: "bad" }, problem));
    }
    this.#latest = answer;
    this.#draw(answer);
    then();
    // The mix may have been changed meanwhile.
    this.tell();
  }
}
