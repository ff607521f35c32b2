// Files and folders that are dropped, and what of them is sent.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { filesOfDrop, sendAll, walk } from "../../app/window/dropped_files.js";
import { filesOfStyles } from "../../app/window/library/door.js";
import { isArtwork, isSettings, toldFiles } from "../../app/window/train/door.js";

const nameOf = (path) => path.split("/").at(-1);
const fileEntry = (path) => ({
  isFile: true,
  name: nameOf(path),
  fullPath: path,
  file: (good) => good({ name: nameOf(path) }),
});
const badEntry = (path) => ({ ...fileEntry(path), file: (_, bad) => bad(new Error("gone")) });
// A folder that hands its children out two at a time, as browsers do with a hundred.
const folderEntry = (path, ...children) => ({
  isFile: false,
  name: nameOf(path),
  fullPath: path,
  createReader: () => {
    const left = [...children];
    return { readEntries: (good) => good(left.splice(0, 2)) };
  },
});
const pathsOf = (files) => files.map(({ path }) => path);

test("a folder is walked to its end, with the paths that its files had", async () => {
  const entries = ["a", "b", "c"].map((name) => fileEntry(`/set/${name}.png`));
  const { files } = await walk(folderEntry("/set", ...entries, folderEntry("/set/in", fileEntry("/set/in/d.png"))));
  assert.deepEqual(pathsOf(files), ["set/a.png", "set/b.png", "set/c.png", "set/in/d.png"]);
});

test("what can't be read is named, and the rest is there all the same", async () => {
  const entries = [badEntry("/set/a.png"), fileEntry("/set/b.png"), folderEntry("/set/.git", fileEntry("/set/.git/c"))];
  const dataTransfer = {
    items: [folderEntry("/set", ...entries), null].map((entry) => ({ webkitGetAsEntry: () => entry })),
  };
  const { files, unread } = await filesOfDrop(dataTransfer, ({ name }) => !name.startsWith("."));
  assert.deepEqual(pathsOf(files), ["set/b.png"]);
  assert.deepEqual(pathsOf(unread), ["set/a.png"]);
});

test("files are sent one after the other until there is no room", async () => {
  mock.method(console, "warn", () => {});
  const files = ["a", "b", "c", "d"].map((path) => ({ path, file: path }));
  const numbers = [];
  const upload = async (file) => {
    if (file === "b") throw new Error("HTTP 413: too large");
    if (file === "c") throw new Error("HTTP 507: no room");
    return { path: `/tmp/${file}` };
  };
  const { sent, failed } = await sendAll(files, upload, (number) => numbers.push(number));
  assert.deepEqual(
    sent.map(({ stored }) => stored),
    ["/tmp/a"],
  );
  assert.deepEqual(pathsOf(failed), ["b"]);
  assert.deepEqual(numbers, [1, 2, 3]);
  mock.restoreAll();
});

test("of a folder only what belongs to styles is sent, and what was dropped by itself", () => {
  const wanted = [
    "by itself.txt",
    "set/ink.safetensors",
    "set/ink.json",
    "set/ink.preview.png",
    "peft/adapter_config.json",
  ];
  const left = ["set/other.json", "set/readme.md"];
  const files = [...wanted, ...left].map((path) => ({ path }));
  assert.deepEqual(pathsOf(filesOfStyles(files)), wanted);
});

test("an artwork is known by its ending or by its kind, and told with the path that it had", () => {
  const endings = new Set([".png", ".txt"]);
  assert.ok(isArtwork({ name: "A.PNG", type: "" }, endings));
  assert.ok(isArtwork({ name: "a", type: "image/heic" }, endings));
  assert.ok(!isArtwork({ name: "png", type: "" }, endings));
  const settings = new Set([".json", ".toml"]);
  assert.ok(isSettings({ name: "A.JSON" }, "A.JSON", settings));
  assert.ok(!isSettings({ name: "a.json" }, "set/a.json", settings));
  const sent = ["10_a/1.png", "2.png"].map((path) => ({ path, stored: `@${path}`, file: {} }));
  assert.deepEqual(toldFiles(sent), [
    { shown: "10_a/1.png", stored: "@10_a/1.png" },
    { shown: "2.png", stored: "@2.png" },
  ]);
});
