// Texts for people.

// A text of the page with its places filled.
export function filled(text, places) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in places ? String(places[name]) : whole));
}

// A text with the places `{}` filled in turn.
export function filledInTurn(text, ...values) {
  return values.reduce((filledSoFar, value) => filledSoFar.replace("{}", String(value)), text);
}

export const rounded = (value) => String(Math.round(value * 100) / 100);
