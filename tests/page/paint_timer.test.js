// Drafts while a slider moves, the picture once it is let go.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { PaintTimer } from "../../app/window/create/paint_timer.js";

// A clock that stands until the test moves it; the oldest Node that we know has none for dates.
class Clock {
  now = 1000;
  due = new Map();
  #before = { setTimeout, clearTimeout, now: Date.now };

  install() {
    globalThis.setTimeout = (step, milliseconds) => {
      const id = Symbol("timer");
      this.due.set(id, { at: this.now + milliseconds, step });
      return id;
    };
    globalThis.clearTimeout = (id) => this.due.delete(id);
    Date.now = () => this.now;
  }

  remove() {
    const { now, ...timers } = this.#before;
    Object.assign(globalThis, timers);
    Date.now = now;
  }

  pass(milliseconds) {
    const end = this.now + milliseconds;
    for (let next = this.#next(end); next; next = this.#next(end)) {
      const [id, { at, step }] = next;
      this.now = at;
      this.due.delete(id);
      step();
    }
    this.now = end;
  }

  #next(end) {
    return [...this.due].filter(([, { at }]) => at <= end).sort(([, one], [, other]) => one.at - other.at)[0];
  }
}

let clock;
let painted;
let timer;
beforeEach(() => {
  clock = new Clock();
  clock.install();
  painted = [];
  timer = new PaintTimer(
    () => painted.push("draft"),
    () => painted.push("picture"),
  );
});
afterEach(() => clock.remove());

test("the first move is painted at once, then a draft every 400 ms at most, the last move among them", () => {
  for (let move = 0; move < 10; move += 1) {
    timer.moved();
    clock.pass(100);
    if (!move) assert.equal(painted.length, 1);
  }
  assert.equal(painted.length, 3);
  clock.pass(5000);
  assert.deepEqual(painted, ["draft", "draft", "draft", "draft"]);
});

test("letting go paints the picture once, in place of a draft that was due", () => {
  timer.moved();
  clock.pass(0);
  timer.moved();
  timer.released();
  timer.released();
  clock.pass(5000);
  assert.deepEqual(painted, ["draft", "picture"]);
});

test("a move puts the picture off, and stopping paints nothing", () => {
  timer.released();
  timer.moved();
  clock.pass(5000);
  assert.deepEqual(painted, ["draft"]);
  timer.released();
  timer.stop();
  clock.pass(5000);
  assert.deepEqual(painted, ["draft"]);
});
