// The stage: what is being painted, and the pictures that are there. The server's canvas is the truth (app/create/painter.py);
// this only looks at it, so that a reload or a second tab sees the same.

const { words } = props;
const LONG_LOOK = 4, IDLE_MS = 2500, RESTING_MS = 60000;
let seen = -1, canvas = { state: "blank", number: 0, pictures: [] }, doneWith = -1, wake = () => {};
let newer = false; // there is news of the canvas since it was last looked at
let dismissed = -1; // the number of a painting whose problem may be mended: another base, another room and back
let askedAt = 0; // when a picture was asked for, until the painter tells of it

const shown = el("div", { class: "canvas" });
const badge = el("span", { class: "badge", hidden: true }, words.draft);
const bar = el("div", { class: "bar", role: "progressbar", "aria-label": words.progress, "aria-valuemin": "0", "aria-valuemax": "100" }, el("span", {}));
const said = el("p", { class: "state", role: "status" });
const notes = el("ul", { class: "quiet notes" });
const wrong = el("div", { class: "wrong", role: "alert", hidden: true });
const below = el("div", { class: "below" }, wrong, notes); // the pictures that are kept come after them
const goes = el("span", {}, words.go);
const go = el("button", { type: "button", class: "go", title: words.go_help, onclick: paint }, goes, el("kbd", {}, "Ctrl ↵"));
const stop = el("button", { type: "button", class: "stop", disabled: true, title: words.stop_help, onclick: halt }, words.stop, el("kbd", {}, "Esc"));

const going = () => canvas.state === "preparing" || canvas.state === "painting";
const stopping = () => canvas.state === "stopping"; // the model has not come to its next block yet
const inSight = () => element.isConnected && shown.offsetParent !== null;
const fileUrl = (path) => new URL(`gradio_api/file=${encodeURIComponent(path)}`, document.baseURI).href;

function paint() {
  if (going() && canvas.kind === "asked") return;
  below.scrollTop = 0; // what will be said of the picture
  announce("paint");
  trigger("paint", { page: pageId() });
  expect("asked");
}

function halt() {
  if (!going()) return;
  canvas = { ...canvas, state: "stopping" };
  show();
  asked(server.stop);
}

// A click is answered at once; what the server says follows.
function expect(kind) {
  askedAt = Date.now();
  canvas = { ...canvas, state: "preparing", kind, step: 0, steps: 0, share: 0, previews: [], notices: [], problem: "" };
  show();
  wake();
}

async function follow() {
  while (element.isConnected) {
    if (document.hidden || !inSight()) {
      await pause(500);
      continue;
    }
    newer = false;
    const awaited = Date.now() - askedAt < 1000 * LONG_LOOK; // it is on its way to the painter
    const told = await asked(server.look, { seen, page: pageId(), patience: going() || stopping() || awaited ? LONG_LOOK : 0 });
    if (told === null || told.problem) {
      complain(told ? told.problem : words.no_server);
      await pause(IDLE_MS);
      seen = -1;
      continue;
    }
    // A wish that was refused before it came to the painter changes nothing there: what is true is shown again.
    if (told.serial !== seen || (askedAt && Date.now() - askedAt > 2000 * LONG_LOOK)) {
      askedAt = 0;
      seen = told.serial;
      canvas = told.canvas;
      show();
    }
    // At rest it is told of what the painter begins for another tab.
    if (!going() && !stopping() && !newer) await pause(askedAt ? IDLE_MS : RESTING_MS);
  }
}

const pause = (milliseconds) => new Promise((done) => { wake = done; setTimeout(done, milliseconds); });

function show() {
  const draft = canvas.kind === "draft";
  const busy = going() && canvas.kind === "asked";
  goes.textContent = busy ? words.busy : words.go;
  go.setAttribute("aria-disabled", String(busy));
  stop.disabled = !going();
  bar.classList.toggle("on", going() || stopping());
  bar.classList.toggle("unsure", canvas.state === "preparing" || stopping());
  bar.setAttribute("aria-valuenow", String(Math.round(100 * (canvas.share ?? 0))));
  bar.firstChild.style.width = `${100 * (canvas.share ?? 0)}%`;
  said.textContent = stateWords();
  notes.replaceChildren(...(canvas.state === "resting" ? [] : canvas.notices ?? []).map((notice) => el("li", {}, notice)));
  complain(canvas.number === dismissed ? "" : canvas.problem);
  if (canvas.large) ["sensible", "anyway"].forEach(offer);
  if (canvas.crowded) offer("pause");
  // While a picture grows out of noise, the one before says more: the old one stays until the new one is better.
  const early = !draft && canvas.kind === "live" && canvas.share < 0.5 && shown.querySelector("img");
  if (going() && canvas.previews?.length && !early) lay(canvas.previews.map((src) => ({ src, alt: words.growing, small: true })), 0);
  if (canvas.state === "preparing" && !shown.querySelector("img")) shown.replaceChildren(el("p", { class: "quiet" }, words.preparing));
  if (canvas.pictures?.length && (!going() || canvas.kind !== "live")) finished(draft);
  badge.hidden = !(draft && canvas.pictures?.length);
  if (!going() && !stopping() && canvas.number !== doneWith && canvas.state !== "blank") {
    doneWith = canvas.number;
    if (!draft) pictures.refresh(canvas.pictures.map((one) => one.path));
  }
}

// What failed is asked for once more in another way.
function offer(how) {
  if (canvas.number === dismissed) return;
  const again = () => { trigger(how, { page: pageId() }); expect("asked"); };
  wrong.append(el("button", { type: "button", class: "small", onclick: again }, words[how]));
}

function complain(problem) {
  if (problem && wrong.firstChild?.textContent !== problem) below.scrollTop = 0;
  wrong.hidden = !problem;
  wrong.replaceChildren(el("p", {}, problem ?? ""));
}

function finished(draft) {
  const all = canvas.pictures.map((one, place) => ({
    src: one.data || fileUrl(one.path), path: one.path, label: canvas.labels?.[place] ?? "",
    alt: canvas.labels?.[place] || (draft ? words.draft : filled(words.picture, { seed: one.seed })),
  }));
  const growing = going() ? canvas.previews.map((src) => ({ src, alt: words.growing, small: true })) : [];
  lay([...all, ...growing], canvas.columns);
}

function lay(items, columns) {
  share(items.length, columns || Math.ceil(Math.sqrt(items.length)));
  shown.classList.toggle("many", items.length > 1);
  const tiles = items.map((item) => {
    const image = el("img", { src: item.src, alt: item.alt, class: item.small ? "growing" : null });
    if (items.length === 1) return image;
    const inside = item.path ? el("button", { type: "button", "aria-label": item.alt, onclick: () => pictures.choose(item.path) }, image) : image;
    return el("figure", {}, inside, item.label ? el("figcaption", { title: item.label }, item.label) : null);
  });
  // One picture after another in the same place: the next is there before the last is gone.
  const [before] = shown.children;
  if (tiles.length === 1 && before?.tagName === "IMG" && shown.children.length === 1) {
    Object.assign(before, { src: items[0].src, alt: items[0].alt, className: items[0].small ? "growing" : "" });
  } else shown.replaceChildren(...tiles);
  const first = shown.querySelector("img");
  if (!columns && items.length > 1) first.decode().then(() => share(items.length, fitting(items.length, first)), () => {});
}

function share(count, across) {
  shown.style.setProperty("--across", across);
  shown.style.setProperty("--rows", Math.ceil(count / across));
}

// How many pictures of this shape side by side makes them largest.
function fitting(count, { naturalWidth, naturalHeight }) {
  const width = shown.clientWidth, height = parseFloat(getComputedStyle(shown).maxHeight) || width;
  const size = (across) => Math.min(width / across / naturalWidth, height / Math.ceil(count / across) / naturalHeight);
  return [...Array(count).keys()].map((place) => place + 1).reduce((best, across) => (size(across) > size(best) * 1.001 ? across : best), 1);
}

function stateWords() {
  const places = { step: canvas.step, steps: canvas.steps };
  switch (canvas.state) {
    case "preparing": return words.preparing;
    case "stopping": return words.stopping;
    case "painting": return filled(canvas.kind === "draft" ? words.draft_step : words.step, places);
    case "done": return canvas.kind === "draft" ? words.draft_done : words.done;
    case "stopped": return words.stopped;
    case "failed": return words.failed;
    case "resting": return canvas.notices?.[0] ?? "";
  }
  return "";
}

document.addEventListener("keydown", (event) => {
  if (!inSight() || event.defaultPrevented) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); paint(); }
  if (event.key === "Escape") halt();
});
document.addEventListener("atelier:news", (event) => {
  if (event.detail.some((subject) => ["canvas", "server"].includes(subject))) { newer = true; wake(); }
});
for (const what of ["atelier:visited", "atelier:base"]) document.addEventListener(what, () => {
  if (canvas.state !== "failed") return;
  dismissed = canvas.number;
  said.textContent = "";
  complain("");
});
document.addEventListener("atelier:asked", (event) => {
  if (event.detail?.sheet) return expect("asked");
  askedAt = Date.now();
  wake();
});

const pictures = history(words, server, {
  trigger, fileUrl, bring,
  show: (item) => { badge.hidden = true; lay([{ src: fileUrl(item.path), alt: item.title, path: item.path }], 0); },
  say: (text) => { said.textContent = text; },
});
below.append(pictures.element);
watch("value", () => {
  const { words: told = "", problem = "" } = props.value ?? {}; // the answer to what a picture was asked for
  said.textContent = told;
  complain(problem);
});

// A PNG that is chosen, or dropped, gives its settings.
async function bring(file) {
  if (!file) return;
  said.textContent = words.taking;
  try {
    trigger("brought", { path: (await upload(file)).path });
  } catch (error) {
    said.textContent = "";
    complain(words.no_server);
  }
}

// Anywhere in the room, save where a picture to start from is dropped.
function dropped(event) {
  if (!inSight() || ![...event.dataTransfer.types].includes("Files")) return;
  const meant = !event.target.closest?.(".source");
  shown.classList.toggle("dropping", meant && event.type === "dragover");
  if (meant && event.type === "drop") bring(event.dataTransfer.files[0]);
}
for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, dropped);

element.classList.add("piece", "stage");
element.replaceChildren(
  el("div", { class: "scene" }, el("div", { class: "do" }, go, stop), el("div", { class: "easel" }, shown, badge), bar, said),
  below,
);
shown.append(el("p", { class: "quiet" }, words.empty));
follow();
