// The blends that are kept: this mix under a name, and those of before to take up, to share or to put away.

function blendShelf(words, server, mix) {
  const said = el("p", { role: "status", class: "quiet" }), wrong = el("p", { role: "alert", class: "bad" });
  const list = el("ul", { class: "blends", "aria-label": words.blends });
  const name = el("input", {
    type: "text", class: "grow", "aria-label": words.blend_name, placeholder: words.blend_name,
    onkeydown: (event) => { if (event.key === "Enter" && !event.ctrlKey) keep(); },
  });
  const file = el("input", { type: "file", accept: ".json,application/json", hidden: true, "aria-label": words.blend_bring, onchange: bring });
  const element = el("details", { class: "kept", ontoggle: () => { if (element.open) refresh(); } },
    el("summary", {}, words.blends),
    el("div", { class: "keep" }, name, el("button", { type: "button", class: "small", onclick: keep }, words.blend_keep)),
    said, wrong, list,
    el("button", { type: "button", class: "small", onclick: () => file.click() }, words.blend_bring), file);

  // The answer to a question, or null once its problem is shown.
  async function answer(question, about) {
    wrong.textContent = "";
    said.textContent = words.blend_busy;
    const told = await asked(question, about);
    said.textContent = "";
    if (told && !told.problem) return told;
    wrong.textContent = told ? told.problem : words.no_server;
    return null;
  }

  async function refresh() {
    const told = await asked(server.blends);
    if (!told || told.problem) return;
    const rows = told.blends.map((one) => row(one.name, one.words));
    list.replaceChildren(...rows, ...told.refused.map((reason) => el("li", { class: "bad" }, reason)));
    if (!list.children.length) list.append(el("li", { class: "quiet" }, words.blend_none));
  }

  function row(blend, styles) {
    return el("li", {},
      el("button", { type: "button", class: "take", "aria-label": filled(words.blend_take, { name: blend }), onclick: () => take(blend) },
        el("strong", {}, blend), el("span", { class: "quiet" }, styles)),
      iconButton("share", filled(words.blend_share, { name: blend }), () => share(blend)),
      iconButton("remove", filled(words.blend_discard, { name: blend }), () => discard(blend)));
  }

  async function keep() {
    const told = await answer(server.keep_blend, { name: name.value, mix: mix.now() });
    if (!told) return;
    name.value = "";
    await refresh();
    said.textContent = filled(words.blend_kept, told);
  }

  async function take(blend) {
    const told = await answer(server.take_blend, { name: blend });
    if (!told) return;
    await mix.put(told.mix);
    said.textContent = filled(words.blend_taken, { name: blend });
  }

  async function share(blend) {
    const told = await answer(server.share_blend, { name: blend });
    if (!told) return;
    const link = el("a", { href: URL.createObjectURL(new Blob([told.text], { type: "application/json" })), download: told.file });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  async function bring() {
    const [given] = file.files;
    if (!given) return;
    const told = await answer(server.bring_blend, { file: given.name, text: await given.text() });
    file.value = "";
    if (!told) return;
    await refresh();
    said.textContent = filled(words.blend_brought, told);
  }

  async function discard(blend) {
    if (!await answer(server.discard_blend, { name: blend })) return;
    await refresh();
    said.textContent = filled(words.discarded, { name: blend });
    name.focus();
  }

  return element;
}
