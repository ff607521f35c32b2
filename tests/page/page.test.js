// What the page has before gradio draws anything.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { countOf, rolledSeed } from "../../app/window/create/paper.js";
import { countsSeconds, fetchInTurn, frameForGradio } from "../../app/window/loading.js";
import { MODULES } from "../../app/window/page.js";
import { changedSubjects } from "../../app/window/server/news.js";
import { filled, filledInTurn, rounded } from "../../app/window/words.js";

const WINDOW = new URL("../../app/window/", import.meta.url);

test("every module that draws a component is among them", async () => {
  const names = readdirSync(WINDOW, { recursive: true }).map((path) => path.replaceAll("\\", "/"));
  for (const name of names.filter((path) => path.endsWith(".js"))) {
    const module = await import(new URL(name, WINDOW));
    if (module.mount) assert.equal(MODULES[name.slice(0, -3)], module, name);
  }
  for (const [name, module] of Object.entries(MODULES))
    assert.equal(module, await import(new URL(`${name}.js`, WINDOW)), name);
});

test("gradio's seconds are not counted while the page loads, and a promise is kept at once", async () => {
  const steps = [];
  let isLoaded = false;
  const frame = frameForGradio(
    (step) => steps.push(step),
    () => isLoaded,
  );
  const counter = () => performance.now() - 5;
  const other = () => {};
  assert.ok(countsSeconds(counter) && !countsSeconds(other));
  frame(counter);
  frame(other);
  assert.deepEqual(steps, [other]);
  isLoaded = true;
  frame(counter);
  assert.deepEqual(steps, [other, counter]);
  await new Promise(frame);
  assert.equal(steps.length, 2);
});

test("what is asked goes to the server in turn, also after what failed", async () => {
  const asked = [];
  const fetch = fetchInTurn(
    (path) => new Promise((resolve, reject) => asked.push({ path, resolve, reject })),
    ["/join"],
    20,
  );
  const first = fetch("x/join?1");
  const second = fetch("x/join?2");
  fetch("x/other");
  await new Promise(setImmediate);
  assert.deepEqual(
    asked.map(({ path }) => path),
    ["x/other", "x/join?1"],
  );
  asked[1].reject(new Error("away"));
  await assert.rejects(first);
  await new Promise(setImmediate);
  assert.equal(asked[2].path, "x/join?2");
  const third = fetch("x/join?3");
  await new Promise((done) => setTimeout(done, 40));
  asked[3].resolve("there");
  assert.equal(await third, "there");
  asked[2].resolve("late");
  assert.equal(await second, "late");
});

test("news are the subjects whose word has changed, and a server that is away", () => {
  assert.deepEqual(changedSubjects(null, { canvas: "1" }), []);
  assert.deepEqual(changedSubjects({ canvas: "1", queue: "1" }, { canvas: "1", queue: "2", form: "1" }), [
    "queue",
    "form",
  ]);
  assert.deepEqual(changedSubjects({ canvas: "1" }, null), ["server"]);
});

test("texts are filled, and numbers have two places at most", () => {
  assert.equal(filled("{a} of {b} {c}", { a: 1, b: "{a}" }), "1 of {a} {c}");
  assert.equal(filledInTurn("{} of {}", 1, 2), "1 of 2");
  assert.deepEqual([1, 0.125, 0.1 + 0.2, -0.5].map(rounded), ["1", "0.13", "0.3", "-0.5"]);
});

test("a seed can be typed, and as many pictures as may be are asked for", () => {
  assert.match(rolledSeed({ getRandomValues: (array) => array.fill(2 ** 32 - 1) }), /^4294967295$/);
  assert.deepEqual(
    ["", "x", "-1", "2.6", "99"].map((text) => countOf(text, 16)),
    [1, 1, 1, 3, 16],
  );
});
