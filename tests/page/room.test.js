// The form of the Create room as a browser keeps it.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  isSuited,
  keepForm,
  keptForm,
  paintWith,
  room,
  showRestored,
  suited,
  takeStyle,
} from "../../app/window/create/room.js";

class Storage {
  #items = new Map();

  getItem = (key) => this.#items.get(key) ?? null;
  setItem = (key, value) => this.#items.set(key, value);
  removeItem = (key) => this.#items.delete(key);
}

const NAMES = ["prompt", "mix"];
const container = { dataset: {} };
let clicks;
let events;
beforeEach(() => {
  clicks = [];
  events = [];
  room.isRestored = false;
  globalThis.sessionStorage = new Storage();
  globalThis.localStorage = new Storage();
  globalThis.document = {
    dispatchEvent: (event) => events.push(event.type),
    querySelector: (selector) =>
      selector === ".gradio-container" ? container : { click: () => clicks.push(selector) },
  };
});

test("nothing is kept before the last form is back, which would be lost", () => {
  keepForm(NAMES, "", null);
  assert.deepEqual(keptForm(), [""]);
  showRestored();
  assert.equal(container.dataset.create, "");
  keepForm(NAMES, "a house", { rows: [] });
  assert.deepEqual(JSON.parse(keptForm()[0]), { prompt: "a house", mix: { rows: [] } });
});

test("a tab has its own form back, a new one the last of all", () => {
  showRestored();
  keepForm(NAMES, "mine", null);
  localStorage.setItem("atelier.create", "another tab's");
  assert.equal(JSON.parse(keptForm()[0]).prompt, "mine");
  globalThis.sessionStorage = new Storage();
  assert.deepEqual(keptForm(), ["another tab's"]);
});

test("what suits a base is taken into the form, and then known to be there", () => {
  const fields = { sampler: "lcm", schedule: "", steps: 6, guidance: "1.5" };
  keepForm(["sampler", "schedule", "steps", "guidance"], "", "", 20, "");
  assert.equal(isSuited(fields), false);
  room.suiting = fields;
  assert.deepEqual(suited(["steps", "sampler"]), [6, "lcm"]);
  keepForm(["sampler", "schedule", "steps", "guidance"], "lcm", null, 6, "1.5");
  assert.equal(isSuited(fields), true);
  assert.deepEqual(events, ["atelier:form", "atelier:form"]);
});

test("a style that is sent here is taken once, and the room opens", () => {
  paintWith("ink");
  assert.match(clicks[0], /create/);
  assert.deepEqual([takeStyle(), takeStyle()], ["ink", null]);
});
