// The pictures that are kept: small ones to choose from, and of the chosen one how it was made.

function history(words, server, stage) {
  let items = [], total = 0, chosen = "";
  const recipe = el("div", { class: "recipe" });
  const list = el("ul", { class: "pictures" });
  const heading = el("h2", {}, words.pictures);
  const older = el("button", { type: "button", class: "small", hidden: true, onclick: () => load(items.length) }, words.older);
  const file = el("input", {
    type: "file", accept: ".png,image/png", hidden: true, "aria-label": words.restore, onchange: () => stage.bring(file.files[0]).then(() => { file.value = ""; }),
  });
  const restore = el("button", { type: "button", class: "small", title: words.restore_help, onclick: () => file.click() }, words.restore);
  const element = el("section", { class: "history", "aria-label": words.pictures }, recipe, el("div", { class: "history-head" }, heading, restore, file), list, older);

  async function load(start) {
    const told = await asked(server.history, { start });
    if (!told || told.problem) return;
    items = start ? [...items, ...told.pictures.filter((one) => !items.some((item) => item.name === one.name))] : told.pictures;
    total = told.total;
    draw();
  }

  // The newest pictures; the first of `paths`, or on a fresh page the newest, is described.
  async function refresh(paths) {
    await load(0);
    const wanted = paths === undefined ? items[0] : items.find((item) => paths.includes(item.path));
    if (wanted) describe(wanted);
    if (paths === undefined && items[0]) stage.show(items[0]);
  }

  function draw() {
    older.hidden = items.length >= total;
    list.replaceChildren(...items.map((item) => el("li", {},
      el("button", { type: "button", "aria-label": item.title, "aria-pressed": String(item.name === chosen), title: item.title, onclick: () => choose(item.path) },
        el("img", { src: stage.fileUrl(item.path), alt: "", loading: "lazy", decoding: "async" })))));
    if (!items.length) list.append(el("li", { class: "quiet none" }, words.no_pictures));
  }

  function choose(path) {
    const item = items.find((one) => one.path === path);
    if (!item) return;
    stage.show(item);
    describe(item);
  }

  function describe(item) {
    chosen = item.name;
    for (const button of list.querySelectorAll("button")) button.setAttribute("aria-pressed", "false");
    list.querySelectorAll("button")[items.indexOf(item)]?.setAttribute("aria-pressed", "true");
    const act = (what) => () => { stage.say(words.taking); stage.trigger(what, { name: item.name }); };
    recipe.replaceChildren(
      el("h3", {}, item.title),
      ...item.words.map((line) => el("p", { class: "quiet" }, line)),
      el("div", { class: "acts" },
        item.words.length ? el("button", { type: "button", class: "small", onclick: act("recall") }, words.recall) : null,
        el("button", { type: "button", class: "small", onclick: act("begin") }, words.begin),
        el("a", { class: "small", href: stage.fileUrl(item.path), download: item.name }, words.download),
        el("button", { type: "button", class: "small", onclick: () => discard(item) }, words.discard)),
    );
  }

  async function discard(item) {
    const told = await asked(server.discard, { name: item.name });
    stage.say(told ? told.problem ?? filled(words.discarded, { name: item.name }) : words.no_server);
    recipe.replaceChildren();
    await refresh(told && !told.problem ? undefined : []);
  }

  refresh();
  return { element, refresh, choose };
}
