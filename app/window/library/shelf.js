// A tile opens its style; its star marks it.

export function mount({ element, trigger }) {
  element.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-do]");
    if (!button) return;
    const { style } = button.closest("[data-style]").dataset;
    if (button.dataset.do === "star") trigger("starred", { style, on: button.getAttribute("aria-pressed") !== "true" });
    else trigger("opened", { style });
  });
}
