// Where the styles of a blend pad stand, in a box of 1 by 1: two on a line, three in a triangle, four in a square.

const CORNERS = {
  2: [
    [0, 1],
    [1, 1],
  ],
  3: [
    [0.5, 0],
    [0, 1],
    [1, 1],
  ],
  4: [
    [0, 0],
    [1, 0],
    [0, 1],
    [1, 1],
  ],
};

export const cornersOf = (count) => CORNERS[count];
export const fitsPad = (count) => count in CORNERS;
// The order of the corners around the edge.
export const edgeOf = (count) => (count === 4 ? [0, 1, 3, 2] : [...CORNERS[count].keys()]);

// The shares of the styles at a place, each 0 to 1, one in all.
export function sharesAt(x, y, count) {
  if (count === 2) return [1 - x, x];
  if (count === 4) return [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y];
  // Barycentric coordinates; y is the distance from the top. What lies outside is brought back into the triangle.
  const right = x - 0.5 * (1 - y);
  const shares = [1 - y, y - right, right].map((share) => Math.max(0, share));
  const all = shares[0] + shares[1] + shares[2];
  return shares.map((share) => share / all);
}

// The place where the styles have these shares; of four styles the nearest one.
export function placeOf(shares) {
  const corners = CORNERS[shares.length];
  return [0, 1].map((axis) => shares.reduce((sum, share, corner) => sum + share * corners[corner][axis], 0));
}

// The shares of weights, the same for all where none is above 0; and the weights' sum, 0 there.
export function sharesOf(weights) {
  const positive = weights.map((weight) => Math.max(0, weight));
  const sum = positive.reduce((one, other) => one + other, 0);
  return { shares: positive.map((weight) => (sum > 0 ? weight / sum : 1 / weights.length)), sum };
}

// The weights, to a thousandth, that a place gives styles whose weights sum up to `sum`; and their shares.
export function weightsAt(x, y, count, sum) {
  const within = (value) => Math.min(1, Math.max(0, value));
  const shares = sharesAt(within(x), within(y), count);
  return { shares, weights: shares.map((share) => Math.round(sum * share * 1000) / 1000) };
}
