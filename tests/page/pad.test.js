// The geometry of the blend pad.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cornersOf, fitsPad, placeOf, sharesAt, sharesOf, weightsAt } from "../../app/window/create/pad_geometry.js";

const near = (one, other) =>
  one.length === other.length && one.every((value, place) => Math.abs(value - other[place]) < 1e-9);

test("at a style's corner there is only that style, in the middle as much of each", () => {
  for (const count of [2, 3, 4]) {
    for (const [corner, place] of cornersOf(count).entries()) {
      const shares = sharesAt(...place, count);
      assert.ok(
        near(
          shares,
          shares.map((_, other) => Number(other === corner)),
        ),
        `${count} ${corner} ${shares}`,
      );
    }
    const same = Array(count).fill(1 / count);
    assert.ok(near(sharesAt(...placeOf(same), count), same));
  }
});

test("the shares are between 0 and 1 and one in all, and lie where they were read", () => {
  for (const count of [2, 3, 4])
    for (let x = 0; x <= 1; x += 0.25)
      for (let y = 0; y <= 1; y += 0.25) {
        const shares = sharesAt(x, y, count);
        assert.ok(shares.every((share) => share >= 0 && share <= 1));
        assert.ok(near([shares.reduce((one, other) => one + other)], [1]));
        assert.ok(near(sharesAt(...placeOf(shares), count), shares));
      }
});

test("weights become shares of their sum, and negative ones none", () => {
  assert.deepEqual(sharesOf([1, 3, -2]), { shares: [0.25, 0.75, 0], sum: 4 });
  assert.deepEqual(sharesOf([0, -1]), { shares: [0.5, 0.5], sum: 0 });
});

test("a place outside the pad is the nearest one inside, and the sum of the weights stays", () => {
  assert.deepEqual(weightsAt(-3, 9, 2, 1.5).weights, [1.5, 0]);
  assert.deepEqual(weightsAt(2, 2, 4, 2).weights, [0, 0, 0, 2]);
});

test("there is a pad for two to four styles", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5].filter(fitsPad), [2, 3, 4]);
});
