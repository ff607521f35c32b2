// Finding a style to add: a field, and a list that follows what is typed. The pattern is ARIA's combobox.

import { el } from "../dom.js";
import { ask } from "../messages.js";
import { filled } from "../words.js";
import { Combobox } from "./combobox.js";
import { room } from "./room.js";
import { thumbnail } from "./style_card.js";

const PAUSE_MS = 150;

export class StyleSearch {
  #words;
  #add;
  #box;
  #typing = 0;

  // `stylesInMix()` are ids; `add(handle)` answers with what went wrong, in words, or with "".
  constructor(words, server, add, stylesInMix) {
    this.#words = words;
    this.#add = add;
    this.#box = new Combobox(async (typed) => {
      const answer = await ask(server.styles, { words: typed, without: stylesInMix(), base: room.base });
      const problem = answer ? answer.problem : words.no_server;
      return { choices: answer?.styles ?? [], more: answer?.more, problem };
    });
    const about = { role: "listbox", id: "style-choices", "aria-label": words.add, class: "choices", hidden: true };
    this.list = el("ul", about);
    this.field = el("input", {
      type: "text",
      role: "combobox",
      "aria-label": words.add,
      "aria-controls": this.list.id,
      "aria-expanded": "false",
      "aria-autocomplete": "list",
      autocomplete: "off",
      placeholder: words.add_hint,
      onfocus: () => this.look(),
      oninput: () => this.#typed(),
      // Not where it has the focus again: whoever adds two styles in a row would lose the second.
      onblur: () => setTimeout(() => document.activeElement === this.field || this.#close(), PAUSE_MS),
      onkeydown: (event) => this.#pressed(event),
    });
    this.element = el("div", { class: "adder" }, this.field, this.list);
    this.status = el("p", { role: "status", class: "bad not-added" });
  }

  async look() {
    clearTimeout(this.#typing);
    await this.#box.look(this.field.value);
    this.#draw();
  }

  #typed() {
    this.status.textContent = "";
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.look(), PAUSE_MS);
  }

  #close() {
    this.#box.close();
    this.#draw();
  }

  async #choose() {
    clearTimeout(this.#typing);
    const typed = this.field.value;
    const { choice, problem } = await this.#box.chosen(typed, this.#words.none_found);
    this.#draw();
    if (problem) this.say(problem, typed);
    else if (choice) await this.#take(choice, typed);
  }

  async #take(choice, typed) {
    if (this.field.value === typed) this.field.value = "";
    this.#close();
    this.say(await this.#add(choice.handle), typed);
  }

  // Whoever adds a style in vain has not typed in vain: the words come back.
  say(problem, typed = "") {
    this.status.textContent = problem;
    if (problem && !this.field.value) this.field.value = typed;
  }

  #draw() {
    const { choices, answer, isOpen } = this.#box;
    const line = (text) => el("li", { class: "quiet none" }, text);
    this.list.hidden = !isOpen;
    this.field.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) {
      this.list.replaceChildren(...choices.map((choice, place) => this.#option(choice, place)));
      if (!choices.length) this.list.append(line(answer.problem ?? this.#words.none_found));
      if (answer.more) this.list.append(line(filled(this.#words.more_found, { count: answer.more })));
    }
    this.#mark();
  }

  #option(choice, place) {
    const take = (event) => {
      event.preventDefault();
      this.#take(choice, this.field.value);
    };
    return el(
      "li",
      { role: "option", id: `style-choice-${place}`, "aria-selected": "false", onmousedown: take },
      thumbnail(choice),
      el("span", {}, choice.name, choice.trigger ? el("small", {}, choice.trigger) : null),
    );
  }

  #mark() {
    const { active, isOpen } = this.#box;
    for (const [place, option] of [...this.list.querySelectorAll("[role=option]")].entries())
      option.setAttribute("aria-selected", String(place === active));
    if (isOpen && active >= 0) this.field.setAttribute("aria-activedescendant", `style-choice-${active}`);
    else this.field.removeAttribute("aria-activedescendant");
    this.list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  #pressed(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (!this.#box.isOpen) return void this.look();
      this.#box.move(step);
      this.#mark();
    } else if (event.key === "Enter" && !event.ctrlKey) {
      event.preventDefault();
      this.#choose();
    } else if (event.key === "Escape" && this.#box.isOpen) {
      event.preventDefault();
      this.#close();
    }
  }
}
