// The mix while its styles are looked up: what is added in that time stays, and what fails is said.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { bounded, Mix, MOST_HEARD } from "../../app/window/create/mix_state.js";

const WORDS = { no_server: "Nobody answers.", full: "There is room for {count}." };
const row = (style, about = {}) => ({ style, name: "", weight: 1, muted: false, solo: false, word: true, ...about });
const stylesOf = (mix) => mix.rows.map(({ style }) => style);

// A library that answers a question when the test says so.
class Library {
  cards = new Map();
  questions = [];

  put(id, about = {}) {
    this.cards.set(id, { id, name: `name of ${id}`, weight: 0.8, trigger: "", ...about });
    return this;
  }

  lookUp = (style) => new Promise((resolve) => this.questions.push({ style, resolve }));

  // Answer the oldest question about a style.
  async answer(style, card = this.cards.get(style) ?? null) {
    const place = this.questions.findIndex((question) => question.style === style);
    assert.notEqual(place, -1, `nobody has asked for ${style}`);
    this.questions.splice(place, 1)[0].resolve(card);
    await settled();
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

let library;
let mix;
beforeEach(async () => {
  library = new Library().put("ink").put("rings").put("chalk").put("old");
  mix = new Mix(library.lookUp, WORDS, 3);
});

async function filledWith(...styles) {
  const put = mix.put({ rows: styles.map((style) => row(style)), mode: "sum" });
  for (const style of styles) await library.answer(style);
  await put;
}

test("a style that is added while another mix is put there stays", async () => {
  await filledWith("ink");
  const put = mix.put({ rows: [row("old")], mode: "take turns" });
  const added = mix.add("rings");
  await library.answer("rings");
  assert.equal(await added, "");
  await library.answer("old");
  assert.equal(await put, true);
  assert.deepEqual(stylesOf(mix), ["old", "rings"]);
  assert.equal(mix.mode, "take turns");
});

test("a mix is on its way until its styles are known, or those of the one that came after it", async () => {
  assert.equal(mix.isComing, false);
  const first = mix.put({ rows: [row("ink")] });
  assert.equal(mix.isComing, true);
  const second = mix.put({ rows: [row("rings")] });
  await library.answer("ink");
  assert.equal(await first, false);
  assert.equal(mix.isComing, true);
  await library.answer("rings");
  assert.equal(await second, true);
  assert.equal(mix.isComing, false);
});

test("a style whose card comes after the other mix is put there is added to that one", async () => {
  const added = mix.add("rings");
  const put = mix.put({ rows: [row("old")] });
  await library.answer("old");
  await put;
  await library.answer("rings");
  assert.equal(await added, "");
  assert.deepEqual(stylesOf(mix), ["old", "rings"]);
});

test("a style that is added before the page has its last mix back stays", async () => {
  const added = mix.add("rings");
  await library.answer("rings");
  await added;
  const put = mix.put({ rows: [row("ink")] }, false);
  await library.answer("ink");
  await put;
  assert.deepEqual(stylesOf(mix), ["ink", "rings"]);
  await mix.put({ rows: [row("rings", { weight: 0.3 })] }, false);
  assert.deepEqual(stylesOf(mix), ["rings"]);
  assert.equal(mix.rows[0].weight, 0.3, "as it was kept, once");
});

test("settings that are taken later replace what was added before", async () => {
  await filledWith("ink");
  const added = mix.add("rings");
  await library.answer("rings");
  await added;
  const put = mix.put({ rows: [row("old")] });
  await library.answer("old");
  await put;
  assert.deepEqual(stylesOf(mix), ["old"]);
});

test("of two mixes the one that came last is put there, whichever is known first", async () => {
  const first = mix.put({ rows: [row("ink")] });
  const last = mix.put({ rows: [row("old")] });
  await library.answer("old");
  await library.answer("ink");
  assert.deepEqual([await first, await last], [false, true]);
  assert.deepEqual(stylesOf(mix), ["old"]);
});

test("the mix is what it was until the other one is known", async () => {
  await filledWith("ink");
  mix.put({ rows: [row("old")] });
  mix.rows[0].weight = 0.1;
  assert.deepEqual(mix.value().rows[0].weight, 0.1);
  assert.deepEqual(stylesOf(mix), ["ink"]);
});

test("what is changed, added and taken out while the styles are looked up anew stays", async () => {
  await filledWith("ink", "old");
  const refreshed = mix.refresh();
  const added = mix.add("rings");
  await library.answer("rings");
  await added;
  mix.rows[0].weight = 0.1;
  mix.remove(mix.rows[1]);
  await library.answer("ink");
  await library.answer("old");
  await refreshed;
  assert.deepEqual(stylesOf(mix), ["ink", "rings"]);
  assert.equal(mix.rows[0].weight, 0.1);
});

test("why a style is not added is said", async () => {
  for (const [card, problem] of [
    [null, WORDS.no_server],
    [{ problem: "The disk is busy." }, "The disk is busy."],
    [{ id: "rings", name: "Rings", missing: "It is in the trash." }, "It is in the trash."],
  ]) {
    for (const add of [mix.add("rings"), mix.addAlone("rings")]) {
      await library.answer("rings", card);
      assert.equal(await add, problem);
    }
  }
  assert.deepEqual(mix.rows, []);
});

test("a style that is there already is not added twice, and none beyond the last place", async () => {
  await filledWith("ink", "old");
  const both = [mix.add("rings"), mix.add("rings"), mix.add("chalk")];
  for (const style of ["rings", "rings", "chalk"]) await library.answer(style);
  assert.deepEqual(await Promise.all(both), ["", "", "There is room for 3."]);
  assert.deepEqual(stylesOf(mix), ["ink", "old", "rings"]);
});

test("the first style has the weight of its card, those that join it half of theirs", async () => {
  for (const style of ["ink", "rings"]) {
    const added = mix.add(style);
    await library.answer(style);
    await added;
  }
  assert.deepEqual(
    mix.rows.map(({ weight }) => weight),
    [0.8, 0.4],
  );
});

test("a style that was just made is heard alone, and the mix stays where it can't be had", async () => {
  await filledWith("ink", "old");
  mix.rows[0].solo = true;
  const failed = mix.addAlone("gone");
  await library.answer("gone");
  assert.equal(await failed, WORDS.no_server);
  assert.ok(mix.isHeard(mix.rows[0]));
  const added = mix.addAlone("rings");
  await library.answer("rings");
  await added;
  assert.deepEqual(stylesOf(mix), ["rings", "ink", "old"]);
  assert.deepEqual(
    mix.rows.map((one) => mix.isHeard(one)),
    [true, false, false],
  );
});

test("a style that was just made is heard alone also where the mix was still being put there", async () => {
  const put = mix.put({ rows: [row("ink", { solo: true }), row("old")] });
  const added = mix.addAlone("rings");
  await library.answer("rings");
  await added;
  await library.answer("ink");
  await library.answer("old");
  await put;
  assert.deepEqual(stylesOf(mix), ["rings", "ink", "old"]);
  assert.deepEqual(
    mix.rows.map((one) => mix.isHeard(one)),
    [true, false, false],
  );
  await mix.put({ rows: [row("ink")] });
  assert.ok(mix.isHeard(mix.rows[0]));
});

test("a style that was made anew is followed by its name, once", async () => {
  await filledWith("ink", "old");
  const refreshed = mix.refresh();
  await library.answer("ink", { id: "ink 2", name: "Ink" });
  await library.answer("old", { id: "ink 2", name: "Ink" });
  await refreshed;
  assert.deepEqual(stylesOf(mix), ["ink 2"]);
  assert.equal(mix.rows[0].name, "Ink");
});

test("what is said of a style that was made anew stays until it is taken out", async () => {
  await filledWith("ink");
  library.put("ink 2", { name: "Ink", note: "" });
  for (const _ of [1, 2]) {
    const refreshed = mix.refresh();
    await library.answer(mix.rows[0].style, {
      id: "ink 2",
      name: "Ink",
      note: mix.rows[0].style === "ink" ? "another version" : "",
    });
    await refreshed;
  }
  assert.equal(mix.card(mix.rows[0]).note, "another version");
  mix.remove(mix.rows[0]);
  const added = mix.add("ink 2");
  await library.answer("ink 2");
  await added;
  assert.equal(mix.card(mix.rows[0]).note, "");
});

test("what the library said of a style is still known while the server is away", async () => {
  library.put("ink", { trigger: "inky" });
  await filledWith("ink");
  const refreshed = mix.refresh();
  await library.answer("ink", null);
  await refreshed;
  assert.equal(mix.nameOf(mix.rows[0]), "name of ink");
  assert.deepEqual(mix.wordedRows, mix.rows);
});

test("muted styles are not heard, and beside solo ones no others; a lost one mutes nobody", async () => {
  await filledWith("ink", "rings", "old");
  const [ink, rings, old] = mix.rows;
  const heard = () => mix.rows.map((one) => mix.isHeard(one));
  ink.muted = true;
  assert.deepEqual(heard(), [false, true, true]);
  rings.solo = true;
  assert.deepEqual(heard(), [false, true, false]);
  ink.solo = true;
  assert.deepEqual(heard(), [false, true, false], "mute goes before solo");
  const refreshed = mix.refresh();
  await library.answer("ink");
  await library.answer("rings", { id: "rings", name: "Rings", missing: "gone" });
  await library.answer("old");
  await refreshed;
  ink.solo = ink.muted = false;
  assert.deepEqual(heard(), [true, false, true]);
  old.weight = 0;
  assert.deepEqual(heard(), [true, false, false]);
});

test("a trigger word is used where its style is heard with a weight above 0", async () => {
  library.put("ink", { trigger: "inky" });
  await filledWith("ink", "old");
  const [ink] = mix.rows;
  assert.deepEqual(mix.wordedRows, [ink]);
  assert.ok(mix.wordIsUsed(ink));
  for (const about of [{ weight: -1 }, { weight: 1, muted: true }, { muted: false, word: false }])
    assert.ok(!mix.wordIsUsed(Object.assign(ink, about)));
});

test("no weight goes beyond what is heard at the peak of its schedule", () => {
  assert.equal(bounded(row("ink"), 9), MOST_HEARD);
  assert.equal(bounded(row("ink"), -9), -MOST_HEARD);
  assert.equal(
    bounded(
      row("ink", {
        schedule: [
          [0, 0],
          [1, -2],
        ],
      }),
      9,
    ),
    MOST_HEARD / 2,
  );
  assert.equal(bounded(row("ink", { schedule: [[0, 0.5]] }), 3), 3);
});

test("the mix is what the server has where ids and names are the same", async () => {
  await filledWith("ink", "old");
  const here = { ink: ["ink", "name of ink"], old: ["old", "name of old"] };
  assert.ok(mix.isAsOn(here));
  assert.ok(!mix.isAsOn({ ...here, old: ["old", "renamed"] }));
  assert.ok(!mix.isAsOn({ ...here, old: ["old 2", "name of old"] }));
  assert.ok(!mix.isAsOn({ ink: here.ink }));
});
