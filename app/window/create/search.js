// Finding a style to add: a field, and a list that follows what is typed. The pattern is ARIA's combobox.
// `add` takes the handle of a style and answers with what went wrong, in words, or with nothing.

function styleSearch(words, server, add, mixed) {
  const PAUSE_MS = 150;
  let found = [], at = -1, typing = 0, asking = 0, searched = null; // the words that `found` is for
  const list = el("ul", { role: "listbox", id: "style-choices", "aria-label": words.add, class: "choices", hidden: true });
  const field = el("input", {
    type: "text", role: "combobox", "aria-label": words.add, "aria-controls": list.id, "aria-expanded": "false",
    "aria-autocomplete": "list", autocomplete: "off", placeholder: words.add_hint,
    onfocus: () => look(), oninput: () => { status.textContent = ""; clearTimeout(typing); typing = setTimeout(look, PAUSE_MS); },
    // Not where it has the focus again: whoever adds two styles in a row would lose the second.
    onblur: () => setTimeout(() => document.activeElement === field || close(), 150), onkeydown: keyed,
  });
  const status = el("p", { role: "status", class: "bad not-added" });

  // The styles for the words in the field. They are shown, unless they were overtaken by other words or the field was left.
  async function look() {
    clearTimeout(typing);
    const now = ++asking, sought = field.value;
    const answer = await asked(server.styles, { words: sought, without: mixed(), base: window.atelierBase ?? "" });
    const problem = answer ? answer.problem : words.no_server;
    const styles = problem ? [] : answer.styles;
    if (now === asking && document.activeElement === field) {
      searched = sought;
      found = styles;
      at = found.length && sought ? 0 : -1;
      list.replaceChildren(...found.map(choice));
      if (!found.length) list.append(el("li", { class: "quiet none" }, problem ?? words.none_found));
      if (answer?.more) list.append(el("li", { class: "quiet none" }, filled(words.more_found, { count: answer.more })));
      list.hidden = false;
      field.setAttribute("aria-expanded", "true");
      mark();
    }
    return { styles, problem };
  }

  function choice(card) {
    return el("li", { role: "option", id: `style-choice-${found.indexOf(card)}`, "aria-selected": "false", onmousedown: (event) => { event.preventDefault(); take(card, field.value); } },
      card.thumb ? el("img", { class: "thumb", alt: "", src: card.thumb }) : el("div", { class: "thumb" }),
      el("span", {}, card.name, card.trigger ? el("small", {}, card.trigger) : null));
  }

  function mark() {
    [...list.querySelectorAll("[role=option]")].forEach((one, place) => one.setAttribute("aria-selected", String(place === at)));
    at >= 0 ? field.setAttribute("aria-activedescendant", `style-choice-${at}`) : field.removeAttribute("aria-activedescendant");
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  // What is marked; where the list is not yet that of the words in the field, the first style for them.
  async function choose() {
    const typed = field.value;
    if (typed === searched && !list.hidden) return found[at] && take(found[at], typed);
    const { styles, problem } = await look();
    if (problem) say(problem, typed);
    else if (typed && styles.length) await take(styles[0], typed);
    else if (typed) say(words.none_found, typed);
  }

  // Whoever adds a style in vain has not typed in vain: the words come back.
  async function take(card, typed) {
    if (field.value === typed) field.value = "";
    close();
    say(await add(card.handle), typed);
  }

  function say(problem, typed) {
    status.textContent = problem ?? "";
    if (problem && !field.value) field.value = typed;
  }

  function close() {
    list.hidden = true;
    searched = null;
    asking++;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  }

  function keyed(event) {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) {
      event.preventDefault();
      if (list.hidden) return look();
      at = (at + move + found.length) % Math.max(1, found.length);
      mark();
    } else if (event.key === "Enter" && !event.ctrlKey) {
      event.preventDefault();
      choose();
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    }
  }

  return { element: el("div", { class: "adder" }, field, list), status };
}
