// The fields of a style's card.

// What the fields hold once they are saved: names and tags as they were stored, and what was typed meanwhile as it is.
export function tidied([given, stored], ...values) {
  return values.map((value, place) => (value === given[place] ? stored[place] : value));
}
