// The answers to the cards of what waits to be imported.

export function mount({ element, trigger, watch }) {
  let isAnswered = false;
  element.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-do]");
    if (!button) return;
    isAnswered = true;
    const number = Number(button.closest("[data-number]").dataset.number);
    trigger(button.dataset.do === "bring" ? "bring" : "leave", { number });
  });
  watch("value", () => {
    if (isAnswered) element.querySelector("button")?.focus();
    isAnswered = false;
  });
}
