// The styles of the mix: chips of their words, a card with a slider each, what there is to say about the mix.
// `props.value` is {rows: [...], mode}, as app/create/mix_form.py reads it.

const { words, most_rows: MOST_ROWS } = props;
const LEAST = -1, MOST = 2, STEP = 0.05;
const DRAFT_EVERY_MS = 400, SETTLED_MS = 300, ADVICE_MS = 250;
const known = new Map(); // the cards of styles, by id
const VIEW = "atelier.create.view"; // how this browser shows the mix
let state = { rows: [], mode: "sum" };
let view = { live: true, strengths: false, ...JSON.parse(localStorage.getItem(VIEW) ?? "{}") };
let advice = null;
let opened = new Set(); // ids of the cards that show all their knobs
const additions = new Set(); // ids of styles that were added since a mix was last put here
let learning = 0; // how many mixes were put here

const chips = el("div", { class: "chips", role: "group", "aria-label": words.chips });
const cards = el("div", { class: "style-rows" });
const said = el("div", { class: "advice", role: "status" });
const pad = blendPad(words, (weights, done) => {
  for (const row of state.rows) if (row.style in weights) row.weight = bounded(row, weights[row.style]);
  sliders();
  done ? released() : moved();
});

// What the artist does

function keep() {
  props.value = JSON.parse(JSON.stringify(state));
}

let draftAt = 0, draftLater = 0, settling = 0;
function moved() {
  keep();
  tell();
  clearTimeout(settling);
  clearTimeout(draftLater);
  if (!view.live) return;
  const wait = Math.max(0, draftAt + DRAFT_EVERY_MS - Date.now());
  draftLater = setTimeout(() => {
    draftAt = Date.now();
    trigger("moved", { page: pageId() });
    announce("asked");
  }, wait);
}

function released() {
  keep();
  tell();
  clearTimeout(draftLater);
  clearTimeout(settling);
  if (!view.live) return;
  settling = setTimeout(() => {
    trigger("released", { page: pageId() });
    announce("asked");
  }, SETTLED_MS);
}

function changed(paints = true) {
  draw();
  if (paints) return released();
  keep();
  tell();
}

function look(about) {
  Object.assign(view, about);
  localStorage.setItem(VIEW, JSON.stringify(view));
}

const lost = (row) => Boolean(known.get(row.style)?.missing || known.get(row.style)?.problem); // it is not painted with
const alone = () => state.rows.some((row) => row.solo && !lost(row));
const heard = (row) => !lost(row) && !row.muted && (row.solo || !alone()) && row.weight !== 0;
const per = (row) => (view.strengths && advice && advice.at_1[row.style]) || 1; // what the slider counts in

// A style that was just made is painted with alone and whole: the others are muted, a click away.
async function show(handle) {
  const card = await cardOfStyle(handle);
  const problem = problemOf(card);
  adder.status.textContent = problem;
  if (problem) return;
  known.set(card.id, card);
  const others = state.rows.filter((row) => row.style !== card.id);
  for (const row of others) Object.assign(row, { muted: true, solo: false });
  state.rows = [newRow(card, card.weight), ...others].slice(0, MOST_ROWS);
  additions.add(card.id);
  changed();
}

// Answers with what went wrong, in words, or with nothing.
async function add(handle) {
  const card = await cardOfStyle(handle);
  const problem = problemOf(card);
  if (problem || state.rows.some((row) => row.style === card.id)) return problem;
  if (state.rows.length >= MOST_ROWS) return filled(words.full, { count: MOST_ROWS });
  known.set(card.id, card);
  state.rows.push(newRow(card, state.rows.length ? card.weight / 2 : card.weight));
  additions.add(card.id);
  changed();
  return "";
}

// The card of a style as the library has it now; null where the server does not answer.
const cardOfStyle = (style, name = "") => asked(server.style, { style, name });
const problemOf = (card) => (card ? (card.problem ?? card.missing ?? "") : words.no_server);
const newRow = (card, weight) => ({
  style: card.id, name: card.name, weight, muted: false, solo: false, composition: 1, texture: 1, schedule: null, word: true,
});

// Drawing

function draw() {
  cards.replaceChildren(...state.rows.map(cardOf));
  if (!state.rows.length) cards.append(el("p", { class: "quiet" }, words.nothing));
  adder.element.hidden = state.rows.length >= MOST_ROWS;
  mixing.hidden = state.rows.length < 2;
  mode.value = state.mode;
  live.checked = view.live;
  strengths.checked = view.strengths;
  sliders();
}

// What changes with each move of a slider.
function sliders() {
  for (const row of state.rows) {
    const card = cards.querySelector(`[data-style="${CSS.escape(row.style)}"]`);
    if (!card) continue;
    card.classList.toggle("silent", !heard(row));
    for (const input of card.querySelectorAll(".weight input")) {
      if (input.type === "number" && input === document.activeElement && input.dataset.typing) continue;
      input.value = number(row.weight * per(row));
    }
  }
  drawChips();
  pad.show(state.rows.filter((row) => !row.muted && !lost(row)).map((row) => ({ ...row, name: nameOf(row) })));
  announce("mix", { rows: state.rows.map((row) => ({ style: row.style, name: nameOf(row) })) });
}

const nameOf = (row) => known.get(row.style)?.name || row.name || row.style.slice(0, 12);

function drawChips() {
  const worded = state.rows.filter((row) => known.get(row.style)?.trigger);
  chips.replaceChildren(
    ...worded.map((row) => {
      const on = row.word && heard(row) && row.weight > 0;
      const about = {
        type: "button", class: on ? "chip" : "chip off", "aria-pressed": String(row.word),
        title: row.word ? words.chip_out : words.chip_in,
        onclick: () => { row.word = !row.word; changed(); },
      };
      return el("button", about, known.get(row.style).trigger);
    }),
  );
  chips.hidden = !worded.length;
  if (worded.length) chips.prepend(el("span", { class: "quiet" }, words.chips));
}

function cardOf(row) {
  const card = known.get(row.style);
  const name = nameOf(row);
  const knobs = opened.has(row.style) ? knobsOf(row, name) : null;
  const toggle = (about) => { Object.assign(row, about); changed(); };
  return el(
    "article", { class: "style-row", "data-style": row.style, "aria-label": name },
    card?.thumb ? el("img", { class: "thumb", alt: "", src: card.thumb }) : el("div", { class: "thumb" }),
    el("div", { class: "row-head" },
      el("strong", { title: name }, name),
      ...lost(row) ? [] : [
      iconButton(row.muted ? "muted" : "heard", filled(words.mute, { name }), () => toggle({ muted: !row.muted }),
        { "aria-pressed": String(row.muted) }),
      iconButton("solo", filled(words.solo, { name }), () => toggle({ solo: !row.solo }),
        { "aria-pressed": String(row.solo) }),
      iconButton("more", filled(words.more, { name }), () => {
        opened.has(row.style) ? opened.delete(row.style) : opened.add(row.style);
        draw();
      }, { "aria-expanded": String(opened.has(row.style)) }),
      iconButton("remove", filled(words.remove, { name }), () => takeOut(row)),
      ],
    ),
    lost(row) ? missing(row, card) : slider("weight", name, row),
    card?.note ? el("p", { class: "quiet told" }, card.note) : null,
    lost(row) ? null : knobs,
  );
}

// A style that is not here keeps its place and its numbers, until it is back or taken out.
function missing(row, card) {
  const wrong = el("p", { class: "bad" }, card.missing || card.problem);
  const restore = async () => {
    const told = await asked(server.restore, { style: row.style });
    if (!told || told.problem) return void (wrong.textContent = told ? told.problem : words.no_server);
    await visited();
    released();
  };
  const button = (label, name, onclick) => el("button", { type: "button", class: "small", "aria-label": filled(name, { name: nameOf(row) }), onclick }, label);
  return el("div", { class: "missing" }, wrong, el("div", { class: "row-acts" },
    card.deleted ? button(words.restore_short, words.restore, restore) : null,
    button(words.take_out, words.remove, () => takeOut(row))));
}

function takeOut(row) {
  state.rows = state.rows.filter((one) => one !== row);
  changed();
}

function sheet(kind, style = "") {
  trigger("sheet", { kind, style, page: pageId() });
  announce("asked", { sheet: true });
}

// The frame around it all

const adder = styleSearch(words, server, add, () => state.rows.map((row) => row.style));
const live = el("input", { type: "checkbox", onchange: () => look({ live: live.checked }) });
const strengths = el("input", {
  type: "checkbox",
  onchange: () => {
    const show = () => { look({ strengths: strengths.checked }); draw(); };
    strengths.checked && !(advice && state.rows.every((row) => row.style in advice.at_1)) ? measure(show) : show();
  },
});
const mode = el("select", { "aria-label": words.mode, onchange: () => { state.mode = mode.value; changed(); } },
  ...["sum", "take turns", "average guidance"].map((one) => el("option", { value: one }, words[`mode_${one.replace(" ", "_")}`])));
const mixing = el("div", { class: "mixing" },
  el("label", { class: "inline" }, el("span", {}, words.mode), mode),
  pad.element,
  el("div", { class: "compare", role: "group", "aria-label": words.compare },
    el("span", { class: "quiet" }, words.compare),
    el("button", { type: "button", class: "small", onclick: () => sheet("blend map") }, words.map),
    el("button", { type: "button", class: "small", onclick: () => sheet("leave one out") }, words.leave_out)));
element.classList.add("piece", "mix");
element.replaceChildren(
  chips,
  el("div", { class: "mix-head" }, el("h2", {}, words.styles),
    el("label", { class: "inline", title: words.strengths_help }, strengths, words.strengths),
    el("label", { class: "inline", title: words.live_help }, live, words.live)),
  cards, adder.element, adder.status, said, mixing, blendShelf(words, server, {
    now: () => state,
    put: async (mix) => {
      const left_out = new Set(state.rows.filter((row) => !row.word).map((row) => row.style));
      if (await learn({ ...mix, rows: mix.rows.map((row) => ({ ...row, word: !left_out.has(row.style) })) })) changed();
    },
  }),
);

// Show another mix once its styles are known, and tell whether it is shown: not where yet another one was put here
// meanwhile. What was added meanwhile is added to it, and what was added before the page had the artist's last mix back.
async function learn(given) {
  const now = ++learning;
  if (window.atelierRestored) additions.clear();
  const rows = (given.rows ?? []).map((row) => ({ ...row }));
  for (const row of rows) if (!known.has(row.style)) await follow(row);
  if (now !== learning) return false;
  const added = state.rows.filter((row) => additions.has(row.style));
  state = { ...state, ...given, rows: unique([...rows, ...added]).slice(0, MOST_ROWS) };
  for (const row of state.rows) row.name = nameOf(row);
  return true;
}

// Look a style of the mix up. One that was made anew is followed by its name.
async function follow(row) {
  const card = await cardOfStyle(row.style, row.name ?? "");
  if (!card) return;
  const id = card.id ?? row.style;
  known.set(id, { ...card, id });
  if (opened.delete(row.style)) opened.add(id);
  row.style = id;
}

const unique = (rows) => rows.filter((row, place) => rows.findIndex((one) => one.style === row.style) === place);

// What the server says of the styles of the mix is not what is shown: they were changed elsewhere, as in another tab.
let toldOf = "";
function refreshIfChanged(here) {
  const same = (row) => (lost(row) ? !here[row.style] : here[row.style]?.[0] === row.style && here[row.style][1] === nameOf(row));
  const now = JSON.stringify(here);
  if (!here || now === toldOf) return;
  toldOf = now;
  if (!state.rows.every(same)) visited();
}

async function take() {
  if (await learn(JSON.parse(JSON.stringify(props.value ?? {})))) drawLearnt();
}

function drawLearnt() {
  keep();
  draw();
  tell();
}

// Styles that were changed or taken away meanwhile, and one that another room sends here.
async function visited() {
  for (const row of [...state.rows]) {
    await follow(row);
    row.name = nameOf(row);
  }
  state.rows = unique(state.rows);
  drawLearnt();
  await showSent();
}

async function showSent() {
  const sent = sessionStorage.getItem("atelier.add-style");
  sessionStorage.removeItem("atelier.add-style");
  if (sent) await show(sent);
}

watch("value", take);
document.addEventListener("atelier:visited", visited);
document.addEventListener("atelier:base", tell);
document.addEventListener("visibilitychange", () => {
  const typing = cards.contains(document.activeElement); // what is half typed would be lost
  if (!document.hidden && element.offsetParent && !typing) visited();
});
take().then(showSent);
