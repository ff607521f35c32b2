// The styles of the mix: chips of their words, a card with a slider each, what there is to say about the mix.
// `props.value` is {rows: [...], mode}, as app/mix_form.py reads it.

const { words, most_rows: MOST_ROWS } = props;
const LEAST = -1, MOST = 2, STEP = 0.05;
const DRAFT_EVERY_MS = 400, SETTLED_MS = 300, ADVICE_MS = 250;
const known = new Map(); // the cards of styles, by id
const VIEW = "atelier.create.view"; // how this browser shows the mix
let state = { rows: [], mode: "sum" };
let view = { live: true, strengths: false, ...JSON.parse(localStorage.getItem(VIEW) ?? "{}") };
let advice = null;
let opened = new Set(); // ids of the cards that show all their knobs

const chips = el("div", { class: "chips", role: "group", "aria-label": words.chips });
const cards = el("div", { class: "style-rows" });
const said = el("div", { class: "advice", role: "status" });
const pad = blendPad(words, (weights, done) => {
  for (const row of state.rows) if (row.style in weights) row.weight = weights[row.style];
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
    trigger("moved");
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
    trigger("released");
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

const heard = (row) => !row.muted && (row.solo || !state.rows.some((one) => one.solo)) && row.weight !== 0;
const per = (row) => (view.strengths && advice && advice.at_1[row.style]) || 1; // what the slider counts in

async function add(handle) {
  const card = await asked(server.style, { style: handle });
  if (!card || card.problem || state.rows.some((row) => row.style === card.id)) return;
  known.set(card.id, card);
  if (state.rows.length >= MOST_ROWS) return;
  const weight = state.rows.length ? card.weight / 2 : card.weight;
  state.rows.push({
    style: card.id, weight, muted: false, solo: false, composition: 1, texture: 1, schedule: null, word: true,
  });
  changed();
}

// Drawing

function draw() {
  cards.replaceChildren(...state.rows.map(cardOf));
  if (!state.rows.length) cards.append(el("p", { class: "quiet" }, words.nothing));
  adder.hidden = state.rows.length >= MOST_ROWS;
  mixing.hidden = state.rows.length < 2;
  mode.value = state.mode;
  live.checked = view.live;
  strengths.checked = view.strengths;
  sliders();
}

// What changes with each move of a slider.
function sliders() {
  for (const row of state.rows) {
    const card = cards.querySelector(`[data-style="${row.style}"]`);
    if (!card) continue;
    card.classList.toggle("silent", !heard(row));
    for (const input of card.querySelectorAll(".weight input")) {
      if (input.type === "number" && input === document.activeElement && input.dataset.typing) continue;
      input.value = number(row.weight * per(row));
    }
  }
  drawChips();
  pad.show(state.rows.filter((row) => !row.muted).map((row) => ({ ...row, name: nameOf(row) })));
  announce("mix", { rows: state.rows.map((row) => ({ style: row.style, name: nameOf(row) })) });
}

const nameOf = (row) => known.get(row.style)?.name ?? row.style.slice(0, 12);

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
      iconButton(row.muted ? "muted" : "heard", filled(words.mute, { name }), () => toggle({ muted: !row.muted }),
        { "aria-pressed": String(row.muted) }),
      iconButton("solo", filled(words.solo, { name }), () => toggle({ solo: !row.solo }),
        { "aria-pressed": String(row.solo) }),
      iconButton("more", filled(words.more, { name }), () => {
        opened.has(row.style) ? opened.delete(row.style) : opened.add(row.style);
        draw();
      }, { "aria-expanded": String(opened.has(row.style)) }),
      iconButton("remove", filled(words.remove, { name }), () => {
        state.rows = state.rows.filter((one) => one !== row);
        changed();
      }),
    ),
    card && card.problem ? el("p", { class: "bad" }, card.problem) : slider("weight", name, row),
    knobs,
  );
}

function slider(what, name, row, low = LEAST, high = MOST) {
  const scale = () => (what === "weight" ? per(row) : 1);
  const label = filled(what === "weight" ? (view.strengths ? words.strength_of : words.weight_of) : words[what], { name });
  const value = number(row[what] * scale());
  const bounds = { min: Math.min(low, value), max: Math.max(high, value), step: STEP, value };
  const put = (text, done) => {
    const given = Number(text);
    if (text === "" || !Number.isFinite(given)) return sliders();
    row[what] = Math.min(4, Math.max(low < 0 ? -4 : 0, given / scale()));
    if (what === "weight") sliders();
    done ? released() : moved();
  };
  const range = el("input", {
    type: "range", "aria-label": label, ...bounds,
    oninput: () => { box.value = range.value; put(range.value, false); }, onchange: () => put(range.value, true),
  });
  const box = el("input", {
    type: "number", "aria-label": filled(words.number, { label }), ...bounds, step: "any",
    oninput: () => { box.dataset.typing = "1"; },
    onchange: () => { delete box.dataset.typing; range.value = box.value; put(box.value, true); },
  });
  return el("div", { class: `slide ${what}` }, what === "weight" ? null : el("span", {}, words[`${what}_short`]), range, box);
}

// When in the painting a style is heard: points of (share of the steps, factor).
const SCHEDULES = {
  always: null,
  early: [[0, 1], [0.4, 1], [0.6, 0]],
  late: [[0.4, 0], [0.6, 1], [1, 1]],
  growing: [[0, 0], [1, 1]],
  fading: [[0, 1], [1, 0]],
};

function knobsOf(row, name) {
  const same = (points) => JSON.stringify(points) === JSON.stringify(row.schedule);
  const which = Object.keys(SCHEDULES).find((key) => same(SCHEDULES[key])) ?? "own";
  const choices = [...Object.keys(SCHEDULES), "own"].map((key) =>
    el("option", { value: key, selected: key === which }, words[`when_${key}`]));
  const select = el("select", {
    "aria-label": filled(words.when, { name }),
    onchange: () => {
      row.schedule = select.value === "own" ? [[0, 0.2], [0.5, 1], [1, 0.2]] : SCHEDULES[select.value];
      changed();
    },
  }, ...choices);
  const own = el("input", {
    type: "text", "aria-label": filled(words.points, { name }), title: words.points_help,
    value: (row.schedule ?? []).map(([at, factor]) => `${number(at)}@${number(factor)}`).join(" "),
    onchange: () => {
      const points = own.value.trim().split(/[\s,]+/).map((point) => point.split("@").map(Number));
      const fine = points.every(([at, factor], place) => points[place].length === 2 && at >= 0 && at <= 1 &&
        Math.abs(factor) <= 2 && (place === 0 || at >= points[place - 1][0]));
      own.setAttribute("aria-invalid", String(!fine));
      if (fine) { row.schedule = points; changed(); }
    },
  });
  const line = [...(row.schedule ?? [[0, 1]])];
  const points = [[0, line[0][1]], ...line, [1, line.at(-1)[1]]];
  const drawn = el("svg:polyline", { points: points.map(([at, factor]) => `${at * 100},${29 - factor * 13}`).join(" ") });
  return el("div", { class: "knobs" },
    slider("composition", name, row, 0, 2), slider("texture", name, row, 0, 2),
    el("div", { class: "when" }, el("span", {}, words.when_short), select,
      el("svg:svg", { viewBox: "0 0 100 32", class: "curve", "aria-hidden": "true" }, drawn),
      which === "own" ? own : null),
    el("button", {
      type: "button", class: "small", "aria-label": filled(words.strip, { name }), onclick: () => sheet("strength strip", row.style),
    }, words.strip_short));
}

// What there is to say about the mix

let telling = 0;
function tell() {
  clearTimeout(telling);
  telling = setTimeout(async () => {
    const told = state.rows.length ? await asked(server.advise, { mix: state, base: window.atelierBase ?? "" }) : null;
    if (told && told.problem) return hints({ hints: [{ words: told.problem, action: "" }], measured: true, total: 0, limit: 1 });
    advice = told;
    hints(told);
    if (view.strengths) sliders();
  }, ADVICE_MS);
}

const ACTIONS = {
  balance: () => {
    if (!advice.measured) return measure(ACTIONS.balance);
    for (const row of state.rows) row.weight = advice.balanced[row.style] ?? row.weight;
    changed();
  },
  turns: () => { state.mode = "take turns"; changed(); },
};

function hints(told) {
  if (!told) return said.replaceChildren();
  const share = Math.min(1, told.total / (told.limit * 1.5));
  const meter = el("div", { class: told.burns ? "meter hot" : "meter" },
    el("span", { style: `width: ${share * 100}%` }), el("i", {}));
  const total = filled(told.measured ? words.total : words.about, { total: number(Math.round(told.total * 10) / 10), limit: number(told.limit) });
  said.replaceChildren(
    el("div", { class: "total" }, meter, el("span", { class: "quiet" }, total)),
    ...told.hints.map((hint) => el("p", { class: hint.action ? "warn" : "quiet" }, hint.words, " ",
      hint.action ? el("button", { type: "button", class: "small", onclick: ACTIONS[hint.action] }, words[hint.action]) : null)),
  );
}

async function measure(then) {
  said.replaceChildren(el("p", { class: "quiet busy" }, words.measuring));
  const told = await asked(server.measure, { mix: state, base: window.atelierBase ?? "" });
  if (!told || told.problem) return said.replaceChildren(el("p", { class: "bad" }, told ? told.problem : words.no_server));
  advice = told;
  hints(told);
  then();
}

function sheet(kind, style = "") {
  trigger("sheet", { kind, style });
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
  cards, adder, said, mixing,
);

async function take() {
  const given = props.value ?? {};
  state = { ...state, ...given, rows: given.rows ?? [] };
  const unknown = state.rows.map((row) => row.style).filter((style) => !known.has(style));
  for (const style of unknown) known.set(style, { ...(await asked(server.style, { style })), id: style });
  draw();
  tell();
}

// A style that another room sends here, and styles that were taken away meanwhile.
async function visited() {
  const sent = sessionStorage.getItem("atelier.add-style");
  sessionStorage.removeItem("atelier.add-style");
  known.clear();
  await take();
  if (sent) await add(sent);
}

watch("value", take);
document.addEventListener("atelier:add-style", visited);
document.addEventListener("atelier:visited", visited);
document.addEventListener("atelier:base", tell);
visited();
