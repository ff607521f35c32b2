// What a style's card has to turn: sliders with a number each, and when in the painting the style acts.
// Part of the mix's script: `state`, `view` and what follows a change are in mix.js.

// No style is heard beyond 4 at any step: the server takes no more.
const MOST_HEARD = 4;
function bounded(row, weight) {
  const most = MOST_HEARD / Math.max(1, ...(row.schedule ?? []).map(([, factor]) => Math.abs(factor)));
  return Math.min(most, Math.max(-most, weight));
}

function slider(what, name, row, low = LEAST, high = MOST) {
  const scale = () => (what === "weight" ? per(row) : 1);
  const label = filled(what === "weight" ? (view.strengths ? words.strength_of : words.weight_of) : words[what], { name });
  const value = number(row[what] * scale());
  const bounds = { min: Math.min(low, value), max: Math.max(high, value), step: STEP, value };
  const put = (text, done) => {
    const given = Number(text);
    if (text === "" || !Number.isFinite(given)) return sliders();
    row[what] = what === "weight" ? bounded(row, given / scale()) : Math.min(4, Math.max(0, given));
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
        Math.abs(factor) <= 2 && Math.abs(row.weight * factor) <= MOST_HEARD && (place === 0 || at >= points[place - 1][0]));
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
