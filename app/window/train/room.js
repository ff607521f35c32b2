// What gradio's handlers of the Train room do on the page.

import { announce } from "../messages.js";

export function showRestored() {
  document.querySelector(".gradio-container").dataset.train = "";
}

// The form has changed.
export function tellForm() {
  announce("news", ["form"]);
}
