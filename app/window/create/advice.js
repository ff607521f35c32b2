// What there is to say about the mix (app/create/advice.py), and what can be done about it.
// Part of the mix's script: see mix.js.

let telling = 0;
function tell() {
  clearTimeout(telling);
  telling = setTimeout(async () => {
    const told = state.rows.length ? await asked(server.advise, { mix: state, base: window.atelierBase ?? "" }) : null;
    if (told && told.problem) return hints({ hints: [{ words: told.problem, action: "" }], measured: true, total: 0, limit: 1 });
    advice = told;
    hints(told);
    if (told) refreshIfChanged(told.here);
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
  const stop = el("button", { type: "button", class: "small", onclick: () => asked(server.stop_measuring, { page: pageId() }) }, words.stop);
  said.replaceChildren(el("p", { class: "quiet busy" }, words.measuring, " ", stop));
  const told = await asked(server.measure, { mix: state, base: window.atelierBase ?? "", page: pageId() });
  if (!told || told.problem) {
    strengths.checked = view.strengths;
    return said.replaceChildren(el("p", { class: "bad" }, told ? told.problem : words.no_server));
  }
  advice = told;
  hints(told);
  then();
}
