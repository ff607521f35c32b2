// The blends that are kept: this mix under a name, and those of before to take up, to share or to put away.
// `piece` is the MixPiece of mix.js.

import { el, iconButton, smallButton } from "../dom.js";
import { ask } from "../messages.js";
import { filled } from "../words.js";

export class BlendShelf {
  #piece;
  #words;
  #server;
  #turn = 0;

  constructor(piece, server) {
    const { words } = piece;
    this.#piece = piece;
    this.#words = words;
    this.#server = server;
    this.status = el("p", { role: "status", class: "quiet" });
    this.problem = el("p", { role: "alert", class: "bad" });
    this.list = el("ul", { class: "blends", "aria-label": words.blends });
    this.name = el("input", {
      type: "text",
      class: "grow",
      "aria-label": words.blend_name,
      placeholder: words.blend_name,
      onkeydown: (event) => {
        if (event.key === "Enter" && !event.ctrlKey) this.#keep();
      },
    });
    this.file = el("input", {
      type: "file",
      accept: ".json,application/json",
      hidden: true,
      "aria-label": words.blend_bring,
      onchange: () => this.#bring(),
    });
    this.element = el(
      "details",
      {
        class: "kept",
        ontoggle: () => {
          if (this.element.open) this.#refresh();
        },
      },
      el("summary", {}, words.blends),
      el(
        "div",
        { class: "keep" },
        this.name,
        smallButton(words.blend_keep, () => this.#keep()),
      ),
      this.status,
      this.problem,
      this.list,
      smallButton(words.blend_bring, () => this.file.click()),
      this.file,
    );
  }

  // The server's answer, or null once its problem is shown.
  async #answer(question, about) {
    this.problem.textContent = "";
    this.status.textContent = this.#words.blend_busy;
    const answer = await ask(question, about);
    this.status.textContent = "";
    if (answer && !answer.problem) return answer;
    this.problem.textContent = answer ? answer.problem : this.#words.no_server;
    return null;
  }

  #say(text, places) {
    this.status.textContent = filled(text, places);
  }

  async #refresh() {
    this.#turn += 1;
    const turn = this.#turn;
    const answer = await ask(this.#server.blends);
    if (turn !== this.#turn || !answer || answer.problem) return;
    const rows = answer.blends.map((blend) => this.#row(blend.name, blend.words));
    this.list.replaceChildren(...rows, ...answer.refused.map((reason) => el("li", { class: "bad" }, reason)));
    if (!this.list.children.length) this.list.append(el("li", { class: "quiet" }, this.#words.blend_none));
  }

  #row(name, styles) {
    const words = this.#words;
    const label = filled(words.blend_take, { name });
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "take", "aria-label": label, onclick: () => this.#take(name) },
        el("strong", {}, name),
        el("span", { class: "quiet" }, styles),
      ),
      iconButton("share", filled(words.blend_share, { name }), () => this.#share(name)),
      iconButton("remove", filled(words.blend_discard, { name }), () => this.#discard(name)),
    );
  }

  async #keep() {
    const about = { name: this.name.value, mix: this.#piece.mix.value() };
    const answer = await this.#answer(this.#server.keep_blend, about);
    if (!answer) return;
    this.name.value = "";
    await this.#refresh();
    this.#say(this.#words.blend_kept, answer);
  }

  async #take(name) {
    const answer = await this.#answer(this.#server.take_blend, { name });
    if (!answer) return;
    await this.#piece.takeBlend(answer.mix);
    this.#say(this.#words.blend_taken, { name });
  }

  async #share(name) {
    const answer = await this.#answer(this.#server.share_blend, { name });
    if (!answer) return;
    const file = new Blob([answer.text], { type: "application/json" });
    const link = el("a", { href: URL.createObjectURL(file), download: answer.file });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  async #bring() {
    const [file] = this.file.files;
    if (!file) return;
    const answer = await this.#answer(this.#server.bring_blend, { file: file.name, text: await file.text() });
    this.file.value = "";
    if (!answer) return;
    await this.#refresh();
    this.#say(this.#words.blend_brought, answer);
  }

  async #discard(name) {
    if (!(await this.#answer(this.#server.discard_blend, { name }))) return;
    await this.#refresh();
    this.#say(this.#words.discarded, { name });
    this.name.focus();
  }
}
