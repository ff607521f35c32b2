// The pictures that are kept: small ones to choose from, and of the chosen one how it was made.

import { el, smallButton } from "../dom.js";
import { ask } from "../messages.js";
import { filled } from "../words.js";

// The pictures that are listed once a page of them has come: the first one replaces all, a later one goes on.
export function listed(pictures, start, page) {
  if (!start) return page;
  const names = new Set(pictures.map((picture) => picture.name));
  return [...pictures, ...page.filter((picture) => !names.has(picture.name))];
}

export class History {
  #stage;
  #server;
  #pictures = [];
  #total = 0;
  #chosen = "";
  #turn = 0;

  // `stage` is the StagePiece of stage.js.
  constructor(stage, server) {
    const { words } = stage;
    this.#stage = stage;
    this.#server = server;
    this.recipe = el("div", { class: "recipe" });
    this.list = el("ul", { class: "pictures" });
    this.older = smallButton(words.older, () => this.#load(this.#pictures.length), { hidden: true });
    this.file = el("input", {
      type: "file",
      accept: ".png,.jpg,.jpeg,.webp,image/png,image/jpeg,image/webp",
      hidden: true,
      "aria-label": words.restore,
      onchange: async () => {
        await stage.bring(this.file.files[0]);
        this.file.value = "";
      },
    });
    const restore = smallButton(words.restore, () => this.file.click(), { title: words.restore_help });
    const head = el("div", { class: "history-head" }, el("h2", {}, words.pictures), restore, this.file);
    const about = { class: "history", "aria-label": words.pictures };
    this.element = el("section", about, this.recipe, head, this.list, this.older);
  }

  async #load(start) {
    this.#turn += 1;
    const turn = this.#turn;
    const answer = await ask(this.#server.history, { start });
    if (turn !== this.#turn || !answer || answer.problem) return;
    this.#pictures = listed(this.#pictures, start, answer.pictures);
    this.#total = answer.total;
    this.#draw();
  }

  // The newest pictures; the first of `paths`, or on a fresh page the newest, is described.
  async refresh(paths) {
    await this.#load(0);
    const [newest] = this.#pictures;
    const described = paths ? this.#pictures.find(({ path }) => paths.includes(path)) : newest;
    if (described) this.#describe(described);
    if (!paths && newest) this.#stage.showPicture(newest);
  }

  choose(path) {
    const picture = this.#pictures.find((one) => one.path === path);
    if (!picture) return;
    this.#stage.showPicture(picture);
    this.#describe(picture);
  }

  #draw() {
    this.older.hidden = this.#pictures.length >= this.#total;
    this.list.replaceChildren(...this.#pictures.map((picture) => el("li", {}, this.#tile(picture))));
    if (!this.#pictures.length) this.list.append(el("li", { class: "quiet none" }, this.#stage.words.no_pictures));
  }

  #tile({ name, title, path }) {
    const about = {
      type: "button",
      "aria-label": title,
      "aria-pressed": String(name === this.#chosen),
      title,
      onclick: () => this.choose(path),
    };
    const image = { src: this.#stage.fileUrl(path), alt: "", loading: "lazy", decoding: "async" };
    return el("button", about, el("img", image));
  }

  #describe(picture) {
    const stage = this.#stage;
    const { words } = stage;
    this.#chosen = picture.name;
    for (const [place, button] of [...this.list.querySelectorAll("button")].entries())
      button.setAttribute("aria-pressed", String(this.#pictures[place] === picture));
    const act = (label, what) => smallButton(label, () => stage.act(what, picture.name));
    const copy = { class: "small", href: stage.fileUrl(picture.path), download: picture.name };
    this.recipe.replaceChildren(
      el("h3", {}, picture.title),
      ...picture.words.map((line) => el("p", { class: "quiet" }, line)),
      el(
        "div",
        { class: "acts" },
        picture.words.length ? act(words.recall, "recall") : null,
        act(words.begin, "begin"),
        el("a", copy, words.download),
        smallButton(words.discard, () => this.#discard(picture)),
      ),
    );
  }

  async #discard({ name }) {
    const { words } = this.#stage;
    const answer = await ask(this.#server.discard, { name });
    this.#stage.say(answer ? (answer.problem ?? filled(words.discarded, { name })) : words.no_server);
    this.recipe.replaceChildren();
    await this.refresh(answer && !answer.problem ? undefined : []);
  }
}
