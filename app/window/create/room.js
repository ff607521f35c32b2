// What the parts of the Create room have in common: the base that is chosen, and the form as this browser keeps it.

import { announce } from "../messages.js";

// This tab keeps the form for a reload, the browser the last one for a new tab.
const FORM = "atelier.create";
// Where another room leaves a style to paint with.
const STYLE = "atelier.add-style";

// Restored is the room once it has the artist's last form back.
export const room = { base: "", isRestored: false, form: {}, suiting: {} };

export function keptForm() {
  return [sessionStorage.getItem(FORM) ?? localStorage.getItem(FORM) ?? ""];
}

// Nothing is kept before what was kept is back.
export function keepForm(names, ...values) {
  room.form = Object.fromEntries(names.map((name, place) => [name, values[place]]));
  announce("form");
  if (!room.isRestored) return;
  const form = JSON.stringify(room.form);
  for (const storage of [sessionStorage, localStorage]) storage.setItem(FORM, form);
}

export function showRestored() {
  room.isRestored = true;
  document.querySelector(".gradio-container").dataset.create = "";
}

export function visit() {
  announce("visited");
}

export function chooseBase(base) {
  room.base = base ?? "";
  announce("base");
}

// What suits the base or a style of the mix best, for the fields of these names.
export function suited(names) {
  return names.map((name) => room.suiting[name]);
}

export function isSuited(fields) {
  return Object.entries(fields).every(([name, value]) => String(room.form[name] ?? "") === String(value));
}

// Leave a style for this room, and go there.
export function paintWith(style) {
  sessionStorage.setItem(STYLE, style);
  goThere();
}

export function goThere() {
  document.querySelector('[role="tab"][data-tab-id="create"]')?.click();
}

// The style that was left, once; else null.
export function takeStyle() {
  const style = sessionStorage.getItem(STYLE);
  sessionStorage.removeItem(STYLE);
  return style;
}
