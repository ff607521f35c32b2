// The answers to the cards of what waits to be imported.

export function mount({ element, trigger, watch }) {
  let isAnswered = false;
  element.addEventListener("click", ({ target, detail }) => {
    const button = target.closest("[data-do]");
    // The second click of a double one may come upon the next card, drawn in the place of the first.
    if (!button || detail > 1) return;
    isAnswered = true;
    const number = Number(button.closest("[data-number]").dataset.number);
    trigger(button.dataset.do === "bring" ? "bring" : "leave", { number });
  });
  watch("value", () => {
    if (isAnswered) element.querySelector("button")?.focus();
    isAnswered = false;
  });
}
