// The stage: what is being painted, and the pictures that are there. The server's canvas is the truth: this only looks at
// it, so that a reload or a second tab sees the same.

import { el, smallButton } from "../dom.js";
import { announce, ask, pageId } from "../messages.js";
import { filled } from "../words.js";
import * as canvases from "./canvas.js";
import { History } from "./history.js";

const LONG_LOOK_SECONDS = 4;
const IDLE_MS = 2500;
const RESTING_MS = 60000;
const HIDDEN_MS = 500;

export function mount(page) {
  const stage = new StagePiece(page);
  page.element.classList.add("piece", "stage");
  page.element.replaceChildren(...stage.parts());
  listen(stage);
  page.watch("value", () => {
    // The answer to what a picture was asked for.
    const { words = "", problem = "" } = page.props.value ?? {};
    stage.say(words);
    stage.complain(problem);
  });
  stage.history.refresh();
  stage.follow();
}

function listen(stage) {
  document.addEventListener("keydown", (event) => {
    if (!stage.isInSight || event.defaultPrevented) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      stage.paint();
    }
    if (event.key === "Escape") stage.halt();
  });
  document.addEventListener("atelier:news", ({ detail }) => {
    if (detail.includes("canvas") || detail.includes("server")) stage.lookSoon();
  });
  for (const kind of ["atelier:visited", "atelier:base"]) document.addEventListener(kind, () => stage.dismiss());
  document.addEventListener("atelier:asked", ({ detail }) => {
    if (detail?.sheet) stage.expect("asked");
    else stage.expectSoon();
  });
  // Anywhere in the room, save where a picture to start from is dropped.
  for (const kind of ["dragover", "dragleave", "drop"])
    document.addEventListener(kind, (event) => {
      if (stage.isInSight && event.dataTransfer.types.includes("Files")) stage.dragged(event);
    });
}

class StagePiece {
  #server;
  #trigger;
  #upload;
  #canvas = canvases.BLANK;
  #seen = -1;
  // The number of the last painting that is known to be over.
  #over = -1;
  // The number of a painting whose problem may be mended: another base, another room and back.
  #dismissed = -1;
  // When a picture was asked for, until the painter tells of it.
  #askedAt = 0;
  // Stop was pressed before the painter told of what was asked for.
  #isHalted = false;
  // There is news of the canvas since it was last looked at.
  #hasNews = false;
  #wake = () => {};

  constructor({ element, props, trigger, server, upload }) {
    const { words } = props;
    this.root = element;
    this.words = words;
    this.#server = server;
    this.#trigger = trigger;
    this.#upload = upload;
    this.shown = el("div", { class: "canvas" }, el("p", { class: "quiet" }, words.empty));
    this.badge = el("span", { class: "badge", hidden: true }, words.draft);
    const bounds = { "aria-label": words.progress, "aria-valuemin": "0", "aria-valuemax": "100" };
    this.bar = el("div", { class: "bar", role: "progressbar", ...bounds }, el("span", {}));
    this.status = el("p", { class: "state", role: "status" });
    this.notes = el("ul", { class: "quiet notes" });
    this.problem = el("div", { class: "wrong", role: "alert", hidden: true });
    this.goLabel = el("span", {}, words.go);
    const go = { type: "button", class: "go", title: words.go_help, onclick: () => this.paint() };
    this.go = el("button", go, this.goLabel, el("kbd", {}, "Ctrl ↵"));
    const stop = { type: "button", class: "stop", disabled: true, title: words.stop_help, onclick: () => this.halt() };
    this.stop = el("button", stop, words.stop, el("kbd", {}, "Esc"));
    this.history = new History(this, server);
    this.below = el("div", { class: "below" }, this.problem, this.notes, this.history.element);
  }

  parts() {
    const scene = el(
      "div",
      { class: "scene" },
      el("div", { class: "do" }, this.go, this.stop),
      el("div", { class: "easel" }, this.shown, this.badge),
      this.bar,
      this.status,
    );
    return [scene, this.below];
  }

  get isInSight() {
    return this.root.isConnected && this.shown.offsetParent !== null;
  }

  get #isBusy() {
    return canvases.isPainting(this.#canvas) || canvases.isStopping(this.#canvas);
  }

  fileUrl(path) {
    return new URL(`gradio_api/file=${encodeURIComponent(path)}`, document.baseURI).href;
  }

  // What the artist does

  paint() {
    if (canvases.isAskedFor(this.#canvas)) return;
    // What will be said of the picture is seen.
    this.below.scrollTop = 0;
    announce("paint");
    this.#ask("paint");
  }

  #ask(what) {
    this.#trigger(what, { page: pageId() });
    this.expect("asked");
  }

  halt() {
    if (!canvases.isPainting(this.#canvas)) return;
    this.#isHalted = this.#askedAt > 0;
    this.#canvas = { ...this.#canvas, state: "stopping" };
    this.#draw();
    ask(this.#server.stop);
  }

  // Do something with a kept picture: take its settings, or begin from it.
  act(what, name) {
    this.say(this.words.taking);
    this.#trigger(what, { name });
  }

  // A picture that is chosen, or dropped, gives its settings.
  async bring(file) {
    if (!file) return;
    this.say(this.words.taking);
    try {
      this.#trigger("brought", { path: (await this.#upload(file)).path });
    } catch {
      this.say("");
      this.complain(this.words.no_server);
    }
  }

  dragged(event) {
    const isMeant = !event.target.closest?.(".source");
    this.shown.classList.toggle("dropping", isMeant && event.type === "dragover");
    if (isMeant && event.type === "drop") this.bring(event.dataTransfer.files[0]);
  }

  // A failure of before says nothing of what is so now.
  dismiss() {
    if (this.#canvas.state !== "failed") return;
    this.#dismissed = this.#canvas.number;
    this.say("");
    this.complain("");
  }

  // What the server says

  // A picture was asked for.
  expect(kind) {
    this.#canvas = canvases.expecting(this.#canvas, kind);
    this.#draw();
    this.expectSoon();
  }

  // Something is on its way to the painter.
  expectSoon() {
    this.#askedAt = Date.now();
    this.#wake();
  }

  lookSoon() {
    this.#hasNews = true;
    this.#wake();
  }

  async follow() {
    while (this.root.isConnected) {
      if (document.hidden || !this.isInSight) await this.#pause(HIDDEN_MS);
      else await this.#look();
    }
  }

  async #look() {
    this.#hasNews = false;
    const isAwaited = Date.now() - this.#askedAt < 1000 * LONG_LOOK_SECONDS;
    const patience = this.#isBusy || isAwaited ? LONG_LOOK_SECONDS : 0;
    const answer = await ask(this.#server.look, { seen: this.#seen, page: pageId(), patience });
    if (!answer || answer.problem) {
      this.complain(answer ? answer.problem : this.words.no_server);
      await this.#pause(IDLE_MS);
      this.#seen = -1;
      return;
    }
    // A wish that was refused before it came to the painter changes nothing there: what is true is shown again.
    const isRefused = this.#askedAt && Date.now() - this.#askedAt > 2000 * LONG_LOOK_SECONDS;
    if (answer.serial !== this.#seen || isRefused) {
      const isHalted = this.#isHalted;
      this.#askedAt = 0;
      this.#isHalted = false;
      this.#seen = answer.serial;
      this.#canvas = answer.canvas;
      this.#draw();
      if (isHalted) this.halt();
    }
    // At rest it is told of what the painter begins for another tab.
    if (!this.#isBusy && !this.#hasNews) await this.#pause(this.#askedAt ? IDLE_MS : RESTING_MS);
  }

  #pause(milliseconds) {
    return new Promise((done) => {
      this.#wake = done;
      setTimeout(done, milliseconds);
    });
  }

  // Drawing

  say(text) {
    this.status.textContent = text;
  }

  complain(problem) {
    if (problem && this.problem.firstChild?.textContent !== problem) this.below.scrollTop = 0;
    this.problem.hidden = !problem;
    this.problem.replaceChildren(el("p", {}, problem ?? ""));
  }

  // A kept picture in place of what was painted last.
  showPicture({ path, title }) {
    this.badge.hidden = true;
    this.#lay([{ src: this.fileUrl(path), alt: title, path }], 0);
  }

  #draw() {
    const canvas = this.#canvas;
    this.#drawProgress(canvas);
    this.#drawNotices(canvas);
    this.#drawPictures(canvas);
    if (canvases.isOver(canvas) && canvas.number !== this.#over) {
      this.#over = canvas.number;
      if (!canvases.isDraft(canvas)) this.history.refresh(canvas.pictures.map((picture) => picture.path));
    }
  }

  #drawProgress(canvas) {
    const isAskedFor = canvases.isAskedFor(canvas);
    const percent = 100 * (canvas.share ?? 0);
    this.goLabel.textContent = isAskedFor ? this.words.busy : this.words.go;
    this.go.setAttribute("aria-disabled", String(isAskedFor));
    this.stop.disabled = !canvases.isPainting(canvas);
    this.bar.classList.toggle("on", this.#isBusy);
    this.bar.classList.toggle("unsure", canvas.state === "preparing" || canvases.isStopping(canvas));
    this.bar.setAttribute("aria-valuenow", String(Math.round(percent)));
    this.bar.firstChild.style.width = `${percent}%`;
  }

  #drawNotices(canvas) {
    const isDismissed = canvas.number === this.#dismissed;
    const notices = canvas.state === "resting" ? [] : (canvas.notices ?? []);
    this.say(canvases.stateWords(canvas, this.words));
    this.notes.replaceChildren(...notices.map((notice) => el("li", {}, notice)));
    this.complain(isDismissed ? "" : canvas.problem);
    if (isDismissed) return;
    const offers = [...(canvas.large ? ["sensible", "anyway"] : []), ...(canvas.crowded ? ["pause"] : [])];
    // What failed is asked for once more in another way.
    this.problem.append(...offers.map((how) => smallButton(this.words[how], () => this.#ask(how))));
  }

  #drawPictures(canvas) {
    const hasPicture = this.shown.querySelector("img") !== null;
    const previews = canvases.previewsOf(canvas, hasPicture).map((src) => this.#preview(src));
    if (previews.length) this.#lay(previews, 0);
    else if (canvas.state === "preparing" && !hasPicture)
      this.shown.replaceChildren(el("p", { class: "quiet" }, this.words.preparing));
    const pictures = canvases.picturesOf(canvas).map((picture, place) => this.#picture(canvas, picture, place));
    const growing = canvases.isPainting(canvas) ? (canvas.previews ?? []) : [];
    if (pictures.length) this.#lay([...pictures, ...growing.map((src) => this.#preview(src))], canvas.columns);
    this.badge.hidden = !(canvases.isDraft(canvas) && canvas.pictures?.length);
  }

  #preview(src) {
    return { src, alt: this.words.growing, small: true };
  }

  #picture(canvas, { data, path, seed }, place) {
    const label = canvas.labels?.[place] ?? "";
    const alt = canvases.isDraft(canvas) ? this.words.draft : filled(this.words.picture, { seed });
    return { src: data || this.fileUrl(path), path, label, alt: label || alt };
  }

  // Pictures side by side, in so many columns, or where that is 0 in as many as make them largest.
  #lay(items, columns) {
    this.#share(items.length, columns || Math.ceil(Math.sqrt(items.length)));
    this.shown.classList.toggle("many", items.length > 1);
    const [before] = this.shown.children;
    if (items.length === 1 && before?.tagName === "IMG" && this.shown.children.length === 1) {
      // One picture after another in the same place: the next is there before the last is gone.
      const [{ src, alt, small }] = items;
      Object.assign(before, { src, alt, className: small ? "growing" : "" });
    } else {
      this.shown.replaceChildren(...items.map((item) => this.#tile(item, items.length > 1)));
    }
    if (!columns && items.length > 1) this.#fit(items.length);
  }

  #tile({ src, alt, path, label, small }, isOneOfMany) {
    const image = el("img", { src, alt, class: small ? "growing" : null });
    if (!isOneOfMany) return image;
    const about = { type: "button", "aria-label": alt, onclick: () => this.history.choose(path) };
    const inside = path ? el("button", about, image) : image;
    return el("figure", {}, inside, label ? el("figcaption", { title: label }, label) : null);
  }

  async #fit(count) {
    const first = this.shown.querySelector("img");
    try {
      await first.decode();
    } catch {
      // It was replaced meanwhile, or can't be shown.
      return;
    }
    const width = this.shown.clientWidth;
    const height = Number.parseFloat(getComputedStyle(this.shown).maxHeight) || width;
    this.#share(count, canvases.acrossFor(count, first, { width, height }));
  }

  #share(count, across) {
    this.shown.style.setProperty("--across", across);
    this.shown.style.setProperty("--rows", Math.ceil(count / across));
  }
}
