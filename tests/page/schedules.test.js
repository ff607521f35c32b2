// When in the painting a style is heard.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SCHEDULES, scheduleCurve, scheduleName, scheduleOf, scheduleText } from "../../app/window/create/schedules.js";

test("each schedule is found by its points, and others are the artist's own", () => {
  for (const [name, points] of Object.entries(SCHEDULES)) assert.equal(scheduleName(points), name);
  assert.equal(scheduleName([[0, 0.5]]), "own");
});

test("what is written is what is read", () => {
  for (const points of Object.values(SCHEDULES).filter(Boolean))
    assert.deepEqual(scheduleOf(scheduleText(points), 1), points);
  assert.deepEqual(scheduleOf(" 0@0.2,  1@-1 ", 1), [
    [0, 0.2],
    [1, -1],
  ]);
  assert.equal(scheduleText(null), "");
});

test("no schedule is read from what none can be", () => {
  for (const text of ["", "x", "0", "0@x", "0@1@2", "-0.1@1", "1.1@1", "0.5@1 0.4@1", "0@2.1"])
    assert.equal(scheduleOf(text, 1), null, text);
  assert.equal(scheduleOf("0@2", 2.1), null, "heard beyond 4");
  assert.notEqual(scheduleOf("0@2", 2), null);
});

test("the curve goes from the left edge to the right one", () => {
  assert.equal(scheduleCurve(null), "0,16 0,16 100,16");
  assert.equal(scheduleCurve(SCHEDULES.growing), "0,29 0,29 100,16 100,16");
});
