// The card of one style of the mix: its slider, its knobs, and what can be done where it is not here.
// `piece` is the MixPiece of mix.js.

import { el, iconButton, smallButton } from "../dom.js";
import { filled, rounded } from "../words.js";
import { bounded, MOST_HEARD } from "./mix_state.js";
import { FIRST_OWN, SCHEDULES, scheduleCurve, scheduleName, scheduleOf, scheduleText } from "./schedules.js";

const LEAST = -1;
const MOST = 2;
const MOST_KNOB = 2;
const STEP = 0.05;

export function styleCard(piece, row) {
  const { mix } = piece;
  const name = mix.nameOf(row);
  const card = mix.card(row);
  const lost = mix.isLost(row);
  return el(
    "article",
    { class: "style-row", "data-style": row.style, "aria-label": name },
    thumbnail(card),
    el("div", { class: "row-head" }, el("strong", { title: name }, name), ...(lost ? [] : buttons(piece, row, name))),
    lost ? missing(piece, row, card) : slider(piece, "weight", name, row),
    card?.note ? el("p", { class: "quiet told" }, card.note) : null,
    !lost && piece.opened.has(row.style) ? knobs(piece, row, name) : null,
  );
}

export function thumbnail(card) {
  return card?.thumb ? el("img", { class: "thumb", alt: "", src: card.thumb }) : el("div", { class: "thumb" });
}

function buttons(piece, row, name) {
  const { words, opened } = piece;
  const change = (about) => () => {
    Object.assign(row, about);
    piece.changed();
  };
  const fold = () => {
    if (!opened.delete(row.style)) opened.add(row.style);
    piece.draw();
  };
  return [
    iconButton(row.muted ? "muted" : "heard", filled(words.mute, { name }), change({ muted: !row.muted }), {
      "aria-pressed": String(row.muted),
    }),
    iconButton("solo", filled(words.solo, { name }), change({ solo: !row.solo }), {
      "aria-pressed": String(row.solo),
    }),
    iconButton("more", filled(words.more, { name }), fold, { "aria-expanded": String(opened.has(row.style)) }),
    iconButton("remove", filled(words.remove, { name }), () => piece.remove(row)),
  ];
}

// A style that is not here keeps its place and its numbers, until it is back or taken out.
function missing(piece, row, card) {
  const { words } = piece;
  const name = piece.mix.nameOf(row);
  const problem = el("p", { class: "bad" }, card.missing || card.problem);
  const restore = async () => {
    problem.textContent = (await piece.restore(row)) || problem.textContent;
  };
  const label = (text) => ({ "aria-label": filled(text, { name }) });
  return el(
    "div",
    { class: "missing" },
    problem,
    el(
      "div",
      { class: "row-acts" },
      card.deleted ? smallButton(words.restore_short, restore, label(words.restore)) : null,
      smallButton(words.take_out, () => piece.remove(row), label(words.remove)),
    ),
  );
}

// A slider with its number. The one of the weight counts in strength where the artist has chosen that.
function slider(piece, knob, name, row, low = LEAST, high = MOST) {
  const { words } = piece;
  const isWeight = knob === "weight";
  const unit = () => (isWeight ? piece.unitOf(row) : 1);
  const label = filled(isWeight ? words[piece.view.strengths ? "strength_of" : "weight_of"] : words[knob], { name });
  const value = rounded(row[knob] * unit());
  const bounds = { min: Math.min(low, value), max: Math.max(high, value), step: STEP, value };
  const put = (text, isDone) => {
    const given = Number(text);
    if (text === "" || !Number.isFinite(given)) return piece.drawWeights();
    row[knob] = isWeight ? bounded(row, given / unit()) : Math.min(MOST_HEARD, Math.max(0, given));
    if (isWeight) piece.drawWeights();
    return isDone ? piece.released() : piece.moved();
  };
  const range = el("input", {
    type: "range",
    "aria-label": label,
    ...bounds,
    oninput: () => {
      box.value = range.value;
      put(range.value, false);
    },
    onchange: () => put(range.value, true),
  });
  const box = el("input", {
    type: "number",
    "aria-label": filled(words.number, { label }),
    ...bounds,
    step: "any",
    oninput: () => {
      box.dataset.typing = "1";
    },
    onchange: () => {
      delete box.dataset.typing;
      range.value = box.value;
      put(box.value, true);
    },
  });
  return el("div", { class: `slide ${knob}` }, isWeight ? null : el("span", {}, words[`${knob}_short`]), range, box);
}

function knobs(piece, row, name) {
  const { words } = piece;
  const strip = () => piece.paintSheet("strength strip", row.style);
  return el(
    "div",
    { class: "knobs" },
    slider(piece, "composition", name, row, 0, MOST_KNOB),
    slider(piece, "texture", name, row, 0, MOST_KNOB),
    when(piece, row, name),
    smallButton(words.strip_short, strip, { "aria-label": filled(words.strip, { name }) }),
  );
}

function when(piece, row, name) {
  const { words } = piece;
  const current = scheduleName(row.schedule);
  const choose = (schedule) => {
    row.schedule = schedule;
    piece.changed();
  };
  const option = (key) => el("option", { value: key, selected: key === current }, words[`when_${key}`]);
  const select = el(
    "select",
    {
      "aria-label": filled(words.when, { name }),
      onchange: () => choose(select.value === "own" ? FIRST_OWN.map((point) => [...point]) : SCHEDULES[select.value]),
    },
    ...[...Object.keys(SCHEDULES), "own"].map(option),
  );
  const own = el("input", {
    type: "text",
    "aria-label": filled(words.points, { name }),
    title: words.points_help,
    value: scheduleText(row.schedule),
    onchange: () => {
      const schedule = scheduleOf(own.value, row.weight);
      own.setAttribute("aria-invalid", String(!schedule));
      if (schedule) choose(schedule);
    },
  });
  const curve = el("svg:polyline", { points: scheduleCurve(row.schedule) });
  return el(
    "div",
    { class: "when" },
    el("span", {}, words.when_short),
    select,
    el("svg:svg", { viewBox: "0 0 100 32", class: "curve", "aria-hidden": "true" }, curve),
    current === "own" ? own : null,
  );
}
