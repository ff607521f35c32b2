// The cards of the artworks: a caption is kept when one leaves its field, a cross takes the artwork out.

export function mount({ element, trigger }) {
  element.addEventListener("change", ({ target }) => {
    const name = target.closest("[data-name]")?.dataset.name;
    if (!name) return;
    // What the next drawing of the page compares with.
    target.setAttribute("value", target.value);
    trigger("caption", { name, text: target.value });
  });
  element.addEventListener("click", ({ target, detail }) => {
    const cross = target.closest(".leave");
    // The second click of a double one may come upon the next artwork, drawn in the place of the first.
    if (cross && detail < 2) trigger("taken_out", { name: cross.closest("[data-name]").dataset.name });
  });
}
