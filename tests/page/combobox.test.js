// The combobox while answers come late: what is chosen is never lost, and never another one.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Combobox } from "../../app/window/create/combobox.js";

const NONE = "No style has these words.";
const [INK, RINGS, CHALK] = ["Ink", "Rings", "Chalk"].map((name) => ({ name }));

let questions;
let box;
beforeEach(() => {
  questions = [];
  box = new Combobox((words) => new Promise((resolve) => questions.push({ words, resolve })));
});

async function answer(words, choices, problem) {
  const place = questions.findIndex((question) => question.words === words);
  questions.splice(place, 1)[0].resolve({ choices, problem });
  await new Promise((resolve) => setImmediate(resolve));
}

async function open(words, choices) {
  box.look(words);
  await answer(words, choices);
}

test("Enter takes the marked choice of a list that is that of the words", async () => {
  await open("r", [RINGS, CHALK]);
  box.move(1);
  assert.deepEqual(await box.chosen("r", NONE), { choice: CHALK });
  box.move(1);
  assert.deepEqual(await box.chosen("r", NONE), { choice: RINGS }, "round and round");
});

test("Enter over the list of other words takes the first choice for the words that are there", async () => {
  await open("", [INK, RINGS]);
  const chosen = box.chosen("Rings", NONE);
  await answer("Rings", [RINGS]);
  assert.deepEqual(await chosen, { choice: RINGS });
});

test("Enter is not lost where its search is overtaken by another one, or by leaving the field", async () => {
  await open("", [INK, RINGS]);
  for (const overtake of [() => box.look("Rin"), () => box.close()]) {
    const chosen = box.chosen("Rings", NONE);
    overtake();
    await answer("Rings", [RINGS]);
    assert.deepEqual(await chosen, { choice: RINGS });
  }
});

test("what was overtaken is not shown", async () => {
  box.look("r");
  box.look("ri");
  await answer("ri", [RINGS]);
  await answer("r", [INK, RINGS]);
  assert.deepEqual([box.words, box.choices], ["ri", [RINGS]]);
  box.look("x");
  box.close();
  await answer("x", []);
  assert.equal(box.isOpen, false);
});

test("a search that fails, or finds nothing, is said", async () => {
  let chosen = box.chosen("Rings", NONE);
  await answer("Rings", [], "Nobody answers.");
  assert.deepEqual(await chosen, { problem: "Nobody answers." });
  chosen = box.chosen("Rings", NONE);
  await answer("Rings", []);
  assert.deepEqual(await chosen, { problem: NONE });
});

test("Enter without a word chooses nothing until a choice is marked", async () => {
  await open("", [INK, RINGS]);
  assert.equal((await box.chosen("", NONE)).choice, undefined);
  box.move(1);
  assert.deepEqual(await box.chosen("", NONE), { choice: INK });
  await open("", []);
  box.move(1);
  assert.equal(box.active, 0);
});
