// The cards of the artworks: a caption is kept when one leaves its field, a cross takes the artwork out.

export function mount({ element, trigger }) {
  element.addEventListener("change", ({ target }) => {
    const name = target.closest("[data-name]")?.dataset.name;
    if (!name) return;
    // What the next drawing of the page compares with.
    target.setAttribute("value", target.value);
    trigger("caption", { name, text: target.value });
  });
  element.addEventListener("click", ({ target }) => {
    const cross = target.closest(".leave");
    if (cross) trigger("taken_out", { name: cross.closest("[data-name]").dataset.name });
  });
}
