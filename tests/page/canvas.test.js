// What is shown of the server's canvas.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as canvases from "../../app/window/create/canvas.js";
import { listed } from "../../app/window/create/history.js";

const WORDS = {
  step: "Step {step} of {steps}",
  draft_step: "Draft {step}",
  done: "Done.",
  draft_done: "A draft.",
  failed: "Failed.",
};

test("the words of each state", () => {
  const words = (about) => canvases.stateWords({ kind: "asked", step: 2, steps: 9, ...about }, WORDS);
  assert.equal(words({ state: "painting" }), "Step 2 of 9");
  assert.equal(words({ state: "painting", kind: "draft" }), "Draft 2");
  assert.equal(words({ state: "done" }), "Done.");
  assert.equal(words({ state: "done", kind: "draft" }), "A draft.");
  assert.equal(words({ state: "resting", notices: ["A training runs."] }), "A training runs.");
  assert.equal(words({ state: "failed" }), "Failed.");
  assert.equal(words({ state: "blank" }), "");
});

test("a click is answered at once, and keeps the pictures that are there", () => {
  const before = { state: "failed", number: 3, pictures: [1], problem: "No memory.", notices: ["Slow."] };
  const canvas = canvases.expecting(before, "asked");
  assert.deepEqual([canvas.state, canvas.problem, canvas.notices, canvas.pictures], ["preparing", "", [], [1]]);
  assert.ok(canvases.isAskedFor(canvas));
  assert.ok(!canvases.isOver(canvas) && canvases.isOver(before) && !canvases.isOver(canvases.BLANK));
});

test("a picture that follows a slider is shown in place of the one before once it says more", () => {
  const canvas = { state: "painting", kind: "live", share: 0.2, previews: ["p"], pictures: ["old"] };
  assert.deepEqual(canvases.previewsOf(canvas, true), []);
  assert.deepEqual(canvases.previewsOf(canvas, false), ["p"]);
  assert.deepEqual(canvases.previewsOf({ ...canvas, share: 0.5 }, true), ["p"]);
  assert.deepEqual(canvases.previewsOf({ ...canvas, kind: "asked" }, true), ["p"]);
  assert.deepEqual(canvases.picturesOf(canvas), []);
  assert.deepEqual(canvases.picturesOf({ ...canvas, kind: "asked" }), ["old"]);
  assert.deepEqual(canvases.previewsOf({ ...canvas, state: "done" }, false), []);
});

test("pictures stand side by side as is largest for their shape", () => {
  const square = { naturalWidth: 64, naturalHeight: 64 };
  const across = (count, width, height) => canvases.acrossFor(count, square, { width, height });
  assert.equal(across(4, 100, 100), 2);
  assert.equal(across(4, 400, 100), 4);
  assert.equal(across(4, 100, 400), 1);
  assert.equal(across(7, 100, 100), 3);
});

test("older pictures go on after those that are listed, each once", () => {
  const [one, two, three] = ["1", "2", "3"].map((name) => ({ name }));
  assert.deepEqual(listed([one, two], 2, [two, three]), [one, two, three]);
  assert.deepEqual(listed([one, two], 0, [three]), [three]);
});
