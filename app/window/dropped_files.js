// Files and folders that are dropped, chosen or pasted, each with the path that it had: gradio's own field forgets in which
// folder a file lay.

// The files in an entry of a drop (FileSystemEntry), with those of its folders: {file, path}, the path without a slash in
// front. What can't be read is named in `unread`, with the error.
export async function walk(entry, isWanted = () => true) {
  const path = entry.fullPath.replace(/^\//, "");
  try {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      return { files: [{ file, path }], unread: [] };
    }
    const inside = [];
    for (const child of await childrenOf(entry)) if (isWanted(child)) inside.push(await walk(child, isWanted));
    return joined(inside);
  } catch (error) {
    return { files: [], unread: [{ path, error }] };
  }
}

async function childrenOf(folder) {
  const reader = folder.createReader();
  const children = [];
  // A reader hands out some of them at a time, in the end none.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return children;
    children.push(...some);
  }
}

// The same for all that was dropped. The entries are gone once the event is over, so they are taken at once.
export async function filesOfDrop(dataTransfer, isWanted) {
  const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  const parts = [];
  for (const entry of entries) parts.push(await walk(entry, isWanted));
  return joined(parts);
}

const joined = (parts) => ({
  files: parts.flatMap(({ files }) => files),
  unread: parts.flatMap(({ unread }) => unread),
});

export const filesOfInput = (input) =>
  [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));

// Send files one after the other. Answers with those that were, each with its path on the server in `stored`, and with
// those that failed; what there is no room for is in neither, since the page has said so.
export async function sendAll(files, upload, onStart) {
  const sent = [];
  const failed = [];
  for (const [number, file] of files.entries()) {
    onStart(number + 1);
    try {
      sent.push({ ...file, stored: (await upload(file.file)).path });
    } catch (error) {
      console.warn(file.path, error);
      if (/^HTTP 507/.test(error.message)) break;
      failed.push(file);
    }
  }
  return { sent, failed };
}

// Have the buttons of a door open the file fields that they name, and hand out what is chosen.
export function connectInputs(element, take) {
  for (const input of element.querySelectorAll("input")) {
    input.addEventListener("change", () => {
      const files = filesOfInput(input);
      input.value = "";
      take(files);
    });
    const button = element.querySelector(`button[data-for=${input.dataset.name}]`);
    button.addEventListener("click", () => input.click());
  }
}
