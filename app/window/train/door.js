// The door for artworks: files and folders that are dropped anywhere in the room, pasted or chosen.

import { connectInputs, filesOfDrop, sendAll } from "../dropped_files.js";
import { filledInTurn } from "../words.js";

// Whether a file may be an artwork or its caption, by the ending of its name or by what the browser takes it for.
export function isArtwork({ name, type }, endings) {
  return endings.has((name.match(/\.[^.]*$/) ?? [""])[0].toLowerCase()) || type.startsWith("image/");
}

// Whether a file may be the settings of another trainer: by its ending, where it was given by itself.
export const isSettings = ({ name }, path, endings) =>
  !path.includes("/") && endings.has((name.match(/\.[^.]*$/) ?? [""])[0].toLowerCase());

// Each file as the server is told of it: the path that it had, which says what it is, and where it is stored. Gradio takes
// what has a `path` for a file of its own.
export const toldFiles = (sent) => sent.map(({ path, stored }) => ({ shown: path, stored }));

const hasFiles = (transfer) => [...(transfer?.types ?? [])].includes("Files");

export function mount({ element, trigger, upload }) {
  const zone = element.querySelector(".zone");
  const status = element.querySelector(".zone-said");
  const words = zone.dataset;
  const endings = new Set(words.endings.split(" "));
  const settings = new Set(words.settings.split(" "));
  const isHere = () => zone.offsetParent !== null;

  async function send({ files, unread }) {
    const chosen = files.filter(({ file, path }) => isArtwork(file, endings) || isSettings(file, path, settings));
    for (const { path, error } of unread) console.warn(path, error);
    const { sent } = await sendAll(chosen, upload, (number) => {
      status.textContent = filledInTurn(words.sending, number, chosen.length);
    });
    const isLost = unread.length > 0 || sent.length < chosen.length;
    status.textContent = isLost ? words.lost : chosen.length ? "" : words.nothing;
    if (sent.length) trigger("arrived", { files: toldFiles(sent) });
  }

  const shown = new AbortController();
  function listen(name, react) {
    const listener = (event) => (element.isConnected ? react(event) : shown.abort());
    document.addEventListener(name, listener, { signal: shown.signal });
  }

  // In whatever room: a file that is dropped where nothing takes it would replace the page.
  for (const name of ["dragover", "drop"])
    listen(name, (event) => {
      if (hasFiles(event.dataTransfer)) event.preventDefault();
    });
  // The whole room takes them, not a small zone alone.
  listen("dragover", (event) => {
    if (isHere() && hasFiles(event.dataTransfer)) zone.classList.add("over");
  });
  listen("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("over");
  });
  listen("drop", async (event) => {
    zone.classList.remove("over");
    if (!isHere() || !hasFiles(event.dataTransfer)) return;
    await send(await filesOfDrop(event.dataTransfer));
  });
  listen("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!isHere() || !files.length) return;
    event.preventDefault();
    send({ files: files.map((file) => ({ file, path: file.name })), unread: [] });
  });
  connectInputs(element, (files) => send({ files, unread: [] }));
}
