// Making elements, and icons. Texts are set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

// An element with attributes, with listeners (`on…`) and with children, of which null is none.
export function el(tag, about = {}, ...children) {
  const made = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const ICONS = {
  heard: "M4 9v6h4l5 4V5L8 9zM16 9a4 4 0 0 1 0 6M18.5 6.5a8 8 0 0 1 0 11",
  muted: "M4 9v6h4l5 4V5L8 9zM17 9.5l5 5M22 9.5l-5 5",
  solo: "M4 17v-4a8 8 0 0 1 16 0v4M4 15h3v5H4zM17 15h3v5h-3z",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  remove: "M6 6l12 12M18 6L6 18",
  share: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  dice: "M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01",
  locked: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  unlocked: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 6.8-1.2",
};

function icon(name) {
  const path = el("svg:path", {
    d: ICONS[name],
    fill: "none",
    stroke: "currentColor",
    "stroke-width": name === "more" || name === "dice" ? 2.4 : 1.8,
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
  });
  return el("svg:svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, path);
}

export function iconButton(name, label, onclick, about = {}) {
  const attributes = { type: "button", class: "plain", "aria-label": label, title: label, onclick, ...about };
  return el("button", attributes, icon(name));
}

export function smallButton(label, onclick, about = {}) {
  return el("button", { type: "button", class: "small", onclick, ...about }, label);
}
