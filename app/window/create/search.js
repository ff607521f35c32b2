// Finding a style to add: a field, and a list that follows what is typed. The pattern is ARIA's combobox.

function styleSearch(words, server, add, mixed) {
  const PAUSE_MS = 150;
  let found = [], at = -1, typing = 0, asking = 0, searched = null; // the words that `found` is for
  const list = el("ul", { role: "listbox", id: "style-choices", "aria-label": words.add, class: "choices", hidden: true });
  const field = el("input", {
    type: "text", role: "combobox", "aria-label": words.add, "aria-controls": list.id, "aria-expanded": "false",
    "aria-autocomplete": "list", autocomplete: "off", placeholder: words.add_hint,
    onfocus: () => look(), oninput: () => { clearTimeout(typing); typing = setTimeout(look, PAUSE_MS); },
    // Not where it has the focus again: whoever adds two styles in a row would lose the second.
    onblur: () => setTimeout(() => document.activeElement === field || close(), 150), onkeydown: keyed,
  });

  async function look() {
    clearTimeout(typing);
    const now = ++asking, wanted = field.value;
    const told = await asked(server.styles, { words: wanted, without: mixed(), base: window.atelierBase ?? "" });
    if (now !== asking || document.activeElement !== field) return;
    searched = wanted;
    found = told && !told.problem ? told.styles : [];
    at = found.length && field.value ? 0 : -1;
    list.replaceChildren(...found.map(choice));
    if (!found.length) list.append(el("li", { class: "quiet none" }, told ? told.problem ?? words.none_found : words.no_server));
    if (told && told.more) list.append(el("li", { class: "quiet none" }, filled(words.more_found, { count: told.more })));
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
    mark();
  }

  function choice(card, place) {
    return el("li", { role: "option", id: `style-choice-${place}`, "aria-selected": "false", onmousedown: (event) => { event.preventDefault(); take(place); } },
      card.thumb ? el("img", { class: "thumb", alt: "", src: card.thumb }) : el("div", { class: "thumb" }),
      el("span", {}, card.name, card.trigger ? el("small", {}, card.trigger) : null));
  }

  function mark() {
    [...list.querySelectorAll("[role=option]")].forEach((one, place) => one.setAttribute("aria-selected", String(place === at)));
    at >= 0 ? field.setAttribute("aria-activedescendant", `style-choice-${at}`) : field.removeAttribute("aria-activedescendant");
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  function take(place) {
    if (!found[place]) return;
    add(found[place].handle);
    field.value = "";
    close();
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
      field.value === searched && !list.hidden ? take(at) : look().then(() => take(at));
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    }
  }

  return el("div", { class: "adder" }, field, list);
}
