// The list of bases: a button asks for something of the base of its card, a form changes what is settled for it.

export function mount({ element, trigger, watch }) {
  let base = "";
  let opened = ""; // the base whose ways of keeping it are open, and stay so in the next drawing
  const baseOf = (part) => part.closest("[data-base]")?.dataset.base;
  element.addEventListener("focusin", ({ target }) => {
    base = baseOf(target);
  });
  element.addEventListener("click", ({ target, detail }) => {
    const button = target.closest("[data-do]");
    // The second click of a double one may come upon the button of another base, drawn in the place of the first.
    if (!button || detail > 1) return;
    opened = button.dataset.do === "install" ? baseOf(button) : "";
    trigger(button.dataset.do, { base: baseOf(button) });
  });
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = new FormData(event.target);
    const styles = said.getAll("styles").map((handle) => [handle, said.get(`weight ${handle}`)]);
    const values = { ...Object.fromEntries(said), styles, agreed: said.has("agreed") };
    trigger(event.target.dataset.submit, { base: baseOf(event.target), ...values });
  });
  // Gradio keeps the elements of the drawing before, with what was typed there, for whichever base comes in their place.
  watch("value", () => {
    for (const form of element.querySelectorAll("form")) form.reset();
    const focused = document.activeElement;
    if (!base || !(focused === document.body || element.contains(focused))) return;
    const cards = [...element.querySelectorAll("[data-base]")];
    const card = cards.find((one) => one.dataset.base === base) || cards[0];
    const ways = card?.dataset.base === opened && card.querySelector("details.keeping");
    opened = "";
    if (ways) ways.open = true;
    card?.querySelector(ways ? "details.keeping summary" : "h3").focus({ preventScroll: true });
  });
}
