// Buttons inside drawn HTML: each says what it asks for. A preview is shown larger without asking anybody.

import { el } from "../dom.js";

export function mount({ element, trigger }) {
  element.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-do]");
    if (!button) return;
    if (button.dataset.do === "larger") showLarger(element, button);
    else trigger("asked", { ...button.dataset });
  });
}

function showLarger(element, button) {
  const dialog = el(
    "dialog",
    {
      class: "larger",
      onclick: () => dialog.close(),
      onclose: () => {
        dialog.remove();
        button.focus();
      },
    },
    button.querySelector("img").cloneNode(),
  );
  (element.closest(".gradio-container") || document.body).append(dialog);
  dialog.showModal();
}
