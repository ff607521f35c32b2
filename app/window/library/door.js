// The door of the Library: what is dropped or chosen there is sent with the path that it had.

import { connectInputs, filesOfDrop, sendAll } from "../dropped_files.js";
import { filledInTurn } from "../words.js";

const STYLE = /\.safetensors$/i;
const PEFT_CONFIG = /(^|\/)adapter_config\.json$/;
const stemOf = (path) => path.replace(/(\.preview)?\.[^./]*$/, "");

// Of a folder only what belongs to styles; what was dropped by itself may be refused with its reason.
export function filesOfStyles(files) {
  const paths = files.map(({ path }) => path);
  const styles = new Set(paths.filter((path) => STYLE.test(path)).map(stemOf));
  const peftFolders = new Set(
    paths.filter((path) => PEFT_CONFIG.test(path)).map((path) => path.replace(/\/?[^/]*$/, "")),
  );
  const belongs = (path) =>
    !path.includes("/") ||
    PEFT_CONFIG.test(path) ||
    STYLE.test(path) ||
    styles.has(stemOf(path)) ||
    peftFolders.has(stemOf(path));
  return files.filter(({ path }) => belongs(path));
}

export function mount({ element, trigger, upload }) {
  const zone = element.querySelector(".zone");
  const status = element.querySelector(".zone-said");
  const words = zone.dataset;

  async function send({ files, unread }) {
    const chosen = filesOfStyles(files);
    const { sent, failed } = await sendAll(chosen, upload, (number) => {
      status.textContent = filledInTurn(words.sending, number, chosen.length);
    });
    const lost = [...unread, ...failed].map(({ path }) => path);
    status.textContent = chosen.length || lost.length ? "" : words.nothing;
    if (sent.length || lost.length)
      trigger("arrived", { files: sent.map(({ stored, path }) => ({ path: stored, name: path })), lost });
  }

  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", (event) => {
    if (!zone.contains(event.relatedTarget)) zone.classList.remove("over");
  });
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    await send(await filesOfDrop(event.dataTransfer));
  });
  connectInputs(element, (files) => send({ files, unread: [] }));
}
