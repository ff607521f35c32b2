// The button below the styles whose files have gone.

export function mount({ element, trigger }) {
  element.addEventListener("click", ({ target }) => {
    if (target.closest("button")) trigger("forget");
  });
}
